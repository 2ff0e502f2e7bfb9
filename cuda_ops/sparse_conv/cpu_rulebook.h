// The rulebook on the CPU.
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "parallel.h"
#include "sparse_conv/kernel.h"

namespace lidar_ebm {

// The gravest status of any cell.
inline int64_t status_of_all(const int32_t *cells, int64_t count, const Geometry &g, int64_t threads) {
  std::mutex mutex;
  int64_t gravest = LIDAR_EBM_CELLS_FINE;
  parallel_ranges(count, 4096, threads, [&](int64_t begin, int64_t end) {
    int64_t found = LIDAR_EBM_CELLS_FINE;
    for (int64_t i = begin; i < end; ++i) found = std::max(found, status_of(g, cells, i));
    const std::lock_guard<std::mutex> lock(mutex);
    gravest = std::max(gravest, found);
  });
  return gravest;
}

// The blocks that are reached, in a table that grows.
class BlockSet {
 public:
  // Keys come along `lines` lines, on each of which one is often in the block of the one before.
  BlockSet(int64_t expected, int64_t lines) : slots_(table_size(expected), Block{kNoBlock, 0, 0}), last_(lines, 0) {}

  void add(int64_t line, int64_t key) {
    const int64_t number = key >> 6;
    if (slots_[last_[line]].number != number) last_[line] = slot_of(number);
    slots_[last_[line]].cells |= uint64_t(1) << (key & 63);
  }
  // All blocks, by number.
  std::vector<Block> sorted() const {
    std::vector<Block> blocks;
    for (const Block &block : slots_) {
      if (block.number != kNoBlock) blocks.push_back(block);
    }
    std::sort(blocks.begin(), blocks.end(), [](const Block &a, const Block &b) { return a.number < b.number; });
    return blocks;
  }

 private:
  static int64_t table_size(int64_t blocks) {
    int64_t size = 64;
    while (size < 2 * blocks) size *= 2;
    return size;
  }
  int64_t slot_of(int64_t number) {
    const int64_t mask = slots_.size() - 1, slot = find_block(number, slots_.data(), mask);
    if (slots_[slot].number == number) return slot;
    if (2 * ++taken_ > mask) {
      std::vector<Block> old(2 * slots_.size(), Block{kNoBlock, 0, 0});
      old.swap(slots_);
      for (const Block &block : old) {
        if (block.number != kNoBlock) slots_[find_block(block.number, slots_.data(), slots_.size() - 1)] = block;
      }
      const int64_t moved = find_block(number, slots_.data(), slots_.size() - 1);
      slots_[moved].number = number;
      return moved;
    }
    slots_[slot].number = number;
    return slot;
  }

  std::vector<Block> slots_;
  std::vector<int64_t> last_;
  int64_t taken_ = 0;
};

// The keys of all output cells that see a cell, rising; returns how many. A key is written at most once a candidate.
inline int64_t output_keys(const int32_t *cells, int64_t count, const Geometry &g, int64_t *keys) {
  BlockSet reached(count / 4, g.kernel[0] * g.kernel[1]);
  for (int64_t i = 0; i < count; ++i) {
    for_each_output(g, cells + 4 * i, g.offsets(), [&](const Candidate &output) { reached.add(output.line, output.key); });
  }
  int64_t *key = keys;
  for (const Block &block : reached.sorted()) {
    for (uint64_t left = block.cells; left != 0; left &= left - 1) *key++ = block.number * 64 + __builtin_ctzll(left);
  }
  return key - keys;
}

// Enters the blocks of rising keys; returns how many of the slots are used, less one: no more than keep it small.
inline int64_t fill_blocks(const int64_t *keys, int64_t rows, Block *table, int64_t slots) {
  int64_t blocks = 0;
  for (int64_t row = 0; row < rows; ++row) blocks += row == 0 || keys[row] >> 6 != keys[row - 1] >> 6;
  int64_t used = 1;
  while (used < slots && used < 2 * blocks) used *= 2;
  std::fill(table, table + used, Block{kNoBlock, 0, 0});
  for (int64_t row = 0; row < rows;) {
    const Block block = block_at(keys, rows, row);
    table[find_block(block.number, table, used - 1)] = block;
    row += bits_set(block.cells);
  }
  return used - 1;
}

// table [planes, inputs]: the output row that sees each input row under each of the first offsets, or -1.
inline void fill_table(const int32_t *cells, int64_t inputs, const Geometry &g, int64_t planes, const Block *blocks,
                       int64_t mask, int32_t *table, int64_t threads) {
  parallel_ranges(inputs, 1024, threads, [&](int64_t begin, int64_t end) {
    for (int64_t k = 0; k < planes; ++k) std::fill(table + k * inputs + begin, table + k * inputs + end, -1);
    // Cell after cell the same lines of the kernel stay in the same blocks for a while.
    std::vector<RowFinder> find_row(g.kernel[0] * g.kernel[1]);
    for (int64_t i = begin; i < end; ++i) {
      for_each_output(g, cells + 4 * i, planes, [=, &find_row](const Candidate &output) {
        table[output.offset * inputs + i] = int32_t(find_row[output.line](blocks, mask, output.key));
      });
    }
  });
}

inline void count_pairs(const int32_t *table, int64_t planes, int64_t inputs, int64_t *counts, int64_t threads) {
  parallel_ranges(planes, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      int64_t pairs = 0;
      for (int64_t i = 0; i < inputs; ++i) pairs += table[k * inputs + i] >= 0;
      counts[k] = pairs;
    }
  });
}

