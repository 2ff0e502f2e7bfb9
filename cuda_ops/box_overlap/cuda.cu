#include "box_overlap/kernel.h"
#include "launch.cuh"

namespace lidar_ebm {

namespace {

using Bits = unsigned long long;  // as atomicOr and __ffsll have it

constexpr int kBlock = 256;
constexpr int kTile = 2048;  // pairs that a block compares in one turn

unsigned blocks_for(int64_t tiles) { return unsigned(std::min(tiles, kMostBlocks)); }

// Makes boxes, in this order or (null) their own, ready in `memory`.
template <class T>
BoxTable<T> table_of(const T *boxes, const int64_t *order, int64_t count, double *memory, void *stream) {
  const BoxTable<T> table(memory, count);
  launch_each(count, stream, [=] __device__(int64_t i) { table.set(i, boxes + 7 * (order ? order[i] : i)); });
  return table;
}

// Few pairs are near, and float64 is slow on most GPUs: a block first tests the circles of a tile of pairs and collects
// the near ones, then shares those out evenly among its threads.
template <bool kUseHeight, class T>
__global__ void __launch_bounds__(kBlock) iou_kernel(BoxTable<T> a, BoxTable<T> b, bool aligned, T *iou) {
  __shared__ int near_pairs[kTile];
  __shared__ int near_count;
  const int64_t m = b.count(), pairs = aligned ? m : a.count() * m, step = int64_t(gridDim.x) * kTile;
  for (int64_t tile = int64_t(blockIdx.x) * kTile; tile < pairs; tile += step) {
    const int64_t first_row = tile / m, first_column = tile % m;
    const auto row_of = [&](int k) {
      const int64_t column = first_column + k;
      return aligned ? tile + k : column < m ? first_row : first_row + column / m;
    };
    const auto column_of = [&](int k) {
      const int64_t column = first_column + k;
      return aligned ? tile + k : column < m ? column : column % m;
    };
    if (threadIdx.x == 0) near_count = 0;
    __syncthreads();
    for (int k = threadIdx.x; k < kTile && tile + k < pairs; k += kBlock) {
      if (may_overlap(a, row_of(k), b, column_of(k))) {
        near_pairs[atomicAdd(&near_count, 1)] = k;
      } else {
        iou[tile + k] = T(0);
      }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < near_count; at += kBlock) {
      const int k = near_pairs[at];
      iou[tile + k] = T(pair_iou<kUseHeight>(a[row_of(k)], b[column_of(k)]));
    }
    __syncthreads();  // before the next tile resets the count
  }
}

template <bool kUseHeight, class T>
void launch_iou(const BoxTable<T> &a, const BoxTable<T> &b, bool aligned, T *iou, void *stream) {
  const int64_t pairs = aligned ? a.count() : a.count() * b.count();
  if (pairs == 0) return;
  iou_kernel<kUseHeight>
      <<<blocks_for((pairs + kTile - 1) / kTile), kBlock, 0, static_cast<cudaStream_t>(stream)>>>(a, b, aligned, iou);
  check_cuda(cudaGetLastError(), "iou_kernel launch");
}

// What both kernels of the suppression read. Rows are boxes in the order of their turns, 64 of them a block; `words`
// is the number of blocks. `bits` [64 * blocks held, words]: bit k of word w says that box 64 w + k goes if this one
// stays.
struct Suppression {
  const int64_t *order, *frames, *labels;
  int64_t n, words;
  double threshold;
  Bits *bits, *removed;  // removed [words]: the boxes that are gone already
};

// Fills the bits of `row_blocks` blocks from `first_block` on, of boxes that are not gone against those after them.
template <class T>
__global__ void __launch_bounds__(kBlock)
    overlap_kernel(BoxTable<T> table, Suppression s, int64_t first_block, int64_t row_blocks) {
  __shared__ unsigned short near_pairs[64 * 64];
  __shared__ int near_count;
  __shared__ Bits over[64];
  for (int64_t tile = blockIdx.x; tile < row_blocks * s.words; tile += gridDim.x) {
    const int64_t row_block = first_block + tile / s.words, column_block = tile % s.words;
    if (column_block < row_block) continue;  // the same for the whole block of threads
    if (threadIdx.x == 0) near_count = 0;
    if (threadIdx.x < 64) over[threadIdx.x] = 0;
    __syncthreads();
    const Bits gone_rows = s.removed[row_block], gone_columns = s.removed[column_block];
    for (int k = threadIdx.x; k < 64 * 64; k += kBlock) {
      const int64_t row = row_block * 64 + k / 64, column = column_block * 64 + k % 64;
      if (column >= s.n || column <= row || (gone_rows >> (k / 64) & 1) || (gone_columns >> (k % 64) & 1)) continue;
      if (s.threshold >= 0.0 && !may_overlap(table, row, table, column)) continue;
      const int64_t i = s.order[row], j = s.order[column];
      if ((s.frames && s.frames[i] != s.frames[j]) || (s.labels && s.labels[i] != s.labels[j])) continue;
      near_pairs[atomicAdd(&near_count, 1)] = static_cast<unsigned short>(k);
    }
    __syncthreads();
    for (int at = threadIdx.x; at < near_count; at += kBlock) {
      const int k = near_pairs[at];
      const Outline kept = table[row_block * 64 + k / 64], other = table[column_block * 64 + k % 64];
      if (pair_iou<false>(kept, other) > s.threshold) atomicOr(&over[k / 64], Bits(1) << (k % 64));
    }
    __syncthreads();
    if (threadIdx.x < 64) {
      s.bits[((row_block - first_block) * 64 + threadIdx.x) * s.words + column_block] = over[threadIdx.x];
    }
    __syncthreads();  // before the next tile resets what was read
  }
}

// One block of threads decides over those blocks of boxes, in order: its first thread box by box within 64, then all of
// them what the kept ones remove further on.
__global__ void __launch_bounds__(1024)
    keep_kernel(Suppression s, int64_t first_block, int64_t row_blocks, int64_t most, int64_t *kept_in_frame,
                int64_t *kept, int64_t *count) {
  __shared__ Bits diagonal[64], staying;
  __shared__ int64_t index[64], frame[64];
  for (int64_t block = first_block; block < first_block + row_blocks; ++block) {
    const Bits *rows = s.bits + (block - first_block) * 64 * s.words;
    const int boxes = int(s.n - block * 64 < 64 ? s.n - block * 64 : 64);
    if (threadIdx.x < boxes) {
      diagonal[threadIdx.x] = rows[threadIdx.x * s.words + block];
      index[threadIdx.x] = s.order[block * 64 + threadIdx.x];
      frame[threadIdx.x] = s.frames ? s.frames[index[threadIdx.x]] : 0;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Bits gone = s.removed[block], stay = 0;
      int64_t total = *count;
      for (int k = 0; k < boxes; ++k) {
        if ((gone >> k & 1) || kept_in_frame[frame[k]] >= most) continue;
        ++kept_in_frame[frame[k]];
        kept[total++] = index[k];
        stay |= Bits(1) << k;
        gone |= diagonal[k];
      }
      *count = total;
      staying = stay;
    }
    __syncthreads();
    for (int64_t word = block + 1 + threadIdx.x; word < s.words; word += blockDim.x) {
      Bits gone = s.removed[word];
      for (Bits left = staying; left != 0; left &= left - 1) gone |= rows[(__ffsll(left) - 1) * s.words + word];
      s.removed[word] = gone;
    }
    __syncthreads();  // before the next block reads what was removed, and shares its own
  }
}

template <class T>
void nms(const T *boxes, Suppression s, int64_t most, int64_t *kept, int64_t *count, double *memory, int64_t blocks,
         cudaStream_t stream) {
  const BoxTable<T> table = table_of(boxes, s.order, s.n, memory, stream);
  s.words = (s.n + 63) / 64;
  int64_t *kept_in_frame = reinterpret_cast<int64_t *>(memory + BoxTable<T>::kRows * s.n);
  s.removed = reinterpret_cast<Bits *>(kept_in_frame + s.n);
  s.bits = s.removed + s.words;
  check_cuda(cudaMemsetAsync(kept_in_frame, 0, 8 * (s.n + s.words), stream), "cudaMemsetAsync");  // and `removed`
  check_cuda(cudaMemsetAsync(count, 0, 8, stream), "cudaMemsetAsync");
  for (int64_t first = 0; first < s.words; first += blocks) {
    const int64_t held = std::min(blocks, s.words - first);
    overlap_kernel<<<blocks_for(held * s.words), kBlock, 0, stream>>>(table, s, first, held);
    check_cuda(cudaGetLastError(), "overlap_kernel launch");
    keep_kernel<<<1, 1024, 0, stream>>>(s, first, held, most, kept_in_frame, kept, count);
    check_cuda(cudaGetLastError(), "keep_kernel launch");
  }
}

}  // namespace

}  // namespace lidar_ebm

using namespace lidar_ebm;

int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                      int64_t use_height, void *iou, void *scratch, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      double *memory = static_cast<double *>(scratch);
      const auto first = table_of(static_cast<const T *>(a), nullptr, n, memory, stream);
      const auto second = table_of(static_cast<const T *>(b), nullptr, m, memory + BoxTable<T>::kRows * n, stream);
      const auto launch = use_height ? launch_iou<true, T> : launch_iou<false, T>;
      launch(first, second, aligned != 0, static_cast<T *>(iou), stream);
    });
  });
}

int lidar_ebm_nms_bev(const void *boxes, const int64_t *order, const int64_t *frames, const int64_t *labels,
                      int64_t dtype, int64_t n, double iou_threshold, int64_t max_output, int64_t *kept, int64_t *count,
                      void *scratch, int64_t blocks, int64_t, int64_t device, void *stream) {
  return guarded([&] {
    const DeviceGuard guard(device);
    const Suppression suppression{order, frames, labels, n, 0, iou_threshold, nullptr, nullptr};
    dispatch_wide(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      nms(static_cast<const T *>(boxes), suppression, max_output, kept, count, static_cast<double *>(scratch), blocks,
          static_cast<cudaStream_t>(stream));
    });
  });
}
