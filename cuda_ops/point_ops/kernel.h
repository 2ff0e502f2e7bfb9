// Which points a box holds, the hash that chooses among them, and points as boxes see them, for host and device.
#pragma once

#include "common.h"

namespace lidar_ebm {

// Far above what float64 loses to rounding, far below a sensor's noise, m: a point on a face lies inside, whichever way
// a processor's cosine, sine and fused multiplications round.
constexpr double kTouching = 1e-9;

// A box as a container of points. All of it is float64, so that every device decides alike.
struct Container {
  double x, y, z;
  double half_length, half_width, half_height;  // negative: holds nothing
  double cos, sin;
  double reach_x, reach_y;  // half the extents along the axes, and a hair more
};

// `margin` is added on either side of length, width and height. A box that is not finite holds nothing.
LIDAR_EBM_HD Container container_of(const double *box, const double *margin) {
  Container c = {0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 1.0, 0.0, -1.0, -1.0};
  bool finite = true;
  for (int i = 0; i < 7; ++i) finite &= box[i] - box[i] == 0.0;
  if (!finite) return c;
  c.x = box[0], c.y = box[1], c.z = box[2];
  c.half_length = box[3] / 2 + margin[0] + kTouching;
  c.half_width = box[4] / 2 + margin[1] + kTouching;
  c.half_height = box[5] / 2 + margin[2] + kTouching;
  c.cos = ::cos(box[6]), c.sin = ::sin(box[6]);
  if (c.half_length < 0.0 || c.half_width < 0.0) return c;
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

LIDAR_EBM_HD uint32_t mix(uint32_t value) {
  value = (value ^ (value >> 16)) * 0x21F0AAADu;
  value = (value ^ (value >> 15)) * 0x735A2D97u;
  return value ^ (value >> 15);
}

LIDAR_EBM_HD uint32_t hash_start(int64_t seed) { return mix(uint32_t(seed) + 0x9E3779B9u); }

// Of the point at `place` of its frame. Below 2^32 no two places share a hash.
LIDAR_EBM_HD uint32_t hash_of(uint32_t start, int64_t place) { return mix(mix(uint32_t(place)) ^ start); }

constexpr int kLanes = 16;        // features of a point: 15 lanes that move with the box, then the reflectance
constexpr int kReflectance = 15;  // the last of them

template <class T>
struct BoxFrame {
  T x, y, z;
  T half_length, half_width, half_height;
  T cos, sin;
};

template <class T>
LIDAR_EBM_HD BoxFrame<T> box_frame_of(const T *box) {
  return {box[0], box[1], box[2], box[3] / 2, box[4] / 2, box[5] / 2, std::cos(box[6]), std::sin(box[6])};
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

// What one lane adds to the gradient to its box, from the sum over the points of the lane's gradients and of the same
// times `lane_turn`.
template <class T>
LIDAR_EBM_HD void add_lane(const Lane<T> &lane, int index, T sum, T turn, T *box_gradient) {
  if (index == kReflectance) return;
  box_gradient[0] -= lane.x * sum, box_gradient[1] -= lane.y * sum, box_gradient[2] -= lane.z * sum;
  for (int axis = 0; axis < 3; ++axis) box_gradient[3 + axis] -= index >= 3 && index % 3 == axis ? sum / 2 : T(0);
  box_gradient[6] += turn;
}

// Where things lie: k points for each box in turn and features [n, s, k, 16], or, with box_index, any number of points
// for each and features [v, s, 16].
struct Layout {
  const int64_t *box_index;
  int64_t v, n, s, k;

  Layout(const int64_t *index, int64_t points, int64_t boxes, int64_t candidates)
      : box_index(index), v(points), n(boxes), s(candidates), k(boxes > 0 ? points / boxes : 0) {}

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
