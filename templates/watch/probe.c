#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hello.h"

enum { PENDING = -1 };

void probes_init(struct probes *p) {
    for (int i = 0; i < MAX_PROBES; i++)
        p->of[i].fd = -1;
}

static struct probe *unused(struct probes *p) {
    for (int i = 0; i < MAX_PROBES; i++)
        if (p->of[i].fd < 0)
            return &p->of[i];
    return NULL;
}

static void end(struct probe *probe) {
    close(probe->fd);
    probe->fd = -1;
}

/* What says more of this node than of an apiserver: no port, memory or descriptor is left. */
static bool is_our_own(int error) {
    return error == EADDRNOTAVAIL || error == ENOBUFS || error == ENOMEM || error == EAGAIN || error == EPERM ||
           error == EACCES;
}

/* Begins a question; false if that is not possible. How a connection fails at once is told by probes_read. */
bool probes_begin(struct probes *p, int which, const struct apiserver *a, ms now) {
    struct sockaddr_storage to;
    struct probe *probe = unused(p);
    int fd = probe ? socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return false;
    socklen_t size = apiserver_sockaddr(a, &to);
    *probe = (struct probe){.which = which, .fd = fd, .begun = now};
    if (connect(fd, (struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS)
        probe->error = errno;
    if (!is_our_own(probe->error))
        return true;
    end(probe);
    return false;
}

/* An unreachable network or host is a packet that vanished; only the host itself refuses. */
static int answer_of(const struct probe *probe, int error) {
    if (error == ECONNREFUSED || error == ECONNRESET || error == EPIPE)
        return REFUSED;
    return probe->connected ? NO_HELLO : NO_CONNECTION;
}

static int say_hello(struct probe *probe) {
    unsigned char hello[256];
    int error = probe->error;
    socklen_t size = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    if (!error && getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error)
        return answer_of(probe, error);
    if (getpeername(probe->fd, (struct sockaddr *)&peer, &peer_size) < 0)
        return PENDING;
    size_t length = hello_write(hello, sizeof hello);
    if (send(probe->fd, hello, length, MSG_NOSIGNAL) < 0)
        return answer_of(probe, errno);
    probe->connected = true;
    return PENDING;
}

static int read_answer(struct probe *probe) {
    ssize_t got = recv(probe->fd, probe->first + probe->got, sizeof probe->first - probe->got, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? PENDING : answer_of(probe, errno);
    if (got == 0)
        return REFUSED;
    probe->got += (size_t)got;
    switch (hello_read(probe->first, probe->got)) {
    case HELLO_TLS:
        return ANSWERED;
    case HELLO_OTHER:
        return REFUSED;
    default:
        return PENDING;
    }
}

static int advance(struct probe *probe) {
    int how = probe->connected ? PENDING : say_hello(probe);
    return how == PENDING && probe->connected ? read_answer(probe) : how;
}

int probes_poll(const struct probes *p, struct pollfd polled[MAX_PROBES]) {
    int count = 0;
    for (int i = 0; i < MAX_PROBES; i++)
        if (p->of[i].fd >= 0)
            polled[count++] = (struct pollfd){p->of[i].fd, p->of[i].connected ? POLLIN : POLLOUT, 0};
    return count;
}

/* Reads all that there is, and only then judges limits by `now`; tells which questions have ended. */
int probes_read(struct probes *p, ms now, struct ended ended[MAX_PROBES]) {
    int count = 0;
    for (int i = 0; i < MAX_PROBES; i++) {
        struct probe *probe = &p->of[i];
        if (probe->fd < 0)
            continue;
        int how = advance(probe);
        if (how == PENDING && now - probe->begun >= LIMIT)
            how = probe->connected ? NO_HELLO : NO_CONNECTION;
        if (how == PENDING)
            continue;
        ended[count++] = (struct ended){probe->which, (enum answer)how, probe->begun};
        end(probe);
    }
    return count;
}

/* When the next limit is reached. */
ms probes_next(const struct probes *p) {
    ms next = INT64_MAX;
    for (int i = 0; i < MAX_PROBES; i++)
        if (p->of[i].fd >= 0 && p->of[i].begun + LIMIT < next)
            next = p->of[i].begun + LIMIT;
    return next;
}

void probes_drop(struct probes *p) {
    for (int i = 0; i < MAX_PROBES; i++)
        if (p->of[i].fd >= 0)
            end(&p->of[i]);
}
