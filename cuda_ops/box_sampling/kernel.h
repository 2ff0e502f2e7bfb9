// Bilinear reads of a map on each box's own grid, for the host and the device; reference.py says what they mean.
//
// Positions are computed in the boxes' type P (float or double), sums in the type that the map's values widen to.
#pragma once

#include "common.h"

namespace lidar_ebm {

// A map [frames, channels, height, width]; strides in elements.
struct MapShape {
  int64_t frames, channels, height, width;
  int64_t frame_stride, channel_stride, row_stride, column_stride;
};

// Points across the width and along the length, and the place of the map: the centre of cell (0, 0), and the distance
// between centres, m.
struct Grid {
  int64_t across, along;
  double origin_x, origin_y, cell_x, cell_y;

  LIDAR_EBM_HD int64_t points() const { return across * along; }

  // Where point `index` stands, the length running fastest, as a share of the width and of the length. (Few enough
  // points for the far cheaper 32-bit division.)
  template <class P>
  LIDAR_EBM_HD P left(int64_t index) const {
    return fraction<P>(uint32_t(index) / uint32_t(along), across);
  }
  template <class P>
  LIDAR_EBM_HD P front(int64_t index) const {
    return fraction<P>(uint32_t(index) % uint32_t(along), along);
  }

 private:
  // `count` even steps from -1/2 to 1/2; a single one is 0.
  template <class P>
  LIDAR_EBM_HD static P fraction(int64_t step, int64_t count) {
    return count > 1 ? P(2 * step - (count - 1)) / P(2 * (count - 1)) : P(0);
  }
};

// What the points of a box share.
template <class P>
struct Placed {
  P x, y, length, width, cos, sin;
};

template <class P>
LIDAR_EBM_HD Placed<P> place(const P *box) {
  return {box[0], box[1], box[3], box[4], P(std::cos(box[6])), P(std::sin(box[6]))};
}

// A position on the map: the cell at its lower indices, and how far beyond that cell's centre it is. Corner k is the
// cell (k >> 1) rows and (k & 1) columns further.
template <class P>
struct Spot {
  int64_t base;     // offset of the lower cell's channel 0; only corners inside of the map may be read
  unsigned inside;  // bit k: corner k lies on the map
  P right, up;      // in [0, 1), or NaN

  LIDAR_EBM_HD bool has(int k) const { return (inside >> k) & 1; }
  LIDAR_EBM_HD P weight(int k) const { return (k & 1 ? right : 1 - right) * (k >> 1 ? up : 1 - up); }
  LIDAR_EBM_HD int64_t offset(int k, const MapShape &map) const {
    return base + (k >> 1) * map.row_stride + (k & 1) * map.column_stride;
  }
};

// The lower cell along one axis, -2 and `size` for all that lies off the map. NaN stays in the fraction, at cell 0.
template <class P>
LIDAR_EBM_HD int64_t lower_cell(P position, int64_t size, P &fraction) {
  const P low = std::floor(position);
  fraction = position - low;
  if (low < P(-1)) return -2;
  if (low >= P(size)) return size;
  return low >= P(-1) ? int64_t(low) : 0;
}

// Bit 0: `low` lies in 0..size; bit 1: `low + 1` does.
LIDAR_EBM_HD unsigned both_inside(int64_t low, int64_t size) {
  return unsigned(low >= 0 && low < size) | unsigned(low >= -1 && low + 1 < size) << 1;
}

// Where point `index` of a box's grid lies on the map of a frame.
template <class P>
LIDAR_EBM_HD Spot<P> locate(const Placed<P> &box, int64_t index, int64_t frame, const Grid &grid, const MapShape &map) {
  const P left = grid.template left<P>(index) * box.width;
  const P front = grid.template front<P>(index) * box.length;
  const P x = box.x + front * box.cos - left * box.sin, y = box.y + front * box.sin + left * box.cos;
  Spot<P> spot;
  const int64_t column = lower_cell((x - P(grid.origin_x)) / P(grid.cell_x), map.width, spot.right);
  const int64_t row = lower_cell((y - P(grid.origin_y)) / P(grid.cell_y), map.height, spot.up);
  spot.base = frame * map.frame_stride + row * map.row_stride + column * map.column_stride;
  const unsigned columns = both_inside(column, map.width);
  const unsigned rows = frame >= 0 && frame < map.frames ? both_inside(row, map.height) : 0;
  spot.inside = (rows & 1 ? columns : 0) | (rows & 2 ? columns << 2 : 0);
  return spot;
}

// The gradient in x, y, l, w and yaw of one box, point by point.
template <class P>
struct BoxGradient {
  P x = 0, y = 0, length = 0, width = 0, yaw = 0;

