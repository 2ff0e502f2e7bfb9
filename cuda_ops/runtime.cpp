// The state that the kernels of a library share.
#include <string>

#include "common.h"
#include "surface.h"

namespace lidar_ebm {

namespace {
thread_local std::string last_error;
}

void set_error(const char *message) { last_error = message; }

}  // namespace lidar_ebm

int64_t lidar_ebm_surface(void) { return LIDAR_EBM_SURFACE; }

const char *lidar_ebm_error(void) { return lidar_ebm::last_error.c_str(); }
