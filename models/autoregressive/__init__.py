"""Families that model one number, or token, after another."""
