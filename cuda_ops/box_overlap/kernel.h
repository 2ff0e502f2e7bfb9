// The overlap of two rotated boxes, for the host and the device.
//
// All of it is float64: float32 loses the area of a thin box. The shared area of two rectangles is a boundary integral,
// as reference.py explains, so no polygon is clipped and nothing is decided by "inside or outside". Nothing branches
// either, so the CPU computes several pairs side by side.
#pragma once

#include "common.h"

namespace lidar_ebm {

constexpr double kRounding = 1e-12;  // far above what float64 leaves of areas that should cancel

// What pairs of boxes need of each box.
struct Outline {
  double x, y, z;
  double half_length, half_width, half_height;  // all 0 for a box that overlaps nothing; length >= width
  double cos, sin;                              // the direction of the length
};

// fmin and fmax, which treat NaN with care, are no single instruction.
LIDAR_EBM_HD double smaller(double a, double b) { return a < b ? a : b; }
LIDAR_EBM_HD double larger(double a, double b) { return a > b ? a : b; }
LIDAR_EBM_HD double clamp(double value, double low, double high) { return smaller(larger(value, low), high); }

template <class T>
LIDAR_EBM_HD Outline outline_of(const T *box) {
  bool usable = box[3] > 0 && box[4] > 0;
  for (int k = 0; k < 7; ++k) usable = usable && box[k] - box[k] == 0;  // neither NaN nor infinite
  if (!usable) return {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0};
  const double yaw = box[6], cos = ::cos(yaw), sin = ::sin(yaw);
  const double length = box[3], width = box[4], height = larger(box[5], 0.0);
  // The longer side first: the integral below loses the least along it.
  if (length >= width) return {box[0], box[1], box[2], length / 2, width / 2, height / 2, cos, sin};
  return {box[0], box[1], box[2], width / 2, length / 2, height / 2, -sin, cos};
}

// Boxes made ready for pairing, one row a quantity, so that SIMD lanes and CUDA threads read neighbours side by side.
// A view of `kRows` * count float64 that the caller owns.
template <class T>
class BoxTable {
 public:
  static constexpr int64_t kRows = 11;

  LIDAR_EBM_HD BoxTable(double *memory, int64_t count)
      : outlines_(memory), circles_(reinterpret_cast<T *>(memory + 8 * count)), count_(count) {}

  LIDAR_EBM_HD int64_t count() const { return count_; }

  // The circle around a box, in the boxes' own type: quick to test, and a hair too large, so that rounding never drops
  // a touching pair.
  LIDAR_EBM_HD T *x() const { return circles_; }
  LIDAR_EBM_HD T *y() const { return circles_ + count_; }
  LIDAR_EBM_HD T *radius() const { return circles_ + 2 * count_; }

  LIDAR_EBM_HD Outline operator[](int64_t i) const {
    const double *o = outlines_ + i;
    const int64_t n = count_;
    return {o[0], o[n], o[2 * n], o[3 * n], o[4 * n], o[5 * n], o[6 * n], o[7 * n]};
  }

  LIDAR_EBM_HD void set(int64_t i, const T *box) const {
    const Outline o = outline_of(box);
    const double values[8] = {o.x, o.y, o.z, o.half_length, o.half_width, o.half_height, o.cos, o.sin};
    for (int64_t k = 0; k < 8; ++k) outlines_[k * count_ + i] = values[k];
    x()[i] = T(o.x), y()[i] = T(o.y);
    // A box that overlaps nothing has the radius NaN: no distance is within it.
    const double reach = 1.0002 * ::sqrt(o.half_length * o.half_length + o.half_width * o.half_width);
    radius()[i] = o.half_length > 0.0 ? T(reach) : T(NAN);
  }

