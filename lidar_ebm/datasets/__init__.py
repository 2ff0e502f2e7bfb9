"""Frames of data sets: where they are, how they are read, checked and prepared."""
