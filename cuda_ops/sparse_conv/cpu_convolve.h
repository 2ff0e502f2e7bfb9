// The convolution on the CPU: gather, multiply and add in one pass, without a list of products in memory.
//
// Output rows are done in blocks that stay in the cache, each by one thread, which adds the kernel offsets in their
// order: no two threads write one row, and the result does not depend on how many there are.
#pragma once

#include <cstring>
#include <vector>

#include "common.h"
#include "parallel.h"
#include "sparse_conv/cpu_tile.h"

namespace lidar_ebm {

constexpr int64_t kBlockBytes = 1 << 16;  // of output rows; with the rows they need and the matrices it fits in L2
constexpr int64_t kMostDepth = 128;       // so much of a panel of a matrix fits in L1

// Pairs of each kernel offset k at starts[k]..starts[k + 1], by rising `to`; -1 or the offset whose pairs (i, i) are
// implied.
struct Pairs {
  const int32_t *from, *to;
  const int64_t *starts;
  int64_t offsets, identity;
};

// Matrices [K, A, B] of a weight [Cout, K, Cin]: A, B = Cin, Cout, or the other way round (`turned`), with the offsets
// reversed if `mirrored`. Each is stored panel by panel (see for_each_panel), filled up with zeros.
template <class T>
Buffer<T> pack_weight(const T *weight, int64_t offsets, int64_t cout, int64_t cin, bool turned, bool mirrored,
                      int64_t threads) {
  const int64_t depth = turned ? cout : cin, width = turned ? cin : cout;
  const int64_t step_depth = turned ? offsets * cin : 1, step_width = turned ? 1 : offsets * cin;
  const int64_t size = depth * padded<T>(width);
  Buffer<T> packed(offsets * size);
  parallel_ranges(offsets, 4, threads, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<void *>(&packed[begin * size]), 0, (end - begin) * size * sizeof(T));
    for (int64_t k = begin; k < end; ++k) {
      const T *matrix = weight + (mirrored ? offsets - 1 - k : k) * cin;
      for_each_panel(whole_vectors<T>(width), [&](int64_t first, auto vectors) {
        constexpr int64_t lanes = vectors.value * kLanes<T>;
        const int64_t column = first * kLanes<T>, columns = std::min(lanes, width - column);
        T *panel = &packed[k * size + depth * column];
        for (int64_t d = 0; d < depth; ++d) {
          const T *line = matrix + d * step_depth + column * step_width;
          for (int64_t c = 0; c < columns; ++c) panel[d * lanes + c] = line[c * step_width];
        }
      });
    }
  });
  return packed;
}

// Rows `from` of source [*, depth] times `panel`, a part of a matrix [first depth.., V vectors], onto rows `to`.
template <class T, int V>
void multiply_pairs(const T *source, int64_t source_width, const T *panel, int64_t depth, const int32_t *from,
                    const int32_t *to, int64_t count, T *block, int64_t block_width, int64_t first_row) {
  constexpr int R = tile_rows(V);
  for (int64_t p = 0; p < count; p += R) {
    const T *rows[R];
    T *sums[R];
    for (int r = 0; r < R; ++r) {
      const int64_t pair = std::min(p + r, count - 1);
      rows[r] = source + from[pair] * source_width;
      sums[r] = block + (to[pair] - first_row) * block_width;
    }
    multiply_rows<T, R, V>(rows, depth, panel, sums, int(std::min<int64_t>(R, count - p)));
  }
}

// result [rows, width] = the sum over pairs of source [*, depth] at `from` times the offset's matrix.
template <class T>
void convolve(const T *source, int64_t depth, const Buffer<T> &matrices, int64_t width, const Pairs &pairs, T *result,
              int64_t rows, int64_t threads) {
  const int64_t vectors = whole_vectors<T>(width), block_width = padded<T>(width);
  const int64_t fitting = std::max<int64_t>(kBlockBytes / (block_width * sizeof(T)), 64);
  const int64_t block_rows = std::max<int64_t>(std::min(fitting, rows / (4 * threads)), 64);
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  const bool has_identity = pairs.identity >= 0;
  parallel_tasks(blocks, threads, [&](int64_t number) {
    const int64_t begin = number * block_rows, end = std::min(begin + block_rows, rows);
    const Buffer<T> block((end - begin) * block_width);
    std::memset(static_cast<void *>(block.get()), 0, (end - begin) * block_width * sizeof(T));
    std::vector<int32_t> own(has_identity ? end - begin : 0);
    for (size_t i = 0; i < own.size(); ++i) own[i] = int32_t(begin + i);
    for (int64_t k = 0; k < pairs.offsets; ++k) {
      const int32_t *first = std::lower_bound(pairs.to + pairs.starts[k], pairs.to + pairs.starts[k + 1], begin);
      const int32_t *last = std::lower_bound(first, pairs.to + pairs.starts[k + 1], end);
      const int32_t *from = pairs.from + (first - pairs.to), *to = first;
      int64_t count = last - first;
      if (k == pairs.identity) from = to = own.data(), count = end - begin;
      if (count == 0) continue;
      for_each_panel(vectors, [&](int64_t vector, auto panel_vectors) {
        constexpr int V = panel_vectors.value;
        const int64_t column = vector * kLanes<T>;
        const T *panel = &matrices[depth * (k * block_width + column)];
        for (int64_t d = 0; d < depth; d += kMostDepth) {
          multiply_pairs<T, V>(source + d, depth, panel + d * V * kLanes<T>, std::min(kMostDepth, depth - d), from, to,
                               count, block.get() + column, block_width, begin);
        }
      });
    }
    for (int64_t row = begin; row < end; ++row) {
      std::memcpy(result + row * width, &block[(row - begin) * block_width], width * sizeof(T));
    }
  });
}