// Lists what a line [rows] of such a table holds, and where; returns how much that is. Both lists have one place to
// spare, for they are written without a branch.
inline int64_t list_line(const int32_t *line, int64_t rows, int32_t *found, int32_t *places) {
  int64_t length = 0;
  for (int64_t row = 0; row < rows; ++row) {
    found[length] = line[row], places[length] = int32_t(row);
    length += line[row] >= 0;
  }
  return length;
}

// The pairs of a table, offset by offset from starts[k] on. Input and output rows both rise with the cells' keys, so they
// rise together, and those of a mirrored offset, which are the same turned round, are in order as well.
inline void list_table(const int32_t *table, int64_t planes, int64_t inputs, const int64_t *starts, int64_t offsets,
                       int32_t *in_rows, int32_t *out_rows, int64_t threads) {
  parallel_parts(planes, threads, [&](int64_t part, int64_t parts) {
    std::vector<int32_t> found(inputs + 1), places(inputs + 1);
    for (int64_t k = part; k < planes; k += parts) {
      const int64_t length = list_line(table + k * inputs, inputs, found.data(), places.data());
      std::copy_n(places.data(), length, in_rows + starts[k]);
      std::copy_n(found.data(), length, out_rows + starts[k]);
      if (planes == offsets) continue;
      std::copy_n(found.data(), length, in_rows + starts[offsets - 1 - k]);
      std::copy_n(places.data(), length, out_rows + starts[offsets - 1 - k]);
    }
  });
}

// Sorts the pairs of each offset by `keys` < rows, of which none occurs twice in an offset.
inline void sort_pairs(const int32_t *keys, const int32_t *values, const int64_t *starts, int64_t offsets, int64_t rows,
                       int32_t *sorted_keys, int32_t *sorted_values, int64_t threads) {
  parallel_parts(offsets, threads, [&](int64_t part, int64_t parts) {
    std::vector<int32_t> line, found, places;
    for (int64_t k = part; k < offsets; k += parts) {
      const int64_t begin = starts[k], end = starts[k + 1];
      if (std::is_sorted(keys + begin, keys + end)) {  // as they are wherever the cells are
        std::copy(keys + begin, keys + end, sorted_keys + begin);
        std::copy(values + begin, values + end, sorted_values + begin);
        continue;
      }
      line.assign(rows, -1), found.resize(rows + 1), places.resize(rows + 1);
      for (int64_t p = begin; p < end; ++p) line[keys[p]] = values[p];
      const int64_t length = list_line(line.data(), rows, found.data(), places.data());
      std::copy_n(found.data(), length, sorted_values + begin);
      std::copy_n(places.data(), length, sorted_keys + begin);
    }
  });
}

}  // namespace lidar_ebm
