"""A run on the disk: study file, records, artifacts, store, lock, status."""
