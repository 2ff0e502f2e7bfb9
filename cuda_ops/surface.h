// The number of the libraries' surface, `native.h`: raised with every change of it, here and in _native.py, so that
// libraries of another build are refused and not called with arguments that they take for others.
#pragma once

#define LIDAR_EBM_SURFACE 2
