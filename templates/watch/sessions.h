/* nginx's sessions with apiservers, as the kernel has them. Results are 0 or a negative errno. */
#ifndef SESSIONS_H
#define SESSIONS_H

#include "apiserver.h"
#include "judge.h"

struct sessions {
    int count[MAX_APISERVERS];
    int closed[MAX_APISERVERS];
    ms sent[MAX_APISERVERS];  /* when those that wait for an answer sent last; NEVER if none waits */
    ms heard[MAX_APISERVERS]; /* when one received last, or NEVER */
};

/* Whoever waits in one that has heard little so far may wait for a moment more. */
enum closing { NONE, ALL_BUT_YOUNG, ALL };

struct look {
    const struct apiserver *apiservers;
    int count;
    uint32_t uid;
    ms now;
    const enum closing *closes; /* which sessions of each are to be closed */
    struct sessions *found;
};

int sessions_look(int fd, struct look *look);
int sessions_try(int fd);
void sessions_read(void *look, const unsigned char *body, size_t size);

#endif
