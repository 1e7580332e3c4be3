#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "able.h"
#include "clock.h"
#include "ejected.h"
#include "filter.h"
#include "journal.h"
#include "netlink.h"
#include "points.h"
#include "report.h"
#include "state.h"

enum { REST = 600 * SECOND, SHORT_REST = 10 * SECOND, METRICS_EACH = 5 * SECOND };

static struct state w;

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static void tell_status(const char *status) {
    if (!strcmp(status, w.status))
        return;
    memcpy(w.status, status, strlen(status) + 1);
    report_notify("STATUS=%s", w.status);
}

/* Lets all in, and waits for a time in which the node may have become able. */
static void rest(const char *why, ms time) {
    char status[512];
    snprintf(status, sizeof status, "not possible here: %s", why);
    report_line("%s", status);
    tell_status(status);
    filter_clean();
    probes_drop(&w.probes);
    w.ejects = false;
    w.judge.count = w.conf.count = 0;
    w.has_conf = false;
    w.resting_until = clock_now() + time;
}

static void look(ms now) {
    enum closing closes[MAX_APISERVERS];
    struct look look = {w.conf.apiservers, w.conf.count, w.uid, now, closes, &w.found};
    for (int i = 0; i < w.judge.count; i++)
        closes[i] = ejected_closing(&w.judge.of[i], now);
    POINT(2);
    if (sessions_look(w.diag, &look) < 0) { /* the kernel was busy: nothing is known, and the next look tells */
        close(w.diag);
        w.diag = nl_open(NETLINK_SOCK_DIAG);
        w.look_at = now + AGAIN;
        return;
    }
    for (int i = 0; i < w.judge.count; i++)
        judge_sessions(&w.judge, i, w.found.count[i], w.found.sent[i], w.found.heard[i]);
    w.look_at = now + (w.ejects || judge_in_doubt(&w.judge) ? AGAIN : SECOND);
}

static void take_answers(ms now, bool late) {
    static struct ended ended[MAX_PROBES];
    int count = probes_read(&w.probes, late ? NEVER : now, ended);
    for (int i = 0; i < count; i++)
        judge_ended(&w.judge, ended[i].which, ended[i].begun, now, ended[i].how);
    POINT(3);
    if (!late)
        return;
    probes_drop(&w.probes);
    judge_late(&w.judge);
    w.look_at = now;
}

/* Idle questions are spread, so that nodes that were started together do not ask together. */
static ms asks_at(int i) {
    ms at = judge_next(&w.judge, i), asked = w.judge.of[i].asked;
    return asked > NEVER && at - asked >= IDLE ? at + w.jitter[i] : at;
}

static void ask(ms now) {
    for (int i = 0; i < w.judge.count; i++) {
        if (now < asks_at(i))
            continue;
        w.jitter[i] = rand() % SECOND;
        judge_asked(&w.judge, i, now);
        if (!probes_begin(&w.probes, i, &w.conf.apiservers[i], now))
            w.judge.of[i].open--;
        POINT(1);
    }
}

static void decide(ms now) {
    struct change changes[2 * MAX_APISERVERS];
    int count = judge_decide(&w.judge, now, changes);
    if (count) {
        POINT(4);
        int result = ejected_hold(&w);
        if (result) {
            rest(strerror(-result), SHORT_REST);
            return;
        }
        POINT(5);
        look(now);
        POINT(7);
        journal_changes(&w, changes, count, now);
        w.metrics_at = now;
    }
    journal_who_stays(&w);
}

static void write_metrics(ms now) {
    bool written = report_metrics(w.options->metrics, w.conf.apiservers, &w.judge);
    if (!written && !w.unwritable)
        report_line("%s cannot be written: %s", w.options->metrics, strerror(errno));
    w.unwritable = !written;
    w.metrics_at = now + METRICS_EACH;
}

static void each_second(ms now) {
    char status[STATUS_SIZE];
    w.second_at = now + SECOND;
    report_notify("WATCHDOG=1");
    bool rests = now < w.resting_until;
    int result = ejected_keep(&w, !rests && state_read_conf(&w));
    if (rests)
        return;
    if (result) {
        rest(strerror(-result), SHORT_REST);
        return;
    }
    report_status(status, w.conf.apiservers, &w.judge, now);
    tell_status(status);
    if (w.options->metrics && now >= w.metrics_at)
        write_metrics(now);
}

static ms next_thing(ms now) {
    ms next = w.second_at;
    if (now < w.resting_until)
        return next;
    next = w.look_at < next ? w.look_at : next;
    ms limit = probes_next(&w.probes);
    next = limit < next ? limit : next;
    for (int i = 0; i < w.judge.count; i++)
        next = asks_at(i) < next ? asks_at(i) : next;
    return next;
}

/* Waits until `until`, or until an answer comes. */
static void await(ms until) {
    static struct pollfd polled[MAX_PROBES];
    int count = probes_poll(&w.probes, polled);
    ms left = until - clock_now();
    left = left < 0 ? 0 : left;
    struct timespec time = {left / SECOND, left % SECOND * 1000000};
    ppoll(polled, (nfds_t)count, &time, &w.signals);
}

static bool was_late(ms until, ms now) {
    ms suspended = clock_suspended(), more = suspended - w.suspended;
    w.suspended = suspended;
    return now - until > LATE || more > LATE;
}

static void watch(void) {
    ms now = clock_now();
    while (!stopped) {
        ms until = next_thing(now);
        until = until > now ? until : now;
        await(until);
        now = clock_now();
        bool late = was_late(until, now);
        if (now >= w.second_at)
            each_second(now);
        if (now < w.resting_until)
            continue;
        if (w.resting_until)
            return;
        take_answers(now, late);
        if (now >= w.look_at) {
            look(now);
            journal_closed(&w);
        }
        decide(now);
        ask(now);
    }
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = stop};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &w.signals);
    sigdelset(&w.signals, SIGTERM);
    sigdelset(&w.signals, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* Watches until a signal ends it; what it ejected is let in before it ends. */
int watch_run(const struct options *options) {
    w.options = options;
    w.suspended = clock_suspended();
    srand((unsigned)(getpid() ^ clock_now()));
    catch_signals();
    probes_init(&w.probes);
    w.diag = nl_open(NETLINK_SOCK_DIAG);
    filter_clean();
    POINT(10);
    report_line("started");
    report_notify("READY=1");
    while (!stopped) {
        const char *why = able_why_not(options->user);
        w.resting_until = 0;
        if (why)
            rest(why, REST);
        else
            state_read_conf(&w);
        watch();
    }
    report_notify("STOPPING=1");
    int result = filter_clean();
    report_line(result ? "stopped; its filter stays: %s" : "stopped", strerror(-result));
    return result ? 1 : 0;
}
