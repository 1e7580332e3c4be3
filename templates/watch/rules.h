/* The policy rules that let nginx's new connections to an apiserver fail at once. Results are 0 or a negative errno. */
#ifndef RULES_H
#define RULES_H

#include "apiserver.h"

int rules_add(const struct apiserver *a, uint32_t uid);
int rules_remove(const struct apiserver *a, uint32_t uid);
int rules_clean(void);
int rules_try(void);

#endif
