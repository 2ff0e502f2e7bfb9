// What kernels of every kind need, on the host and on the device: markers, 16-bit floats, dispatch on a dtype.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "native.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define LIDAR_EBM_HD __host__ __device__ __forceinline__
#else
#define LIDAR_EBM_HD inline __attribute__((always_inline))
#endif

namespace lidar_ebm {

// Storage of 16-bit floats; all arithmetic is done in float (`widen`, `narrow`).
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<Float16> {
  using type = float;
};
template <>
struct WideOf<BFloat16> {
  using type = float;
};
// The type to compute in for values stored as T.
template <class T>
using Wide = typename WideOf<T>::type;

LIDAR_EBM_HD float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
LIDAR_EBM_HD uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

LIDAR_EBM_HD float widen(float value) { return value; }
LIDAR_EBM_HD double widen(double value) { return value; }
LIDAR_EBM_HD float widen(BFloat16 value) { return float_of(uint32_t(value.bits) << 16); }
LIDAR_EBM_HD float widen(Float16 value) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(value.bits));
#else
  // Shifting the exponent by a multiplication brings subnormal halves out right as well.
  const uint32_t sign = uint32_t(value.bits & 0x8000) << 16, rest = uint32_t(value.bits & 0x7fff) << 13;
  const float magnitude = rest >= 0x0f800000 ? float_of(rest | 0x7f800000) : float_of(rest) * float_of(0x77800000);
  return float_of(bits_of(magnitude) | sign);
#endif
}

// The nearest value of type T, ties to even.
template <class T>
LIDAR_EBM_HD T narrow(Wide<T> value) {
  return value;
}
template <>
LIDAR_EBM_HD BFloat16 narrow<BFloat16>(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return {uint16_t((bits >> 16) | 0x40)};  // NaN stays NaN
  return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
template <>
LIDAR_EBM_HD Float16 narrow<Float16>(float value) {
#ifdef __CUDA_ARCH__
  return {__half_as_ushort(__float2half_rn(value))};
#else
  const uint32_t bits = bits_of(value), sign = (bits >> 16) & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return {uint16_t(sign | 0x7e00)};
  if (rest >= 0x47800000) return {uint16_t(sign | 0x7c00)};  // 65536 and above
  if (rest < 0x38800000) {  // subnormal halves: let the addition round at their last bit, 2^-24
    const float shifted = float_of(rest) + 0.5f;
    return {uint16_t(sign | (bits_of(shifted) - bits_of(0.5f)))};
  }
  return {uint16_t(sign | ((rest - 0x38000000 + 0xfff + ((rest >> 13) & 1)) >> 13))};
#endif
}

template <class T>
struct Type {
  using type = T;
};

// Calls f(Type<float>{}) or f(Type<double>{}).
template <class F>
void dispatch_wide(int64_t dtype, const F &f) {
  switch (dtype) {
    case LIDAR_EBM_FLOAT32: return f(Type<float>{});
    case LIDAR_EBM_FLOAT64: return f(Type<double>{});
  }
  throw std::invalid_argument("dtype code " + std::to_string(dtype) + " is neither float32 nor float64");
}

// The same for every floating type.
template <class F>
void dispatch_floating(int64_t dtype, const F &f) {
  switch (dtype) {
    case LIDAR_EBM_FLOAT16: return f(Type<Float16>{});
    case LIDAR_EBM_BFLOAT16: return f(Type<BFloat16>{});
  }
  dispatch_wide(dtype, f);
}

// Where the first of `count` rising values is that is not below `value`.
LIDAR_EBM_HD int64_t first_not_below(const int64_t *values, int64_t count, int64_t value) {
  int64_t begin = 0;
  while (count > 0) {
    const int64_t half = count / 2;
    if (values[begin + half] < value) {
      begin += half + 1, count -= half + 1;
    } else {
      count = half;
    }
  }
  return begin;
}

// Runs f; an exception becomes the error message of this thread and a status that is not 0.
void set_error(const char *message);
template <class F>
int guarded(const F &f) {
  try {
    f();
    return 0;
  } catch (const std::exception &error) {
    set_error(error.what());
  } catch (...) {
    set_error("unknown error");
  }
  return 1;
}

}  // namespace lidar_ebm
