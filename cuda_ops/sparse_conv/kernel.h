// Which cells meet in a sparse convolution, for the host and the device.
//
// Cells are (batch, z, y, x), and each has a key: its place among all cells of its grids, x fastest. Rows of cells stand
// in the order of their keys. A hash table of open addressing finds them by blocks of 64 keys: a block holds a bit for
// each of its cells, and the row of the first. So neighbours along x are found together, and the table stays small.
#pragma once

#include "common.h"

namespace lidar_ebm {

// What Python passes as int64 [16]; everything but the batch size along (z, y, x).
struct Geometry {
  int64_t batch_size;
  int64_t shape[3];  // of the input grid
  int64_t grid[3];   // of the output grid
  int64_t kernel[3], stride[3], padding[3];

  LIDAR_EBM_HD int64_t offsets() const { return kernel[0] * kernel[1] * kernel[2]; }
  // Along an axis, at most so many output cells see an input cell.
  LIDAR_EBM_HD int64_t reach(int axis) const { return (kernel[axis] + stride[axis] - 1) / stride[axis]; }
};
static_assert(sizeof(Geometry) == 16 * sizeof(int64_t), "native.h and op.py say 16");

LIDAR_EBM_HD bool is_inside(const Geometry &g, const int32_t *cell) {
  bool inside = cell[0] >= 0 && cell[0] < g.batch_size;
  for (int axis = 0; axis < 3; ++axis) inside = inside && cell[axis + 1] >= 0 && cell[axis + 1] < g.shape[axis];
  return inside;
}

LIDAR_EBM_HD int64_t key_of(const int64_t (&grid)[3], int64_t batch, int64_t z, int64_t y, int64_t x) {
  return ((batch * grid[0] + z) * grid[1] + y) * grid[2] + x;
}

LIDAR_EBM_HD void cell_of(const int64_t (&grid)[3], int64_t key, int32_t *cell) {
  for (int axis = 2; axis >= 0; --axis) {
    cell[axis + 1] = int32_t(key % grid[axis]);
    key /= grid[axis];
  }
  cell[0] = int32_t(key);
}

LIDAR_EBM_HD int64_t key_of_cell(const int64_t (&grid)[3], const int32_t *cell) {
  return key_of(grid, cell[0], cell[1], cell[2], cell[3]);
}

// What is wrong with cell i (see native.h); its neighbour is compared only where both have a key.
LIDAR_EBM_HD int64_t status_of(const Geometry &g, const int32_t *cells, int64_t i) {
  const int32_t *cell = cells + 4 * i, *before = cell - 4;
  if (!is_inside(g, cell)) return LIDAR_EBM_CELL_OUTSIDE;
  if (i == 0 || !is_inside(g, before)) return LIDAR_EBM_CELLS_FINE;
  const int64_t rise = key_of_cell(g.shape, cell) - key_of_cell(g.shape, before);
  return rise > 0 ? LIDAR_EBM_CELLS_FINE : rise == 0 ? LIDAR_EBM_CELL_TWICE : LIDAR_EBM_CELLS_UNSORTED;
}

// An output cell that sees an input cell.
struct Candidate {
  int64_t place;   // among all that might, which are as many as the product of the reaches
  int64_t line;    // kernel offset / kernel[2]
  int64_t offset;  // of the kernel
  int64_t key;
};

// Calls f(candidate) for each under an offset below `limit`, by rising line.
template <class F>
LIDAR_EBM_HD void for_each_output(const Geometry &g, const int32_t *cell, int64_t limit, const F &f) {
  // Along each axis the last output cell that may see it, and under which place of the kernel: of the one before, under
  // that plus the stride.
  int64_t last[3], first[3], reach[3];
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t moved = cell[axis + 1] + g.padding[axis];
    last[axis] = moved / g.stride[axis], first[axis] = moved % g.stride[axis], reach[axis] = g.reach(axis);
  }
  for (int64_t i = 0; i < reach[0]; ++i) {
    const int64_t z = last[0] - i, kernel_z = first[0] + i * g.stride[0];
    if (kernel_z >= g.kernel[0] || z < 0 || z >= g.grid[0]) continue;
    for (int64_t j = 0; j < reach[1]; ++j) {
      const int64_t y = last[1] - j, kernel_y = first[1] + j * g.stride[1];
      if (kernel_y >= g.kernel[1] || y < 0 || y >= g.grid[1]) continue;
      const int64_t line = kernel_z * g.kernel[1] + kernel_y;
      for (int64_t k = 0; k < reach[2]; ++k) {
        const int64_t x = last[2] - k, kernel_x = first[2] + k * g.stride[2];
        if (kernel_x >= g.kernel[2] || x < 0 || x >= g.grid[2]) continue;
        const int64_t offset = line * g.kernel[2] + kernel_x;
        if (offset >= limit) return;
        f(Candidate{(i * reach[1] + j) * reach[2] + k, line, offset, key_of(g.grid, cell[0], z, y, x)});
      }
    }
  }
}

constexpr int64_t kNoBlock = -1;

// A slot of the table, three int64 for Python. Empty: number = kNoBlock.
struct Block {
  int64_t number;   // key / 64
  uint64_t cells;   // bit key % 64 of each
  int64_t first_row;
};

LIDAR_EBM_HD int64_t bits_set(uint64_t bits) {
#ifdef __CUDA_ARCH__
  return __popcll(bits);
#else
  return __builtin_popcountll(bits);
#endif
}

LIDAR_EBM_HD int64_t first_slot(int64_t number, int64_t mask) {
  return int64_t((uint64_t(number) * 0x9e3779b97f4a7c15u) >> 24) & mask;
}

// The slot of a block, or the empty one where it would stand. The table has mask + 1 slots, not all of them taken.
LIDAR_EBM_HD int64_t find_block(int64_t number, const Block *table, int64_t mask) {
  int64_t slot = first_slot(number, mask);
  while (table[slot].number != number && table[slot].number != kNoBlock) slot = (slot + 1) & mask;
  return slot;
}

// The row of a key, or -1.
LIDAR_EBM_HD int64_t row_in(const Block &block, int64_t key) {
  const uint64_t bit = uint64_t(1) << (key & 63);
  const int64_t row = block.first_row + bits_set(block.cells & (bit - 1));
  return row | -int64_t((block.cells & bit) == 0);  // no branch, which no processor could foresee
}

// The block that begins at row `first` of rising keys.
LIDAR_EBM_HD Block block_at(const int64_t *keys, int64_t rows, int64_t first) {
  Block block{keys[first] >> 6, 0, first};
  for (int64_t row = first; row < rows && keys[row] >> 6 == block.number; ++row) {
    block.cells |= uint64_t(1) << (keys[row] & 63);
  }
  return block;
}

// Finds rows one after another; looks into the table only where the block changes.
class RowFinder {
 public:
  LIDAR_EBM_HD int64_t operator()(const Block *table, int64_t mask, int64_t key) {
    const int64_t number = key >> 6;
    if (block_.number != number) {
      block_ = table[find_block(number, table, mask)];
      block_.number = number;  // of an empty slot too, which has no cells
    }
    return row_in(block_, key);
  }

 private:
  Block block_{kNoBlock, 0, 0};
};

}  // namespace lidar_ebm
