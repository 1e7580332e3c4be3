#define _GNU_SOURCE
#include "ejected.h"

#include "filter.h"

/* How long after an ejection those may still be answered who have only just connected. */
enum { GRACE = 1000 };

/* Has the kernel refuse nginx's new connections to those that are ejected; gives 0 or a negative errno. */
int ejected_hold(struct state *w) {
    bool ejected[MAX_APISERVERS] = {false}, held = w->ejects;
    w->ejects = false;
    for (int i = 0; i < w->judge.count; i++)
        w->ejects |= ejected[i] = w->judge.of[i].ejected;
    return held || w->ejects ? filter_set(w->conf.apiservers, ejected, w->judge.count, w->uid) : 0;
}

/* Another configuration may have other apiservers, and somebody who replaces all filters of the node removes ours. */
int ejected_keep(struct state *w, bool is_other_conf) {
    bool gone = w->ejects && filter_there() == 0;
    int result = gone || is_other_conf ? ejected_hold(w) : 0;
    if (gone && !result)
        report_line("somebody had removed the filter that keeps nginx from who is ejected: it is there again");
    return result;
}

/* Which sessions with it are closed. Those with one that answers again, and is about to be let in, go on. */
enum closing ejected_closing(const struct judged *a, ms now) {
    if (!a->ejected || !a->silent)
        return NONE;
    return now - a->ejected_at < GRACE ? ALL_BUT_YOUNG : ALL;
}
