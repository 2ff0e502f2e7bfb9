"""The parts of the augmentation; `lidar_ebm.data.augment` puts them together."""
