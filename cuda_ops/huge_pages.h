// Large results on the CPU.
#pragma once

#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace lidar_ebm {

// Asks for huge pages under memory that is about to be written, often for the first time: with pages of 4 KiB the page
// faults take many times as long as writing zeros does.
inline void prefer_huge_pages(void *memory, int64_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kPage = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~(kPage - 1);
  if (begin < end && end - begin >= uintptr_t(4) << 20) {
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);  // where it cannot be had, nothing is lost
  }
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace lidar_ebm
