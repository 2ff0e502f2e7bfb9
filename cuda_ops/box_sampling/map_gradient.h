// The gradient of box sampling in the map, for the CPU: every cell is written once, by one thread.
#pragma once

#include <memory>
#include <vector>

#include "box_sampling/kernel.h"
#include "box_sampling/transpose.h"
#include "huge_pages.h"
#include "parallel.h"

namespace lidar_ebm {

// What a grid point adds to a cell of the map.
template <class A>
struct Share {
  int64_t point;  // box * points + g
  A weight;
};

// All shares sorted by cell, in the order of the boxes within one: whoever adds them up this way gets the same sum on
// any number of threads, and writes each cell once.
template <class A>
struct Shares {
  std::vector<Share<A>> all;
  std::vector<int64_t> begin;  // [cells + 1]

  template <class P>
  Shares(const MapShape &shape, const P *boxes, const int64_t *frame_of, int64_t n, const Grid &grid, int64_t threads)
      : begin(shape.frames * shape.height * shape.width + 1) {
    const int64_t points = grid.points();
    // With these strides an offset is the number of a cell.
    const MapShape cells{shape.frames, 1, shape.height, shape.width, shape.height * shape.width, 1, shape.width, 1};
    std::vector<Spot<P>> spots(n * points);
    parallel_ranges(n, 16, threads, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const Placed<P> placed = place(boxes + 7 * i);
        for (int64_t g = 0; g < points; ++g) spots[i * points + g] = locate(placed, g, frame_of[i], grid, cells);
      }
    });
    for (const Spot<P> &spot : spots) {
      for (int k = 0; k < 4; ++k) {
        if (spot.has(k)) ++begin[spot.offset(k, cells)];
      }
    }
    int64_t total = 0;
    for (int64_t &entry : begin) total += entry, entry = total;  // where a cell's shares end
    all.resize(total);
    // Backwards, so that every entry comes to stand where its cell's shares begin, and they keep their order.
    for (int64_t point = n * points - 1; point >= 0; --point) {
      for (int k = 3; k >= 0; --k) {
        if (spots[point].has(k)) all[--begin[spots[point].offset(k, cells)]] = {point, A(spots[point].weight(k))};
      }
    }
  }
};

inline bool is_channels_last(const MapShape &s) {
  return s.channel_stride == 1 && (s.width == 1 || s.column_stride == s.channels) &&
         (s.height == 1 || s.row_stride == s.width * s.channels) &&
         (s.frames == 1 || s.frame_stride == s.height * s.width * s.channels);
}

// [boxes, channels, points] to [boxes, points, channels], as the sums over cells read it.
template <class T>
std::unique_ptr<T[]> rows_of(const T *gradient, int64_t n, int64_t channels, int64_t points, int64_t threads) {
  std::unique_ptr<T[]> rows(new T[n * points * channels]);
  prefer_huge_pages(rows.get(), n * points * channels * sizeof(T));
  parallel_ranges(n, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * points * channels;
      transpose(gradient + at, points, channels, points, rows.get() + at, channels);
    }
  });
  return rows;
}

template <class T, class P>
void grad_map(T *map_gradient, const MapShape &shape, const P *boxes, const int64_t *frame_of, int64_t n,
              const Grid &grid, bool parts, const T *gradient, int64_t threads) {
  using A = Wide<T>;
  const int64_t points = grid.points(), channels = shape.channels;
  const int64_t plane = shape.height * shape.width, cells = shape.frames * plane;
  const int64_t cell_bytes = channels * sizeof(T);
  const Shares<A> shares(shape, boxes, frame_of, n, grid, threads);
  const std::unique_ptr<T[]> rows = parts ? nullptr : rows_of(gradient, n, channels, points, threads);
  const auto add = [&](const Share<A> &share, A *sum) {
    if (parts) {
      const T *own = gradient + share.point / points * (channels / points);
      const A factor = share.weight / A(points);
      for (int64_t c = share.point % points, k = 0; c < channels; c += points, ++k) sum[c] += factor * widen(own[k]);
      return;
    }
    const T *row = rows.get() + share.point * channels;
    const A weight = share.weight;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) sum[c] += weight * widen(row[c]);
  };

  prefer_huge_pages(map_gradient, cells * cell_bytes);
  const bool channels_last = is_channels_last(shape);
  char *const memory = reinterpret_cast<char *>(map_gradient);
  if (!channels_last) {
    parallel_ranges(cells * cell_bytes, 1 << 20, threads,
                    [&](int64_t begin, int64_t end) { memset(memory + begin, 0, end - begin); });
  }
  const int64_t stretch = std::max<int64_t>(1, (1 << 18) / std::max<int64_t>(cell_bytes, 1));  // cells, a cache's worth
  parallel_tasks((cells + stretch - 1) / stretch, threads, [&](int64_t task) {
    const int64_t first = task * stretch, last = std::min(cells, first + stretch);
    if (channels_last) memset(memory + first * cell_bytes, 0, (last - first) * cell_bytes);
    std::vector<A> sum(channels);
    for (int64_t cell = first; cell < last; ++cell) {
      if (shares.begin[cell] == shares.begin[cell + 1]) continue;
      std::fill(sum.begin(), sum.end(), A(0));
      for (int64_t i = shares.begin[cell]; i < shares.begin[cell + 1]; ++i) add(shares.all[i], sum.data());
      const int64_t row = cell % plane / shape.width, column = cell % shape.width;
      T *to = map_gradient + cell / plane * shape.frame_stride + row * shape.row_stride + column * shape.column_stride;
      for (int64_t c = 0; c < channels; ++c) to[c * shape.channel_stride] = narrow<T>(sum[c]);
    }
  });
}

}  // namespace lidar_ebm
