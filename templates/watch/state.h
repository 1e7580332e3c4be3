/* What the watch holds between two looks. */
#ifndef STATE_H
#define STATE_H

#include <signal.h>

#include "conf.h"
#include "judge.h"
#include "probe.h"
#include "report.h"
#include "sessions.h"
#include "watch.h"

enum { SECOND = 1000 };

struct state {
    const struct options *options;
    struct conf conf;
    struct version version;
    bool has_conf;
    bool unwritable; /* metrics: the journal has been told */
    uint32_t uid;
    struct judge judge;
    struct probes probes;
    struct sessions found;
    bool closes[MAX_APISERVERS]; /* whose sessions are closed at each look */
    bool stays[MAX_APISERVERS];  /* of whose silence the journal has been told */
    ms told[MAX_APISERVERS];
    int jitter[MAX_APISERVERS];
    int diag;
    ms look_at, second_at, metrics_at, suspended, resting_until;
    char status[STATUS_SIZE];
    sigset_t signals; /* those that are let in while waiting */
};

void state_read_conf(struct state *w);

#endif
