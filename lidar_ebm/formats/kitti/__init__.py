"""KITTI's files: object labels and results, tracking labels, raw tracklets, and every dialect of its calibrations."""