 private:
  double *outlines_;
  T *circles_;
  int64_t count_;
};

// Whether circles with these offsets between their centres and this sum of radii meet.
template <class T>
LIDAR_EBM_HD bool circles_meet(T dx, T dy, T reach) {
  return dx * dx + dy * dy <= reach * reach;
}

template <class T>
LIDAR_EBM_HD bool may_overlap(const BoxTable<T> &a, int64_t i, const BoxTable<T> &b, int64_t j) {
  return circles_meet(a.x()[i] - b.x()[j], a.y()[i] - b.y()[j], a.radius()[i] + b.radius()[j]);
}

// 1 / change, or 0 for no change: an edge along an axis crosses nothing there, and any parameter gives one integral.
LIDAR_EBM_HD double inverse(double change) { return ::fabs(change) > 1e-200 ? 1.0 / change : 0.0; }

// One direction of a rectangle's sides, in the other rectangle's frame: half a side, and its inverse.
struct Side {
  double dx, dy, per_x, per_y;
};

// The integral over t in [-1, 1] of clamp(y + t * side.dy, low, high), where |x + t * side.dx| <= half_length.
LIDAR_EBM_HD double clamped_integral(double x, double y, const Side &side, double half_length, double low,
                                     double high) {
  const double t_low = clamp((-half_length - x) * side.per_x, -1.0, 1.0);
  const double t_high = clamp((half_length - x) * side.per_x, -1.0, 1.0);
  const double t0 = smaller(t_low, t_high), t1 = larger(t_low, t_high);
  const double y0 = clamp(y + t0 * side.dy, low, high), y1 = clamp(y + t1 * side.dy, low, high);
  // Constant at y0 until it enters the band, linear to where it leaves it, then constant at y1: as long at either
  // value, in the mean, as if it changed at once half-way between.
  const double change = 0.5 * (clamp((low - y) * side.per_y, t0, t1) + clamp((high - y) * side.per_y, t0, t1));
  return y0 * (change - t0) + y1 * (t1 - change);
}

// The area that two boxes share seen from above.
LIDAR_EBM_HD double shared_area(const Outline &a, const Outline &b) {
  const double dx = a.x - b.x, dy = a.y - b.y;
  const double x = b.cos * dx + b.sin * dy, y = b.cos * dy - b.sin * dx;  // a's centre in b's frame
  const double cos = a.cos * b.cos + a.sin * b.sin, sin = a.sin * b.cos - a.cos * b.sin;
  const double lx = cos * a.half_length, ly = sin * a.half_length, wx = -sin * a.half_width, wy = cos * a.half_width;
  const Side length{lx, ly, inverse(lx), inverse(ly)}, width{wx, wy, inverse(wx), inverse(wy)};
  // A constant adds nothing to an integral along a closed line. Counting y from a's centre keeps the parts small, and
  // makes them exactly 0 for a box beyond b's side.
  const double base = clamp(y, -b.half_width, b.half_width), above = y - base;
  const double low = -b.half_width - base, high = b.half_width - base;
  // Counter-clockwise the area is minus the integral of y dx; opposite sides are run through in opposite directions.
  return lx * (clamped_integral(x + wx, above + wy, length, b.half_length, low, high) -
               clamped_integral(x - wx, above - wy, length, b.half_length, low, high)) +
         wx * (clamped_integral(x - lx, above - ly, width, b.half_length, low, high) -
               clamped_integral(x + lx, above + ly, width, b.half_length, low, high));
}

// Whether the IoU from above may be greater than a threshold >= 0: quick, by what b shares with a's bounds along b's
// axes. Never wrong where it says no.
LIDAR_EBM_HD bool may_exceed(const Outline &a, const Outline &b, double threshold) {
  const double dx = a.x - b.x, dy = a.y - b.y;
  const double x = ::fabs(b.cos * dx + b.sin * dy), y = ::fabs(b.cos * dy - b.sin * dx);
  const double cos = ::fabs(a.cos * b.cos + a.sin * b.sin), sin = ::fabs(a.sin * b.cos - a.cos * b.sin);
  const double reach_x = cos * a.half_length + sin * a.half_width, reach_y = sin * a.half_length + cos * a.half_width;
  const double along = smaller(2.0 * smaller(reach_x, b.half_length), reach_x + b.half_length - x);
  const double across = smaller(2.0 * smaller(reach_y, b.half_width), reach_y + b.half_width - y);
  const double contents = 4.0 * (a.half_length * a.half_width + b.half_length * b.half_width);
  const double shared = larger(along, 0.0) * larger(across, 0.0) * (1.0 + 1e-6);  // more than rounding takes
  return shared * (1.0 + threshold) > threshold * contents;
}

// Intersection over union in [0, 1], from above or of volumes.
template <bool kUseHeight>
LIDAR_EBM_HD double pair_iou(const Outline &a, const Outline &b) {
  double content_a = 4.0 * a.half_length * a.half_width, content_b = 4.0 * b.half_length * b.half_width;
  const double area = shared_area(a, b);
  // Rounding may not make the shared part larger than either box, nor boxes apart from each other overlap a little.
  double shared = area > kRounding * (content_a + content_b) ? smaller(area, smaller(content_a, content_b)) : 0.0;
  if (kUseHeight) {
    const double height_a = 2.0 * a.half_height, height_b = 2.0 * b.half_height;
    const double reach = a.half_height + b.half_height - ::fabs(a.z - b.z);
    shared *= larger(smaller(reach, smaller(height_a, height_b)), 0.0);
    content_a *= height_a, content_b *= height_b;
  }
  const double all = content_a + content_b - shared;
  return all > 0.0 ? smaller(shared / all, 1.0) : 0.0;
}

}  // namespace lidar_ebm
