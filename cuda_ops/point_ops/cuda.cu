#include "launch.cuh"
#include "point_ops/kernel.h"

namespace lidar_ebm {

namespace {

static_assert(sizeof(Container) == 13 * sizeof(double), "native.h says how much scratch there is");
static_assert(sizeof(BoxFrame<float>) == 10 * sizeof(float), "native.h says how much scratch there is");

// 64-bit division is slow; most numbers are small.
__device__ int64_t quotient(int64_t a, int64_t b) {
  return (uint64_t(a) | uint64_t(b)) >> 32 ? a / b : int64_t(uint32_t(a) / uint32_t(b));
}

// ------------------------------------------------------------------------------------------------ points in boxes

template <class T>
void points_in_boxes(const T *points, int64_t p, int64_t f, const int64_t *point_frame, const double *boxes,
                     const int64_t *box_frame, int64_t n, bool first, void *held, Container *scratch, void *stream) {
  launch_each(n, stream, [=] __device__(int64_t i) {
    const double margin[3] = {0.0, 0.0, 0.0};
    scratch[i] = container_of(boxes + kStill * i, kStill, margin, 0.0);
  });
  const Container *containers = scratch;
  if (first) {
    int64_t *own = static_cast<int64_t *>(held);
    launch_each(p, stream, [=] __device__(int64_t i) {
      const T *point = points + i * f;
      for (int64_t box = 0; box < n; ++box) {
        if (point_frame && point_frame[i] != box_frame[box]) continue;
        if (!holds(containers[box], point[0], point[1], point[2])) continue;
        own[i] = box;
        return;
      }
    });
  } else {
    uint8_t *mask = static_cast<uint8_t *>(held);
    launch_each(p * n, stream, [=] __device__(int64_t k) {
      const int64_t i = quotient(k, n), box = k - i * n;
      if (point_frame && point_frame[i] != box_frame[box]) return;
      const T *point = points + i * f;
      if (holds(containers[box], point[0], point[1], point[2])) mask[k] = 1;
    });
  }
}

// ------------------------------------------------------------------------------------------------ gather near boxes

constexpr int kGatherThreads = 256;  // a block for each box; as many as there are values of a byte

// visit(hash, row) in some thread for each point of the box's frame that the box holds.
template <class T, class Visit>
__device__ void each_held(const Container &box, bool moving, const T *points, int64_t f, const int64_t *order,
                          int64_t begin, int64_t end, uint32_t start, const Visit &visit) {
  for (int64_t i = begin + threadIdx.x; i < end; i += kGatherThreads) {
    const int64_t row = order[i];
    const T *point = points + row * f;
    const bool held = moving ? holds(box, point[0], point[1], point[2], point[kLagColumn])
                             : holds(box, point[0], point[1], point[2]);
    if (held) visit(hash_of(start, i - begin), row);
  }
}

template <class T>
__global__ void gather_kernel(const T *points, int64_t p, int64_t f, const int64_t *point_frame, const int64_t *order,
                              const double *boxes, int64_t columns, const int64_t *box_frame, int64_t n,
                              double margin_length, double margin_width, double margin_height, double drift,
                              int64_t k, uint32_t start, T *chosen, int64_t *counts, uint32_t *all_hashes,
                              int64_t *all_rows) {
  __shared__ Container box;
  __shared__ int64_t begin, end;
  __shared__ unsigned long long bins[kGatherThreads], total, taken;
  __shared__ uint32_t threshold;
  const bool moving = columns == kMoving && f > kLagColumn;
  for (int64_t b = blockIdx.x; b < n; b += gridDim.x) {
    __syncthreads();  // the box before this one is done with the shared memory
    if (threadIdx.x == 0) {
      const double margin[3] = {margin_length, margin_width, margin_height};
      box = container_of(boxes + columns * b, columns, margin, drift);
      begin = first_not_below(point_frame, p, box_frame[b]);
      end = first_not_below(point_frame, p, box_frame[b] + 1);
      total = 0, taken = 0, threshold = 0;
    }
    __syncthreads();

    // The k-th lowest hash, byte by byte from the highest: of the hashes that share the bytes found so far, count how
    // many have each next byte, and walk up to the byte that reaches k. Lower ones have been counted in `taken`.
    for (int shift = 24; shift >= 0; shift -= 8) {
      bins[threadIdx.x] = 0;
      __syncthreads();
      const uint32_t found = threshold, known = shift == 24 ? 0u : ~0u << (shift + 8);
      each_held(box, moving, points, f, order, begin, end, start, [&](uint32_t hash, int64_t) {
        if ((hash & known) == found) atomicAdd(&bins[(hash >> shift) & 255], 1ull);
      });
      __syncthreads();
      if (threadIdx.x == 0) {
        if (shift == 24) {
          for (int i = 0; i < kGatherThreads; ++i) total += bins[i];
        }
        int byte = 0;
        while (byte < 255 && taken + bins[byte] < uint64_t(k)) taken += bins[byte++];
        threshold |= uint32_t(byte) << shift;
        if (total <= uint64_t(k)) threshold = ~0u;  // all of them
      }
      __syncthreads();
      if (total <= uint64_t(k)) break;
    }
    if (threadIdx.x == 0) counts[b] = int64_t(total), taken = 0;
    __syncthreads();
    if (k == 0) continue;

    // No two hashes are equal, so at most k of them are not above the threshold.
    uint32_t *hashes = all_hashes + b * k;
    int64_t *rows = all_rows + b * k;
    const uint32_t most = threshold;
    each_held(box, moving, points, f, order, begin, end, start, [&](uint32_t hash, int64_t row) {
      if (hash > most) return;
      const int64_t place = int64_t(atomicAdd(&taken, 1ull));
      if (place < k) hashes[place] = hash, rows[place] = row;
    });
    __syncthreads();
    const int64_t kept = taken < uint64_t(k) ? int64_t(taken) : k;
    for (int64_t i = threadIdx.x; i < kept; i += kGatherThreads) {
      int64_t rank = 0;
      for (int64_t j = 0; j < kept; ++j) rank += hashes[j] < hashes[i];
      for (int64_t c = 0; c < f; ++c) chosen[(b * k + rank) * f + c] = points[rows[i] * f + c];
    }
  }
}

// --------------------------------------------------------------------------------------------- as boxes see points

template <class T>
void find_frames(const T *boxes, int64_t columns, int64_t count, BoxFrame<T> *frames, void *stream) {
  launch_each(count, stream, [=] __device__(int64_t i) { frames[i] = box_frame_of(boxes + columns * i, columns); });
}

template <bool kMoves, class T>
__device__ void offset_of(const T *point, const BoxFrame<T> &frame, T *offset) {
  offset_between<kMoves>(point, frame.x, frame.y, frame.z, frame.velocity_x, frame.velocity_y, offset);
}

// kWidth is at.width(), which the compiler must know to divide by it quickly.
template <int kWidth, bool kMoves, class T>
void features_of(const T *points, const T *boxes, Layout at, T *features, BoxFrame<T> *scratch, void *stream) {
  find_frames(boxes, at.box_columns, at.n * at.s, scratch, stream);
  const BoxFrame<T> *frames = scratch;
  launch_each(at.v * at.s * kWidth, stream, [=] __device__(int64_t i) {
    const int64_t row = i / kWidth;
    const int lane = int(i % kWidth);
    int64_t point, box, candidate;
    if (at.box_index) {
      point = quotient(row, at.s), candidate = row - point * at.s, box = at.box_index[point];
    } else {
      const int64_t all = quotient(row, at.k);
      box = quotient(all, at.s), candidate = all - box * at.s, point = box * at.k + (row - all * at.k);
    }
    if (box < 0 || box >= at.n) {
      features[i] = T(NAN);
      return;
    }
    const T *p = points + at.point_columns * point;
    if (lane >= kReflectance) {
      features[i] = p[3 + lane - kReflectance];
      return;
    }
    const BoxFrame<T> frame = frames[box * at.s + candidate];
    T d[3];
    offset_of<kMoves>(p, frame, d);
    features[i] = lane_value(lane_of(frame, lane), d[0], d[1], d[2]);
  });
}

// Where the points of each box begin and end. The order in which threads come does not matter to a minimum.
void find_spans(const Layout &at, Span *spans, void *stream) {
  const int64_t *box_index = at.box_index;
  const int64_t v = at.v, n = at.n;
  launch_each(v, stream, [=] __device__(int64_t i) {
    const int64_t box = box_index[i];
    if (box < 0 || box >= n) return;
    if (i == 0 || box_index[i - 1] != box) atomicMin(reinterpret_cast<long long *>(&spans[box].begin), (long long)(i));
    if (i == v - 1 || box_index[i + 1] != box) {
      atomicMax(reinterpret_cast<long long *>(&spans[box].end), (long long)(i + 1));
    }
  });
}

constexpr int kWarp = 32;

template <class T>
__device__ T sum_over_warp(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// A warp for each candidate box: half of it takes every other point, each thread one lane of features.
template <bool kMoves, class T>
void gradient_to_boxes(const T *gradient, const T *points, const BoxFrame<T> *frames, const Span *spans, Layout at,
                       T *result, void *stream) {
  const int64_t width = at.width();
  launch_each(at.n * at.s * kWarp, stream, [=] __device__(int64_t i) {
    const int64_t candidate_box = i / kWarp, box = quotient(candidate_box, at.s);
    const int64_t candidate = candidate_box - box * at.s;
    const int thread = int(i % kWarp), index = thread % kLanes;
    const BoxFrame<T> frame = frames[candidate_box];
    const Lane<T> lane = lane_of(frame, index);
    const int64_t begin = at.box_index ? spans[box].begin : box * at.k;
    const int64_t end = at.box_index ? spans[box].end : (box + 1) * at.k;
    const T *own_gradient = gradient + width * at.first_row(box, candidate) + index;
    T sum = T(0), turn = T(0), late = T(0);
    for (int64_t point = begin + thread / kLanes; point < end; point += kWarp / kLanes) {
      if (!at.owns(box, point)) continue;
      const T *p = points + at.point_columns * point;
      T d[3];
      offset_of<kMoves>(p, frame, d);
      const T passed = lane_gradient(lane, d[0], d[1], d[2], own_gradient[width * point * at.row_step()]);
      sum += passed, turn += passed * lane_turn(lane, d[0], d[1]);
      if (kMoves) late += passed * p[kLagColumn];
    }
    T own[kMoving] = {};
    add_lane<kMoves>(lane, index, sum, turn, late, own);
    for (int j = 0; j < kMoving; ++j) {
      if (j >= at.box_columns) break;
      const T all = sum_over_warp(own[j]);
      if (thread == 0) result[at.box_columns * candidate_box + j] = all;
    }
  });
}

// A warp for each point: half of it takes every other candidate, each thread one lane of features.
template <bool kMoves, class T>
void gradient_to_points(const T *gradient, const T *points, const BoxFrame<T> *frames, Layout at, T *result,
                        void *stream) {
  const int64_t width = at.width();
  launch_each(at.v * kWarp, stream, [=] __device__(int64_t i) {
    const int64_t point = i / kWarp, box = at.box_index ? at.box_index[point] : quotient(point, at.k);
    const int thread = int(i % kWarp), index = thread % kLanes;
    const T *p = points + at.point_columns * point;
    T own[kLagColumn + 1] = {};
    const int64_t candidates = box < 0 || box >= at.n ? 0 : at.s;
    for (int64_t candidate = thread / kLanes; candidate < candidates; candidate += kWarp / kLanes) {
      const BoxFrame<T> frame = frames[box * at.s + candidate];
      const Lane<T> lane = lane_of(frame, index);
      const T *row = gradient + width * (at.first_row(box, candidate) + point * at.row_step());
      T d[3];
      offset_of<kMoves>(p, frame, d);
      const T passed = lane_gradient(lane, d[0], d[1], d[2], row[index]);
      own[0] += lane.x * passed, own[1] += lane.y * passed, own[2] += lane.z * passed;
      if (kMoves) own[kLagColumn] += (lane.x * frame.velocity_x + lane.y * frame.velocity_y) * passed;
      if (index != kReflectance) continue;
      own[3] += row[kReflectance];
      if (at.has_lag()) own[kLagColumn] += row[kLag];
    }
    for (int j = 0; j < kLagColumn + 1; ++j) {
      if (j >= at.point_columns) break;
      const T all = sum_over_warp(own[j]);
      if (thread == 0) result[at.point_columns * point + j] = all;
    }
  });
}

template <bool kMoves, class T>
void gradients(const T *gradient, const T *points, const BoxFrame<T> *frames, const Span *spans, const Layout &at,
               T *to_points, T *to_boxes, void *stream) {
  if (to_points) gradient_to_points<kMoves>(gradient, points, frames, at, to_points, stream);
  if (to_boxes) gradient_to_boxes<kMoves>(gradient, points, frames, spans, at, to_boxes, stream);
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_points_in_boxes(const void *points, int64_t dtype, int64_t p, int64_t f, const int64_t *point_frame,
                              const double *boxes, const int64_t *box_frame, int64_t n, int64_t first, void *held,
                              double *scratch, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      points_in_boxes(static_cast<const T *>(points), p, f, point_frame, boxes, box_frame, n, first != 0, held,
                      reinterpret_cast<Container *>(scratch), stream);
    });
  });
}

