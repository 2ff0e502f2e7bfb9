#include "box_sampling/kernel.h"
#include "launch.cuh"

namespace lidar_ebm {

namespace {

// A block works on one box, a group of its points and a stretch of channels: lanes lie along the channels where the map
// is read, along the points where numbers of the boxes, [channels, points], are. The tile in between turns them over.
constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kPoints = 32, kChannels = 128;

// Rows an odd number of 4-byte words apart keep both ways of walking over the tile free of bank conflicts.
template <class T>
constexpr int kPitch = sizeof(T) == 2 ? kChannels + 2 : kChannels + 1;

// V neighbouring numbers that are loaded at once.
template <class T, int V>
struct alignas(V * sizeof(T)) Pack {
  T value[V];
};

template <class P>
struct Work {
  MapShape shape;
  Grid grid;
  const P *boxes;
  const int64_t *frame_of;
  int64_t n;

  int64_t groups() const { return (grid.points() + kPoints - 1) / kPoints; }
  int64_t stretches() const { return (shape.channels + kChannels - 1) / kChannels; }
};

// A box's points first..first + count, in shared memory.
template <class P>
struct Group {
  Placed<P> box;
  Spot<P> spots[kPoints];

  __device__ void locate_all(const Work<P> &work, int64_t i, int64_t first, int count) {
    if (int(threadIdx.x) < count) {
      const Placed<P> placed = place(work.boxes + 7 * i);
      spots[threadIdx.x] = locate(placed, first + threadIdx.x, work.frame_of[i], work.grid, work.shape);
      if (threadIdx.x == 0) box = placed;
    }
  }
};

__device__ __forceinline__ int at_most(int64_t left, int most) { return int(left < most ? left : most); }

// V: how many channels a load takes; 0: channels that lie apart, with the lanes along the points instead.
template <int V, class T, class P>
__global__ void read_kernel(const T *map, Work<P> work, int64_t groups, int64_t stretches, T *out) {
  using A = Wide<T>;
  constexpr int kStep = V > 0 ? V : 1;
  __shared__ Group<P> group;
  __shared__ alignas(16) T tile[V > 0 ? kPoints * kPitch<T> : 1];
  const MapShape &shape = work.shape;
  const int64_t points = work.grid.points(), total = work.n * groups * stretches;
  for (int64_t block = blockIdx.x; block < total; block += gridDim.x) {
    const int64_t i = block / (groups * stretches);
    const int64_t first_point = block / stretches % groups * kPoints, first = block % stretches * kChannels;
    const int count = at_most(points - first_point, kPoints), channels = at_most(shape.channels - first, kChannels);
    T *const to = out + (i * shape.channels + first) * points + first_point;
    __syncthreads();  // the tile of the block before this one has been read
    group.locate_all(work, i, first_point, count);
    __syncthreads();
    if (V > 0) {
      for (int g = threadIdx.x / 32; g < count; g += kWarps) {
        const Spot<P> spot = group.spots[g];
        A weight[4];
        for (int k = 0; k < 4; ++k) weight[k] = spot.has(k) ? A(spot.weight(k)) : A(0);
        for (int c = threadIdx.x % 32 * kStep; c < channels; c += 32 * kStep) {
          using Values = Pack<T, kStep>;
          Values values[4] = {};
          for (int k = 0; k < 4; ++k) {
            const T *at = map + spot.offset(k, shape) + first + c;
            if (spot.has(k)) values[k] = *reinterpret_cast<const Values *>(at);
          }
          A sum[kStep] = {};
          for (int k = 0; k < 4; ++k) {
            for (int v = 0; v < kStep; ++v) sum[v] += weight[k] * widen(values[k].value[v]);
          }
          for (int v = 0; v < kStep; ++v) tile[g * kPitch<T> + c + v] = narrow<T>(sum[v]);
        }
      }
      __syncthreads();
    }
    for (int index = threadIdx.x; index < channels * count; index += kThreads) {
      const int c = index / count, g = index % count;
      if (V > 0) {
        to[c * points + g] = tile[g * kPitch<T> + c];
        continue;
      }
      const Spot<P> spot = group.spots[g];
      A sum = 0;
      for (int k = 0; k < 4; ++k) {
        if (!spot.has(k)) continue;
        sum += A(spot.weight(k)) * widen(map[spot.offset(k, shape) + (first + c) * shape.channel_stride]);
      }
      to[c * points + g] = narrow<T>(sum);
    }
  }
}

// gradient [channels, points] of a box, turned over into the tile.
template <class T>
__device__ void load_tile(const T *gradient, int64_t points, int channels, int count, T *tile) {
  for (int index = threadIdx.x; index < channels * count; index += kThreads) {
    const int c = index / count, g = index % count;
    tile[g * kPitch<T> + c] = gradient[c * points + g];
  }
}

// A block for a box, which adds up in an order that never changes.
template <class T, class P>
__global__ void grad_boxes_kernel(const T *map, Work<P> work, const T *gradient, P *box_gradient) {
  using A = Wide<T>;
  constexpr int kOwn = kPoints / kWarps;  // points of a warp
  __shared__ Group<P> group;
  __shared__ T tile[kPoints * kPitch<T>];
  __shared__ A dots[kPoints][4];
  const MapShape &shape = work.shape;
  const int64_t points = work.grid.points();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int64_t i = blockIdx.x; i < work.n; i += gridDim.x) {
    BoxGradient<P> total;  // of thread 0
    for (int64_t first_point = 0; first_point < points; first_point += kPoints) {
      const int count = at_most(points - first_point, kPoints);
      __syncthreads();  // the group before this one has been added up
      group.locate_all(work, i, first_point, count);
      A sum[kOwn][4] = {};
      for (int64_t first = 0; first < shape.channels; first += kChannels) {
        const int channels = at_most(shape.channels - first, kChannels);
        __syncthreads();
        load_tile(gradient + (i * shape.channels + first) * points + first_point, points, channels, count, tile);
        __syncthreads();
        for (int own = 0; own < kOwn; ++own) {
          const int g = warp + own * kWarps;
          if (g >= count) break;
          const Spot<P> spot = group.spots[g];
          for (int c = lane; c < channels; c += 32) {
            const A factor = widen(tile[g * kPitch<T> + c]);
            for (int k = 0; k < 4; ++k) {
              if (!spot.has(k)) continue;
              sum[own][k] += factor * widen(map[spot.offset(k, shape) + (first + c) * shape.channel_stride]);
            }
          }
        }
      }
      for (int own = 0; own < kOwn; ++own) {
        for (int k = 0; k < 4; ++k) {
          A value = sum[own][k];
          for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
          if (lane == 0) dots[warp + own * kWarps][k] = value;
        }
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        for (int g = 0; g < count; ++g) total.add(group.box, first_point + g, group.spots[g], work.grid, dots[g]);
      }
    }
    if (threadIdx.x == 0) total.store(box_gradient + 7 * i);
  }
}

template <class A, class P>
__global__ void grad_map_kernel(A *map_gradient, Work<P> work, int64_t groups, int64_t stretches, const A *gradient) {
  __shared__ Group<P> group;
  __shared__ A tile[kPoints * kPitch<A>];
  const MapShape &shape = work.shape;
  const int64_t points = work.grid.points(), total = work.n * groups * stretches;
  for (int64_t block = blockIdx.x; block < total; block += gridDim.x) {
    const int64_t i = block / (groups * stretches);
    const int64_t first_point = block / stretches % groups * kPoints, first = block % stretches * kChannels;
    const int count = at_most(points - first_point, kPoints), channels = at_most(shape.channels - first, kChannels);
    __syncthreads();  // the tile of the block before this one has been read
    group.locate_all(work, i, first_point, count);
    load_tile(gradient + (i * shape.channels + first) * points + first_point, points, channels, count, tile);
    __syncthreads();
    for (int g = threadIdx.x / 32; g < count; g += kWarps) {
      const Spot<P> spot = group.spots[g];
      for (int k = 0; k < 4; ++k) {
        if (!spot.has(k)) continue;
        A *const to = map_gradient + spot.offset(k, shape) + first * shape.channel_stride;
        for (int c = threadIdx.x % 32; c < channels; c += 32) {
          atomicAdd(to + c * shape.channel_stride, A(spot.weight(k)) * tile[g * kPitch<A> + c]);
        }
      }
    }
  }
}

unsigned blocks_for(int64_t wanted) { return unsigned(std::min(wanted, kMostBlocks)); }

// Whether two neighbouring channels can be loaded as one.
template <class T>
bool allows_pairs(const T *map, const MapShape &s) {
  const int64_t together = s.channels | s.frame_stride | s.row_stride | s.column_stride;
  return together % 2 == 0 && reinterpret_cast<uintptr_t>(map) % (2 * sizeof(T)) == 0;
}

template <class T, class P>
void part_scores(const T *map, const Work<P> &work, T *out, void *stream) {
  const int64_t parts = work.shape.channels / work.grid.points();
  launch_each(work.n * parts, stream, [=] __device__(int64_t index) {
    const int64_t i = index / parts;
    out[index] = part_score(map, work.shape, work.boxes + 7 * i, work.frame_of[i], work.grid, index % parts);
  });
}

template <class T, class P>
void read_boxes(const T *map, const Work<P> &work, bool parts, T *out, void *stream) {
  if (parts) return part_scores(map, work, out, stream);
  const int64_t groups = work.groups(), stretches = work.stretches();
  const unsigned blocks = blocks_for(work.n * groups * stretches);
  if (blocks == 0) return;
  const auto queue = static_cast<cudaStream_t>(stream);
  if (work.shape.channel_stride != 1) {
    read_kernel<0><<<blocks, kThreads, 0, queue>>>(map, work, groups, stretches, out);
  } else if (sizeof(T) == 2 && allows_pairs(map, work.shape)) {
    read_kernel<sizeof(T) == 2 ? 2 : 1><<<blocks, kThreads, 0, queue>>>(map, work, groups, stretches, out);
  } else {
    read_kernel<1><<<blocks, kThreads, 0, queue>>>(map, work, groups, stretches, out);
  }
  check_cuda(cudaGetLastError(), "kernel launch");
}

template <class T, class P>
void part_grad_boxes(const T *map, const Work<P> &work, const T *gradient, P *box_gradient, void *stream) {
  const int64_t parts = work.shape.channels / work.grid.points();
  launch_each(work.n, stream, [=] __device__(int64_t i) {
    part_box_gradient(map, work.shape, work.boxes + 7 * i, work.frame_of[i], work.grid, gradient + i * parts,
                      box_gradient + 7 * i);
  });
}

template <class T, class P>
void grad_boxes(const T *map, const Work<P> &work, bool parts, const T *gradient, P *box_gradient, void *stream) {
  if (parts) return part_grad_boxes(map, work, gradient, box_gradient, stream);
  if (work.n == 0) return;
  grad_boxes_kernel<<<blocks_for(work.n), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(map, work, gradient,
                                                                                           box_gradient);
  check_cuda(cudaGetLastError(), "kernel launch");
}

template <class A, class P>
void part_grad_map(A *map_gradient, const Work<P> &work, const A *gradient, void *stream) {
  const int64_t points = work.grid.points(), parts = work.shape.channels / points;
  launch_each(work.n * points, stream, [=] __device__(int64_t index) {
    const int64_t i = index / points, g = index % points;
    const Spot<P> spot = locate(place(work.boxes + 7 * i), g, work.frame_of[i], work.grid, work.shape);
    for (int k = 0; k < 4; ++k) {
      if (!spot.has(k)) continue;
      A *const to = map_gradient + spot.offset(k, work.shape) + g * work.shape.channel_stride;
      const A factor = A(spot.weight(k)) / A(points);
      for (int64_t part = 0; part < parts; ++part) {
        atomicAdd(to + part * points * work.shape.channel_stride, factor * gradient[i * parts + part]);
      }
    }
  });
}

template <class A, class P>
void grad_map(A *map_gradient, const Work<P> &work, bool parts, const A *gradient, void *stream) {
  if (parts) return part_grad_map(map_gradient, work, gradient, stream);
  const int64_t groups = work.groups(), stretches = work.stretches();
  const unsigned blocks = blocks_for(work.n * groups * stretches);
  if (blocks == 0) return;
  grad_map_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(map_gradient, work, groups, stretches,
                                                                              gradient);
  check_cuda(cudaGetLastError(), "kernel launch");
}

// A thread for each entry and number; those of the first entry of a target add up its run.
template <class A>
void sum_runs(const A *rows, int64_t entries, int64_t count, const A *weight, const int64_t *target,
              const int64_t *order, int64_t stride, A *into, void *stream) {
  launch_each(entries * count, stream, [=] __device__(int64_t index) {
    const int64_t begin = index / count, m = index % count, own = target[begin];
    if (own < 0 || (begin > 0 && target[begin - 1] == own)) return;
    A sum = 0;
    for (int64_t j = begin; j < entries && target[j] == own; ++j) {
      sum += weight[order[j]] * rows[order[j] / 4 * count + m];
    }
    into[own + m * stride] += sum;
  });
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_sampling_read(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes, int64_t box_dtype,
                                const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID, int64_t parts, void *out, int64_t,
                                int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_types(dtype, box_dtype, [&](auto map_type, auto box_type) {
      using T = typename decltype(map_type)::type;
      using P = typename decltype(box_type)::type;
      const Work<P> work{shape, grid, static_cast<const P *>(boxes), frame_of, n};
      read_boxes(static_cast<const T *>(map), work, parts != 0, static_cast<T *>(out), stream);
    });
  });
}

