// Which points a box holds, the hash that chooses among them, and points as boxes see them, for host and device.
#pragma once

#include "common.h"

namespace lidar_ebm {

// Far above what float64 loses to rounding, far below a sensor's noise, m: a point on a face lies inside, whichever way
// a processor's cosine, sine and fused multiplications round.
constexpr double kTouching = 1e-9;

constexpr int kStill = 7, kMoving = 9;  // numbers of a box without and with a velocity
constexpr int kLagColumn = 4;           // of points: x, y, z, reflectance, seconds before the frame's own time

// A box as a container of points. All of it is float64, so that every device decides alike.
struct Container {
  double x, y, z;
  double half_length, half_width, half_height;  // negative: holds nothing
  double cos, sin;
  double reach_x, reach_y;  // half the extents along the axes, and a hair more
  double velocity_x, velocity_y;  // over ground, m/s
  double drift;                   // what a second of lag adds on either side of length and width, m
};

// `margin` is added on either side of length, width and height, `drift` for each second of lag. Of a box's `columns`
// numbers those after the seventh are its velocity. A box that is not finite holds nothing.
LIDAR_EBM_HD Container container_of(const double *box, int64_t columns, const double *margin, double drift) {
  Container c = {0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0};
  bool finite = true;
  for (int64_t i = 0; i < columns; ++i) finite &= box[i] - box[i] == 0.0;
  if (!finite) return c;
  c.x = box[0], c.y = box[1], c.z = box[2];
  c.half_length = box[3] / 2 + margin[0] + kTouching;
  c.half_width = box[4] / 2 + margin[1] + kTouching;
  c.half_height = box[5] / 2 + margin[2] + kTouching;
  c.cos = ::cos(box[6]), c.sin = ::sin(box[6]);
  if (c.half_length < 0.0 || c.half_width < 0.0) return c;
  if (columns == kMoving) c.velocity_x = box[7], c.velocity_y = box[8], c.drift = drift;
  c.reach_x = 1.000001 * (fabs(c.cos) * c.half_length + fabs(c.sin) * c.half_width);
  c.reach_y = 1.000001 * (fabs(c.sin) * c.half_length + fabs(c.cos) * c.half_width);
  return c;
}

template <class T>
LIDAR_EBM_HD bool holds(const Container &c, T x, T y, T z) {
  const double dx = double(x) - c.x, dy = double(y) - c.y, dz = double(z) - c.z;
  const double along = dx * c.cos + dy * c.sin, across = dy * c.cos - dx * c.sin;
  return (fabs(along) <= c.half_length) & (fabs(across) <= c.half_width) & (fabs(dz) <= c.half_height);
}

// The same of a point that was measured `lag` seconds ago, when the box was at its centre less velocity times lag.
template <class T>
LIDAR_EBM_HD bool holds(const Container &c, T x, T y, T z, T lag) {
  const double seconds = double(lag), more = c.drift * seconds;
  const double dx = double(x) - c.x + c.velocity_x * seconds, dy = double(y) - c.y + c.velocity_y * seconds;
  const double dz = double(z) - c.z;
  const double along = dx * c.cos + dy * c.sin, across = dy * c.cos - dx * c.sin;
  return (fabs(along) <= c.half_length + more) & (fabs(across) <= c.half_width + more) & (fabs(dz) <= c.half_height);
}

LIDAR_EBM_HD uint32_t mix(uint32_t value) {
  value = (value ^ (value >> 16)) * 0x21F0AAADu;
  value = (value ^ (value >> 15)) * 0x735A2D97u;
  return value ^ (value >> 15);
}

LIDAR_EBM_HD uint32_t hash_start(int64_t seed) { return mix(uint32_t(seed) + 0x9E3779B9u); }

// Of the point at `place` of its frame. Below 2^32 no two places share a hash.
LIDAR_EBM_HD uint32_t hash_of(uint32_t start, int64_t place) { return mix(mix(uint32_t(place)) ^ start); }

constexpr int kLanes = 16;        // of a point's features: 15 that move with the box, then the reflectance
constexpr int kReflectance = 15;  // the last of them
constexpr int kLag = 16;          // the feature after them, of points that have a lag

template <class T>
struct BoxFrame {
  T x, y, z;
  T half_length, half_width, half_height;
  T cos, sin;
  T velocity_x, velocity_y;  // 0 of a box without one
};

template <class T>
LIDAR_EBM_HD BoxFrame<T> box_frame_of(const T *box, int64_t columns) {
  const bool moving = columns == kMoving;
  return {box[0],     box[1],     box[2],           box[3] / 2,       box[4] / 2,
          box[5] / 2, std::cos(box[6]), std::sin(box[6]), moving ? box[7] : T(0), moving ? box[8] : T(0)};
}

// From a box's centre to a point (x, y, z, reflectance and, where kMoves, its lag): the centre of that time.
template <bool kMoves, class T>
LIDAR_EBM_HD void offset_between(const T *point, T x, T y, T z, T velocity_x, T velocity_y, T *offset) {
  offset[0] = point[0] - x, offset[1] = point[1] - y, offset[2] = point[2] - z;  // first: exact near the box
  if (kMoves) offset[0] += velocity_x * point[kLagColumn], offset[1] += velocity_y * point[kLagColumn];
}

// One feature of a point at (dx, dy, dz) from the box's centre: x dx + y dy + z dz - half, at least `lowest`. One form
// for all of them, so that a processor computes a point's features as one vector and a GPU one in each thread.
template <class T>
struct Lane {
  T x, y, z, half, lowest;
};

// Three offsets; six signed distances to the faces, +l, +w, +h, -l, -w, -h; the same again, zero inside.
template <class T>
LIDAR_EBM_HD Lane<T> lane_of(const BoxFrame<T> &frame, int lane) {
  if (lane == kReflectance) return {T(0), T(0), T(0), T(0), T(0)};  // never above its lowest: no gradient to the box
  const int axis = lane % 3, group = lane / 3;
  const T sign = group == 2 || group == 4 ? T(-1) : T(1);
  const T half = axis == 0 ? frame.half_length : axis == 1 ? frame.half_width : frame.half_height;
  return {axis == 0 ? sign * frame.cos : axis == 1 ? -sign * frame.sin : T(0),
          axis == 0 ? sign * frame.sin : axis == 1 ? sign * frame.cos : T(0),
          axis == 2 ? sign : T(0),
          group > 0 ? half : T(0),
          group > 2 ? T(0) : -T(HUGE_VAL)};
}

template <class T>
LIDAR_EBM_HD T lane_value(const Lane<T> &lane, T dx, T dy, T dz) {
  const T value = lane.x * dx + lane.y * dy + lane.z * dz - lane.half;
  return value <= lane.lowest ? lane.lowest : value;  // NaN stays NaN
}

// What of the gradient to a lane's value reaches the box and the point.
template <class T>
LIDAR_EBM_HD T lane_gradient(const Lane<T> &lane, T dx, T dy, T dz, T gradient) {
  return lane.x * dx + lane.y * dy + lane.z * dz - lane.half <= lane.lowest ? T(0) : gradient;
}

// The derivative of a lane's value by yaw: turning takes (x, y) to (-y, x).
template <class T>
LIDAR_EBM_HD T lane_turn(const Lane<T> &lane, T dx, T dy) {
  return lane.x * dy - lane.y * dx;
}

// What one lane adds to the gradient to its box, from the sum over the points of the lane's gradients, of the same
// times `lane_turn` and, where kMoves, of the same times the points' lags.
template <bool kMoves, class T>
LIDAR_EBM_HD void add_lane(const Lane<T> &lane, int index, T sum, T turn, T late, T *box_gradient) {
  if (index == kReflectance) return;
  box_gradient[0] -= lane.x * sum, box_gradient[1] -= lane.y * sum, box_gradient[2] -= lane.z * sum;
  for (int axis = 0; axis < 3; ++axis) box_gradient[3 + axis] -= index >= 3 && index % 3 == axis ? sum / 2 : T(0);
  box_gradient[6] += turn;
  if (kMoves) box_gradient[7] += lane.x * late, box_gradient[8] += lane.y * late;
}

// Where things lie: k points for each box in turn and features [n, s, k, width], or, with box_index, any number of
// points for each and features [v, s, width]. Points are rows of 4 or 5 numbers, boxes of 7 or 9.
struct Layout {
  const int64_t *box_index;
  int64_t v, point_columns, n, s, box_columns, k;

