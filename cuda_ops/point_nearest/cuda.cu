#include "point_nearest/kernel.h"
#include "launch.cuh"

namespace lidar_ebm {

namespace {

void nearest_keys(const float *points, const int64_t *batch, int64_t count, const double *window, int64_t *coarse,
                  int64_t *fine, void *stream) {
  launch_each(count, stream, [=] __device__(int64_t i) {
    const CurveKey key = curve_key(points + 3 * i, batch[i], window);
    coarse[i] = key.coarse;
    if (fine) fine[i] = key.fine;
  });
}

void build_tree(const Tree &tree, const float *support, const int64_t *batch, const int64_t *order, int64_t count,
                int64_t batch_size, void *stream) {
  launch_each(tree.blocks[0] * kFan, stream, [=] __device__(int64_t k) {
    place_point(tree, k, support, batch, order, count, batch_size);
  });
  for (int level = 0; level < tree.depth; ++level) {
    launch_each(tree.blocks[level + 1] * kFan, stream, [=] __device__(int64_t k) { place_node(tree, level, k); });
  }
}

// Threads that follow one another take queries that lie near one another, and so mostly read the same blocks.
void three_nearest(const Tree &tree, const float *query, const int64_t *batch, const int64_t *order, int64_t count,
                   int64_t batch_size, float *distance, int64_t *index, void *stream) {
  launch_each(
      count, stream,
      [=] __device__(int64_t k) {
        const int64_t i = order[k];
        Packet<1> packet;
        packet.frame = is_frame(batch[i], batch_size) ? int32_t(batch[i]) : kNoFrame;
        for (int axis = 0; axis < 3; ++axis) packet.at[axis][0] = query[3 * i + axis];
        search(tree, packet);
        packet.write(0, distance + 3 * i, index + 3 * i);
      },
      128);
}

template <class T>
void weigh_rows(const T *features, int64_t p, int64_t c, const int64_t *index, const Wide<T> *weight, int64_t q,
                T *result, void *stream) {
  launch_each(q * c, stream, [=] __device__(int64_t i) {
    const int64_t row = i / c, channel = i % c;
    Wide<T> sum = 0;
    for (int64_t k = 3 * row; k < 3 * row + 3; ++k) {
      const int64_t from = index[k];
      if (from >= 0 && from < p) sum += weight[k] * widen(features[from * c + channel]);
    }
    result[i] = narrow<T>(sum);
  });
}

template <class T>
void weigh_rows_backward(const T *gradient, int64_t p, int64_t c, const int64_t *rows, const int64_t *order,
                         const Wide<T> *weight, int64_t entries, T *result, void *stream) {
  launch_each(p * c, stream, [=] __device__(int64_t i) {
    const int64_t row = i / c, channel = i % c;
    Wide<T> sum = 0;
    for (int64_t entry = first_not_below(rows, entries, row); entry < entries && rows[entry] == row; ++entry) {
      sum += weight[order[entry]] * widen(gradient[order[entry] / 3 * c + channel]);
    }
    result[i] = narrow<T>(sum);
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_nearest_keys(const void *points, const void *batch, int64_t count, const void *window, void *coarse,
                           void *fine, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    nearest_keys(static_cast<const float *>(points), static_cast<const int64_t *>(batch), count,
                 static_cast<const double *>(window), static_cast<int64_t *>(coarse), static_cast<int64_t *>(fine),
                 stream);
  });
}

int lidar_ebm_three_nearest(const void *query, const void *query_batch, const void *query_order, int64_t q,
                            const void *support, const void *support_batch, const void *support_order, int64_t p,
                            int64_t batch_size, void *scratch, int64_t scratch_bytes, void *distance, void *index,
                            int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Tree tree = tree_of(p, scratch, scratch_bytes);
    build_tree(tree, static_cast<const float *>(support), static_cast<const int64_t *>(support_batch),
               static_cast<const int64_t *>(support_order), p, batch_size, stream);
    three_nearest(tree, static_cast<const float *>(query), static_cast<const int64_t *>(query_batch),
                  static_cast<const int64_t *>(query_order), q, batch_size, static_cast<float *>(distance),
                  static_cast<int64_t *>(index), stream);
  });
}

int lidar_ebm_weigh_rows(const void *features, int64_t dtype, int64_t p, int64_t c, const void *index,
                         const void *weight, int64_t q, void *result, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      weigh_rows(static_cast<const T *>(features), p, c, static_cast<const int64_t *>(index),
                 static_cast<const Wide<T> *>(weight), q, static_cast<T *>(result), stream);
    });
  });
}

int lidar_ebm_weigh_rows_backward(const void *gradient, int64_t dtype, int64_t p, int64_t c, const void *rows,
                                  const void *order, const void *weight, int64_t entries, void *result, int64_t,
                                  int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      weigh_rows_backward(static_cast<const T *>(gradient), p, c, static_cast<const int64_t *>(rows),
                          static_cast<const int64_t *>(order), static_cast<const Wide<T> *>(weight), entries,
                          static_cast<T *>(result), stream);
    });
  });
}
