/* The monotonic clock, and whether it was us who were late. */
#ifndef CLOCK_H
#define CLOCK_H

#include "judge.h"

enum { LATE = 250 };

ms clock_now(void);
ms clock_suspended(void);

#endif
