/* What others are told: systemd, the journal, and whoever reads metrics. */
#ifndef REPORT_H
#define REPORT_H

#include "apiserver.h"
#include "judge.h"

enum { STATUS_SIZE = 8192 };

void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report_change(const struct apiserver *a, const struct judged *judged, const struct change *c, int closed);
void report_status(char status[STATUS_SIZE], const struct apiserver *apiservers, const struct judge *j, ms now);
void report_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool report_metrics(const char *path, const struct apiserver *apiservers, const struct judge *j);

#endif
