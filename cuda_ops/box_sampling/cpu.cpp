#include "box_sampling/kernel.h"
#include "box_sampling/map_gradient.h"
#include "box_sampling/transpose.h"

#include <vector>

#include "huge_pages.h"
#include "parallel.h"

namespace lidar_ebm {

namespace {

constexpr int64_t kBlock = 256;  // channels at a time, so that one box's numbers stay in the first caches
constexpr int64_t kAhead = 4;    // points whose rows are being fetched

template <class P>
std::vector<Spot<P>> spots_of(const Placed<P> &placed, int64_t frame, const Grid &grid, const MapShape &shape) {
  std::vector<Spot<P>> spots(grid.points());
  for (int64_t g = 0; g < grid.points(); ++g) spots[g] = locate(placed, g, frame, grid, shape);
  return spots;
}

// The four cells around a position, channels side by side; a row of zeros stands for what is off the map.
template <class T>
struct Corners {
  const T *at[4];
  Wide<T> weight[4];

  template <class P>
  Corners(const T *map, const MapShape &shape, const Spot<P> &spot, const T *zeros) {
    for (int k = 0; k < 4; ++k) {
      at[k] = spot.has(k) ? map + spot.offset(k, shape) : zeros;
      weight[k] = spot.has(k) ? Wide<T>(spot.weight(k)) : 0;
    }
  }

  // Rows lie far apart, so the processor fetches each of them late by itself.
  void prefetch(int64_t first, int64_t count) const {
    for (const T *corner : at) {
      for (int64_t i = 0; i < count; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(corner + first + i);
    }
  }

  void read(int64_t first, int64_t count, T *row) const {
    const T *a = at[0] + first, *b = at[1] + first, *c = at[2] + first, *d = at[3] + first;
    const Wide<T> wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      row[i] = narrow<T>(wa * widen(a[i]) + wb * widen(b[i]) + wc * widen(c[i]) + wd * widen(d[i]));
    }
  }

  void add_dots(const T *row, int64_t first, int64_t count, Wide<T> *dot) const {
    const T *a = at[0] + first, *b = at[1] + first, *c = at[2] + first, *d = at[3] + first;
    Wide<T> sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;
#pragma omp simd reduction(+ : sum_a, sum_b, sum_c, sum_d)
    for (int64_t i = 0; i < count; ++i) {
      const Wide<T> factor = widen(row[i]);
      sum_a += factor * widen(a[i]), sum_b += factor * widen(b[i]);
      sum_c += factor * widen(c[i]), sum_d += factor * widen(d[i]);
    }
    dot[0] += sum_a, dot[1] += sum_b, dot[2] += sum_c, dot[3] += sum_d;
  }
};

// One corner of all points of a box in a map whose channels lie apart: the inner loops run over the points.
template <class T>
struct Plane {
  std::vector<int64_t> offset;  // -1: off the map
  std::vector<Wide<T>> weight;

  template <class P>
  Plane(const std::vector<Spot<P>> &spots, int k, const MapShape &shape) : offset(spots.size()), weight(spots.size()) {
    for (size_t g = 0; g < spots.size(); ++g) {
      offset[g] = spots[g].has(k) ? spots[g].offset(k, shape) : -1;
      weight[g] = spots[g].has(k) ? Wide<T>(spots[g].weight(k)) : 0;
    }
  }

