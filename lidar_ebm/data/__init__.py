"""Files and frames: KITTI's formats, other point files, data sets, augmentation and batches."""