constexpr int64_t kSegment = 4096;  // pairs whose gradient of a matrix one thread sums; at least
constexpr int64_t kChunk = 64;      // pairs whose rows are in L1 together

// Rows of a tile of outer products; they divide 8, to which the rows are filled up.
constexpr int outer_rows(int vectors) { return 8 * vectors <= kAccumulators ? 8 : 4; }

// Rows of a matrix [*, width] as tiles read them, filled up with zeros to `padded` channels: where they are, if there is
// nothing to fill up.
template <class T>
class ChunkRows {
 public:
  ChunkRows(const T *matrix, int64_t width, int64_t padded)
      : matrix_(matrix), width_(width), padded_(padded), copies_(width == padded ? 0 : kChunk * padded) {
    if (width != padded) std::memset(static_cast<void *>(copies_.get()), 0, kChunk * padded * sizeof(T));
  }
  void set(int64_t place, int64_t row) {
    rows_[place] = matrix_ + row * width_;
    if (width_ == padded_) return;
    T *copy = &copies_[place * padded_];
    std::memcpy(copy, rows_[place], width_ * sizeof(T));
    rows_[place] = copy;
  }
  const T *const *get() const { return rows_; }

 private:
  const T *matrix_;
  int64_t width_, padded_;
  Buffer<T> copies_;
  const T *rows_[kChunk];
};

// gradient [Cout, K, Cin] of the weight: for each offset the sum over its pairs of grad [*, Cout] at `to` times
// features [*, Cin] at `from`. Each offset's pairs are summed in segments of a length that no number of threads changes.
template <class T>
void weight_gradient(const T *features, int64_t cin, const T *grad, int64_t cout, const Pairs &pairs, int64_t rows,
                     T *gradient, int64_t threads) {
  const int64_t vectors = whole_vectors<T>(cin), width = padded<T>(cin), height = (cout + 7) / 8 * 8;
  const int64_t length = std::max(kSegment, cin * cout);  // so that the segments' sums take less memory than the pairs
  struct Segment {
    int64_t offset, begin, end;
  };
  std::vector<Segment> segments;
  std::vector<int64_t> first_segment;
  for (int64_t k = 0; k < pairs.offsets; ++k) {
    first_segment.push_back(segments.size());
    const int64_t begin = k == pairs.identity ? 0 : pairs.starts[k];
    const int64_t end = k == pairs.identity ? rows : pairs.starts[k + 1];
    for (int64_t p = begin; p < end; p += length) segments.push_back({k, p, std::min(p + length, end)});
  }
  first_segment.push_back(segments.size());

  const Buffer<T> sums(segments.size() * height * width);
  parallel_tasks(segments.size(), threads, [&](int64_t number) {
    const Segment segment = segments[number];
    T *sum = &sums[number * height * width];
    std::memset(static_cast<void *>(sum), 0, height * width * sizeof(T));
    ChunkRows<T> from(features, cin, width), to(grad, cout, height);
    const bool identity = segment.offset == pairs.identity;
    for (int64_t begin = segment.begin; begin < segment.end; begin += kChunk) {
      const int64_t count = std::min(kChunk, segment.end - begin);
      for (int64_t i = 0; i < count; ++i) {
        from.set(i, identity ? begin + i : pairs.from[begin + i]);
        to.set(i, identity ? begin + i : pairs.to[begin + i]);
      }
      for_each_panel(vectors, [&](int64_t vector, auto panel_vectors) {
        constexpr int V = panel_vectors.value, R = outer_rows(V);
        const int64_t column = vector * kLanes<T>;
        for (int64_t row = 0; row < cout; row += R) {
          add_outer_products<T, R, V>(to.get(), row, from.get(), column, count, sum + row * width + column, width);
        }
      });
    }
  });

  parallel_ranges(pairs.offsets, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t row = 0; row < cout; ++row) {
        T *line = gradient + (row * pairs.offsets + k) * cin;
        std::memset(static_cast<void *>(line), 0, cin * sizeof(T));
        for (int64_t s = first_segment[k]; s < first_segment[k + 1]; ++s) {
          const T *part = &sums[(s * height + row) * width];
          for (int64_t c = 0; c < cin; ++c) line[c] += part[c];
        }
      }
    }
  });
}

}  // namespace lidar_ebm
