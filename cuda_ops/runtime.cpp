// The state that the kernels of a library share.
#include <string>

#include "common.h"

namespace lidar_ebm {

namespace {
thread_local std::string last_error;
}

void set_error(const char *message) { last_error = message; }

}  // namespace lidar_ebm

const char *lidar_ebm_error(void) { return lidar_ebm::last_error.c_str(); }
