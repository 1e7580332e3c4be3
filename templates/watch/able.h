/* Whether this node can do what the watch does. */
#ifndef ABLE_H
#define ABLE_H

const char *able_why_not(const char *user);

#endif
