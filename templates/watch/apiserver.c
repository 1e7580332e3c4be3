#include "apiserver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool read_port(const char *text, uint16_t *port) {
    unsigned value = 0;
    if (!*text || strlen(text) > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value < 65536;
}

/* Reads A.B.C.D:PORT or [v6]:PORT; false if it is something else. */
bool apiserver_read(struct apiserver *a, const char *text) {
    char address[ADDRESS_SIZE];
    const char *colon = strrchr(text, ':');
    memset(a, 0, sizeof *a);
    if (!colon || (size_t)(colon - text) >= sizeof address || !read_port(colon + 1, &a->port))
        return false;
    size_t length = (size_t)(colon - text);
    bool v6 = length > 2 && text[0] == '[' && text[length - 1] == ']';
    if (v6) {
        text++;
        length -= 2;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    a->family = v6 ? AF_INET6 : AF_INET;
    return inet_pton(a->family, address, a->bytes) == 1;
}

bool apiserver_same(const struct apiserver *a, const struct apiserver *b) {
    return a->family == b->family && a->port == b->port && !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

void apiserver_write(const struct apiserver *a, char text[ADDRESS_SIZE]) {
    char address[INET6_ADDRSTRLEN] = "?";
    inet_ntop(a->family, a->bytes, address, sizeof address);
    snprintf(text, ADDRESS_SIZE, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", address, (unsigned)a->port);
}

size_t apiserver_address_size(const struct apiserver *a) {
    return a->family == AF_INET6 ? 16 : 4;
}

socklen_t apiserver_sockaddr(const struct apiserver *a, struct sockaddr_storage *to) {
    memset(to, 0, sizeof *to);
    if (a->family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(a->port);
        memcpy(&v6->sin6_addr, a->bytes, 16);
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(a->port);
    memcpy(&v4->sin_addr, a->bytes, 4);
    return sizeof *v4;
}
