#include "launch.cuh"
#include "sparse_conv/kernel.h"

namespace lidar_ebm {

namespace {

// The geometry itself goes to the kernels, for its address is on the host.
Geometry geometry_at(const void *address) { return *static_cast<const Geometry *>(address); }
const int64_t *int64_at(const void *address) { return static_cast<const int64_t *>(address); }
int64_t *int64_at(void *address) { return static_cast<int64_t *>(address); }
const int32_t *int32_at(const void *address) { return static_cast<const int32_t *>(address); }
int32_t *int32_at(void *address) { return static_cast<int32_t *>(address); }

using Atomic64 = unsigned long long;

// The first row of each block enters it. No two rows enter the same block, so only the slot is contended for.
__device__ void enter_block(const int64_t *keys, int64_t rows, int64_t row, Block *table, int64_t mask) {
  if (row > 0 && keys[row] >> 6 == keys[row - 1] >> 6) return;
  const Block block = block_at(keys, rows, row);
  int64_t slot = first_slot(block.number, mask);
  while (atomicCAS(reinterpret_cast<Atomic64 *>(&table[slot].number), Atomic64(kNoBlock), Atomic64(block.number)) !=
         Atomic64(kNoBlock)) {
    slot = (slot + 1) & mask;
  }
  table[slot].cells = block.cells;
  table[slot].first_row = block.first_row;
}

void fill_table(const int32_t *cells, int64_t inputs, const Geometry &g, const int64_t *keys, int64_t outputs,
                Block *blocks, int64_t slots, int64_t planes, int32_t *table, void *stream) {
  launch_each(slots, stream, [=] __device__(int64_t i) { blocks[i] = Block{kNoBlock, 0, 0}; });
  launch_each(outputs, stream,
              [=] __device__(int64_t row) { enter_block(keys, outputs, row, blocks, slots - 1); });
  launch_each(inputs, stream, [=] __device__(int64_t i) {
    for (int64_t k = 0; k < planes; ++k) table[k * inputs + i] = -1;
    RowFinder find_row;
    for_each_output(g, cells + 4 * i, planes, [&](const Candidate &output) {
      table[output.offset * inputs + i] = int32_t(find_row(blocks, slots - 1, output.key));
    });
  });
}

// Copies rows word by word, the words being as wide as rows and addresses allow.
template <class Word>
bool gather_words(const void *source, const int32_t *rows, int64_t count, int64_t row_bytes, void *gathered,
                  void *stream) {
  const auto misaligned = [](uint64_t value) { return value % sizeof(Word) != 0; };
  if (misaligned(row_bytes) || misaligned(reinterpret_cast<uintptr_t>(source)) ||
      misaligned(reinterpret_cast<uintptr_t>(gathered))) {
    return false;
  }
  const int64_t words = row_bytes / int64_t(sizeof(Word));
  const Word *from = static_cast<const Word *>(source);
  Word *to = static_cast<Word *>(gathered);
  launch_each(count * words, stream, [=] __device__(int64_t i) {
    const int64_t pair = i / words;
    to[i] = from[rows[pair] * words + (i - pair * words)];
  });
  return true;
}

template <class T>
void sum_products(const T *products, const int64_t *places, int64_t rows, int64_t offsets, int64_t channels, T *total,
                  void *stream) {
  launch_each(rows * channels, stream, [=] __device__(int64_t i) {
    const int64_t row = i / channels, channel = i - row * channels;
    Wide<T> sum = widen(total[i]);
    for (int64_t k = 0; k < offsets; ++k) {
      const int64_t place = places[row * offsets + k];
      if (place >= 0) sum += widen(products[place * channels + channel]);
    }
    total[i] = narrow<T>(sum);
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_sparse_conv_check(const void *cells, int64_t count, const void *geometry, void *status, int64_t,
                                int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Geometry g = geometry_at(geometry);
    const int32_t *cell = int32_at(cells);
    long long *gravest = static_cast<long long *>(status);
    launch_each(count, stream, [=] __device__(int64_t i) {
      const int64_t found = status_of(g, cell, i);
      if (found != LIDAR_EBM_CELLS_FINE) atomicMax(gravest, static_cast<long long>(found));
    });
  });
}

int lidar_ebm_sparse_conv_candidates(const void *cells, int64_t count, const void *geometry, void *keys, int64_t,
                                     int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Geometry g = geometry_at(geometry);
    const int64_t candidates = g.reach(0) * g.reach(1) * g.reach(2);
    const int32_t *cell = int32_at(cells);
    int64_t *all = int64_at(keys);
    launch_each(count * candidates, stream, [=] __device__(int64_t i) { all[i] = INT64_MAX; });
    launch_each(count, stream, [=] __device__(int64_t i) {
      for_each_output(g, cell + 4 * i, g.offsets(),
                      [&](const Candidate &output) { all[i * candidates + output.place] = output.key; });
    });
  });
}

int lidar_ebm_sparse_conv_cells(const void *keys, int64_t count, const void *geometry, void *cells, int64_t,
                                int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Geometry g = geometry_at(geometry);
    const int64_t *key = int64_at(keys);
    int32_t *cell = int32_at(cells);
    launch_each(count, stream, [=] __device__(int64_t i) { cell_of(g.grid, key[i], cell + 4 * i); });
  });
}

int lidar_ebm_sparse_conv_keys(const void *cells, int64_t count, const void *geometry, void *keys, int64_t,
                               int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Geometry g = geometry_at(geometry);
    const int32_t *cell = int32_at(cells);
    int64_t *key = int64_at(keys);
    launch_each(count, stream, [=] __device__(int64_t i) { key[i] = key_of_cell(g.grid, cell + 4 * i); });
  });
}

int lidar_ebm_sparse_conv_table(const void *cells, int64_t inputs, const void *geometry, const void *keys,
                                int64_t outputs, void *blocks, int64_t slots, int64_t planes, void *table, int64_t,
                                int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    fill_table(int32_at(cells), inputs, geometry_at(geometry), int64_at(keys), outputs, static_cast<Block *>(blocks),
               slots, planes, int32_at(table), stream);
  });
}

int lidar_ebm_sparse_conv_gather(const void *source, int64_t dtype, const void *rows, int64_t count, int64_t channels,
                                 void *gathered, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const int64_t bytes = channels * int64_t(sizeof(T));
      const int32_t *row = int32_at(rows);
      if (!gather_words<uint4>(source, row, count, bytes, gathered, stream)) {
        gather_words<T>(source, row, count, bytes, gathered, stream);
      }
    });
  });
}

int lidar_ebm_sparse_conv_places(const void *rows, int64_t count, const void *starts, int64_t offsets, void *places,
                                 int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const int32_t *row = int32_at(rows);
    const int64_t *start = int64_at(starts);
    int64_t *place = int64_at(places);
    launch_each(count, stream, [=] __device__(int64_t pair) {
      int64_t offset = 0, end = offsets;  // the last offset whose pairs begin at this one or before
      while (end - offset > 1) {
        const int64_t middle = (offset + end) / 2;
        (start[middle] <= pair ? offset : end) = middle;
      }
      place[row[pair] * offsets + offset] = pair;
    });
  });
}

int lidar_ebm_sparse_conv_sum(const void *products, int64_t dtype, const void *places, int64_t rows, int64_t offsets,
                              int64_t channels, void *total, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_floating(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      sum_products(static_cast<const T *>(products), int64_at(places), rows, offsets, channels,
                   static_cast<T *>(total), stream);
    });
  });
}
