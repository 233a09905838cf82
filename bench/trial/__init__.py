"""Runs one job: from a setting to a trained model, its samples and its record."""
