#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <string.h>

/* What is known of apiservers that are still there stays known. */
static void take_conf(struct state *w, const struct conf *conf, uint32_t uid) {
    struct judge judge = {.count = conf->count};
    for (int i = 0; i < conf->count; i++) {
        judged_begin(&judge.of[i]);
        for (int k = 0; k < w->conf.count && uid == w->uid; k++)
            if (apiserver_same(&conf->apiservers[i], &w->conf.apiservers[k]))
                judge.of[i] = w->judge.of[k];
    }
    probes_drop(&w->probes);
    w->judge = judge;
    judge_late(&w->judge);
    memset(w->stays, 0, sizeof w->stays);
    memset(w->told, 0, sizeof w->told);
    w->conf = *conf;
    w->uid = uid;
    w->look_at = 0;
}

/* Reads the configuration if it is another one than before; tells whether it was. */
bool state_read_conf(struct state *w) {
    struct version version;
    struct conf conf;
    uint32_t uid = w->uid;
    bool there = conf_version(w->options->conf, &version);
    if (there && w->has_conf && conf_same(&version, &w->version))
        return false;
    if (!there || !conf_read(w->options->conf, &conf)) {
        if (w->has_conf || !w->status[0])
            report_line("%s cannot be read: %s; what was known of it stays", w->options->conf, strerror(errno));
        w->has_conf = false;
        return false;
    }
    if (!conf_user("/etc/passwd", w->options->user, &uid))
        report_line("/etc/passwd has no user %s", w->options->user);
    w->version = version;
    w->has_conf = true;
    take_conf(w, &conf, uid);
    report_line("read %s: %d apiserver%s, user %s (%u)", w->options->conf, conf.count, conf.count == 1 ? "" : "s",
                w->options->user, (unsigned)uid);
    if (conf.unknown)
        report_line("%s: passed over %d of another kind, the first is: server %s", w->options->conf, conf.unknown,
                    conf.first_unknown);
    return true;
}
