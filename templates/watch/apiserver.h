/* An apiserver's address, as it is written in kube-nginx.conf. */
#ifndef APISERVER_H
#define APISERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { MAX_APISERVERS = 64, ADDRESS_SIZE = 64 };

struct apiserver {
    uint8_t family;   /* AF_INET or AF_INET6 */
    uint8_t bytes[16]; /* of an IPv4 address the first four; the rest is zero */
    uint16_t port;
};

bool apiserver_read(struct apiserver *a, const char *text);
bool apiserver_same(const struct apiserver *a, const struct apiserver *b);
void apiserver_write(const struct apiserver *a, char text[ADDRESS_SIZE]);
size_t apiserver_address_size(const struct apiserver *a);
socklen_t apiserver_sockaddr(const struct apiserver *a, struct sockaddr_storage *to);

#endif
