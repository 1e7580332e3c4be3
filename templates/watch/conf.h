/* What is read from files: apiservers from kube-nginx.conf, and the number of its user. */
#ifndef CONF_H
#define CONF_H

#include <sys/types.h>
#include <time.h>

#include "apiserver.h"

enum { WORD_SIZE = 128 };

struct conf {
    int count;
    struct apiserver apiservers[MAX_APISERVERS];
    int unknown;             /* servers that are none of those */
    char first_unknown[WORD_SIZE];
};

struct version {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

bool conf_version(const char *path, struct version *v);
bool conf_same(const struct version *a, const struct version *b);
bool conf_read(const char *path, struct conf *conf);
void conf_parse(const char *text, size_t size, struct conf *conf);
bool conf_user(const char *passwd, const char *name, uint32_t *uid);

#endif
