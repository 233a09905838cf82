"""The training loop, its states and averages, and the cache of kept trainings."""
