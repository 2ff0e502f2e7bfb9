#include "point_ops/kernel.h"

#include <vector>

#include "parallel.h"
#include "point_ops/point_grid.h"

namespace lidar_ebm {

namespace {

std::vector<Container> containers(const double *boxes, int64_t n, const double *margin) {
  std::vector<Container> result(n);
  for (int64_t i = 0; i < n; ++i) result[i] = container_of(boxes + 7 * i, margin);
  return result;
}

// note(point, box) for each pair of a point and a box that holds it; of one point the boxes in rising order, in one
// thread.
template <class T, class Note>
void each_pair(const PointGrid<T> &grid, int64_t n, int64_t threads, const Note &note) {
  const int64_t side = grid.side();
  std::vector<std::vector<int64_t>> in_row(grid.frames() * side);
  for (int64_t box = 0; box < n; ++box) {
    const auto &reach = grid.reach(box);
    for (int64_t row = reach.first_row; row <= reach.last_row; ++row) in_row[reach.frame * side + row].push_back(box);
  }
  parallel_tasks(grid.frames() * side, threads, [&](int64_t i) {
    for (const int64_t box : in_row[i]) {
      grid.each_held(box, i % side, [&](int64_t entry) { note(grid.point(entry), box); });
    }
  });
}

struct Candidate {
  uint32_t hash;
  int64_t entry;  // of the grid
  bool operator<(const Candidate &other) const { return hash < other.hash; }
};

// Keeps the k lowest of the candidates it is shown.
class Lowest {
 public:
  explicit Lowest(int64_t k) : k_(k), most_(std::max<int64_t>(4 * k, 256)) {}

  void add(Candidate candidate) {
    if (candidate.hash > limit_) return;
    kept_.push_back(candidate);
    if (int64_t(kept_.size()) >= most_) drop();
  }

  const std::vector<Candidate> &sorted() {
    drop();
    std::sort(kept_.begin(), kept_.end());
    return kept_;
  }

 private:
  // Leaves the k lowest; what comes later must be as low as they are.
  void drop() {
    if (int64_t(kept_.size()) <= k_) return;
    std::nth_element(kept_.begin(), kept_.begin() + k_, kept_.end());
    limit_ = kept_[k_].hash;
    kept_.resize(k_);
  }

  int64_t k_, most_;
  uint32_t limit_ = ~0u;
  std::vector<Candidate> kept_;
};

template <class T>
void gather(const PointGrid<T> &grid, const T *points, int64_t f, int64_t n, int64_t k, int64_t seed, T *chosen,
            int64_t *counts, int64_t threads) {
  const uint32_t start = hash_start(seed);
  const auto hashes = room_for<uint32_t>(grid.entries());
  for (int64_t entry = 0; entry < grid.entries(); ++entry) hashes[entry] = hash_of(start, grid.place(entry));
  parallel_tasks(n, threads, [&](int64_t box) {
    Lowest lowest(k);
    int64_t count = 0;
    for (int64_t row = grid.reach(box).first_row; row <= grid.reach(box).last_row; ++row) {
      grid.each_held(box, row, [&](int64_t entry) {
        ++count;
        lowest.add({hashes[entry], entry});
      });
    }
    counts[box] = count;
    T *out = chosen + box * k * f;
    for (const Candidate &candidate : lowest.sorted()) {
      std::copy_n(points + grid.point(candidate.entry) * f, f, out);
      out += f;
    }
  });
}

// All lanes of a box side by side, so that a point's features are one vector.
template <class T>
struct Lanes {
  alignas(64) T x[kLanes], y[kLanes], z[kLanes], half[kLanes], lowest[kLanes];

