/* Questions to the kernel over netlink. Results are 0 or a negative errno. */
#ifndef NETLINK_H
#define NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_message {
    _Alignas(NLMSG_ALIGNTO) unsigned char bytes[512];
    size_t size;
};

/* Called with the body of each message of an answer. */
typedef void nl_each(void *context, const unsigned char *body, size_t size);

int nl_open(int protocol);
void nl_begin(struct nl_message *m, uint16_t type, uint16_t flags, const void *body, size_t size);
void nl_put(struct nl_message *m, uint16_t type, const void *value, size_t size);
int nl_do(int fd, struct nl_message *m);
int nl_dump(int fd, struct nl_message *m, nl_each *each, void *context);
int nl_parse(const unsigned char *bytes, size_t size, uint32_t sequence, nl_each *each, void *context);
bool nl_attribute(const unsigned char *bytes, size_t size, uint16_t type, void *value, size_t value_size);

#endif
