/* Questions to the kernel over netlink. Results are 0 or a negative errno. */
#ifndef NETLINK_H
#define NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NL_ROOM = 49152 }; /* for a filter of MAX_APISERVERS */

/* One message, or several that are sent together. */
struct nl_message {
    _Alignas(NLMSG_ALIGNTO) unsigned char bytes[NL_ROOM];
    size_t at; /* where the last one begins */
    size_t size;
    uint32_t sequence;
    bool full; /* it had no room for something */
};

/* Called with the body of each message of an answer. */
typedef void nl_each(void *context, const unsigned char *body, size_t size);

int nl_open(int protocol);
void nl_begin(struct nl_message *m, uint16_t type, uint16_t flags, const void *body, size_t size);
void nl_add(struct nl_message *m, uint16_t type, uint16_t flags, const void *body, size_t size);
void nl_put(struct nl_message *m, uint16_t type, const void *value, size_t size);
size_t nl_nest(struct nl_message *m, uint16_t type);
void nl_nested(struct nl_message *m, size_t nest);
int nl_ask(int fd, struct nl_message *m, nl_each *each, void *context);
int nl_do(int fd, struct nl_message *m);
int nl_dump(int fd, struct nl_message *m, nl_each *each, void *context);
int nl_parse(const unsigned char *bytes, size_t size, uint32_t sequence, nl_each *each, void *context);
bool nl_attribute(const unsigned char *bytes, size_t size, uint16_t type, void *value, size_t value_size);

#endif
