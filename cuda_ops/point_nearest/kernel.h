// The three nearest of many points, for the host and the device.
//
// Known points are sorted along a Morton curve; every eight of them are a block, every eight blocks one of the level
// above. A query descends from the top into the blocks that may hold something nearer than its third neighbour so far,
// the nearest block first. The order of the points decides how fast that is, never what is found.
#pragma once

#include <climits>

#include "common.h"

// Before a loop over the members of a block or a packet: on the host they are a vector's lanes.
#ifdef __CUDACC__
#define LIDAR_EBM_LANES(clauses) _Pragma("unroll")
#else
#define LIDAR_EBM_STRING(text) #text
#define LIDAR_EBM_LANES(clauses) _Pragma(LIDAR_EBM_STRING(omp simd clauses))
#endif

namespace lidar_ebm {

constexpr int kFan = 8;          // points of a block, and blocks below a block
constexpr int kMostLevels = 11;  // enough for 2^31 points
constexpr int kFineBits = 21, kCoarseBits = 16;  // of an axis, in the keys that sort the points

// --------------------------------------------------------------------------------------------------------- order

// The bits of `value`, two zeros between any two of them.
LIDAR_EBM_HD uint64_t spread(uint64_t value) {
  value &= 0x1fffff;
  value = (value | value << 32) & 0x001f00000000ffff;
  value = (value | value << 16) & 0x001f0000ff0000ff;
  value = (value | value << 8) & 0x100f00f00f00f00f;
  value = (value | value << 4) & 0x10c30c30c30c30c3;
  return (value | value << 2) & 0x1249249249249249;
}

// Sorted by `fine`, then stably by `coarse`, points follow the curve frame by frame. 37 bits an axis tell neighbours
// apart even where half the points lie a million metres away.
struct CurveKey {
  int64_t coarse, fine;
};

// window: lowest x, y, z and edge of a cube; what lies outside is moved to its faces.
LIDAR_EBM_HD CurveKey curve_key(const float *point, int64_t frame, const double *window) {
  const double cells = double(int64_t(1) << (kFineBits + kCoarseBits));
  uint64_t coarse = 0, fine = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const double place = (point[axis] - window[axis]) / window[3] * cells;  // NaN becomes 0
    const uint64_t cell = uint64_t(fmin(fmax(place, 0.0), cells - 1.0));
    coarse |= spread(cell >> kFineBits) << axis;
    fine |= spread(cell) << axis;
  }
  const int64_t group = frame < 0 ? 0 : frame < 0x7fff ? frame : 0x7fff;
  return {group << (3 * kCoarseBits) | int64_t(coarse), int64_t(fine)};
}

// ---------------------------------------------------------------------------------------------------------- tree

constexpr int32_t kNoFrame = -2;  // of a query that has no neighbours

struct PointBlock {
  float at[3][kFan];
  int32_t index[kFan], frame[kFan];  // frame -1: not there, or not to be found
};

// What each of the blocks below holds.
struct NodeBlock {
  float low[3][kFan], high[3][kFan];
  int32_t first_frame[kFan], last_frame[kFan], lowest_index[kFan];
};

struct Tree {
  PointBlock *points;
  NodeBlock *nodes[kMostLevels];  // [0] describes the blocks of points, [depth - 1] is one block
  int64_t blocks[kMostLevels + 1];  // [0] blocks of points, [level + 1] those of nodes[level]
  int depth;
};

// The tree of `count` > 0 points, in `scratch`.
inline Tree tree_of(int64_t count, void *scratch, int64_t scratch_bytes) {
  Tree tree{};
  char *next = static_cast<char *>(scratch);
  tree.points = reinterpret_cast<PointBlock *>(next);
  tree.blocks[0] = (count + kFan - 1) / kFan;
  int64_t bytes = tree.blocks[0] * int64_t(sizeof(PointBlock));
  do {
    const int64_t blocks = (tree.blocks[tree.depth] + kFan - 1) / kFan;
    tree.nodes[tree.depth] = reinterpret_cast<NodeBlock *>(next + bytes);
    tree.blocks[++tree.depth] = blocks;
    bytes += blocks * int64_t(sizeof(NodeBlock));
  } while (tree.blocks[tree.depth] > 1);
  if (bytes > scratch_bytes) throw std::invalid_argument("too little scratch memory for the search tree");
  return tree;
}

LIDAR_EBM_HD bool is_frame(int64_t frame, int64_t batch_size) { return frame >= 0 && frame < batch_size; }

