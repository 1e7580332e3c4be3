#include "rules.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "points.h"

/* Whose rules they are: nobody else has this protocol with this priority, which is before all tables but local. */
enum { PROTOCOL = 143, PRIORITY = 143 };

/* How often it is looked for rules that are left: each look shows so many of them at most. */
enum { ROUNDS = 16 };

struct rule {
    struct fib_rule_hdr head;
    uint8_t address[16];
    struct fib_rule_uid_range users;
    struct fib_rule_port_range ports;
    uint8_t ip_protocol;
};

static struct rule rule_for(const struct apiserver *a, uint32_t uid) {
    struct rule r = {
        .head = {.family = a->family, .dst_len = a->family == AF_INET6 ? 128 : 32, .action = FR_ACT_UNREACHABLE},
        .users = {uid, uid},
        .ports = {a->port, a->port},
        .ip_protocol = IPPROTO_TCP,
    };
    memcpy(r.address, a->bytes, sizeof r.address);
    return r;
}

static int change(uint16_t type, uint16_t flags, const struct rule *r) {
    struct nl_message m;
    uint32_t priority = PRIORITY;
    uint8_t protocol = PROTOCOL;
    nl_begin(&m, type, flags, &r->head, sizeof r->head);
    nl_put(&m, FRA_DST, r->address, r->head.dst_len / 8);
    nl_put(&m, FRA_PRIORITY, &priority, sizeof priority);
    nl_put(&m, FRA_PROTOCOL, &protocol, sizeof protocol);
    nl_put(&m, FRA_IP_PROTO, &r->ip_protocol, sizeof r->ip_protocol);
    nl_put(&m, FRA_UID_RANGE, &r->users, sizeof r->users);
    nl_put(&m, FRA_DPORT_RANGE, &r->ports, sizeof r->ports);
    int fd = nl_open(NETLINK_ROUTE);
    if (fd < 0)
        return fd;
    int result = nl_do(fd, &m);
    close(fd);
    return result;
}

struct own {
    struct rule rules[4 * MAX_APISERVERS];
    int count;
};

static void keep_own(void *context, const unsigned char *body, size_t size) {
    struct own *own = context;
    struct rule r = {0};
    uint32_t priority;
    uint8_t protocol;
    if (size < sizeof r.head || own->count == (int)(sizeof own->rules / sizeof *own->rules))
        return;
    memcpy(&r.head, body, sizeof r.head);
    const unsigned char *attributes = body + sizeof r.head;
    size -= sizeof r.head;
    nl_attribute(attributes, size, FRA_PROTOCOL, &protocol, sizeof protocol);
    nl_attribute(attributes, size, FRA_PRIORITY, &priority, sizeof priority);
    if (protocol != PROTOCOL || priority != PRIORITY || r.head.action != FR_ACT_UNREACHABLE)
        return;
    nl_attribute(attributes, size, FRA_DST, r.address, sizeof r.address);
    nl_attribute(attributes, size, FRA_UID_RANGE, &r.users, sizeof r.users);
    nl_attribute(attributes, size, FRA_DPORT_RANGE, &r.ports, sizeof r.ports);
    nl_attribute(attributes, size, FRA_IP_PROTO, &r.ip_protocol, sizeof r.ip_protocol);
    if (r.head.dst_len <= 8 * sizeof r.address)
        own->rules[own->count++] = r;
}

static int read_own(struct own *own, uint8_t family) {
    struct fib_rule_hdr body = {.family = family};
    struct nl_message m;
    nl_begin(&m, RTM_GETRULE, 0, &body, sizeof body);
    int fd = nl_open(NETLINK_ROUTE);
    if (fd < 0)
        return fd;
    own->count = 0;
    int result = nl_dump(fd, &m, keep_own, own);
    close(fd);
    return result;
}

/* A rule that is there already is as good. */
int rules_add(const struct apiserver *a, uint32_t uid) {
    struct rule r = rule_for(a, uid);
    int result = change(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &r);
    return result == -EEXIST ? 0 : result;
}

int rules_remove(const struct apiserver *a, uint32_t uid) {
    struct rule r = rule_for(a, uid);
    int result = change(RTM_DELRULE, 0, &r);
    return result == -ENOENT ? 0 : result;
}

static int clean_family(uint8_t family) {
    struct own own = {.count = 1};
    int result = 0;
    for (int round = 0; round < ROUNDS && !result && own.count; round++) {
        result = read_own(&own, family);
        if (result == -EAFNOSUPPORT || result == -EOPNOTSUPP) /* a kernel without this family */
            return 0;
        for (int i = 0; !result && i < own.count; i++) {
            POINT(9);
            result = change(RTM_DELRULE, 0, &own.rules[i]);
            if (result == -ENOENT)
                result = 0;
        }
    }
    return result ? result : own.count ? -EBUSY : 0;
}

/* Removes every rule of ours, whoever made it. */
int rules_clean(void) {
    int v4 = clean_family(AF_INET), v6 = clean_family(AF_INET6);
    return v4 ? v4 : v6;
}

/* Adds a rule for a user and an address that nobody has, and looks whether the kernel kept all of it: one that
 * knows only a part would keep more from nginx than is meant. */
int rules_try(void) {
    struct apiserver nobody;
    struct own own;
    if (!apiserver_read(&nobody, "192.0.2.1:9"))
        return -EINVAL;
    struct rule wanted = rule_for(&nobody, UINT32_MAX - 2);
    int result = change(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &wanted);
    if (result && result != -EEXIST)
        return result;
    result = read_own(&own, AF_INET);
    bool kept = false;
    for (int i = 0; !result && i < own.count; i++) {
        const struct rule *r = &own.rules[i];
        kept |= !memcmp(r->address, wanted.address, sizeof r->address) && r->users.start == wanted.users.start &&
                r->ports.start == 9 && r->ports.end == 9 && r->ip_protocol == IPPROTO_TCP;
    }
    int removed = change(RTM_DELRULE, 0, &wanted);
    return result ? result : removed ? removed : kept ? 0 : -EOPNOTSUPP;
}
