/* The packet filter that refuses nginx's new connections to ejected apiservers. Results are 0 or a negative errno. */
#ifndef FILTER_H
#define FILTER_H

#include "apiserver.h"

int filter_set(const struct apiserver *apiservers, const bool *ejected, int count, uint32_t uid);
int filter_there(void);
int filter_clean(void);
int filter_try(void);
bool filter_is_unknown(int result);

#endif
