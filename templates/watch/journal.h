/* Which lines the journal gets of what the watch did. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "state.h"

void journal_changes(struct state *w, const struct change *changes, int count, ms now);
void journal_closed(const struct state *w);
void journal_who_stays(struct state *w);

#endif
