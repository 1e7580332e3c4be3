/* The first message of TLS. */
#ifndef HELLO_H
#define HELLO_H

#include <stddef.h>

enum hello { HELLO_UNKNOWN, HELLO_TLS, HELLO_OTHER };

size_t hello_write(unsigned char *to, size_t size);
enum hello hello_read(const unsigned char *bytes, size_t size);

#endif
