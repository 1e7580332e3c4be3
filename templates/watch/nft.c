#include "nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

struct expression {
    size_t element, data;
};

/* All changes of a batch are made, or none. */
void nft_begin(struct nl_message *m) {
    struct nfgenmsg body = {.nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    nl_begin(m, NFNL_MSG_BATCH_BEGIN, 0, &body, sizeof body);
}

void nft_end(struct nl_message *m) {
    struct nfgenmsg body = {.nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    nl_add(m, NFNL_MSG_BATCH_END, 0, &body, sizeof body);
}

void nft_command(struct nl_message *m, uint16_t type, uint16_t flags) {
    struct nfgenmsg body = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
    nl_add(m, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &body, sizeof body);
}

void nft_text(struct nl_message *m, uint16_t type, const char *text) {
    nl_put(m, type, text, strlen(text) + 1);
}

void nft_number(struct nl_message *m, uint16_t type, int32_t number) {
    uint32_t sent = htonl((uint32_t)number);
    nl_put(m, type, &sent, sizeof sent);
}

static struct expression expression(struct nl_message *m, const char *name) {
    struct expression e = {.element = nl_nest(m, NFTA_LIST_ELEM)};
    nft_text(m, NFTA_EXPR_NAME, name);
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

void nft_is(struct nl_message *m, const void *value, size_t size) {
    struct expression e = expression(m, "cmp");
    nft_number(m, NFTA_CMP_SREG, NFT_REG_1);
    nft_number(m, NFTA_CMP_OP, NFT_CMP_EQ);
    put_value(m, NFTA_CMP_DATA, value, size);
    expressed(m, e);
}

void nft_meta_is(struct nl_message *m, int32_t key, const void *value, size_t size) {
    struct expression e = expression(m, "meta");
    nft_number(m, NFTA_META_DREG, NFT_REG_1);
    nft_number(m, NFTA_META_KEY, key);
    expressed(m, e);
    nft_is(m, value, size);
}

void nft_meta_byte_is(struct nl_message *m, int32_t key, uint8_t value) {
    nft_meta_is(m, key, &value, sizeof value);
}

void nft_load(struct nl_message *m, int32_t header, int32_t offset, size_t size) {
    struct expression e = expression(m, "payload");
    nft_number(m, NFTA_PAYLOAD_DREG, NFT_REG_1);
    nft_number(m, NFTA_PAYLOAD_BASE, header);
    nft_number(m, NFTA_PAYLOAD_OFFSET, offset);
    nft_number(m, NFTA_PAYLOAD_LEN, (int32_t)size);
    expressed(m, e);
}

/* Keeps of a byte what is in the mask. */
void nft_mask(struct nl_message *m, uint8_t mask) {
    const uint8_t none = 0;
    struct expression e = expression(m, "bitwise");
    nft_number(m, NFTA_BITWISE_SREG, NFT_REG_1);
    nft_number(m, NFTA_BITWISE_DREG, NFT_REG_1);
    nft_number(m, NFTA_BITWISE_LEN, sizeof mask);
    put_value(m, NFTA_BITWISE_MASK, &mask, sizeof mask);
    put_value(m, NFTA_BITWISE_XOR, &none, sizeof none);
    expressed(m, e);
}

void nft_jump(struct nl_message *m, const char *chain) {
    struct expression e = expression(m, "immediate");
    nft_number(m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = nl_nest(m, NFTA_IMMEDIATE_DATA), verdict = nl_nest(m, NFTA_DATA_VERDICT);
    nft_number(m, NFTA_VERDICT_CODE, NFT_JUMP);
    nft_text(m, NFTA_VERDICT_CHAIN, chain);
    nl_nested(m, verdict);
    nl_nested(m, data);
    expressed(m, e);
}

void nft_reset(struct nl_message *m) {
    struct expression e = expression(m, "reject");
    nft_number(m, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
    expressed(m, e);
}
