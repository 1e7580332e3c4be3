#include "sessions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "netlink.h"
#include "points.h"

enum { ESTABLISHED = 1, SYN_SENT = 2, FIN_WAIT1 = 4, FIN_WAIT2 = 5, CLOSE_WAIT = 8, RETRANSMITS = 1 };
enum { MAX_VICTIMS = 4096 };
enum { WAITED = 500, SYN_TIMEOUT = 1000 }; /* ms */
enum { YOUNG = 8 }; /* packets with data that it has heard (since Linux 4.6): a TLS handshake and a short answer are fewer */
enum { STATES = 1 << ESTABLISHED | 1 << SYN_SENT | 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT };

/* Closed after a look, during which the kernel's answer is still being read; more of them at the next look. */
static struct victim {
    uint8_t family;
    int which;
    struct inet_diag_sockid id;
} victims[MAX_VICTIMS];
static int victims_count;

static int find(const struct look *look, const struct inet_diag_msg *m) {
    for (int i = 0; i < look->count; i++) {
        const struct apiserver *a = &look->apiservers[i];
        if (a->family == m->idiag_family && a->port == ntohs(m->id.idiag_dport) &&
            !memcmp(a->bytes, m->id.idiag_dst, apiserver_address_size(a)))
            return i;
    }
    return -1;
}

static struct inet_diag_req_v2 request(uint8_t family) {
    return (struct inet_diag_req_v2){
        .sdiag_family = family,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_ext = 1 << (INET_DIAG_INFO - 1),
        .idiag_states = STATES,
    };
}

static int destroy(int fd, uint8_t family, const struct inet_diag_sockid *id) {
    struct inet_diag_req_v2 body = request(family);
    struct nl_message m;
    body.id = *id;
    nl_begin(&m, SOCK_DESTROY, 0, &body, sizeof body);
    return nl_do(fd, &m);
}

/* A connection that is being opened waits once its first packet is old. */
static bool opens_slowly(const struct inet_diag_msg *m) {
    return m->idiag_retrans > 0 || (m->idiag_timer == RETRANSMITS && m->idiag_expires < SYN_TIMEOUT - WAITED);
}

static bool waits(const struct inet_diag_msg *m, const struct tcp_info *info) {
    if (m->idiag_state == SYN_SENT)
        return opens_slowly(m);
    if (info->tcpi_unacked && info->tcpi_last_ack_recv >= WAITED)
        return true;
    return info->tcpi_last_data_sent < info->tcpi_last_data_recv && info->tcpi_last_data_recv >= WAITED;
}

static void take_note(const struct look *look, int i, const struct inet_diag_msg *m, const struct tcp_info *info) {
    struct sessions *found = look->found;
    bool opening = m->idiag_state == SYN_SENT;
    ms sent = opening ? look->now : look->now - (ms)info->tcpi_last_data_sent;
    ms heard = look->now - (ms)info->tcpi_last_data_recv;
    found->count[i]++;
    if (m->idiag_state != FIN_WAIT1 && m->idiag_state != FIN_WAIT2 && waits(m, info) && sent > found->sent[i])
        found->sent[i] = sent;
    /* Until the first byte the kernel counts from the opening of the connection, which is no byte of an apiserver. */
    if (m->idiag_state == ESTABLISHED && info->tcpi_bytes_received && heard > found->heard[i])
        found->heard[i] = heard;
}

static bool is_to_close(enum closing closes, const struct inet_diag_msg *m, const struct tcp_info *info) {
    bool young = m->idiag_state == ESTABLISHED && info->tcpi_data_segs_in < YOUNG;
    return closes == ALL || (closes == ALL_BUT_YOUNG && !young);
}

/* Takes one socket of a dump into account. */
void sessions_read(void *context, const unsigned char *body, size_t size) {
    struct look *look = context;
    struct inet_diag_msg m;
    struct tcp_info info;
    if (size < sizeof m)
        return;
    memcpy(&m, body, sizeof m);
    int i = find(look, &m);
    if (i < 0 || m.idiag_uid != look->uid)
        return;
    nl_attribute(body + NLMSG_ALIGN(sizeof m), size - NLMSG_ALIGN(sizeof m), INET_DIAG_INFO, &info, sizeof info);
    take_note(look, i, &m, &info);
    if (look->closes && is_to_close(look->closes[i], &m, &info) && victims_count < MAX_VICTIMS)
        victims[victims_count++] = (struct victim){m.idiag_family, i, m.id};
}

static void close_victims(int fd, struct sessions *found) {
    for (int i = 0; i < victims_count; i++) {
        POINT(6);
        if (destroy(fd, victims[i].family, &victims[i].id) == 0)
            found->closed[victims[i].which]++;
    }
}

/* Has the kernel send only sockets whose destination has a port of least to most. */
static void put_filter(struct nl_message *m, uint16_t least, uint16_t most) {
    const uint8_t next = 2 * sizeof(struct inet_diag_bc_op);
    struct inet_diag_bc_op program[4] = {
        {.code = INET_DIAG_BC_D_GE, .yes = next, .no = sizeof program + 4},
        {.no = least},
        {.code = INET_DIAG_BC_D_LE, .yes = next, .no = sizeof program - next + 4},
        {.no = most},
    };
    nl_put(m, INET_DIAG_REQ_BYTECODE, program, sizeof program);
}

static int look_at_family(int fd, struct look *look, uint8_t family) {
    uint16_t least = UINT16_MAX, most = 0;
    for (int i = 0; i < look->count; i++) {
        const struct apiserver *a = &look->apiservers[i];
        if (a->family != family)
            continue;
        least = a->port < least ? a->port : least;
        most = a->port > most ? a->port : most;
    }
    if (!most)
        return 0;
    struct inet_diag_req_v2 body = request(family);
    struct nl_message m;
    nl_begin(&m, SOCK_DIAG_BY_FAMILY, 0, &body, sizeof body);
    put_filter(&m, least, most);
    return nl_dump(fd, &m, sessions_read, look);
}

/* Looks at all sessions, and closes those that look->closes names. */
int sessions_look(int fd, struct look *look) {
    victims_count = 0;
    memset(look->found, 0, sizeof *look->found);
    for (int i = 0; i < MAX_APISERVERS; i++)
        look->found->sent[i] = look->found->heard[i] = NEVER;
    int v4 = look_at_family(fd, look, AF_INET), v6 = look_at_family(fd, look, AF_INET6);
    close_victims(fd, look->found);
    return v4 ? v4 : v6;
}

/* Tells whether sockets can be destroyed, by asking for one that is not there. */
int sessions_try(int fd) {
    struct inet_diag_sockid id = {
        .idiag_sport = htons(1),
        .idiag_dport = htons(9),
        .idiag_dst = {htonl(0xc0000201)}, /* 192.0.2.1 */
        .idiag_src = {htonl(0xc0000201)},
        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
    };
    int result = destroy(fd, AF_INET, &id);
    return result == -ENOENT ? 0 : result;
}
