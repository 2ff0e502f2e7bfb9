"""KITTI's files."""
