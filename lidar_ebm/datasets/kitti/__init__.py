"""Data sets in KITTI's layout."""