int lidar_ebm_gather_near_boxes(const void *points, int64_t dtype, int64_t p, int64_t f, const int64_t *point_frame,
                                const int64_t *order, const double *boxes, int64_t columns, const int64_t *box_frame,
                                int64_t n, double margin_length, double margin_width, double margin_height,
                                double drift, int64_t k, int64_t seed, void *chosen, int64_t *counts, int32_t *hashes,
                                int64_t *rows, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      if (n <= 0) return;
      const unsigned blocks = unsigned(std::min(n, kMostBlocks));
      gather_kernel<T><<<blocks, kGatherThreads, 0, static_cast<cudaStream_t>(stream)>>>(
          static_cast<const T *>(points), p, f, point_frame, order, boxes, columns, box_frame, n, margin_length,
          margin_width, margin_height, drift, k, hash_start(seed), static_cast<T *>(chosen), counts,
          reinterpret_cast<uint32_t *>(hashes), rows);
      check_cuda(cudaGetLastError(), "kernel launch");
    });
  });
}

int lidar_ebm_box_frame_features(const void *points, int64_t pc, const int64_t *box_index, const void *boxes,
                                 int64_t bc, int64_t dtype, int64_t v, int64_t n, int64_t s, void *features,
                                 void *frames, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const Layout at(box_index, v, pc, n, s, bc);
      const auto run = at.moves()     ? features_of<kLanes + 1, true, T>
                       : at.has_lag() ? features_of<kLanes + 1, false, T>
                                      : features_of<kLanes, false, T>;
      run(static_cast<const T *>(points), static_cast<const T *>(boxes), at, static_cast<T *>(features),
          static_cast<BoxFrame<T> *>(frames), stream);
    });
  });
}

int lidar_ebm_box_frame_features_backward(const void *gradient, const void *points, int64_t pc,
                                          const int64_t *box_index, const void *boxes, int64_t bc, int64_t dtype,
                                          int64_t v, int64_t n, int64_t s, void *points_gradient,
                                          void *boxes_gradient, void *frames, int64_t *spans, int64_t, int64_t device,
                                          void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const Layout at(box_index, v, pc, n, s, bc);
      BoxFrame<T> *scratch = static_cast<BoxFrame<T> *>(frames);
      Span *ranges = reinterpret_cast<Span *>(spans);
      find_frames(static_cast<const T *>(boxes), bc, n * s, scratch, stream);
      if (boxes_gradient && box_index) find_spans(at, ranges, stream);
      const auto run = at.moves() ? gradients<true, T> : gradients<false, T>;
      run(static_cast<const T *>(gradient), static_cast<const T *>(points), scratch, ranges, at,
          static_cast<T *>(points_gradient), static_cast<T *>(boxes_gradient), stream);
    });
  });
}
