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
#include "nft.h"
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

static void opens_a_connection(struct nl_message *m) {
    const uint8_t syn = SYN;
    nft_load(m, NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS_AT, sizeof syn);
    nft_mask(m, FIN_SYN_RST_ACK);
    nft_is(m, &syn, sizeof syn);
}

static void table(struct nl_message *m, uint16_t type, uint16_t flags) {
    nft_command(m, type, flags);
    nft_text(m, NFTA_TABLE_NAME, TABLE);
}

static void chain(struct nl_message *m, const char *name, bool hooked) {
    nft_command(m, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    nft_text(m, NFTA_CHAIN_TABLE, TABLE);
    nft_text(m, NFTA_CHAIN_NAME, name);
    if (!hooked)
        return;
    nft_text(m, NFTA_CHAIN_TYPE, "filter");
    size_t hook = nl_nest(m, NFTA_CHAIN_HOOK);
    nft_number(m, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
    nft_number(m, NFTA_HOOK_PRIORITY, PRIORITY);
    nl_nested(m, hook);
}

static size_t rule(struct nl_message *m, const char *name, uint16_t flags) {
    nft_command(m, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);
    nft_text(m, NFTA_RULE_TABLE, TABLE);
    nft_text(m, NFTA_RULE_CHAIN, name);
    return nl_nest(m, NFTA_RULE_EXPRESSIONS);
}

static void refuse(struct nl_message *m, const struct apiserver *a) {
    bool v6 = a->family == AF_INET6;
    uint16_t port = htons(a->port);
    size_t expressions = rule(m, EJECTED, 0);
    nft_meta_byte_is(m, NFT_META_NFPROTO, v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    nft_load(m, NFT_PAYLOAD_NETWORK_HEADER, v6 ? IPV6_DESTINATION_AT : IPV4_DESTINATION_AT, apiserver_address_size(a));
    nft_is(m, a->bytes, apiserver_address_size(a));
    nft_meta_byte_is(m, NFT_META_L4PROTO, IPPROTO_TCP);
    nft_load(m, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_AT, sizeof port);
    nft_is(m, &port, sizeof port);
    nft_reset(m);
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
    nft_meta_is(m, NFT_META_SKUID, &uid, sizeof uid);
    nft_meta_byte_is(m, NFT_META_L4PROTO, IPPROTO_TCP);
    opens_a_connection(m);
    nft_jump(m, EJECTED);
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
    nft_begin(&m);
    make(&m, apiservers, ejected, count, uid);
    nft_end(&m);
    return send_all(&m);
}

/* Whether a result tells that the kernel does not know such filters. */
bool filter_is_unknown(int result) {
    return result == -EOPNOTSUPP || result == -EPROTONOSUPPORT || result == -EAFNOSUPPORT;
}

/* 1 if the filter is in the kernel, 0 if somebody has removed it. */
int filter_there(void) {
    struct nl_message m;
    struct nfgenmsg body = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
    nl_begin(&m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_ACK, &body, sizeof body);
    nft_text(&m, NFTA_CHAIN_TABLE, TABLE);
    nft_text(&m, NFTA_CHAIN_NAME, EJECTED);
    int result = send_all(&m);
    return result == -ENOENT ? 0 : result ? result : 1;
}

/* Removes the filter, whoever made it. */
int filter_clean(void) {
    struct nl_message m;
    nft_begin(&m);
    table(&m, NFT_MSG_DELTABLE, NLM_F_ACK);
    nft_end(&m);
    int result = send_all(&m);
    POINT(9);
    return result == -ENOENT || filter_is_unknown(result) ? 0 : result;
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
    nft_begin(&m);
    make(&m, apiservers, ejected, 2, UINT32_MAX - 2);
    return send_all(&m);
}
