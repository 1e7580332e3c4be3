/* Batches of commands for nftables, and what its rules are made of. A value that is loaded is what the next test is for. */
#ifndef NFT_H
#define NFT_H

#include "netlink.h"

void nft_begin(struct nl_message *m);
void nft_end(struct nl_message *m);
void nft_command(struct nl_message *m, uint16_t type, uint16_t flags);
void nft_text(struct nl_message *m, uint16_t type, const char *text);
void nft_number(struct nl_message *m, uint16_t type, int32_t number);

void nft_load(struct nl_message *m, int32_t header, int32_t offset, size_t size);
void nft_mask(struct nl_message *m, uint8_t mask);
void nft_is(struct nl_message *m, const void *value, size_t size);
void nft_meta_is(struct nl_message *m, int32_t key, const void *value, size_t size);
void nft_meta_byte_is(struct nl_message *m, int32_t key, uint8_t value);
void nft_jump(struct nl_message *m, const char *chain);
void nft_reset(struct nl_message *m);

#endif
