#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "able.h"
#include "filter.h"
#include "watch.h"

#define VERSION "0.1.0"

static int usage(void) {
    fputs("usage: kube-nginx-watch run -c CONF -u USER [-m METRICS] | clean | test -u USER | version\n", stderr);
    return 2;
}

static int run(const struct options *options) {
    return options->conf && options->user ? watch_run(options) : usage();
}

static int clean(void) {
    int result = filter_clean();
    if (result)
        fprintf(stderr, "kube-nginx-watch: its filter cannot be removed: %s\n", strerror(-result));
    return result ? 1 : 0;
}

static int test(const struct options *options) {
    const char *why = options->user ? able_why_not(options->user) : NULL;
    if (!options->user)
        return usage();
    if (why)
        fprintf(stderr, "not possible here: %s\n", why);
    return why ? 1 : 0;
}

int main(int count, char **words) {
    struct options options = {0};
    const char *command = count > 1 ? words[1] : "";
    for (int option; (option = getopt(count > 1 ? count - 1 : count, words + (count > 1), "c:u:m:")) != -1;) {
        if (option == 'c')
            options.conf = optarg;
        else if (option == 'u')
            options.user = optarg;
        else if (option == 'm')
            options.metrics = optarg;
        else
            return usage();
    }
    if (!strcmp(command, "run"))
        return run(&options);
    if (!strcmp(command, "clean"))
        return clean();
    if (!strcmp(command, "test"))
        return test(&options);
    if (!strcmp(command, "version"))
        return puts("kube-nginx-watch " VERSION) < 0;
    return usage();
}
