#define _GNU_SOURCE
#include "ejected.h"

#include "filter.h"

/* How long after an ejection those may still be answered who have only just connected. */
enum { GRACE = 1000 };

/* Has the kernel refuse nginx's new connections to those that are ejected; gives 0 or a negative errno. */
int ejected_hold(struct state *w) {
    bool ejected[MAX_APISERVERS] = {false};
    w->ejects = false;
    for (int i = 0; i < w->judge.count; i++)
        w->ejects |= ejected[i] = w->judge.of[i].ejected;
    return filter_set(w->conf.apiservers, ejected, w->judge.count, w->uid);
}

/* Another configuration may have other apiservers; and who replaces all filters of a node removes ours, or brings back
 * what was there when they were saved. */
int ejected_keep(struct state *w, bool is_other_conf) {
    int there = filter_there();
    bool unlike = there >= 0 && there != w->ejects;
    int result = unlike || is_other_conf ? ejected_hold(w) : 0;
    if (unlike && !result)
        report_line(w->ejects ? "somebody had removed the filter that keeps nginx from who is ejected: it is there again"
                              : "somebody had put a filter of ours there although nobody is ejected: it was removed");
    return result;
}

/* Which sessions with it are closed. Those with one that answers again, and is about to be let in, go on. */
enum closing ejected_closing(const struct judged *a, ms now) {
    if (!a->ejected || !a->silent)
        return NONE;
    return now - a->ejected_at < GRACE ? ALL_BUT_YOUNG : ALL;
}
