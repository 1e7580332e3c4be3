#include "able.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "filter.h"
#include "netlink.h"
#include "sessions.h"

static char why[256];

static const char *say(const char *what, int error) {
    snprintf(why, sizeof why, "%s: %s", what, strerror(-error));
    return why;
}

static const char *why_no_filter(void) {
    int result = filter_try();
    if (result == -EPERM)
        return "no permission to filter packets (CAP_NET_ADMIN)";
    if (filter_is_unknown(result) || result == -EINVAL || result == -ENOENT)
        return say("this kernel has no packet filter of nftables (CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET)", result);
    return result ? say("packets cannot be filtered", result) : NULL;
}

static const char *why_no_sessions(void) {
    struct apiserver nobody = {0};
    struct sessions found;
    struct look look = {.apiservers = &nobody, .count = 1, .uid = UINT32_MAX, .found = &found};
    if (!apiserver_read(&nobody, "192.0.2.1:9"))
        return NULL;
    int fd = nl_open(NETLINK_SOCK_DIAG);
    if (fd < 0)
        return say("this kernel tells nothing of its sockets (CONFIG_INET_DIAG)", fd);
    int looked = sessions_look(fd, &look), closed = sessions_try(fd);
    close(fd);
    if (looked)
        return say("this kernel tells nothing of its sockets (CONFIG_INET_DIAG)", looked);
    if (closed == -EOPNOTSUPP)
        return "this kernel closes no sessions of others (CONFIG_INET_DIAG_DESTROY)";
    return closed ? say("a session cannot be closed", closed) : NULL;
}

/* Says why this node cannot do it; NULL if it can. Nothing of anybody's is touched. */
const char *able_why_not(const char *user) {
    uint32_t uid;
    if (!conf_user("/etc/passwd", user, &uid)) {
        snprintf(why, sizeof why, "/etc/passwd has no user %.64s", user);
        return why;
    }
    const char *filter = why_no_filter();
    return filter ? filter : why_no_sessions();
}