  Lanes() = default;
  explicit Lanes(const T *box) {
    const BoxFrame<T> frame = box_frame_of(box);
    for (int i = 0; i < kLanes; ++i) {
      const Lane<T> lane = lane_of(frame, i);
      x[i] = lane.x, y[i] = lane.y, z[i] = lane.z, half[i] = lane.half, lowest[i] = lane.lowest;
    }
  }
  LIDAR_EBM_HD Lane<T> operator[](int i) const { return {x[i], y[i], z[i], half[i], lowest[i]}; }
};

std::vector<Span> spans_of(const Layout &at) {
  std::vector<Span> spans(at.n, {at.v, 0});
  for (int64_t i = 0; at.box_index && i < at.v; ++i) {
    const int64_t box = at.box_index[i];
    if (box < 0 || box >= at.n) {
      throw std::out_of_range("box_index holds " + std::to_string(box) + ", outside 0.." + std::to_string(at.n));
    }
    spans[box] = {std::min(spans[box].begin, i), i + 1};
  }
  for (int64_t box = 0; !at.box_index && box < at.n; ++box) spans[box] = {box * at.k, (box + 1) * at.k};
  return spans;
}

// Candidates for a thread to take at least: some thousand rows of features.
int64_t grain_of(const Layout &at) { return 1 + 4096 / (1 + at.v / std::max<int64_t>(at.n, 1)); }

template <class T>
void features_of(const T *points, const T *boxes, const Layout &at, T *features, int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  // Some candidates at a time for each point: where features are [v, s, 16], theirs lie side by side.
  constexpr int64_t kMost = 8;
  const int64_t together = at.box_index ? kMost : 1, groups = (at.s + together - 1) / together;
  parallel_ranges(at.n * groups, grain_of(at), threads, [&](int64_t begin, int64_t end) {
    Lanes<T> lanes[kMost];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / groups, first = i % groups * together, count = std::min(together, at.s - first);
      const T *centers = boxes + 7 * (box * at.s + first);
      for (int64_t c = 0; c < count; ++c) lanes[c] = Lanes<T>(centers + 7 * c);
      const int64_t first_row = at.first_row(box, first), step = at.row_step();
      for (int64_t point = spans[box].begin, last = spans[box].end; point < last; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + 4 * point;
        for (int64_t c = 0; c < count; ++c) {  // rows of one point follow each other, or there is but one
          const T *center = centers + 7 * c;
          const T dx = p[0] - center[0], dy = p[1] - center[1], dz = p[2] - center[2];
          T *out = features + kLanes * (first_row + point * step + c);
#pragma omp simd
          for (int j = 0; j < kLanes; ++j) out[j] = lane_value(lanes[c][j], dx, dy, dz);
          out[kReflectance] = p[3];
        }
      }
    }
  });
}

template <class T>
void gradient_to_boxes(const T *gradient, const T *points, const T *boxes, const Layout &at, T *result,
                       int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  parallel_ranges(at.n * at.s, grain_of(at), threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / at.s, candidate = i % at.s;
      const T *center = boxes + 7 * i;
      const Lanes<T> lanes(center);
      const T *own = gradient + kLanes * at.first_row(box, candidate);
      const int64_t step = kLanes * at.row_step();
      alignas(64) T sum[kLanes] = {}, turn[kLanes] = {};
      for (int64_t point = spans[box].begin, last = spans[box].end; point < last; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + 4 * point, *g = own + point * step;
        // A load under a mask waits for its mask, too late to hide the memory. Ahead lie the rows of this candidate's
        // next points, or of this point's next candidates.
        __builtin_prefetch(g + 16 * kLanes);
        const T dx = p[0] - center[0], dy = p[1] - center[1], dz = p[2] - center[2];
#pragma omp simd
        for (int j = 0; j < kLanes; ++j) {
          const T passed = lane_gradient(lanes[j], dx, dy, dz, g[j]);
          sum[j] += passed, turn[j] += passed * lane_turn(lanes[j], dx, dy);
        }
      }
      T *out = result + 7 * i;
      std::fill_n(out, 7, T(0));
      for (int j = 0; j < kLanes; ++j) add_lane(lanes[j], j, sum[j], turn[j], out);
    }
  });
}

