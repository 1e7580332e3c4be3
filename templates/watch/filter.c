#include "filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "points.h"

/*
 * As `nft list table inet kube-nginx-watch` shows it, while an apiserver is ejected:
 *
 *     chain ejected { ip daddr ADDRESS tcp dport PORT reject with tcp reset }
 *     chain output {
 *         type filter hook output priority mangle; policy accept;
 *         meta skuid NGINX meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn jump ejected
 *     }
 *
 * It sees a packet after connections are tracked, so that what it answers belongs to one, and before its address is
 * translated. Sessions that are open go on: whether they are closed is not for a filter to decide.
 */
static const char TABLE[] = "kube-nginx-watch", EJECTED[] = "ejected", OUTPUT[] = "output";
enum { PRIORITY = -150 };
enum { PORT_AT = 2, FLAGS_AT = 13, FIN_SYN_RST_ACK = 0x17, SYN = 0x02 }; /* in a TCP header */
enum { IPV4_DESTINATION_AT = 16, IPV6_DESTINATION_AT = 24 };

struct expression {
    size_t element, data;
};

/* All changes of a batch are made, or none. */
static void begin(struct nl_message *m) {
    struct nfgenmsg body = {.nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    nl_begin(m, NFNL_MSG_BATCH_BEGIN, 0, &body, sizeof body);
}

static void end(struct nl_message *m) {
    struct nfgenmsg body = {.nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    nl_add(m, NFNL_MSG_BATCH_END, 0, &body, sizeof body);
}

static void command(struct nl_message *m, uint16_t type, uint16_t flags) {
    struct nfgenmsg body = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
    nl_add(m, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &body, sizeof body);
}

static void put_text(struct nl_message *m, uint16_t type, const char *text) {
    nl_put(m, type, text, strlen(text) + 1);
}

static void put_number(struct nl_message *m, uint16_t type, int32_t number) {
    uint32_t sent = htonl((uint32_t)number);
    nl_put(m, type, &sent, sizeof sent);
}

static struct expression expression(struct nl_message *m, const char *name) {
    struct expression e = {.element = nl_nest(m, NFTA_LIST_ELEM)};
    put_text(m, NFTA_EXPR_NAME, name);
    e.data = nl_nest(m, NFTA_EXPR_DATA);
    return e;
}

static void expressed(struct nl_message *m, struct expression e) {
    nl_nested(m, e.data);
    nl_nested(m, e.element);
}

static void put_value(struct nl_message *m, uint16_t type, const void *value, size_t size) {
    size_t nest = nl_nest(m, type);
    nl_put(m, NFTA_DATA_VALUE, value, size);
    nl_nested(m, nest);
}

static void is_equal(struct nl_message *m, const void *value, size_t size) {
    struct expression e = expression(m, "cmp");
    put_number(m, NFTA_CMP_SREG, NFT_REG_1);
    put_number(m, NFTA_CMP_OP, NFT_CMP_EQ);
    put_value(m, NFTA_CMP_DATA, value, size);
    expressed(m, e);
}

static void meta_is(struct nl_message *m, int32_t key, const void *value, size_t size) {
    struct expression e = expression(m, "meta");
    put_number(m, NFTA_META_DREG, NFT_REG_1);
    put_number(m, NFTA_META_KEY, key);
    expressed(m, e);
    is_equal(m, value, size);
}

static void meta_byte_is(struct nl_message *m, int32_t key, uint8_t value) {
    meta_is(m, key, &value, sizeof value);
}

static void load(struct nl_message *m, int32_t header, int32_t offset, size_t size) {
    struct expression e = expression(m, "payload");
    put_number(m, NFTA_PAYLOAD_DREG, NFT_REG_1);
    put_number(m, NFTA_PAYLOAD_BASE, header);
    put_number(m, NFTA_PAYLOAD_OFFSET, offset);
    put_number(m, NFTA_PAYLOAD_LEN, (int32_t)size);
    expressed(m, e);
}

static void opens_a_connection(struct nl_message *m) {
    const uint8_t mask = FIN_SYN_RST_ACK, none = 0, syn = SYN;
    load(m, NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS_AT, sizeof mask);
    struct expression e = expression(m, "bitwise");
    put_number(m, NFTA_BITWISE_SREG, NFT_REG_1);
    put_number(m, NFTA_BITWISE_DREG, NFT_REG_1);
    put_number(m, NFTA_BITWISE_LEN, sizeof mask);
    put_value(m, NFTA_BITWISE_MASK, &mask, sizeof mask);
    put_value(m, NFTA_BITWISE_XOR, &none, sizeof none);
    expressed(m, e);
    is_equal(m, &syn, sizeof syn);
}

static void jump(struct nl_message *m, const char *chain) {
    struct expression e = expression(m, "immediate");
    put_number(m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = nl_nest(m, NFTA_IMMEDIATE_DATA), verdict = nl_nest(m, NFTA_DATA_VERDICT);
    put_number(m, NFTA_VERDICT_CODE, NFT_JUMP);
    put_text(m, NFTA_VERDICT_CHAIN, chain);
    nl_nested(m, verdict);
    nl_nested(m, data);
    expressed(m, e);
}

static void reject(struct nl_message *m) {
    struct expression e = expression(m, "reject");
    put_number(m, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
    expressed(m, e);
}

static void table(struct nl_message *m, uint16_t type, uint16_t flags) {
    command(m, type, flags);
    put_text(m, NFTA_TABLE_NAME, TABLE);
}

static void chain(struct nl_message *m, const char *name, bool hooked) {
    command(m, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    put_text(m, NFTA_CHAIN_TABLE, TABLE);
    put_text(m, NFTA_CHAIN_NAME, name);
    if (!hooked)
        return;
    put_text(m, NFTA_CHAIN_TYPE, "filter");
    size_t hook = nl_nest(m, NFTA_CHAIN_HOOK);
    put_number(m, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
    put_number(m, NFTA_HOOK_PRIORITY, PRIORITY);
    nl_nested(m, hook);
}

static size_t rule(struct nl_message *m, const char *name, uint16_t flags) {
    command(m, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);
    put_text(m, NFTA_RULE_TABLE, TABLE);
    put_text(m, NFTA_RULE_CHAIN, name);
    return nl_nest(m, NFTA_RULE_EXPRESSIONS);
}

static void refuse(struct nl_message *m, const struct apiserver *a) {
    bool v6 = a->family == AF_INET6;
    uint16_t port = htons(a->port);
    size_t expressions = rule(m, EJECTED, 0);
    meta_byte_is(m, NFT_META_NFPROTO, v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    load(m, NFT_PAYLOAD_NETWORK_HEADER, v6 ? IPV6_DESTINATION_AT : IPV4_DESTINATION_AT, apiserver_address_size(a));
    is_equal(m, a->bytes, apiserver_address_size(a));
    meta_byte_is(m, NFT_META_L4PROTO, IPPROTO_TCP);
    load(m, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_AT, sizeof port);
    is_equal(m, &port, sizeof port);
    reject(m);
    nl_nested(m, expressions);
}

/* A table anew, in the place of one that is there or not. */
static void make(struct nl_message *m, const struct apiserver *apiservers, const bool *ejected, int count, uint32_t uid) {
    table(m, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    table(m, NFT_MSG_DELTABLE, 0);
    table(m, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    chain(m, EJECTED, false);
    for (int i = 0; i < count; i++)
        if (ejected[i])
            refuse(m, &apiservers[i]);
    chain(m, OUTPUT, true);
    size_t expressions = rule(m, OUTPUT, NLM_F_ACK);
    meta_is(m, NFT_META_SKUID, &uid, sizeof uid);
    meta_byte_is(m, NFT_META_L4PROTO, IPPROTO_TCP);
    opens_a_connection(m);
    jump(m, EJECTED);
    nl_nested(m, expressions);
}

static int send_all(struct nl_message *m) {
    int fd = nl_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    int result = nl_ask(fd, m, NULL, NULL);
    close(fd);
    return result;
}

/* Refuses a user's new connections to those that are ejected, and to no others. */
int filter_set(const struct apiserver *apiservers, const bool *ejected, int count, uint32_t uid) {
    if (!memchr(ejected, true, (size_t)count))
        return filter_clean();
    struct nl_message m;
    begin(&m);
    make(&m, apiservers, ejected, count, uid);
    end(&m);
    return send_all(&m);
}

/* 1 if the filter is in the kernel, 0 if somebody has removed it. */
int filter_there(void) {
    struct nl_message m;
    struct nfgenmsg body = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
    nl_begin(&m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_ACK, &body, sizeof body);
    put_text(&m, NFTA_CHAIN_TABLE, TABLE);
    put_text(&m, NFTA_CHAIN_NAME, EJECTED);
    int result = send_all(&m);
    return result == -ENOENT ? 0 : result ? result : 1;
}

/* Removes the filter, whoever made it. */
int filter_clean(void) {
    struct nl_message m;
    POINT(9);
    begin(&m);
    table(&m, NFT_MSG_DELTABLE, NLM_F_ACK);
    end(&m);
    int result = send_all(&m);
    bool none = result == -ENOENT || result == -EOPNOTSUPP || result == -EPROTONOSUPPORT;
    return none ? 0 : result;
}

/* Has the kernel look at all that a filter is made of. A batch without its end is taken back. */
int filter_try(void) {
    static const char *const nobody[] = {"192.0.2.1:9", "[2001:db8::1]:9"};
    struct apiserver apiservers[2];
    const bool ejected[] = {true, true};
    struct nl_message m;
    for (int i = 0; i < 2; i++)
        if (!apiserver_read(&apiservers[i], nobody[i]))
            return -EINVAL;
    begin(&m);
    make(&m, apiservers, ejected, 2, UINT32_MAX - 2);
    return send_all(&m);
}
