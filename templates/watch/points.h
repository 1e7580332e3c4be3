/* A test build dies at the point that WATCH_DIES_AT names; any other build has no such points. */
#ifndef POINTS_H
#define POINTS_H

#ifdef TEST_POINTS
#include <signal.h>
#include <stdlib.h>
#define POINT(number)                                          \
    do {                                                       \
        const char *at_ = getenv("WATCH_DIES_AT");             \
        if (at_ && atoi(at_) == (number))                      \
            raise(SIGKILL);                                    \
    } while (0)
#else
#define POINT(number) ((void)0)
#endif

#endif
