#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { GOES_ON = 1, ANSWER_SIZE = 65536 };

static uint32_t last_sequence;

/* Gives a socket, or a negative errno. */
int nl_open(int protocol) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    struct timeval patience = {.tv_sec = 1};
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static struct nlmsghdr *last_of(struct nl_message *m) {
    return (struct nlmsghdr *)(m->bytes + m->at);
}

/* Gives where so many bytes are to be written, the padding behind them zero; NULL if there is no room. */
static unsigned char *room(struct nl_message *m, size_t size) {
    size_t padded = NLMSG_ALIGN(size);
    if (m->full || padded > sizeof m->bytes - m->size) {
        m->full = true;
        return NULL;
    }
    unsigned char *place = m->bytes + m->size;
    memset(place, 0, padded);
    m->size += padded;
    return place;
}

void nl_begin(struct nl_message *m, uint16_t type, uint16_t flags, const void *body, size_t size) {
    m->at = m->size = 0;
    m->full = false;
    m->sequence = ++last_sequence;
    nl_add(m, type, flags, body, size);
}

/* Adds one more message, which is sent with those before it. */
void nl_add(struct nl_message *m, uint16_t type, uint16_t flags, const void *body, size_t size) {
    struct nlmsghdr head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = m->sequence};
    size_t at = m->size;
    unsigned char *place = room(m, NLMSG_HDRLEN + size);
    if (!place)
        return;
    m->at = at;
    head.nlmsg_len = (uint32_t)(m->size - at);
    memcpy(place, &head, sizeof head);
    memcpy(place + NLMSG_HDRLEN, body, size);
}

void nl_put(struct nl_message *m, uint16_t type, const void *value, size_t size) {
    struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type};
    unsigned char *place = room(m, head.nla_len);
    if (!place)
        return;
    memcpy(place, &head, sizeof head);
    if (size)
        memcpy(place + NLA_HDRLEN, value, size);
    last_of(m)->nlmsg_len = (uint32_t)(m->size - m->at);
}

/* Begins an attribute of attributes; what this gives is for nl_nested, which ends it. */
size_t nl_nest(struct nl_message *m, uint16_t type) {
    size_t nest = m->size;
    nl_put(m, type | NLA_F_NESTED, NULL, 0);
    return nest;
}

void nl_nested(struct nl_message *m, size_t nest) {
    if (!m->full)
        ((struct nlattr *)(m->bytes + nest))->nla_len = (uint16_t)(m->size - nest);
}

static int error_of(const unsigned char *body, size_t size) {
    int32_t error = 0;
    if (size < sizeof error)
        return -EBADMSG;
    memcpy(&error, body, sizeof error);
    return error;
}

/* Reads one datagram of an answer: 1 if more follow, 0 at the end, or a negative errno. */
int nl_parse(const unsigned char *bytes, size_t size, uint32_t sequence, nl_each *each, void *context) {
    while (size >= NLMSG_HDRLEN) {
        struct nlmsghdr head;
        memcpy(&head, bytes, sizeof head);
        if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > size)
            return -EBADMSG;
        const unsigned char *body = bytes + NLMSG_HDRLEN;
        size_t body_size = head.nlmsg_len - NLMSG_HDRLEN;
        if (head.nlmsg_seq == sequence) {
            if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR) /* a dump that failed is done, too */
                return error_of(body, body_size);
            if (each && head.nlmsg_type >= NLMSG_MIN_TYPE)
                each(context, body, body_size);
        }
        size_t step = NLMSG_ALIGN(head.nlmsg_len);
        if (step >= size)
            break;
        bytes += step;
        size -= step;
    }
    return GOES_ON;
}

/* Sends it, and reads the answer. */
int nl_ask(int fd, struct nl_message *m, nl_each *each, void *context) {
    static _Alignas(NLMSG_ALIGNTO) unsigned char answer[ANSWER_SIZE];
    if (m->full)
        return -EMSGSIZE;
    if (send(fd, m->bytes, m->size, 0) < 0)
        return -errno;
    for (int result = GOES_ON;;) {
        ssize_t size = recv(fd, answer, sizeof answer, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return -errno;
        result = nl_parse(answer, (size_t)size, m->sequence, each, context);
        if (result != GOES_ON)
            return result;
    }
}

/* Has the kernel do something; a negative errno if it does not. */
int nl_do(int fd, struct nl_message *m) {
    last_of(m)->nlmsg_flags |= NLM_F_ACK;
    return nl_ask(fd, m, NULL, NULL);
}

int nl_dump(int fd, struct nl_message *m, nl_each *each, void *context) {
    last_of(m)->nlmsg_flags |= NLM_F_DUMP;
    return nl_ask(fd, m, each, context);
}

/* Copies an attribute, or as much as there is of it, and zeros; false if it is not there. */
bool nl_attribute(const unsigned char *bytes, size_t size, uint16_t type, void *value, size_t value_size) {
    memset(value, 0, value_size);
    while (size >= NLA_HDRLEN) {
        struct nlattr head;
        memcpy(&head, bytes, sizeof head);
        if (head.nla_len < NLA_HDRLEN || head.nla_len > size)
            return false;
        if ((head.nla_type & NLA_TYPE_MASK) == type) {
            size_t there = head.nla_len - NLA_HDRLEN;
            memcpy(value, bytes + NLA_HDRLEN, there < value_size ? there : value_size);
            return true;
        }
        size_t step = NLA_ALIGN(head.nla_len);
        if (step >= size)
            return false;
        bytes += step;
        size -= step;
    }
    return false;
}
