"""Comparisons and studies: which trial comes next, what is written down when it ends, and how a run is resumed."""
