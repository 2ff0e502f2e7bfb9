#include "point_ops/kernel.h"

#include <vector>

#include "parallel.h"
#include "point_ops/point_grid.h"

namespace lidar_ebm {

namespace {

std::vector<Container> containers(const double *boxes, int64_t columns, int64_t n, const double *margin,
                                  double drift) {
  std::vector<Container> result(n);
  for (int64_t i = 0; i < n; ++i) result[i] = container_of(boxes + columns * i, columns, margin, drift);
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
  Lanes(const T *box, int64_t columns) {
    const BoxFrame<T> frame = box_frame_of(box, columns);
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

template <bool kMoves, class T>
LIDAR_EBM_HD void offset_of(const T *point, const T *box, T *offset) {
  offset_between<kMoves>(point, box[0], box[1], box[2], kMoves ? box[7] : T(0), kMoves ? box[8] : T(0), offset);
}

template <bool kMoves, class T>
void features_of(const T *points, const T *boxes, const Layout &at, T *features, int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  // Some candidates at a time for each point: where features are [v, s, width], theirs lie side by side.
  constexpr int64_t kMost = 8;
  const int64_t together = at.box_index ? kMost : 1, groups = (at.s + together - 1) / together;
  const int64_t of_point = at.point_columns, of_box = at.box_columns, width = at.width();
  parallel_ranges(at.n * groups, grain_of(at), threads, [&](int64_t begin, int64_t end) {
    Lanes<T> lanes[kMost];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / groups, first = i % groups * together, count = std::min(together, at.s - first);
      const T *centers = boxes + of_box * (box * at.s + first);
      for (int64_t c = 0; c < count; ++c) lanes[c] = Lanes<T>(centers + of_box * c, of_box);
      const int64_t first_row = at.first_row(box, first), step = at.row_step();
      for (int64_t point = spans[box].begin, last = spans[box].end; point < last; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + of_point * point;
        for (int64_t c = 0; c < count; ++c) {  // rows of one point follow each other, or there is but one
          T d[3];
          offset_of<kMoves>(p, centers + of_box * c, d);
          T *out = features + width * (first_row + point * step + c);
#pragma omp simd
          for (int j = 0; j < kLanes; ++j) out[j] = lane_value(lanes[c][j], d[0], d[1], d[2]);
          out[kReflectance] = p[3];
          if (width > kLanes) out[kLag] = p[kLagColumn];
        }
      }
    }
  });
}

template <bool kMoves, class T>
void gradient_to_boxes(const T *gradient, const T *points, const T *boxes, const Layout &at, T *result,
                       int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  const int64_t of_point = at.point_columns, of_box = at.box_columns, width = at.width();
  parallel_ranges(at.n * at.s, grain_of(at), threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / at.s, candidate = i % at.s;
      const T *center = boxes + of_box * i;
      const Lanes<T> lanes(center, of_box);
      const T *own = gradient + width * at.first_row(box, candidate);
      const int64_t step = width * at.row_step();
      alignas(64) T sum[kLanes] = {}, turn[kLanes] = {}, late[kLanes] = {};
      for (int64_t point = spans[box].begin, last = spans[box].end; point < last; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + of_point * point, *g = own + point * step;
        // A load under a mask waits for its mask, too late to hide the memory. Ahead lie the rows of this candidate's
        // next points, or of this point's next candidates.
        __builtin_prefetch(g + 16 * kLanes);
        T d[3];
        offset_of<kMoves>(p, center, d);
        const T lag = kMoves ? p[kLagColumn] : T(0);
#pragma omp simd
        for (int j = 0; j < kLanes; ++j) {
          const T passed = lane_gradient(lanes[j], d[0], d[1], d[2], g[j]);
          sum[j] += passed, turn[j] += passed * lane_turn(lanes[j], d[0], d[1]);
          if (kMoves) late[j] += passed * lag;
        }
      }
      T *out = result + of_box * i;
      std::fill_n(out, of_box, T(0));
      for (int j = 0; j < kLanes; ++j) add_lane<kMoves>(lanes[j], j, sum[j], turn[j], late[j], out);
    }
  });
}

template <bool kMoves, class T>
void gradient_to_points(const T *gradient, const T *points, const T *boxes, const Layout &at, T *result,
                        int64_t threads) {
  const std::vector<Span> spans = spans_of(at);
  const int64_t of_point = at.point_columns, of_box = at.box_columns, width = at.width();
  parallel_ranges(at.n, 1, threads, [&](int64_t first, int64_t last) {
    for (int64_t box = first; box < last; ++box) {
      const T *centers = boxes + of_box * box * at.s;
      std::vector<Lanes<T>> lanes;
      for (int64_t candidate = 0; candidate < at.s; ++candidate) {
        lanes.emplace_back(centers + of_box * candidate, of_box);
      }
      for (int64_t point = spans[box].begin; point < spans[box].end; ++point) {
        if (!at.owns(box, point)) continue;
        const T *p = points + of_point * point;
        alignas(64) T x[kLanes] = {}, y[kLanes] = {}, z[kLanes] = {}, late[kLanes] = {};
        T *out = result + of_point * point;
        std::fill_n(out, of_point, T(0));
        for (int64_t candidate = 0; candidate < at.s; ++candidate) {
          const T *center = centers + of_box * candidate;
          const T *g = gradient + width * (at.first_row(box, candidate) + point * at.row_step());
          T d[3];
          offset_of<kMoves>(p, center, d);
          const T velocity_x = kMoves ? center[7] : T(0), velocity_y = kMoves ? center[8] : T(0);
          const Lanes<T> &own = lanes[candidate];
#pragma omp simd
          for (int j = 0; j < kLanes; ++j) {
            const T passed = lane_gradient(own[j], d[0], d[1], d[2], g[j]);
            x[j] += own.x[j] * passed, y[j] += own.y[j] * passed, z[j] += own.z[j] * passed;
            if (kMoves) late[j] += (own.x[j] * velocity_x + own.y[j] * velocity_y) * passed;
          }
          out[3] += g[kReflectance];
          if (width > kLanes) out[kLagColumn] += g[kLag];
        }
        for (int j = 0; j < kLanes; ++j) out[0] += x[j], out[1] += y[j], out[2] += z[j];
        for (int j = 0; kMoves && j < kLanes; ++j) out[kLagColumn] += late[j];
      }
    }
  });
}

template <bool kMoves, class T>
void gradients(const T *gradient, const T *points, const T *boxes, const Layout &at, T *to_points, T *to_boxes,
               int64_t threads) {
  if (to_points) gradient_to_points<kMoves>(gradient, points, boxes, at, to_points, threads);
  if (to_boxes) gradient_to_boxes<kMoves>(gradient, points, boxes, at, to_boxes, threads);
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
      const PointGrid<T> grid(static_cast<const T *>(points), p, f, point_frame, containers(boxes, kStill, n, margin, 0.0),
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
                                const int64_t *, const double *boxes, int64_t columns, const int64_t *box_frame,
                                int64_t n, double margin_length, double margin_width, double margin_height,
                                double drift, int64_t k, int64_t seed, void *chosen, int64_t *counts, int32_t *,
                                int64_t *, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const double margin[3] = {margin_length, margin_width, margin_height};
      const PointGrid<T> grid(static_cast<const T *>(points), p, f, point_frame,
                              containers(boxes, columns, n, margin, drift), box_frame, columns == kMoving);
      gather(grid, static_cast<const T *>(points), f, n, k, seed, static_cast<T *>(chosen), counts, threads);
    });
  });
}

int lidar_ebm_box_frame_features(const void *points, int64_t pc, const int64_t *box_index, const void *boxes,
                                 int64_t bc, int64_t dtype, int64_t v, int64_t n, int64_t s, void *features, void *,
                                 int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const Layout at(box_index, v, pc, n, s, bc);
      const auto run = at.moves() ? features_of<true, T> : features_of<false, T>;
      run(static_cast<const T *>(points), static_cast<const T *>(boxes), at, static_cast<T *>(features), threads);
    });
  });
}

int lidar_ebm_box_frame_features_backward(const void *gradient, const void *points, int64_t pc,
                                          const int64_t *box_index, const void *boxes, int64_t bc, int64_t dtype,
                                          int64_t v, int64_t n, int64_t s, void *points_gradient,
                                          void *boxes_gradient, void *, int64_t *, int64_t threads, int64_t, void *) {
  return guarded([&] {
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const Layout at(box_index, v, pc, n, s, bc);
      const auto run = at.moves() ? gradients<true, T> : gradients<false, T>;
      run(static_cast<const T *>(gradient), static_cast<const T *>(points), static_cast<const T *>(boxes), at,
          static_cast<T *>(points_gradient), static_cast<T *>(boxes_gradient), threads);
    });
  });
}
