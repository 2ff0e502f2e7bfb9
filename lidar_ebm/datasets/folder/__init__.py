"""Data sets of one's own: a folder with a `dataset.yaml`."""
