#define _GNU_SOURCE
#include "conf.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 1 << 20 };

bool conf_version(const char *path, struct version *v) {
    struct stat s;
    memset(v, 0, sizeof *v);
    if (stat(path, &s) < 0)
        return false;
    v->device = s.st_dev;
    v->inode = s.st_ino;
    v->size = s.st_size;
    v->modified = s.st_mtim;
    return true;
}

bool conf_same(const struct version *a, const struct version *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* A statement of nginx's configuration: its first two words, and how many there are. */
struct statement {
    int words;
    size_t length;
    char word[2][WORD_SIZE];
};

static void add(struct statement *s, char c) {
    if (s->words < 1 || s->words > 2 || s->length + 1 >= WORD_SIZE)
        return;
    s->word[s->words - 1][s->length++] = c;
    s->word[s->words - 1][s->length] = '\0';
}

static void keep(struct conf *conf, const struct statement *s) {
    struct apiserver a;
    if (s->words < 2 || strcmp(s->word[0], "server") != 0)
        return;
    if (!apiserver_read(&a, s->word[1]) || conf->count == MAX_APISERVERS) {
        if (!conf->unknown++)
            memcpy(conf->first_unknown, s->word[1], WORD_SIZE);
        return;
    }
    for (int i = 0; i < conf->count; i++)
        if (apiserver_same(&conf->apiservers[i], &a))
            return;
    conf->apiservers[conf->count++] = a;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Finds the statements `server ADDRESS ...;`: a block, `server {`, has no such end. */
void conf_parse(const char *text, size_t size, struct conf *conf) {
    struct statement s = {0};
    bool inside = false, comment = false;
    memset(conf, 0, sizeof *conf);
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (comment) {
            comment = c != '\n';
        } else if (c == '#' && !inside) {
            comment = true;
        } else if (c == ';' || c == '{' || c == '}') {
            if (c == ';')
                keep(conf, &s);
            memset(&s, 0, sizeof s);
            inside = false;
        } else if (is_space(c)) {
            inside = false;
        } else {
            if (!inside) {
                s.words++;
                s.length = 0;
            }
            inside = true;
            add(&s, c);
        }
    }
}

bool conf_read(const char *path, struct conf *conf) {
    static char text[LARGEST];
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    for (ssize_t got = 1; got > 0 && size < sizeof text;) {
        got = read(fd, text + size, sizeof text - size);
        if (got < 0) {
            close(fd);
            return false;
        }
        size += (size_t)got;
    }
    close(fd);
    conf_parse(text, size, conf);
    return true;
}

/* Finds a user's number in a passwd file, without NSS: a static program has none. */
bool conf_user(const char *passwd, const char *name, uint32_t *uid) {
    FILE *file = fopen(passwd, "re");
    bool found = false;
    if (!file)
        return false;
    for (struct passwd *entry; !found && (entry = fgetpwent(file));)
        if (!strcmp(entry->pw_name, name)) {
            *uid = entry->pw_uid;
            found = true;
        }
    fclose(file);
    return found;
}
