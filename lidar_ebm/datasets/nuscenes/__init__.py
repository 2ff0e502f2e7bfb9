"""nuScenes: sweeps of a turning LiDAR, labels of ten classes with velocities, official splits, submissions."""
