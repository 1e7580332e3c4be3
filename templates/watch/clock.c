#define _GNU_SOURCE
#include "clock.h"

#include <time.h>

static ms read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (ms)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

ms clock_now(void) {
    return read_clock(CLOCK_MONOTONIC);
}

/* For how long this machine was suspended since it was booted. */
ms clock_suspended(void) {
    return read_clock(CLOCK_BOOTTIME) - read_clock(CLOCK_MONOTONIC);
}
