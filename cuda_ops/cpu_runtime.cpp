// The state that the CPU kernels share.
#include <pthread.h>

#include <string>

#include "common.h"
#include "parallel.h"

namespace lidar_ebm {

namespace {
thread_local std::string last_error;
bool forked = false;
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
}  // namespace

bool is_forked_child() { return registered == 0 && forked; }
void set_error(const char *message) { last_error = message; }

}  // namespace lidar_ebm

const char *lidar_ebm_error(void) { return lidar_ebm::last_error.c_str(); }
