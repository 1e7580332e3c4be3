/* The watch itself: looks, asks, decides, acts, and tells. */
#ifndef WATCH_H
#define WATCH_H

struct options {
    const char *conf, *user, *metrics;
};

int watch_run(const struct options *options);

#endif
