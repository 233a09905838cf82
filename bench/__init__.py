"""The driver: comparisons, studies, trials, and what they need."""
