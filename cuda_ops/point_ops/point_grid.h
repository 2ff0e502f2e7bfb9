// For the CPU: points sorted by frame and by the cells of a grid seen from above, so that a box looks only at the
// points around it, and at many of those at a time.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "point_ops/kernel.h"

namespace lidar_ebm {

template <class T>
std::unique_ptr<T[]> room_for(int64_t count) {
  return std::unique_ptr<T[]>(new T[size_t(count)]);  // not filled, unlike a vector
}

// Points of type T and the boxes that may hold them.
template <class T>
class PointGrid {
 public:
  // The cells that a box may reach; none where last_row < first_row.
  struct Reach {
    int64_t frame, first_row, last_row, first_column, last_column;
  };

  // Points [p, f]; the frames of points and boxes, or null, null. `moving`: boxes are where they were when each point
  // was measured, if the points say when.
  PointGrid(const T *points, int64_t p, int64_t f, const int64_t *point_frame, std::vector<Container> boxes,
            const int64_t *box_frame, bool moving = false)
      : boxes_(std::move(boxes)), frames_(distinct(box_frame, boxes_.size())), moving_(moving && f > kLagColumn) {
    const int64_t frames = this->frames();
    if (moving_) find_lags(points, p, f);
    // A few points a cell, and no more than 32 x 32 cells: a car spans a few of those in a LiDAR's field of view.
    side_ = std::min<int64_t>(32, std::max<int64_t>(1, std::sqrt(double(p) / double(4 * frames))));
    for (const Container &box : boxes_) {
      if (box.reach_x < 0.0) continue;
      const Extent x = extent(box, box.x, box.velocity_x, box.reach_x);
      const Extent y = extent(box, box.y, box.velocity_y, box.reach_y);
      low_x_ = std::min(low_x_, x.low), high_x_ = std::max(high_x_, x.high);
      low_y_ = std::min(low_y_, y.low), high_y_ = std::max(high_y_, y.high);
    }
    sort_points(points, p, f, point_frame);
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const Container &box = boxes_[i];
      const int64_t frame = box_frame ? id_of(box_frame[i]) : 0;
      const Extent x = extent(box, box.x, box.velocity_x, box.reach_x);
      const Extent y = extent(box, box.y, box.velocity_y, box.reach_y);
      reaches_.push_back(box.reach_x < 0.0
                             ? Reach{frame, 0, -1, 0, -1}
                             : Reach{frame, row_of(y.low), row_of(y.high), column_of(x.low), column_of(x.high)});
    }
  }

  int64_t frames() const { return int64_t(frames_.size()); }
  int64_t side() const { return side_; }  // rows, and columns, of cells in each frame
  int64_t entries() const { return starts_.back(); }
  const Reach &reach(int64_t box) const { return reaches_[box]; }
  int64_t point(int64_t entry) const { return point_[entry]; }  // its row in the points given
  int64_t place(int64_t entry) const { return place_[entry]; }  // its place among the points of its frame

  // visit(entry) for each point that the box holds in one row of its cells.
  template <class Visit>
  void each_held(int64_t box, int64_t row, const Visit &visit) const {
    const Container &container = boxes_[box];
    const Reach &reach = reaches_[box];
    const int64_t *cells = starts_.data() + (reach.frame * side_ + row) * side_;
    const int64_t end = cells[reach.last_column + 1];
    for (int64_t begin = cells[reach.first_column]; begin < end; begin += kAtOnce) {
      const int64_t count = std::min(kAtOnce, end - begin);
      const T *x = x_.get() + begin, *y = y_.get() + begin, *z = z_.get() + begin;
      int64_t inside[kAtOnce], held[kAtOnce], found = 0;  // as wide as a double, for the sake of vectors
      if (moving_) {
        const T *lag = lag_.get() + begin;
        for (int64_t i = 0; i < count; ++i) inside[i] = holds(container, x[i], y[i], z[i], lag[i]);
      } else {
        for (int64_t i = 0; i < count; ++i) inside[i] = holds(container, x[i], y[i], z[i]);
      }
      for (int64_t i = 0; i < count; ++i) held[found] = begin + i, found += inside[i];
      for (int64_t i = 0; i < found; ++i) visit(held[i]);
    }
  }

 private:
  static constexpr int64_t kAtOnce = 64;

