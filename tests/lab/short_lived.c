/* A binary that looks like nginx to whoever tests it, and crashes at its start (LIFE 0) or dies after
   LIFE seconds: it answers -v and -t, forks into the background, writes the pid file, listens, has a
   worker, and takes over the listener of an nginx that starts it by USR2. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef LIFE
#define LIFE 2
#endif

static int listener(void) {
  const char *inherited = getenv("NGINX");
  if (inherited) return atoi(inherited);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8443)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 128)) exit(1);
  return fd;
}

static void title(char **argv, const char *text) {
  memset(argv[0], 0, strlen(argv[0]));
  strncpy(argv[0], text, 24); /* the path that it was started by is longer than that */
}

int main(int argc, char **argv) {
  const char *prefix = "/opt/k8s/kube-nginx";
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-v")) return fprintf(stderr, "nginx version: nginx/1.26.3\n"), 0;
    if (!strcmp(argv[i], "-t")) return 0;
  }
  if (LIFE == 0) raise(SIGSEGV);
  if (!getenv("NGINX") && fork()) {
    sleep(1); /* as systemd waits for the pid file */
    _exit(0);
  }
  listener();
  title(argv, "nginx: master process");
  char path[300];
  snprintf(path, sizeof path, "%s/logs/nginx.pid", prefix);
  FILE *pid = fopen(path, "w");
  fprintf(pid, "%d\n", getpid());
  fclose(pid);
  if (!fork()) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    title(argv, "nginx: worker process");
    pause();
  }
  sleep(LIFE);
  raise(SIGSEGV);
}