  Layout(const int64_t *index, int64_t points, int64_t of_point, int64_t boxes, int64_t candidates, int64_t of_box)
      : box_index(index),
        v(points),
        point_columns(of_point),
        n(boxes),
        s(candidates),
        box_columns(of_box),
        k(boxes > 0 ? points / boxes : 0) {
    if (of_point < kLagColumn || of_point > kLagColumn + 1 || (of_box != kStill && of_box != kMoving)) {
      throw std::invalid_argument("points of " + std::to_string(of_point) + " columns and boxes of " +
                                  std::to_string(of_box) + ", not 4 or 5 and 7 or 9");
    }
  }

  LIDAR_EBM_HD bool has_lag() const { return point_columns > kLagColumn; }
  // A velocity matters only to points that have a lag.
  LIDAR_EBM_HD bool moves() const { return has_lag() && box_columns == kMoving; }
  LIDAR_EBM_HD int64_t width() const { return has_lag() ? kLanes + 1 : kLanes; }

  // The row of features of a point and a candidate for its box is first_row(box, candidate) + point * row_step().
  LIDAR_EBM_HD int64_t first_row(int64_t box, int64_t candidate) const {
    return box_index ? candidate : (box * s + candidate) * k - box * k;
  }
  LIDAR_EBM_HD int64_t row_step() const { return box_index ? s : 1; }
  LIDAR_EBM_HD bool owns(int64_t box, int64_t point) const { return !box_index || box_index[point] == box; }
};

// The points of a box lie within begin..end. Where box_index does not rise, other boxes' points may be among them.
struct Span {
  int64_t begin, end;
};

}  // namespace lidar_ebm
