#define _GNU_SOURCE
#include "hello.h"

#include <string.h>
#include <sys/random.h>

/* A ClientHello of TLS 1.2 and 1.3 (RFC 8446, 4.1.2) without a server name, as Go and OpenSSL answer it. */
static const unsigned char HELLO[] = {
    0x16, 0x03, 0x01, 0x00, 0xa8, /* record: handshake, 168 bytes */
    0x01, 0x00, 0x00, 0xa4,       /* ClientHello, 164 bytes */
    0x03, 0x03,                   /* TLS 1.2, as 1.3 writes it, too */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* random */
    0x00,                         /* no session */
    0x00, 0x1a,                   /* 13 cipher suites */
    0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9, 0xcc, 0xa8,
    0x00, 0x9c, 0x00, 0x9d, 0xc0, 0x09, 0xc0, 0x13, 0x01, 0x00, /* no compression */
    0x00, 0x61,                                                 /* extensions, 97 bytes */
    0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18, /* groups: x25519, P-256, P-384 */
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00,                                     /* uncompressed points */
    0x00, 0x0d, 0x00, 0x14, 0x00, 0x12,                                     /* signatures */
    0x04, 0x03, 0x05, 0x03, 0x06, 0x03, 0x08, 0x07, 0x08, 0x04, 0x08, 0x05, 0x08, 0x06, 0x04, 0x01, 0x05, 0x01,
    0x00, 0x17, 0x00, 0x00,                                                 /* extended master secret */
    0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03,                   /* versions 1.3, 1.2 */
    0x00, 0x33, 0x00, 0x26, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20,             /* a key share of x25519 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};
enum { RANDOM_AT = 11, RANDOM_SIZE = 32 };

/* Any 32 bytes are a public key of x25519: nobody is going to compute the secret to it. */
size_t hello_write(unsigned char *to, size_t size) {
    if (size < sizeof HELLO)
        return 0;
    memcpy(to, HELLO, sizeof HELLO);
    if (getrandom(to + RANDOM_AT, RANDOM_SIZE, GRND_NONBLOCK) < 0 ||
        getrandom(to + sizeof HELLO - RANDOM_SIZE, RANDOM_SIZE, GRND_NONBLOCK) < 0)
        memset(to + RANDOM_AT, 1, RANDOM_SIZE);
    return sizeof HELLO;
}

/* Tells from its first bytes whether an answer is TLS's: a handshake, or an alert. */
enum hello hello_read(const unsigned char *bytes, size_t size) {
    if (size && bytes[0] != 0x15 && bytes[0] != 0x16)
        return HELLO_OTHER;
    if (size < 2)
        return HELLO_UNKNOWN;
    return bytes[1] == 0x03 ? HELLO_TLS : HELLO_OTHER;
}