int lidar_ebm_box_sampling_grad_boxes(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                      int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                      int64_t parts, const void *gradient, void *box_gradient, int64_t, int64_t device,
                                      void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_types(dtype, box_dtype, [&](auto map_type, auto box_type) {
      using T = typename decltype(map_type)::type;
      using P = typename decltype(box_type)::type;
      const Work<P> work{shape, grid, static_cast<const P *>(boxes), frame_of, n};
      grad_boxes(static_cast<const T *>(map), work, parts != 0, static_cast<const T *>(gradient),
                 static_cast<P *>(box_gradient), stream);
    });
  });
}

int lidar_ebm_box_sampling_grad_map(void *map_gradient, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                    int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                    int64_t parts, const void *gradient, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const MapShape shape{frames, channels, height, width, frame_stride, channel_stride, row_stride, column_stride};
    const Grid grid{across, along, origin_x, origin_y, cell_x, cell_y};
    dispatch_wide(dtype, [&](auto map_type) {
      dispatch_wide(box_dtype, [&](auto box_type) {
        using A = typename decltype(map_type)::type;
        using P = typename decltype(box_type)::type;
        const Work<P> work{shape, grid, static_cast<const P *>(boxes), frame_of, n};
        grad_map(static_cast<A *>(map_gradient), work, parts != 0, static_cast<const A *>(gradient), stream);
      });
    });
  });
}

int lidar_ebm_box_sampling_sum_runs(const void *rows, int64_t dtype, int64_t entries, int64_t count, const void *weight,
                                    const int64_t *target, const int64_t *order, int64_t stride, void *into, int64_t,
                                    int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using A = typename decltype(type)::type;
      sum_runs(static_cast<const A *>(rows), entries, count, static_cast<const A *>(weight), target, order, stride,
               static_cast<A *>(into), stream);
    });
  });
}
