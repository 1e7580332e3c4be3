#define _GNU_SOURCE
#include "journal.h"

/* Not more than a line a second of what changes with each apiserver. */
void journal_changes(struct state *w, const struct change *changes, int count, ms now) {
    for (int n = 0; n < count; n++) {
        int i = changes[n].which;
        if (now - w->told[i] >= SECOND || !w->told[i])
            report_change(&w->conf.apiservers[i], &w->judge.of[i], &changes[n], w->found.closed[i]);
        w->told[i] = now;
    }
}

/* Tells of sessions that were closed some time after the ejection. */
void journal_closed(const struct state *w) {
    char name[ADDRESS_SIZE];
    for (int i = 0; i < w->judge.count; i++) {
        int closed = w->found.closed[i];
        if (!closed)
            continue;
        apiserver_write(&w->conf.apiservers[i], name);
        report_line("closed %d more session%s with %s", closed, closed == 1 ? "" : "s", name);
    }
}

/* Tells once of each silence that nothing can be done about. */
void journal_who_stays(struct state *w) {
    char name[ADDRESS_SIZE];
    for (int i = 0; i < w->judge.count; i++) {
        bool stays = w->judge.of[i].silent && !w->judge.of[i].ejected;
        apiserver_write(&w->conf.apiservers[i], name);
        if (stays && !w->stays[i])
            report_line("%s is silent, and stays: no other apiserver answers", name);
        w->stays[i] = stays;
    }
}
