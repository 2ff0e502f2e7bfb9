// Threads for CPU kernels: OpenMP, whose pool is torch's own where torch is loaded first (as _native.py does).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace lidar_ebm {

// Calls body(part, parts) once for each of `parts` = min(threads, wanted) parts, at the same time.
template <class Body>
void parallel_parts(int64_t wanted, int64_t threads, const Body &body) {
  const int64_t parts = std::min(wanted, threads);
#ifdef _OPENMP
  if (parts > 1) {
    std::exception_ptr failure;
#pragma omp parallel num_threads(int(parts))
    {
      try {
        // A team may be smaller than asked for (a limit, a region inside another one): then some take several parts.
        for (int64_t part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) body(part, parts);
      } catch (...) {
#pragma omp critical(lidar_ebm_failure)
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return;
  }
#endif
  if (wanted > 0) body(int64_t(0), int64_t(1));
}

// Calls body(begin, end) for consecutive ranges that cover 0..count, at least about `grain` long each.
template <class Body>
void parallel_ranges(int64_t count, int64_t grain, int64_t threads, const Body &body) {
  const int64_t wanted = (count + grain - 1) / std::max<int64_t>(grain, 1);
  parallel_parts(wanted, threads, [&](int64_t part, int64_t parts) {
    body(count * part / parts, count * (part + 1) / parts);
  });
}

// Calls body(i) for every i in 0..count; a thread takes the next one when it is done. For tasks of unequal size.
template <class Body>
void parallel_tasks(int64_t count, int64_t threads, const Body &body) {
  std::atomic<int64_t> next{0};
  parallel_parts(count, threads, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace lidar_ebm
