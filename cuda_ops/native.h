// The whole surface of the native libraries: what Python calls through ctypes (see _native.py).
//
// Every argument is an address, an int64_t or a double, so that no table of types is needed on the other side. Tensors
// are contiguous unless their strides are given (in elements). `dtype` is one of the codes below. Every function ends in
// `threads` (CPU: how many to use), `device` and `stream` (CUDA: where to launch), and returns 0, or another number
// when it failed: then lidar_ebm_error() says why. Boxes are (x, y, z, l, w, h, yaw), z at the centre, m and rad.
#pragma once

#include <stdint.h>

#define LIDAR_EBM_API extern "C" __attribute__((visibility("default")))
#define LIDAR_EBM_RUN int64_t threads, int64_t device, void *stream

enum { LIDAR_EBM_FLOAT32 = 0, LIDAR_EBM_FLOAT64 = 1, LIDAR_EBM_FLOAT16 = 2, LIDAR_EBM_BFLOAT16 = 3 };

// Why the last call of this thread failed.
LIDAR_EBM_API const char *lidar_ebm_error(void);

// ---------------------------------------------------------------------------------------------------- box_overlap

// IoU of boxes a [n, 7] and b [m, 7] of one dtype (float32, float64), from above or of volumes, into iou [n, m] of that
// dtype; or, aligned (m = n), row by row into iou [n].
LIDAR_EBM_API int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                                    int64_t use_height, void *iou, LIDAR_EBM_RUN);

// --------------------------------------------------------------------------------------------------- box_sampling

// ------------------------------------------------------------------------------------------------------ point_ops

// ---------------------------------------------------------------------------------------------------- sparse_conv
