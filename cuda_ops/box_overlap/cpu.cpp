#include "box_overlap/kernel.h"

#include <numeric>
#include <unordered_map>
#include <vector>

#include "parallel.h"

namespace lidar_ebm {

namespace {

constexpr int64_t kChunk = 1024;  // boxes whose circles are tested in one go; a multiple of 8

// Makes boxes, in this order or (null) their own, ready in `memory`.
template <class T>
BoxTable<T> table_of(const T *boxes, const int64_t *order, int64_t count, double *memory, int64_t threads) {
  const BoxTable<T> table(memory, count);
  parallel_ranges(count, 512, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) table.set(i, boxes + 7 * (order ? order[i] : i));
  });
  return table;
}

// Which of `count` <= kChunk circles meet the one at (cx, cy): their indices, rising, and how many.
template <class T>
int64_t find_near(const T *x, const T *y, const T *radius, int64_t count, T cx, T cy, T reach, int32_t *found) {
  alignas(64) uint8_t meets[kChunk];
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) meets[k] = circles_meet(x[k] - cx, y[k] - cy, radius[k] + reach);
  for (int64_t k = count; k % 8; ++k) meets[k] = 0;
  int64_t near = 0;
  for (int64_t k = 0; k < count; k += 8) {  // most groups of eight hold none
    uint64_t any;
    memcpy(&any, meets + k, sizeof any);
    if (any == 0) continue;
    for (int64_t j = k; j < k + 8; ++j) {
      found[near] = int32_t(j);
      near += meets[j];
    }
  }
  return near;
}

template <bool kUseHeight, class T>
void iou_of_all(const BoxTable<T> &a, const BoxTable<T> &b, T *iou, int64_t threads) {
  const int64_t n = a.count(), m = b.count();
  const int64_t chunks = (m + kChunk - 1) / kChunk, rows = std::max<int64_t>(1, 8 * kChunk / m);
  parallel_tasks((n + rows - 1) / rows * chunks, threads, [&](int64_t task) {
    const int64_t begin = task % chunks * kChunk, size = std::min(kChunk, m - begin), first = task / chunks * rows;
    int32_t found[kChunk + 8];
    T values[kChunk];
    for (int64_t i = first; i < std::min(n, first + rows); ++i) {
      T *row = iou + i * m + begin;
      std::fill(row, row + size, T(0));
      const int64_t near = find_near(b.x() + begin, b.y() + begin, b.radius() + begin, size, a.x()[i], a.y()[i],
                                     a.radius()[i], found);
      const Outline outline = a[i];
#pragma omp simd
      for (int64_t k = 0; k < near; ++k) values[k] = T(pair_iou<kUseHeight>(outline, b[begin + found[k]]));
      for (int64_t k = 0; k < near; ++k) row[found[k]] = values[k];
    }
  });
}

template <bool kUseHeight, class T>
void iou_of_rows(const BoxTable<T> &a, const BoxTable<T> &b, T *iou, int64_t threads) {
  parallel_ranges(a.count(), 256, threads, [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const T value = T(pair_iou<kUseHeight>(a[i], b[i]));
      iou[i] = may_overlap(a, i, b, i) ? value : T(0);
    }
  });
}

// The boxes of one frame and label that stay, in the order they came.
template <class T>
class KeptBoxes {
 public:
  // Whether one of them overlaps a box by more than the threshold.
  bool suppress(const BoxTable<T> &table, int64_t row, double threshold) const {
    if (threshold < 0.0) return !x_.empty();
    const Outline outline = table[row];
    int32_t found[kChunk + 8];
    for (int64_t begin = 0, count = x_.size(); begin < count; begin += kChunk) {
      const int64_t near = find_near(x_.data() + begin, y_.data() + begin, radius_.data() + begin,
                                     std::min(kChunk, count - begin), table.x()[row], table.y()[row],
                                     table.radius()[row], found);
      for (int64_t k = 0; k < near; ++k) {
        const Outline &kept = outlines_[begin + found[k]];
        if (may_exceed(kept, outline, threshold) && pair_iou<false>(kept, outline) > threshold) return true;
      }
    }
    return false;
  }

  void add(const BoxTable<T> &table, int64_t row) {
    outlines_.push_back(table[row]);
    x_.push_back(table.x()[row]), y_.push_back(table.y()[row]), radius_.push_back(table.radius()[row]);
  }

 private:
  std::vector<Outline> outlines_;
  std::vector<T> x_, y_, radius_;
};

// The rows of each frame, rising.
std::vector<std::vector<int64_t>> rows_of_frames(const int64_t *frames, const int64_t *order, int64_t n) {
  std::vector<std::vector<int64_t>> result(frames ? 0 : 1);
  if (!frames) {
    result[0].resize(n);
    std::iota(result[0].begin(), result[0].end(), int64_t(0));
    return result;
  }
  std::unordered_map<int64_t, size_t> place;
  for (int64_t row = 0; row < n; ++row) {
    const size_t at = place.emplace(frames[order[row]], result.size()).first->second;
    if (at == result.size()) result.emplace_back();
    result[at].push_back(row);
  }
  return result;
}

template <class T>
int64_t nms(const T *boxes, const int64_t *order, const int64_t *frames, const int64_t *labels, int64_t n,
            double threshold, int64_t most, double *memory, int64_t *kept, int64_t threads) {
  const BoxTable<T> table = table_of(boxes, order, n, memory, threads);
  const std::vector<std::vector<int64_t>> rows = rows_of_frames(frames, order, n);
  std::vector<uint8_t> stays(n, 0);
  // One box after the other decides within a frame; frames know nothing of each other.
  parallel_tasks(rows.size(), threads, [&](int64_t frame) {
    std::unordered_map<int64_t, KeptBoxes<T>> kept_of_label;
    int64_t count = 0;
    for (const int64_t row : rows[frame]) {
      if (count >= most) break;
      KeptBoxes<T> &rivals = kept_of_label[labels ? labels[order[row]] : 0];
      if (rivals.suppress(table, row, threshold)) continue;
      rivals.add(table, row);
      stays[row] = 1;
      ++count;
    }
  });
  int64_t count = 0;
  for (int64_t row = 0; row < n; ++row) {
    if (stays[row]) kept[count++] = order[row];
  }
  return count;
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                      int64_t use_height, void *iou, void *scratch, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      double *memory = static_cast<double *>(scratch);
      const auto first = table_of(static_cast<const T *>(a), nullptr, n, memory, threads);
      const auto second = table_of(static_cast<const T *>(b), nullptr, m, memory + BoxTable<T>::kRows * n, threads);
      T *result = static_cast<T *>(iou);
      if (aligned) {
        use_height ? iou_of_rows<true>(first, second, result, threads)
                   : iou_of_rows<false>(first, second, result, threads);
      } else {
        use_height ? iou_of_all<true>(first, second, result, threads)
                   : iou_of_all<false>(first, second, result, threads);
      }
    });
  });
}

int lidar_ebm_nms_bev(const void *boxes, const int64_t *order, const int64_t *frames, const int64_t *labels,
                      int64_t dtype, int64_t n, double iou_threshold, int64_t max_output, int64_t *kept, int64_t *count,
                      void *scratch, int64_t, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      *count = nms(static_cast<const T *>(boxes), order, frames, labels, n, iou_threshold, max_output,
                   static_cast<double *>(scratch), kept, threads);
    });
  });
}
