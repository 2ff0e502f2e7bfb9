// Turning a matrix over, for the CPU: maps have their channels side by side, the numbers of a box its points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lidar_ebm {

// to[c][r] = from[r][c] for 4 x 4 numbers of one size.
template <class Word, class T>
void transpose_four(const T *from, int64_t from_pitch, T *to, int64_t to_pitch) {
#if defined(__clang__) || __GNUC__ >= 12
  // Compilers do not find this by themselves, and number by number it takes as long as reading the map does.
  typedef Word Four __attribute__((vector_size(4 * sizeof(Word))));
  Four a, b, c, d;
  memcpy(&a, from, sizeof a);
  memcpy(&b, from + from_pitch, sizeof b);
  memcpy(&c, from + 2 * from_pitch, sizeof c);
  memcpy(&d, from + 3 * from_pitch, sizeof d);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5), b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  memcpy(to, &a, sizeof a);
  memcpy(to + to_pitch, &b, sizeof b);
  memcpy(to + 2 * to_pitch, &c, sizeof c);
  memcpy(to + 3 * to_pitch, &d, sizeof d);
#else
  for (int64_t c = 0; c < 4; ++c) {
    for (int64_t r = 0; r < 4; ++r) to[c * to_pitch + r] = from[r * from_pitch + c];
  }
#endif
}

// to[c][r] = from[r][c].
template <class T>
void transpose(const T *from, int64_t from_pitch, int64_t rows, int64_t columns, T *to, int64_t to_pitch) {
  using Word = std::conditional_t<sizeof(T) == 2, int16_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
  const int64_t row_fours = rows - rows % 4, column_fours = columns - columns % 4;
  for (int64_t c = 0; c < columns; c += 4) {
    if (c < column_fours) {
      for (int64_t r = 0; r < row_fours; r += 4) {
        transpose_four<Word>(from + r * from_pitch + c, from_pitch, to + c * to_pitch + r, to_pitch);
      }
    }
    for (int64_t i = c; i < std::min(c + 4, columns); ++i) {
      for (int64_t r = c < column_fours ? row_fours : 0; r < rows; ++r) to[i * to_pitch + r] = from[r * from_pitch + i];
    }
  }
}

}  // namespace lidar_ebm
