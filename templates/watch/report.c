#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "points.h"

static const char *const REASONS[] = {
    [ANSWERED] = "no answer in a session",
    [REFUSED] = "connections are refused and sessions wait",
    [NO_CONNECTION] = "no answer to a connection",
    [NO_HELLO] = "no answer to a TLS hello",
};

/* A line of the journal. */
void report_line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void report_change(const struct apiserver *a, const struct judged *judged, const struct change *c, int closed) {
    char name[ADDRESS_SIZE];
    double seconds = (double)c->lasted / 1000;
    apiserver_write(a, name);
    if (c->act == EJECT)
        report_line("ejected %s: %s for %.1f s; closed %d session%s", name, REASONS[judged->reason], seconds, closed,
                    closed == 1 ? "" : "s");
    else if (judged->good >= 2)
        report_line("let in %s after %.1f s: %d answers in a row, %lld ms", name, seconds, judged->good,
                    (long long)judged->took);
    else
        report_line("let in %s after %.1f s: no other apiserver answers", name, seconds);
}

struct text {
    char *to;
    size_t size, length;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->to + text->length, text->size - text->length, format, arguments);
    va_end(arguments);
    if (length > 0 && text->length + (size_t)length < text->size)
        text->length += (size_t)length;
}

/* One line, for `systemctl status` and `fab status`. */
void report_status(char status[STATUS_SIZE], const struct apiserver *apiservers, const struct judge *j, ms now) {
    struct text text = {status, STATUS_SIZE, 0}, silent = text;
    char name[ADDRESS_SIZE];
    status[0] = '\0';
    for (int i = 0; i < j->count; i++) {
        const struct judged *a = &j->of[i];
        apiserver_write(&apiservers[i], name);
        if (a->ejected)
            add(&text, "%s%s for %lld s (%s)", text.length ? ", " : "ejected ", name,
                (long long)(now - a->ejected_at) / 1000, REASONS[a->reason]);
    }
    if (text.length)
        return;
    for (int i = 0; i < j->count; i++) {
        apiserver_write(&apiservers[i], name);
        if (j->of[i].silent)
            add(&silent, "%s%s", silent.length ? ", " : "silent ", name);
    }
    add(&silent, silent.length ? ", and not ejected: no other answers" : "ok");
}

/* Tells systemd, if it wants to be told (sd_notify(3)). */
void report_notify(const char *format, ...) {
    static char message[STATUS_SIZE + 64];
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    va_list arguments;
    size_t length = path ? strlen(path) : 0;
    if (!length || length >= sizeof to.sun_path)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    memcpy(to.sun_path, path, length);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to, size);
    close(fd);
}

enum metric { UP, EJECTED, SESSIONS, EJECTIONS, PROBE_SECONDS, METRICS };
static const struct {
    const char *name, *type, *help;
} METRIC[METRICS] = {
    [UP] = {"up", "gauge", "Whether the apiserver answered when it was asked last."},
    [EJECTED] = {"ejected", "gauge", "Whether nginx is kept from the apiserver."},
    [SESSIONS] = {"sessions", "gauge", "nginx's sessions with the apiserver."},
    [EJECTIONS] = {"ejections_total", "counter", "How often the apiserver was ejected since the watch was started."},
    [PROBE_SECONDS] = {"probe_seconds", "gauge", "How long the last answer to a TLS hello took."},
};

static double value_of(const struct judged *a, enum metric metric) {
    switch (metric) {
    case UP:
        return a->answered > NEVER && a->last == ANSWERED && !a->silent;
    case EJECTED:
        return a->ejected;
    case SESSIONS:
        return a->sessions;
    case EJECTIONS:
        return a->ejections;
    default:
        return (double)a->took / 1000;
    }
}

/* Writes node_exporter's text format, whole or not at all; false, and errno, if that is not possible. */
bool report_metrics(const char *path, const struct apiserver *apiservers, const struct judge *j) {
    char other[4096], name[ADDRESS_SIZE];
    if (snprintf(other, sizeof other, "%s.new", path) >= (int)sizeof other) {
        errno = ENAMETOOLONG;
        return false;
    }
    FILE *file = fopen(other, "we");
    if (!file)
        return false;
    for (int m = 0; m < METRICS; m++) {
        fprintf(file, "# HELP kube_nginx_watch_%s %s\n", METRIC[m].name, METRIC[m].help);
        fprintf(file, "# TYPE kube_nginx_watch_%s %s\n", METRIC[m].name, METRIC[m].type);
        for (int i = 0; i < j->count; i++) {
            apiserver_write(&apiservers[i], name);
            fprintf(file, "kube_nginx_watch_%s{apiserver=\"%s\"} %.10g\n", METRIC[m].name, name,
                    value_of(&j->of[i], (enum metric)m));
        }
    }
    POINT(8);
    bool written = !ferror(file);
    return (fclose(file) == 0) & written && rename(other, path) == 0;
}