  // `dot[k]` is the gradient in the weight of corner k, 0 where that is off the map.
  template <class A>
  LIDAR_EBM_HD void add(const Placed<P> &box, int64_t index, const Spot<P> &spot, const Grid &grid, const A *dot) {
    if (!spot.inside) return;  // also keeps the NaN fractions of infinite positions out
    const P to_right = (1 - spot.up) * P(dot[1] - dot[0]) + spot.up * P(dot[3] - dot[2]);
    const P to_up = (1 - spot.right) * P(dot[2] - dot[0]) + spot.right * P(dot[3] - dot[1]);
    const P dx = to_right / P(grid.cell_x), dy = to_up / P(grid.cell_y);
    const P left = grid.template left<P>(index);
    const P front = grid.template front<P>(index);
    const P forward = dx * box.cos + dy * box.sin, sideways = dy * box.cos - dx * box.sin;
    x += dx, y += dy;
    length += front * forward;
    width += left * sideways;
    yaw += front * box.length * sideways - left * box.width * forward;
  }

  LIDAR_EBM_HD void store(P *gradient) const {
    gradient[0] = x, gradient[1] = y, gradient[2] = 0;
    gradient[3] = length, gradient[4] = width, gradient[5] = 0;
    gradient[6] = yaw;
  }
};

// Part k's score: channel k * points + g read at point g, averaged.
template <class T, class P>
LIDAR_EBM_HD T part_score(const T *map, const MapShape &shape, const P *box, int64_t frame, const Grid &grid,
                          int64_t part) {
  const Placed<P> placed = place(box);
  Wide<T> sum = 0;
  for (int64_t g = 0; g < grid.points(); ++g) {
    const Spot<P> spot = locate(placed, g, frame, grid, shape);
    const int64_t channel = (part * grid.points() + g) * shape.channel_stride;
    for (int k = 0; k < 4; ++k) {
      if (spot.has(k)) sum += Wide<T>(spot.weight(k)) * widen(map[spot.offset(k, shape) + channel]);
    }
  }
  return narrow<T>(sum / Wide<T>(grid.points()));
}

// The gradient of a box's part scores in the box; `gradient` [parts] is the scores'.
template <class T, class P>
LIDAR_EBM_HD void part_box_gradient(const T *map, const MapShape &shape, const P *box, int64_t frame, const Grid &grid,
                                    const T *gradient, P *box_gradient) {
  const Placed<P> placed = place(box);
  const int64_t points = grid.points(), parts = shape.channels / points;
  BoxGradient<P> sum;
  for (int64_t g = 0; g < points; ++g) {
    const Spot<P> spot = locate(placed, g, frame, grid, shape);
    Wide<T> dot[4] = {0, 0, 0, 0};
    for (int64_t part = 0; part < parts; ++part) {
      const Wide<T> factor = widen(gradient[part]) / Wide<T>(points);
      const int64_t channel = (part * points + g) * shape.channel_stride;
      for (int k = 0; k < 4; ++k) {
        if (spot.has(k)) dot[k] += factor * widen(map[spot.offset(k, shape) + channel]);
      }
    }
    sum.add(placed, g, spot, grid, dot);
  }
  sum.store(box_gradient);
}

// Calls f with the types of the map and of the boxes.
template <class F>
void dispatch_types(int64_t dtype, int64_t box_dtype, const F &f) {
  dispatch_floating(dtype, [&](auto map_type) {
    dispatch_wide(box_dtype, [&](auto box_type) { f(map_type, box_type); });
  });
}

}  // namespace lidar_ebm
