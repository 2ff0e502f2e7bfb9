// Small matrix products in registers, for the CPU alone: what a GPU leaves to its BLAS.
//
// The compiler's vector types stand for whatever registers the library is built for. A tile keeps `rows` x `vectors`
// accumulators in registers, and each of its sums runs over the depth in rising order, so a value does not depend on
// which tile, block or thread computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace lidar_ebm {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kMostVectors = 4, kAccumulators = 24;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kMostVectors = 2, kAccumulators = 12;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kMostVectors = 4, kAccumulators = 24;
#else
constexpr int kVectorBytes = 16, kMostVectors = 2, kAccumulators = 8;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = kVectorBytes / sizeof(T);

// Rows of a tile that is `vectors` wide: as many as registers (and addresses of rows) can be kept.
constexpr int tile_rows(int vectors) { return std::min(kAccumulators / vectors, 12); }
constexpr int kMostRows = 12;

template <class T>
constexpr int64_t whole_vectors(int64_t channels) {
  return (channels + kLanes<T> - 1) / kLanes<T>;
}
// Channels of a row that is filled up to whole vectors.
template <class T>
constexpr int64_t padded(int64_t channels) {
  return whole_vectors<T>(channels) * kLanes<T>;
}

// Memory that starts on a cache line, not initialised.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : data_(static_cast<T *>(::operator new(count * sizeof(T), kLine))) {}
  T *get() const { return data_.get(); }
  T &operator[](int64_t i) const { return data_.get()[i]; }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(T *data) const { ::operator delete(data, kLine); }
  };
  std::unique_ptr<T, Free> data_;
};

// Calls f(first vector, Size<vectors>) for panels of at most kMostVectors vectors that cover `vectors` of them.
template <int N>
struct Size {
  static constexpr int value = N;
};
template <class F>
void for_each_panel(int64_t vectors, const F &f) {
  for (int64_t first = 0; first < vectors; first += kMostVectors) {
    const int64_t left = vectors - first;
    if constexpr (kMostVectors > 2) {
      if (left >= 4) {
        f(first, Size<4>{});
        continue;
      }
      if (left == 3) {
        f(first, Size<3>{});
        continue;
      }
    }
    if (left >= 2) {
      f(first, Size<2>{});
    } else {
      f(first, Size<1>{});
    }
  }
}

// to[i][:] += from[i][:depth] x matrix [depth, vectors], for the first `count` of R rows; all R addresses must be valid.
template <class T, int R, int V>
inline void multiply_rows(const T *const *from, int64_t depth, const T *matrix, T *const *to, int count) {
  Vector<T> sum[R][V] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const Vector<T> *line = reinterpret_cast<const Vector<T> *>(matrix) + k * V;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += from[r][k] * line[v];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    if (r >= count) break;
    Vector<T> *row = reinterpret_cast<Vector<T> *>(to[r]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] += sum[r][v];
  }
}

// sum [R, V vectors] += the outer products of a[i][first..] and b[i][column..], for i in 0..count.
template <class T, int R, int V>
inline void add_outer_products(const T *const *a, int64_t first, const T *const *b, int64_t column, int64_t count,
                               T *sum, int64_t sum_width) {
  Vector<T> total[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) total[r][v] = reinterpret_cast<const Vector<T> *>(sum + r * sum_width)[v];
  }
  for (int64_t i = 0; i < count; ++i) {
    const T *scales = a[i] + first;
    const Vector<T> *line = reinterpret_cast<const Vector<T> *>(b[i] + column);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) total[r][v] += scales[r] * line[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) reinterpret_cast<Vector<T> *>(sum + r * sum_width)[v] = total[r][v];
  }
}

}  // namespace lidar_ebm
