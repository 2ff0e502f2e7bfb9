#include "box_overlap/kernel.h"
#include "launch.cuh"

namespace lidar_ebm {

template <class T>
void box_iou(const T *a, const T *b, int64_t n, int64_t m, bool aligned, bool use_height, T *iou, void *stream) {
  launch_each(aligned ? n : n * m, stream, [=] __device__(int64_t k) {
    const int64_t i = aligned ? k : k / m, j = aligned ? k : k % m;
    const Outline p = outline_of(a + 7 * i), q = outline_of(b + 7 * j);
    iou[k] = T(may_overlap(p, q) ? pair_iou(p, q, use_height) : 0.0);
  });
}

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                      int64_t use_height, void *iou, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      box_iou(static_cast<const T *>(a), static_cast<const T *>(b), n, m, aligned != 0, use_height != 0,
              static_cast<T *>(iou), stream);
    });
  });
}
