/* What becomes of those that are ejected: of nginx's new connections to them, and of its sessions with them. */
#ifndef EJECTED_H
#define EJECTED_H

#include "state.h"

int ejected_hold(struct state *w);
int ejected_keep(struct state *w, bool is_other_conf);
enum closing ejected_closing(const struct judged *a, ms now);

#endif
