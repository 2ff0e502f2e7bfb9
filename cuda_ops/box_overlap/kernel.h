// The overlap of two rotated boxes, for the host and the device.
//
// All of it is float64: float32 loses the area of a thin box. The shared area of two rectangles is a boundary integral,
// as reference.py explains, so no polygon is clipped and nothing is decided by "inside or outside".
#pragma once

#include "common.h"

namespace lidar_ebm {

constexpr double kRounding = 1e-12;  // far above what float64 leaves of areas that should cancel

// What pairs of boxes need of each box, computed once.
struct Outline {
  double x, y, z, length, width, height;
  double cos, sin;
  double radius;  // of the circumscribed circle, and a hair more
};

template <class T>
LIDAR_EBM_HD Outline outline_of(const T *box) {
  Outline o;
  o.x = box[0], o.y = box[1], o.z = box[2];
  o.length = fmax(double(box[3]), 0.0), o.width = fmax(double(box[4]), 0.0), o.height = fmax(double(box[5]), 0.0);
  const double yaw = box[6];
  o.cos = ::cos(yaw), o.sin = ::sin(yaw);
  o.radius = 0.5001 * ::sqrt(o.length * o.length + o.width * o.width);
  return o;
}

LIDAR_EBM_HD bool may_overlap(const Outline &a, const Outline &b) {
  const double dx = a.x - b.x, dy = a.y - b.y, reach = a.radius + b.radius;
  return dx * dx + dy * dy <= reach * reach;
}

LIDAR_EBM_HD double clamp(double value, double low, double high) { return fmin(fmax(value, low), high); }

// Where along an edge (0..1) a coordinate that changes by `change` has covered `distance`. An edge that does not change
// has no crossing; any parameter then gives the same integral.
LIDAR_EBM_HD double crossing(double distance, double change) {
  return change == 0.0 ? 0.0 : clamp(distance / change, 0.0, 1.0);
}

// The integral of clamp(y, -half_width, half_width) dx along the edge's part within |x| <= half_length.
LIDAR_EBM_HD double edge_integral(double x, double y, double dx, double dy, double half_length, double half_width) {
  const double t_low = crossing(-half_length - x, dx), t_high = crossing(half_length - x, dx);
  const double t0 = fmin(t_low, t_high), t1 = fmax(t_low, t_high);
  const double x0 = clamp(x + t0 * dx, -half_length, half_length), x1 = clamp(x + t1 * dx, -half_length, half_length);
  const double y0 = y + t0 * dy, rise = (t1 - t0) * dy;
  const double s_low = crossing(-half_width - y0, rise), s_high = crossing(half_width - y0, rise);
  const double knots[4] = {0.0, fmin(s_low, s_high), fmax(s_low, s_high), 1.0};
  double mean = 0.0, before = clamp(y0, -half_width, half_width);
  for (int k = 1; k < 4; ++k) {
    const double now = clamp(y0 + knots[k] * rise, -half_width, half_width);
    mean += (knots[k] - knots[k - 1]) * 0.5 * (now + before);
    before = now;
  }
  return mean * (x1 - x0);
}

// The area that two boxes share seen from above.
LIDAR_EBM_HD double shared_area(const Outline &a, const Outline &b) {
  const double dx = a.x - b.x, dy = a.y - b.y;
  const double center_x = b.cos * dx + b.sin * dy, center_y = b.cos * dy - b.sin * dx;  // a's centre in b's frame
  const double cos = a.cos * b.cos + a.sin * b.sin, sin = a.sin * b.cos - a.cos * b.sin;
  const double half_l = a.length / 2, half_w = a.width / 2;
  const double lx = cos * half_l, ly = sin * half_l, wx = -sin * half_w, wy = cos * half_w;
  // Corners counter-clockwise; the area is minus the integral of y dx.
  const double x[4] = {center_x + lx + wx, center_x - lx + wx, center_x - lx - wx, center_x + lx - wx};
  const double y[4] = {center_y + ly + wy, center_y - ly + wy, center_y - ly - wy, center_y + ly - wy};
  double total = 0.0;
  for (int k = 0; k < 4; ++k) {
    const int next = (k + 1) & 3;
    total -= edge_integral(x[k], y[k], x[next] - x[k], y[next] - y[k], b.length / 2, b.width / 2);
  }
  return total;
}

// Intersection over union in [0, 1], from above or of volumes; NaN where a box holds one.
LIDAR_EBM_HD double pair_iou(const Outline &a, const Outline &b, bool use_height) {
  double content_a = a.length * a.width, content_b = b.length * b.width;
  // Rounding may not make the shared part larger than either box, nor boxes apart from each other overlap a little.
  double shared = fmin(shared_area(a, b), fmin(content_a, content_b));
  shared = shared > kRounding * (content_a + content_b) ? shared : 0.0;
  if (use_height) {
    const double top = fmin(a.z - b.z + a.height / 2, b.height / 2);
    const double bottom = fmax(a.z - b.z - a.height / 2, -b.height / 2);
    shared *= fmax(top - bottom, 0.0);
    content_a *= a.height, content_b *= b.height;
  }
  const double all = content_a + content_b - shared;
  return all > 0.0 ? fmin(shared / all, 1.0) : 0.0;
}

}  // namespace lidar_ebm
