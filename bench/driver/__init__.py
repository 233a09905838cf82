"""Comparisons and studies: chooses the next trial, records what has ended, and resumes runs."""
