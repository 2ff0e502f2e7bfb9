"""Labelled LiDAR streets."""
