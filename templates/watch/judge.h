/* What is believed of each apiserver. Nothing here asks a clock, a kernel or an apiserver. */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "apiserver.h"

typedef int64_t ms; /* milliseconds of the monotonic clock */

#define NEVER (INT64_MIN / 4)

enum {
    LIMIT = 2000,        /* of one question */
    SILENCE = 3000,      /* from the first question without an answer until it is believed */
    FRESH = 1000,        /* how old the answer of another may be that lets one be ejected */
    AGAIN = 500,         /* between questions while an answer is missing */
    SUSPICION = 1000,    /* between questions because of sessions that wait */
    REFUSAL = 2000,      /* between questions to an apiserver that refuses */
    IDLE = 5000,         /* between questions to an apiserver of which nothing else is known */
    HOLD_FIRST = 2000,   /* an ejection's shortest length */
    HOLD_LONGEST = 60000,
    HOLD_FORGOTTEN = 120000, /* after so long in use the next ejection is a first one again */
    MAX_OPEN = 6,        /* questions to one apiserver at the same time */
};

enum answer { ANSWERED, REFUSED, NO_CONNECTION, NO_HELLO };

struct judged {
    bool ejected;
    bool silent;        /* believed to be silent, whether ejected or not */
    enum answer last;   /* how the last question that counts ended */
    enum answer reason; /* what it is silent to */
    int open;           /* questions that wait for their answer */
    int unanswered;     /* questions in a row without one */
    int good;           /* questions in a row with one */
    int sessions;
    unsigned ejections;
    ms asked;           /* the last question */
    ms begun;           /* the first of the unanswered ones */
    ms good_begun;      /* the last question that was answered... */
    ms answered;        /* ...and when it was */
    ms took;            /* its length */
    ms heard;           /* a session's last byte from it */
    ms sent;            /* when the sessions that wait for it sent last; NEVER if none waits */
    ms ejected_at;
    ms let_in_at;
    ms hold;
};

struct judge {
    int count;
    struct judged of[MAX_APISERVERS];
};

enum act { EJECT, LET_IN };
struct change {
    int which;
    enum act act;
    ms lasted; /* the silence, or the ejection */
};

void judged_begin(struct judged *a);
void judge_asked(struct judge *j, int i, ms now);
void judge_ended(struct judge *j, int i, ms begun, ms now, int how);
void judge_sessions(struct judge *j, int i, int sessions, ms sent, ms heard);
void judge_late(struct judge *j);
ms judge_next(const struct judge *j, int i);
bool judge_in_doubt(const struct judge *j);
int judge_decide(struct judge *j, ms now, struct change changes[2 * MAX_APISERVERS]);

#endif