  Wide<T> value(const T *channel, int64_t g) const { return offset[g] < 0 ? 0 : widen(channel[offset[g]]); }
};

// One box: out [channels, points].
template <class T, class P>
void read_box(const T *map, const MapShape &shape, const P *box, int64_t frame, const Grid &grid, const T *zeros,
              std::vector<T> &tile, T *out) {
  const int64_t points = grid.points();
  const std::vector<Spot<P>> spots = spots_of(place(box), frame, grid, shape);
  if (shape.channel_stride == 1) {
    tile.resize(points * kBlock);
    for (int64_t first = 0; first < shape.channels; first += kBlock) {
      const int64_t count = std::min(kBlock, shape.channels - first);
      for (int64_t g = 0; g < points; ++g) {
        if (g + kAhead < points) Corners<T>(map, shape, spots[g + kAhead], zeros).prefetch(first, count);
        Corners<T>(map, shape, spots[g], zeros).read(first, count, tile.data() + g * kBlock);
      }
      transpose(tile.data(), kBlock, points, count, out + first * points, points);
    }
    return;
  }
  const Plane<T> a(spots, 0, shape), b(spots, 1, shape), c(spots, 2, shape), d(spots, 3, shape);
  for (int64_t i = 0; i < shape.channels; ++i) {
    const T *channel = map + i * shape.channel_stride;
    for (int64_t g = 0; g < points; ++g) {
      out[i * points + g] = narrow<T>(a.weight[g] * a.value(channel, g) + b.weight[g] * b.value(channel, g) +
                                      c.weight[g] * c.value(channel, g) + d.weight[g] * d.value(channel, g));
    }
  }
}

template <class T, class P>
void read_boxes(const T *map, const MapShape &shape, const P *boxes, const int64_t *frame_of, int64_t n,
                const Grid &grid, bool parts, T *out, int64_t threads) {
  const int64_t row = parts ? shape.channels / grid.points() : shape.channels * grid.points();
  const std::vector<T> zeros(shape.channels, T{});
  prefer_huge_pages(out, n * row * sizeof(T));
  parallel_ranges(n, parts ? 16 : 1, threads, [&](int64_t begin, int64_t end) {
    std::vector<T> tile;
    for (int64_t i = begin; i < end; ++i) {
      const P *box = boxes + 7 * i;
      if (!parts) {
        read_box(map, shape, box, frame_of[i], grid, zeros.data(), tile, out + i * row);
        continue;
      }
      for (int64_t k = 0; k < row; ++k) out[i * row + k] = part_score(map, shape, box, frame_of[i], grid, k);
    }
  });
}

// The gradient of one box; `gradient` is [channels, points].
template <class T, class P>
void box_gradient_of(const T *map, const MapShape &shape, const P *box, int64_t frame, const Grid &grid,
                     const T *gradient, const T *zeros, std::vector<T> &tile, P *box_gradient) {
  using A = Wide<T>;
  const int64_t points = grid.points();
  const Placed<P> placed = place(box);
  const std::vector<Spot<P>> spots = spots_of(placed, frame, grid, shape);
  std::vector<A> dots(4 * points, A(0));  // [points, 4] or, where the points are the inner loop, [4, points]
  const bool channels_inside = shape.channel_stride == 1;
  if (channels_inside) {
    tile.resize(points * kBlock);
    for (int64_t first = 0; first < shape.channels; first += kBlock) {
      const int64_t count = std::min(kBlock, shape.channels - first);
      transpose(gradient + first * points, points, count, points, tile.data(), kBlock);
      for (int64_t g = 0; g < points; ++g) {
        if (g + kAhead < points) Corners<T>(map, shape, spots[g + kAhead], zeros).prefetch(first, count);
        Corners<T>(map, shape, spots[g], zeros).add_dots(tile.data() + g * kBlock, first, count, &dots[4 * g]);
      }
    }
  } else {
    for (int k = 0; k < 4; ++k) {
      const Plane<T> plane(spots, k, shape);
      for (int64_t i = 0; i < shape.channels; ++i) {
        const T *channel = map + i * shape.channel_stride;
        for (int64_t g = 0; g < points; ++g) {
          dots[k * points + g] += widen(gradient[i * points + g]) * plane.value(channel, g);
        }
      }
    }
  }
  BoxGradient<P> sum;
  for (int64_t g = 0; g < points; ++g) {
    A dot[4];
    for (int k = 0; k < 4; ++k) dot[k] = channels_inside ? dots[4 * g + k] : dots[k * points + g];
    sum.add(placed, g, spots[g], grid, dot);
  }
  sum.store(box_gradient);
}

template <class T, class P>
void grad_boxes(const T *map, const MapShape &shape, const P *boxes, const int64_t *frame_of, int64_t n,
                const Grid &grid, bool parts, const T *gradient, P *box_gradient, int64_t threads) {
  const int64_t row = parts ? shape.channels / grid.points() : shape.channels * grid.points();
  const std::vector<T> zeros(shape.channels, T{});
  parallel_ranges(n, parts ? 16 : 1, threads, [&](int64_t begin, int64_t end) {
    std::vector<T> tile;
    for (int64_t i = begin; i < end; ++i) {
      const P *box = boxes + 7 * i;
      const T *own = gradient + i * row;
      if (parts) {
        part_box_gradient(map, shape, box, frame_of[i], grid, own, box_gradient + 7 * i);
      } else {
        box_gradient_of(map, shape, box, frame_of[i], grid, own, zeros.data(), tile, box_gradient + 7 * i);
      }
    }
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_sampling_read(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes, int64_t box_dtype,
                                const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID, int64_t parts, void *out,
                                int64_t threads, int64_t, void *) {
  return guarded([&] {
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_types(dtype, box_dtype, [&](auto map_type, auto box_type) {
      using T = typename decltype(map_type)::type;
      using P = typename decltype(box_type)::type;
      read_boxes(static_cast<const T *>(map), shape, static_cast<const P *>(boxes), frame_of, n, grid, parts != 0,
                 static_cast<T *>(out), threads);
    });
  });
}

int lidar_ebm_box_sampling_grad_boxes(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                      int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                      int64_t parts, const void *gradient, void *box_gradient, int64_t threads, int64_t,
                                      void *) {
  return guarded([&] {
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_types(dtype, box_dtype, [&](auto map_type, auto box_type) {
      using T = typename decltype(map_type)::type;
      using P = typename decltype(box_type)::type;
      grad_boxes(static_cast<const T *>(map), shape, static_cast<const P *>(boxes), frame_of, n, grid, parts != 0,
                 static_cast<const T *>(gradient), static_cast<P *>(box_gradient), threads);
    });
  });
}

int lidar_ebm_box_sampling_grad_map(void *map_gradient, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                    int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                    int64_t parts, const void *gradient, int64_t threads, int64_t, void *) {
  return guarded([&] {
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_types(dtype, box_dtype, [&](auto map_type, auto box_type) {
      using T = typename decltype(map_type)::type;
      using P = typename decltype(box_type)::type;
      grad_map(static_cast<T *>(map_gradient), shape, static_cast<const P *>(boxes), frame_of, n, grid, parts != 0,
               static_cast<const T *>(gradient), threads);
    });
  });
}
