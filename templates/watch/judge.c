#include "judge.h"

#include <string.h>

void judged_begin(struct judged *a) {
    memset(a, 0, sizeof *a);
    a->asked = a->begun = a->good_begun = a->answered = a->heard = a->sent = NEVER;
    a->ejected_at = a->let_in_at = NEVER;
}

static ms later(ms a, ms b) {
    return a > b ? a : b;
}

static bool is_waited_for(const struct judged *a) {
    return a->sent > NEVER;
}

/* Sessions wait, and no question that was begun since they sent has been answered. */
static bool is_suspicious(const struct judged *a) {
    return is_waited_for(a) && a->sent >= a->good_begun;
}

static void forget_silence(struct judged *a) {
    a->silent = false;
    a->unanswered = 0;
    a->begun = NEVER;
}

void judge_asked(struct judge *j, int i, ms now) {
    j->of[i].asked = now;
    j->of[i].open++;
}

static void was_answered(struct judged *a, ms begun, ms now) {
    forget_silence(a);
    a->last = ANSWERED;
    a->good++;
    a->good_begun = later(a->good_begun, begun);
    a->answered = now;
    a->took = now - begun;
}

/* A question that was begun at `begun` has ended in one of enum answer. */
void judge_ended(struct judge *j, int i, ms begun, ms now, int how) {
    struct judged *a = &j->of[i];
    if (a->open > 0)
        a->open--;
    if (how == ANSWERED) {
        was_answered(a, begun, now);
        return;
    }
    if (begun <= later(a->answered, a->heard)) /* it has answered something since */
        return;
    a->good = 0;
    a->last = (enum answer)how;
    /* Who refuses is passed by, by nginx itself, and has no sessions that could wait. */
    if (how == REFUSED && !is_waited_for(a) && !a->unanswered)
        return;
    if (!a->unanswered || begun < a->begun)
        a->begun = begun;
    a->unanswered++;
    a->reason = (enum answer)how;
}

/* What a look at the sessions found: how many, when those that wait sent last, when one received last. */
void judge_sessions(struct judge *j, int i, int sessions, ms sent, ms heard) {
    struct judged *a = &j->of[i];
    a->sessions = sessions;
    a->sent = sent;
    a->heard = later(a->heard, heard);
    if (a->unanswered && !a->ejected && a->heard >= a->begun)
        forget_silence(a);
}

/* We ourselves were late: what was pending says nothing, and its questions have been closed. */
void judge_late(struct judge *j) {
    for (int i = 0; i < j->count; i++) {
        struct judged *a = &j->of[i];
        a->open = 0;
        a->asked = NEVER;
        if (!a->ejected || !a->silent)
            forget_silence(a);
    }
}

static bool is_doubted(const struct judged *a) {
    return !a->ejected && (a->unanswered || a->silent);
}

/* Whether one that is in use is about to be ejected, so that it matters what the others answer. */
bool judge_in_doubt(const struct judge *j) {
    for (int i = 0; i < j->count; i++)
        if (is_doubted(&j->of[i]))
            return true;
    return false;
}

/* When apiserver i is to be asked next; the past means now. */
ms judge_next(const struct judge *j, int i) {
    const struct judged *a = &j->of[i];
    if (a->open >= MAX_OPEN)
        return a->asked + LIMIT;
    if (a->ejected)
        return a->asked + (a->good ? AGAIN : 2 * AGAIN);
    if (a->open || judge_in_doubt(j))
        return a->asked + AGAIN;
    if (is_suspicious(a))
        return a->asked + SUSPICION;
    if (a->last == REFUSED)
        return a->asked + REFUSAL;
    return later(a->asked, a->heard) + IDLE;
}

/* A question tells that there is a way to it for new connections; what a session hears does not. */
static bool is_fresh(const struct judged *a, ms now) {
    return now - a->answered <= FRESH;
}

static bool is_bad(const struct judged *a) {
    return a->silent || a->last == REFUSED;
}

/* Whether nginx has an apiserver of which nothing bad is known. */
static bool has_a_way(const struct judge *j) {
    for (int i = 0; i < j->count; i++)
        if (!j->of[i].ejected && !is_bad(&j->of[i]))
            return true;
    return false;
}

/* Whether those that stay can do without one. Who is silent, too, is about to follow: no answer is asked of it. */
static bool can_do_without(const struct judge *j, int which, ms now) {
    int out = 1, fresh = 0, rest = 0;
    for (int i = 0; i < j->count; i++) {
        const struct judged *a = &j->of[i];
        if (i == which)
            continue;
        if (a->ejected || a->silent) {
            out++;
            continue;
        }
        rest++;
        fresh += !is_bad(a) && is_fresh(a, now);
    }
    return fresh > 0 && (2 * out <= j->count || fresh == rest);
}

/* Each ejection soon after the last one holds for twice as long; one that goes on with a silence does not. */
static void eject(struct judged *a, ms now) {
    bool forgotten = now - a->let_in_at >= HOLD_FORGOTTEN;
    bool goes_on = a->ejected_at > NEVER && a->begun <= a->ejected_at;
    if (forgotten || !a->hold)
        a->hold = HOLD_FIRST;
    else if (!goes_on)
        a->hold = 2 * a->hold < HOLD_LONGEST ? 2 * a->hold : HOLD_LONGEST;
    a->ejected = true;
    a->ejected_at = now;
    a->ejections++;
    a->good = 0;
}

static void let_in(struct judged *a, ms now) {
    a->ejected = false;
    a->let_in_at = now;
}

struct decision {
    struct change *changes;
    int count;
};

static void change(struct decision *d, int which, enum act act, ms lasted) {
    d->changes[d->count++] = (struct change){which, act, lasted};
}

static void let_in_at_once(struct judge *j, ms now, struct decision *d, bool only_fresh) {
    for (int i = 0; i < j->count; i++) {
        struct judged *a = &j->of[i];
        if (!a->ejected || (only_fresh && (is_bad(a) || !is_fresh(a, now))))
            continue;
        let_in(a, now);
        change(d, i, LET_IN, now - a->ejected_at);
    }
}

static void let_in_the_good(struct judge *j, ms now, struct decision *d) {
    for (int i = 0; i < j->count; i++) {
        struct judged *a = &j->of[i];
        if (!a->ejected || a->good < 2 || now - a->ejected_at < a->hold)
            continue;
        let_in(a, now);
        change(d, i, LET_IN, now - a->ejected_at);
    }
}

static void eject_the_silent(struct judge *j, ms now, struct decision *d) {
    for (int i = 0; i < j->count; i++) {
        struct judged *a = &j->of[i];
        if (a->ejected || !a->silent || !can_do_without(j, i, now))
            continue;
        eject(a, now);
        change(d, i, EJECT, now - a->begun);
    }
}

/* Decides what changes now, in the order in which it has to be done; gives how many changes. */
int judge_decide(struct judge *j, ms now, struct change changes[2 * MAX_APISERVERS]) {
    struct decision d = {changes, 0};
    for (int i = 0; i < j->count; i++) {
        struct judged *a = &j->of[i];
        if (a->unanswered >= 2 && now - a->begun >= SILENCE)
            a->silent = true;
    }
    let_in_the_good(j, now, &d);
    if (!has_a_way(j))
        let_in_at_once(j, now, &d, true);
    if (!has_a_way(j))
        let_in_at_once(j, now, &d, false);
    eject_the_silent(j, now, &d);
    return d.count;
}