// Writes place k of the ordered points; places after the last hold none.
LIDAR_EBM_HD void place_point(const Tree &tree, int64_t k, const float *support, const int64_t *batch,
                              const int64_t *order, int64_t count, int64_t batch_size) {
  PointBlock &block = tree.points[k / kFan];
  const int slot = int(k % kFan);
  const int64_t from = k < count ? order[k] : 0;
  bool there = k < count && is_frame(batch[from], batch_size);
  for (int axis = 0; axis < 3; ++axis) {
    block.at[axis][slot] = support[3 * from + axis];
    there = there && fabsf(support[3 * from + axis]) < INFINITY;
  }
  block.index[slot] = int32_t(from);
  block.frame[slot] = there ? int32_t(batch[from]) : -1;
}

// Writes what block k of the level below holds, where nodes[level] describes it.
LIDAR_EBM_HD void place_node(const Tree &tree, int level, int64_t k) {
  NodeBlock &block = tree.nodes[level][k / kFan];
  const int slot = int(k % kFan);
  float low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
  int32_t first = INT_MAX, last = -1, lowest = INT_MAX;
  for (int j = 0; j < kFan && k < tree.blocks[level]; ++j) {
    const PointBlock *points = tree.points + k;
    const NodeBlock *nodes = level ? tree.nodes[level - 1] + k : nullptr;
    const int32_t begin = level ? nodes->first_frame[j] : points->frame[j];
    const int32_t end = level ? nodes->last_frame[j] : points->frame[j];
    if (end < 0) continue;
    first = begin < first ? begin : first, last = end > last ? end : last;
    const int32_t index = level ? nodes->lowest_index[j] : points->index[j];
    lowest = index < lowest ? index : lowest;
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = fminf(low[axis], level ? nodes->low[axis][j] : points->at[axis][j]);
      high[axis] = fmaxf(high[axis], level ? nodes->high[axis][j] : points->at[axis][j]);
    }
  }
  for (int axis = 0; axis < 3; ++axis) block.low[axis][slot] = low[axis], block.high[axis][slot] = high[axis];
  block.first_frame[slot] = first, block.last_frame[slot] = last, block.lowest_index[slot] = lowest;
}

// -------------------------------------------------------------------------------------------------------- search

// x² + y² + z², every step rounded. Then it never falls when |x|, |y| or |z| grows, so that the distance to a box bounds
// those to the points in it to the last bit, and equal distances are equal on every device.
LIDAR_EBM_HD float squared_length(float x, float y, float z) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)), __fmul_rn(z, z));
#else
  return x * x + y * y + z * z;  // CMakeLists.txt forbids the compiler to fuse these
#endif
}

// Orders neighbours by squared distance, then by index. Bits of a float that is not negative rise with it; NaN comes
// after everything.
LIDAR_EBM_HD int64_t rank_of(float squared, int32_t index) {
  return int64_t(bits_of(squared) & 0x7fffffff) << 32 | index;
}
constexpr int64_t kNothing = int64_t(0x7f800000) << 32;  // before which comes every finite distance

LIDAR_EBM_HD int64_t lower(int64_t a, int64_t b) { return a < b ? a : b; }
LIDAR_EBM_HD int64_t higher(int64_t a, int64_t b) { return a > b ? a : b; }