  static std::vector<int64_t> distinct(const int64_t *frames, size_t count) {
    if (!frames) return {0};
    std::vector<int64_t> result(frames, frames + count);
    std::sort(result.begin(), result.end());
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
  }

  // A frame's number among those that have boxes, or -1.
  int64_t id_of(int64_t frame) const {
    const auto found = std::lower_bound(frames_.begin(), frames_.end(), frame);
    return found != frames_.end() && *found == frame ? found - frames_.begin() : -1;
  }

  struct Extent {
    double low, high;
  };

  // How far along one axis a box reaches in all the time that the points were measured in.
  Extent extent(const Container &box, double center, double velocity, double reach) const {
    if (!moving_) return {center - reach, center + reach};
    const double grown = reach + 1.5 * std::max(0.0, box.drift * std::max(first_lag_, last_lag_));  // 1.5 > cos + sin
    const double before = center - velocity * last_lag_, after = center - velocity * first_lag_;
    const double hair = 1e-9 * (std::fabs(before) + std::fabs(after));  // of rounding
    return {std::min(before, after) - grown - hair, std::max(before, after) + grown + hair};
  }

  void find_lags(const T *points, int64_t p, int64_t f) {
    double first = std::numeric_limits<double>::infinity(), last = -first;
    for (int64_t i = 0; i < p; ++i) {
      const double lag = points[i * f + kLagColumn];
      if (lag - lag != 0.0) continue;  // no box holds such a point
      first = std::min(first, lag), last = std::max(last, lag);
    }
    if (first <= last) first_lag_ = first, last_lag_ = last;
  }

  // Rising with the coordinate whatever is rounded, so that no point falls outside the cells that its box reaches.
  int64_t cell_of(double distance, double extent) const {
    const double cell = distance * (double(side_) / extent);
    return cell >= double(side_) ? side_ - 1 : cell > 0.0 ? int64_t(cell) : 0;
  }
  int64_t column_of(double x) const { return cell_of(x - low_x_, high_x_ - low_x_); }
  int64_t row_of(double y) const { return cell_of(y - low_y_, high_y_ - low_y_); }

  void sort_points(const T *points, int64_t p, int64_t f, const int64_t *point_frame) {
    starts_.assign(frames() * side_ * side_ + 1, 0);
    const auto cells = room_for<int64_t>(p), places = room_for<int64_t>(p);
    std::vector<int64_t> seen(frames(), 0);
    int64_t frame = 0;
    for (int64_t i = 0; i < p; ++i) {
      if (point_frame && (i == 0 || point_frame[i] != point_frame[i - 1])) frame = id_of(point_frame[i]);
      cells[i] = -1;
      if (frame < 0) continue;
      places[i] = seen[frame]++;
      const double x = points[i * f], y = points[i * f + 1];
      if (!(x >= low_x_ && x <= high_x_ && y >= low_y_ && y <= high_y_)) continue;  // beyond every box, or NaN
      cells[i] = (frame * side_ + row_of(y)) * side_ + column_of(x);
      ++starts_[cells[i] + 1];
    }
    for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
    const int64_t kept = starts_.back();
    x_ = room_for<T>(kept), y_ = room_for<T>(kept), z_ = room_for<T>(kept);
    if (moving_) lag_ = room_for<T>(kept);
    point_ = room_for<int64_t>(kept), place_ = room_for<int64_t>(kept);
    std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
    for (int64_t i = 0; i < p; ++i) {
      if (cells[i] < 0) continue;
      const int64_t entry = next[cells[i]]++;
      x_[entry] = points[i * f], y_[entry] = points[i * f + 1], z_[entry] = points[i * f + 2];
      if (moving_) lag_[entry] = points[i * f + kLagColumn];
      point_[entry] = i, place_[entry] = places[i];
    }
  }

  std::vector<Container> boxes_;
  std::vector<int64_t> frames_;  // rising
  bool moving_;
  double first_lag_ = 0.0, last_lag_ = 0.0;  // the lowest and highest of the points, s
  std::vector<Reach> reaches_;   // [n]
  int64_t side_ = 1;
  double low_x_ = std::numeric_limits<double>::infinity(), high_x_ = -low_x_, low_y_ = low_x_, high_y_ = -low_x_;
  std::vector<int64_t> starts_;  // of each cell's points, by frame, row and column
  std::unique_ptr<T[]> x_, y_, z_, lag_;
  std::unique_ptr<int64_t[]> point_, place_;
};

}  // namespace lidar_ebm