template <class T>
void gradient_to_points(const T *gradient, const T *points, const T *boxes, const Layout &at, T *result,
                        int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  parallel_ranges(at.n, 1, threads, [&](int64_t first, int64_t last) {
    for (int64_t box = first; box < last; ++box) {
      const T *centers = boxes + 7 * box * at.s;
      std::vector<Lanes<T>> lanes;
      for (int64_t candidate = 0; candidate < at.s; ++candidate) lanes.emplace_back(centers + 7 * candidate);
      for (int64_t point = spans[box].begin; point < spans[box].end; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + 4 * point;
        alignas(64) T x[kLanes] = {}, y[kLanes] = {}, z[kLanes] = {};
        T *out = result + 4 * point;
        std::fill_n(out, 4, T(0));
        for (int64_t candidate = 0; candidate < at.s; ++candidate) {
          const T *center = centers + 7 * candidate;
          const T *g = gradient + kLanes * (at.first_row(box, candidate) + point * at.row_step());
          const T dx = p[0] - center[0], dy = p[1] - center[1], dz = p[2] - center[2];
          const Lanes<T> &own = lanes[candidate];
#pragma omp simd
          for (int j = 0; j < kLanes; ++j) {
            const T passed = lane_gradient(own[j], dx, dy, dz, g[j]);
            x[j] += own.x[j] * passed, y[j] += own.y[j] * passed, z[j] += own.z[j] * passed;
          }
          out[3] += g[kReflectance];
        }
        for (int j = 0; j < kLanes; ++j) out[0] += x[j], out[1] += y[j], out[2] += z[j];
      }
    }
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_points_in_boxes(const void *points, int64_t dtype, int64_t p, int64_t f, const int64_t *point_frame,
                              const double *boxes, const int64_t *box_frame, int64_t n, int64_t first, void *held,
                              double *, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const double margin[3] = {0.0, 0.0, 0.0};
      const PointGrid<T> grid(static_cast<const T *>(points), p, f, point_frame, containers(boxes, n, margin),
                              box_frame);
      if (first) {
        int64_t *own = static_cast<int64_t *>(held);
        each_pair(grid, n, threads, [&](int64_t point, int64_t box) {
          if (own[point] < 0) own[point] = box;
        });
      } else {
        uint8_t *mask = static_cast<uint8_t *>(held);
        each_pair(grid, n, threads, [&](int64_t point, int64_t box) { mask[point * n + box] = 1; });
      }
    });
  });
}

int lidar_ebm_gather_near_boxes(const void *points, int64_t dtype, int64_t p, int64_t f, const int64_t *point_frame,
                                const int64_t *, const double *boxes, const int64_t *box_frame, int64_t n,
                                double margin_length, double margin_width, double margin_height, int64_t k,
                                int64_t seed, void *chosen, int64_t *counts, int32_t *, int64_t *, int64_t threads,
                                int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const double margin[3] = {margin_length, margin_width, margin_height};
      const PointGrid<T> grid(static_cast<const T *>(points), p, f, point_frame, containers(boxes, n, margin),
                              box_frame);
      gather(grid, static_cast<const T *>(points), f, n, k, seed, static_cast<T *>(chosen), counts, threads);
    });
  });
}

int lidar_ebm_box_frame_features(const void *points, const int64_t *box_index, const void *boxes, int64_t dtype,
                                 int64_t v, int64_t n, int64_t s, void *features, void *, int64_t threads, int64_t,
                                 void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      features_of(static_cast<const T *>(points), static_cast<const T *>(boxes), Layout(box_index, v, n, s),
                  static_cast<T *>(features), threads);
    });
  });
}

int lidar_ebm_box_frame_features_backward(const void *gradient, const void *points, const int64_t *box_index,
                                          const void *boxes, int64_t dtype, int64_t v, int64_t n, int64_t s,
                                          void *points_gradient, void *boxes_gradient, void *, int64_t *,
                                          int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const T *g = static_cast<const T *>(gradient), *p = static_cast<const T *>(points);
      const T *b = static_cast<const T *>(boxes);
      const Layout at(box_index, v, n, s);
      if (points_gradient) gradient_to_points(g, p, b, at, static_cast<T *>(points_gradient), threads);
      if (boxes_gradient) gradient_to_boxes(g, p, b, at, static_cast<T *>(boxes_gradient), threads);
    });
  });
}
