"""nuScenes: sweeps of a turning LiDAR, labels of ten classes with velocities, official splits, submissions."""

from lidar_ebm.datasets.nuscenes.source import NuScenesSource

__all__ = ["NuScenesSource"]
