#include "sparse_conv/cpu_convolve.h"
#include "sparse_conv/cpu_rulebook.h"

namespace lidar_ebm {

namespace {

const Geometry &geometry_at(const void *address) { return *static_cast<const Geometry *>(address); }
const int64_t *int64_at(const void *address) { return static_cast<const int64_t *>(address); }
int64_t *int64_at(void *address) { return static_cast<int64_t *>(address); }
const int32_t *int32_at(const void *address) { return static_cast<const int32_t *>(address); }
int32_t *int32_at(void *address) { return static_cast<int32_t *>(address); }

// The gradient of the features is a convolution of `grad` over the pairs turned round.
template <class T>
void convolve_backward(const T *grad, const T *weight, int64_t cout, int64_t cin, const Pairs &pairs, int64_t inputs,
                       T *result, int64_t threads) {
  const bool submanifold = pairs.identity >= 0;
  const Buffer<T> matrices = pack_weight(weight, pairs.offsets, cout, cin, true, submanifold, threads);
  if (submanifold) return convolve(grad, cout, matrices, cin, pairs, result, inputs, threads);
  const int64_t count = pairs.starts[pairs.offsets];
  const Buffer<int32_t> to(count), from(count);
  sort_pairs(pairs.from, pairs.to, pairs.starts, pairs.offsets, inputs, to.get(), from.get(), threads);
  const Pairs turned{from.get(), to.get(), pairs.starts, pairs.offsets, -1};
  convolve(grad, cout, matrices, cin, turned, result, inputs, threads);
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_sparse_conv_check(const void *cells, int64_t count, const void *geometry, void *status, int64_t threads,
                                int64_t, void *) {
  return guarded([&] { *int64_at(status) = status_of_all(int32_at(cells), count, geometry_at(geometry), threads); });
}

int lidar_ebm_sparse_conv_outputs(const void *cells, int64_t count, const void *geometry, void *keys, void *found,
                                  int64_t, int64_t, void *) {
  return guarded([&] {
    *int64_at(found) = output_keys(int32_at(cells), count, geometry_at(geometry), int64_at(keys));
  });
}

int lidar_ebm_sparse_conv_cells(const void *keys, int64_t count, const void *geometry, void *cells, int64_t threads,
                                int64_t, void *) {
  return guarded([&] {
    parallel_ranges(count, 4096, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        cell_of(geometry_at(geometry).grid, int64_at(keys)[i], int32_at(cells) + 4 * i);
      }
    });
  });
}

int lidar_ebm_sparse_conv_keys(const void *cells, int64_t count, const void *geometry, void *keys, int64_t threads,
                               int64_t, void *) {
  return guarded([&] {
    parallel_ranges(count, 8192, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_at(keys)[i] = key_of_cell(geometry_at(geometry).grid, int32_at(cells) + 4 * i);
      }
    });
  });
}

int lidar_ebm_sparse_conv_table(const void *cells, int64_t inputs, const void *geometry, const void *keys,
                                int64_t outputs, void *blocks, int64_t slots, int64_t planes, void *table,
                                int64_t threads, int64_t, void *) {
  return guarded([&] {
    Block *all = static_cast<Block *>(blocks);
    const int64_t mask = fill_blocks(int64_at(keys), outputs, all, slots);
    fill_table(int32_at(cells), inputs, geometry_at(geometry), planes, all, mask, int32_at(table), threads);
  });
}

int lidar_ebm_sparse_conv_count(const void *table, int64_t planes, int64_t inputs, void *counts, int64_t threads,
                                int64_t, void *) {
  return guarded([&] { count_pairs(int32_at(table), planes, inputs, int64_at(counts), threads); });
}

int lidar_ebm_sparse_conv_pairs(const void *table, int64_t planes, int64_t inputs, const void *starts, int64_t offsets,
                                void *in_rows, void *out_rows, int64_t threads, int64_t, void *) {
  return guarded([&] {
    list_table(int32_at(table), planes, inputs, int64_at(starts), offsets, int32_at(in_rows), int32_at(out_rows),
               threads);
  });
}

int lidar_ebm_sparse_conv(const void *source, const void *weight, int64_t dtype, int64_t cout, int64_t offsets,
                          int64_t cin, const void *in_rows, const void *out_rows, const void *starts, int64_t identity,
                          int64_t inputs, int64_t outputs, int64_t backward, void *result, int64_t threads, int64_t,
                          void *) {
  return guarded([&] {
    const Pairs pairs{int32_at(in_rows), int32_at(out_rows), int64_at(starts), offsets, identity};
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const T *from = static_cast<const T *>(source), *matrices = static_cast<const T *>(weight);
      T *to = static_cast<T *>(result);
      if (backward) {
        convolve_backward(from, matrices, cout, cin, pairs, inputs, to, threads);
      } else {
        const Buffer<T> packed = pack_weight(matrices, offsets, cout, cin, false, false, threads);
        convolve(from, cin, packed, cout, pairs, to, outputs, threads);
      }
    });
  });
}

int lidar_ebm_sparse_conv_weight(const void *features, const void *grad, int64_t dtype, int64_t cout, int64_t offsets,
                                 int64_t cin, const void *in_rows, const void *out_rows, const void *starts,
                                 int64_t identity, int64_t inputs, void *gradient, int64_t threads, int64_t, void *) {
  return guarded([&] {
    const Pairs pairs{int32_at(in_rows), int32_at(out_rows), int64_at(starts), offsets, identity};
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      weight_gradient(static_cast<const T *>(features), cin, static_cast<const T *>(grad), cout, pairs, inputs,
                      static_cast<T *>(gradient), threads);
    });
  });
}
