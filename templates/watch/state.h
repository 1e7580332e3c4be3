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
    bool ejects; /* the kernel has a filter of ours */
    bool stays[MAX_APISERVERS];  /* of whose silence the journal has been told */
    ms told[MAX_APISERVERS];
    int jitter[MAX_APISERVERS];
    int diag;
    ms look_at, second_at, metrics_at, suspended, resting_until;
    char status[STATUS_SIZE];
    sigset_t signals; /* those that are let in while waiting */
};

bool state_read_conf(struct state *w);

#endif
