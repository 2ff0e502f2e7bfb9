// Launching CUDA kernels: on the tensor's device and stream, every error turned into an exception.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "common.h"

namespace lidar_ebm {

inline void check_cuda(cudaError_t status, const char *what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Makes `device` the current one while it lives.
class DeviceGuard {
 public:
  explicit DeviceGuard(int64_t device) {
    check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ != device) check_cuda(cudaSetDevice(int(device)), "cudaSetDevice");
    changed_ = before_ != device;
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard &) = delete;
  DeviceGuard &operator=(const DeviceGuard &) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

template <class Body>
__global__ void each_kernel(int64_t count, Body body) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) body(i);
}

constexpr int64_t kMostBlocks = int64_t(1) << 20;  // more work than this is looped over

// body(i) for every i in 0..count, one thread each.
template <class Body>
void launch_each(int64_t count, void *stream, const Body &body, int block = 256) {
  if (count <= 0) return;
  const int64_t blocks = std::min((count + block - 1) / block, kMostBlocks);
  each_kernel<<<unsigned(blocks), block, 0, static_cast<cudaStream_t>(stream)>>>(count, body);
  check_cuda(cudaGetLastError(), "kernel launch");
}

}  // namespace lidar_ebm
