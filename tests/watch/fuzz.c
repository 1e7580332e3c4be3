/* Hands what it reads, records of a length and so many bytes, to all parsers. Sanitizers end it at the first wrong step. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../templates/watch/conf.h"
#include "../../templates/watch/hello.h"
#include "../../templates/watch/netlink.h"
#include "../../templates/watch/sessions.h"

static unsigned long sessions_found, apiservers_found, hellos_found;

static void sessions(const unsigned char *bytes, size_t size) {
    struct apiserver a;
    struct sessions found;
    enum closing closes[MAX_APISERVERS] = {ALL_BUT_YOUNG};
    memset(&found, 0, sizeof found);
    if (!apiserver_read(&a, "198.18.0.11:6443"))
        abort();
    struct look look = {.apiservers = &a, .count = 1, .uid = 65534, .now = 1000, .closes = closes, .found = &found};
    nl_parse(bytes, size, 7, sessions_read, &look);
    sessions_found += (unsigned long)found.count[0];
}

static void text(const unsigned char *bytes, size_t size) {
    struct conf conf;
    struct apiserver a;
    char name[ADDRESS_SIZE], line[4096];
    conf_parse((const char *)bytes, size, &conf);
    apiservers_found += (unsigned long)conf.count;
    for (int i = 0; i < conf.count; i++) {
        struct apiserver again;
        apiserver_write(&conf.apiservers[i], name);
        if (!apiserver_read(&again, name) || !apiserver_same(&again, &conf.apiservers[i]))
            abort();
    }
    snprintf(line, sizeof line, "%.*s", (int)size, (const char *)bytes);
    apiserver_read(&a, line);
    if (strlen(conf.first_unknown) >= WORD_SIZE || conf.count > MAX_APISERVERS)
        abort();
}

int main(void) {
    for (uint32_t size; fread(&size, sizeof size, 1, stdin) == 1;) {
        unsigned char *bytes = malloc(size ? size : 1); /* its own, so that a byte too far is noticed */
        if (!bytes || fread(bytes, 1, size, stdin) != size)
            return 1;
        sessions(bytes, size);
        text(bytes, size);
        hellos_found += hello_read(bytes, size) == HELLO_TLS;
        free(bytes);
    }
    printf("%lu sessions, %lu apiservers, %lu hellos\n", sessions_found, apiservers_found, hellos_found);
    return 0;
}
