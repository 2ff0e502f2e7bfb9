#include "point_nearest/kernel.h"

#include <algorithm>
#include <vector>

#include "parallel.h"

namespace lidar_ebm {

namespace {

Tree build_tree(const float *support, const int64_t *batch, const int64_t *order, int64_t count, int64_t batch_size,
                void *scratch, int64_t scratch_bytes, int64_t threads) {
  const Tree tree = tree_of(count, scratch, scratch_bytes);
  parallel_ranges(tree.blocks[0] * kFan, 8192, threads, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) place_point(tree, k, support, batch, order, count, batch_size);
  });
  for (int level = 0; level < tree.depth; ++level) {
    parallel_ranges(tree.blocks[level + 1] * kFan, 1024, threads, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) place_node(tree, level, k);
    });
  }
  return tree;
}

void check_frames(const int64_t *batch, int64_t count, int64_t batch_size, const char *name) {
  int64_t low = 0, high = 0;
#pragma omp simd reduction(min : low) reduction(max : high)
  for (int64_t i = 0; i < count; ++i) low = std::min(low, batch[i]), high = std::max(high, batch[i] + 1);
  if (low < 0 || high > batch_size) {
    throw std::invalid_argument(std::string(name) + " goes from " + std::to_string(low) + " to " +
                                std::to_string(high - 1) + ", expected 0 to batch_size - 1 = " +
                                std::to_string(batch_size - 1));
  }
}

constexpr int kLanes = 16;

// The first `count` of the ordered queries, at most kLanes, all of one frame.
void search_packet(const Tree &tree, const float *query, int32_t frame, const int64_t *order, int64_t count,
                   float *distance, int64_t *index) {
  Packet<kLanes> packet;
  packet.frame = frame;
  for (int i = 0; i < kLanes; ++i) {
    const float *at = query + 3 * order[i < count ? i : 0];
    for (int axis = 0; axis < 3; ++axis) packet.at[axis][i] = at[axis];
  }
  search(tree, packet);
  for (int i = 0; i < count; ++i) packet.write(i, distance + 3 * order[i], index + 3 * order[i]);
}

void three_nearest(const Tree &tree, const float *query, const int64_t *batch, const int64_t *order, int64_t count,
                   float *distance, int64_t *index, int64_t threads) {
  parallel_ranges(count, 256, threads, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t frame = batch[order[begin]];
      int64_t next = begin + 1;
      while (next < end && next < begin + kLanes && batch[order[next]] == frame) ++next;
      search_packet(tree, query, int32_t(frame), order + begin, next - begin, distance, index);
      begin = next;
    }
  });
}

template <class T>
void weigh_rows(const T *features, int64_t p, int64_t c, const int64_t *index, const Wide<T> *weight, int64_t q,
                T *result, int64_t threads) {
  parallel_ranges(q, 256, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *row[3];
      Wide<T> factor[3];
      int rows = 0;
      for (int64_t k = 3 * i; k < 3 * i + 3; ++k) {
        if (index[k] < -1 || index[k] >= p) {
          throw std::out_of_range("index " + std::to_string(index[k]) + " into " + std::to_string(p) + " rows");
        }
        if (index[k] >= 0) row[rows] = features + index[k] * c, factor[rows++] = weight[k];
      }
      T *out = result + i * c;
      if (rows == 3) {
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) {
          out[j] = narrow<T>(factor[0] * widen(row[0][j]) + factor[1] * widen(row[1][j]) +
                             factor[2] * widen(row[2][j]));
        }
        continue;
      }
      for (int64_t j = 0; j < c; ++j) {
        Wide<T> sum = 0;
        for (int k = 0; k < rows; ++k) sum += factor[k] * widen(row[k][j]);
        out[j] = narrow<T>(sum);
      }
    }
  });
}

template <class T>
void weigh_rows_backward(const T *gradient, int64_t p, int64_t c, const int64_t *rows, const int64_t *order,
                         const Wide<T> *weight, int64_t entries, T *result, int64_t threads) {
  parallel_ranges(p, 256, threads, [&](int64_t begin, int64_t end) {
    int64_t entry = first_not_below(rows, entries, begin);
    std::vector<Wide<T>> sum(c);
    for (int64_t i = begin; i < end; ++i) {
      std::fill(sum.begin(), sum.end(), Wide<T>(0));
      for (; entry < entries && rows[entry] == i; ++entry) {
        const T *row = gradient + order[entry] / 3 * c;
        const Wide<T> factor = weight[order[entry]];
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) sum[j] += factor * widen(row[j]);
      }
      for (int64_t j = 0; j < c; ++j) result[i * c + j] = narrow<T>(sum[j]);
    }
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_nearest_keys(const void *points, const void *batch, int64_t count, const void *window, void *coarse,
                           void *fine, int64_t threads, int64_t, void *) {
  return guarded([&] {
    parallel_ranges(count, 4096, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const CurveKey key = curve_key(static_cast<const float *>(points) + 3 * i,
                                       static_cast<const int64_t *>(batch)[i], static_cast<const double *>(window));
        static_cast<int64_t *>(coarse)[i] = key.coarse;
        if (fine) static_cast<int64_t *>(fine)[i] = key.fine;
      }
    });
  });
}

int lidar_ebm_three_nearest(const void *query, const void *query_batch, const void *query_order, int64_t q,
                            const void *support, const void *support_batch, const void *support_order, int64_t p,
                            int64_t batch_size, void *scratch, int64_t scratch_bytes, void *distance, void *index,
                            int64_t threads, int64_t, void *) {
  return guarded([&] {
    const auto *points = static_cast<const float *>(support);
    const auto *query_frames = static_cast<const int64_t *>(query_batch);
    const auto *frames = static_cast<const int64_t *>(support_batch);
    check_frames(query_frames, q, batch_size, "query_batch");
    check_frames(frames, p, batch_size, "support_batch");
    const Tree tree = build_tree(points, frames, static_cast<const int64_t *>(support_order), p, batch_size, scratch,
                                 scratch_bytes, threads);
    three_nearest(tree, static_cast<const float *>(query), query_frames, static_cast<const int64_t *>(query_order), q,
                  static_cast<float *>(distance), static_cast<int64_t *>(index), threads);
  });
}

int lidar_ebm_weigh_rows(const void *features, int64_t dtype, int64_t p, int64_t c, const void *index,
                         const void *weight, int64_t q, void *result, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      weigh_rows(static_cast<const T *>(features), p, c, static_cast<const int64_t *>(index),
                 static_cast<const Wide<T> *>(weight), q, static_cast<T *>(result), threads);
    });
  });
}

int lidar_ebm_weigh_rows_backward(const void *gradient, int64_t dtype, int64_t p, int64_t c, const void *rows,
                                  const void *order, const void *weight, int64_t entries, void *result,
                                  int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      weigh_rows_backward(static_cast<const T *>(gradient), p, c, static_cast<const int64_t *>(rows),
                          static_cast<const int64_t *>(order), static_cast<const Wide<T> *>(weight), entries,
                          static_cast<T *>(result), threads);
    });
  });
}
