"""KITTI's rules for 2-D, bird's-eye-view and 3-D detection and orientation."""
