#include "box_overlap/kernel.h"

#include <vector>

#include "parallel.h"

namespace lidar_ebm {

namespace {

template <class T>
std::vector<Outline> outlines(const T *boxes, int64_t count) {
  std::vector<Outline> result(count);
  for (int64_t i = 0; i < count; ++i) result[i] = outline_of(boxes + 7 * i);
  return result;
}

template <class T>
void box_iou(const T *a, const T *b, int64_t n, int64_t m, bool aligned, bool use_height, T *iou, int64_t threads) {
  const std::vector<Outline> first = outlines(a, n), second = outlines(b, m);
  const auto value = [&](int64_t i, int64_t j) {
    return T(may_overlap(first[i], second[j]) ? pair_iou(first[i], second[j], use_height) : 0.0);
  };
  if (aligned) {
    parallel_ranges(n, 256, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) iou[i] = value(i, i);
    });
    return;
  }
  parallel_tasks(n, threads, [&](int64_t i) {
    for (int64_t j = 0; j < m; ++j) iou[i * m + j] = value(i, j);
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                      int64_t use_height, void *iou, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      box_iou(static_cast<const T *>(a), static_cast<const T *>(b), n, m, aligned != 0, use_height != 0,
              static_cast<T *>(iou), threads);
    });
  });
}
