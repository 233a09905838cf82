"""Gentune: tune and compare generative models."""
