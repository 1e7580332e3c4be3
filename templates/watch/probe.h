/* Questions to apiservers: a connection, a TLS hello, and whatever TLS says to that. */
#ifndef PROBE_H
#define PROBE_H

#include <poll.h>

#include "apiserver.h"
#include "judge.h"

enum { MAX_PROBES = MAX_APISERVERS * MAX_OPEN };

struct probe {
    int which;
    int fd; /* -1: none */
    int error; /* of the call that began the connection */
    bool connected;
    size_t got;
    unsigned char first[2];
    ms begun;
};

struct ended {
    int which;
    enum answer how;
    ms begun;
};

struct probes {
    struct probe of[MAX_PROBES];
};

void probes_init(struct probes *p);
bool probes_begin(struct probes *p, int which, const struct apiserver *a, ms now);
int probes_poll(const struct probes *p, struct pollfd polled[MAX_PROBES]);
int probes_read(struct probes *p, ms now, struct ended ended[MAX_PROBES]);
ms probes_next(const struct probes *p);
void probes_drop(struct probes *p);

#endif