LIDAR_EBM_HD int lowest_bit(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __ffs(int(bits)) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

// How far the interval low..high lies from the interval other_low..other_high; NaN where one of them is.
LIDAR_EBM_HD float gap(float low, float high, float other_low, float other_high) {
  const float under = low - other_high, over = other_low - high, most = under > over ? under : over;
  return most < 0.0f ? 0.0f : most;
}

// Queries of one frame that are looked up together: one on a GPU's thread, a vector's worth on the host.
template <int kLanes>
struct Packet {
  int32_t frame;
  alignas(4 * kLanes) float at[3][kLanes];
  alignas(8 * kLanes) int64_t rank[3][kLanes];  // of the nearest so far, rising
  float low[3], high[3];                        // the box around the queries

  LIDAR_EBM_HD void begin() {
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = INFINITY, high[axis] = -INFINITY;
      for (int i = 0; i < kLanes; ++i) {
        low[axis] = fminf(low[axis], at[axis][i]), high[axis] = fmaxf(high[axis], at[axis][i]);
      }
      for (int i = 0; i < kLanes; ++i) rank[axis][i] = kNothing;
    }
  }

  // Whether a box that holds points from `lowest_index` on may have a neighbour of any query.
  LIDAR_EBM_HD bool wants(const NodeBlock &block, int slot) const {
    const float low0 = block.low[0][slot], low1 = block.low[1][slot], low2 = block.low[2][slot];
    const float high0 = block.high[0][slot], high1 = block.high[1][slot], high2 = block.high[2][slot];
    const int32_t lowest_index = block.lowest_index[slot];
    int64_t wanted = 0;
    LIDAR_EBM_LANES(reduction(| : wanted))
    for (int i = 0; i < kLanes; ++i) {
      const float apart = squared_length(gap(low0, high0, at[0][i], at[0][i]), gap(low1, high1, at[1][i], at[1][i]),
                                         gap(low2, high2, at[2][i], at[2][i]));
      wanted |= rank_of(apart, lowest_index) - rank[2][i];  // negative where it comes before
    }
    return wanted < 0;
  }

  LIDAR_EBM_HD void look_at(const PointBlock &block) {
    for (int k = 0; k < kFan; ++k) {
      if (block.frame[k] != frame) continue;
      const float x = block.at[0][k], y = block.at[1][k], z = block.at[2][k];
      const int32_t index = block.index[k];
      LIDAR_EBM_LANES()
      for (int i = 0; i < kLanes; ++i) {
        const int64_t now = rank_of(squared_length(at[0][i] - x, at[1][i] - y, at[2][i] - z), index);
        const int64_t after_first = higher(now, rank[0][i]), after_second = higher(after_first, rank[1][i]);
        rank[0][i] = lower(now, rank[0][i]);
        rank[1][i] = lower(after_first, rank[1][i]);
        rank[2][i] = lower(after_second, rank[2][i]);
      }
    }
  }

  // The largest third distance, squared: nothing beyond it is a neighbour.
  LIDAR_EBM_HD float reach() const {
    int64_t most = 0;
    LIDAR_EBM_LANES(reduction(max : most))
    for (int i = 0; i < kLanes; ++i) most = higher(most, rank[2][i]);
    return float_of(uint32_t(most >> 32));
  }

  LIDAR_EBM_HD void write(int lane, float *distance, int64_t *index) const {
    for (int k = 0; k < 3; ++k) {
      const int64_t found = rank[k][lane];
      distance[k] = ::sqrtf(float_of(uint32_t(found >> 32)));
      index[k] = found < kNothing ? found & 0xffffffff : -1;
    }
  }
};

// Finds the three support points nearest to each query of the packet.
template <int kLanes>
LIDAR_EBM_HD void search(const Tree &tree, Packet<kLanes> &packet) {
  struct Pending {
    int64_t rank;  // by distance from the packet's box
    uint32_t block;
    int32_t level;
  };
  Pending pending[kMostLevels * (kFan - 1) + 2];
  float squared[kFan], reach = INFINITY;
  int count = 1;
  packet.begin();
  pending[0] = {0, 0, tree.depth};
  while (count) {
    const Pending now = pending[--count];
    if (now.level < tree.depth && !packet.wants(tree.nodes[now.level][now.block / kFan], now.block % kFan)) continue;
    if (now.level == 0) {
      packet.look_at(tree.points[now.block]);
      reach = packet.reach();
      continue;
    }
    const NodeBlock &block = tree.nodes[now.level - 1][now.block];
    uint32_t chosen = 0;
    LIDAR_EBM_LANES(reduction(| : chosen))
    for (int k = 0; k < kFan; ++k) {
      const float apart = squared_length(gap(block.low[0][k], block.high[0][k], packet.low[0], packet.high[0]),
                                         gap(block.low[1][k], block.high[1][k], packet.low[1], packet.high[1]),
                                         gap(block.low[2][k], block.high[2][k], packet.low[2], packet.high[2]));
      const bool has_frame = (block.first_frame[k] <= packet.frame) & (packet.frame <= block.last_frame[k]);
      squared[k] = apart;
      chosen |= (has_frame & (apart <= reach) & (apart < INFINITY)) ? 1u << k : 0u;
    }
    const int first = count;
    for (; chosen; chosen &= chosen - 1) {
      const int k = lowest_bit(chosen);
      const int64_t rank = rank_of(squared[k], block.lowest_index[k]);
      int place = count++;  // the nearest one last, to be taken first
      for (; place > first && pending[place - 1].rank < rank; --place) pending[place] = pending[place - 1];
      pending[place] = {rank, now.block * kFan + uint32_t(k), now.level - 1};
    }
  }
}

// ------------------------------------------------------------------------------------------------- interpolation

}  // namespace lidar_ebm
