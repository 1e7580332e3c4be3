/* The login shell of light hosts: it answers any command with the file `answer` of its home, where it begins,
 * after as many seconds as the file `delay` says. A script of kube-nginx is read first, and framed as sh would;
 * files that have its name instead, `lock.sh` and `lock.sh.delay` say, are for it alone, and where there is one
 * `lock.sh.holds`, it goes on to the end of its standard input, and gives the survey to whoever asks for it there. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SURVEYED "kn.surveyed=0\n"

static char buffer[1 << 20];

static void say(int to, const char *text, size_t size)
{
	while (size) {
		ssize_t done = write(to, text, size);
		if (done <= 0)
			_exit(1);
		text += done;
		size -= done;
	}
}

/* the file NAME.ENDING of the script that is called NAME, else the other one */
static const char *own(const char *name, const char *ending, const char *other)
{
	static char path[64];

	snprintf(path, sizeof path, "%s%s", name, ending);
	return *name && !access(path, R_OK) ? path : other;
}

static void mark(const char *text)
{
	say(1, text, strlen(text));
	say(2, text, strlen(text));
}

static ssize_t file(const char *name)
{
	int from = open(name, O_RDONLY);
	ssize_t size = read(from, buffer, sizeof buffer - 1);
	close(from);
	if (size < 0)
		_exit(1);
	buffer[size] = 0;
	return size;
}

int main(int argc, char **argv)
{
	const char *command = argc == 3 ? argv[2] : "";
	const char *script = strstr(command, "sh -s kn.script") ? strstr(command, "dd bs=") : NULL;
	int framed = strstr(command, "kn.") != NULL;
	char name[32] = "";

	if (script) {
		long left = strtol(script + 6, NULL, 10);
		say(1, "kn.reads\n", 9);
		while (left > 0) {
			ssize_t got = read(0, buffer, left < (long)sizeof buffer ? left : (long)sizeof buffer - 1);
			if (got <= 0)
				return 1;
			left -= got;
			buffer[got] = 0;
			const char *title = *name ? NULL : strstr(buffer, "# ");
			if (title)
				sscanf(title, "# %24[a-z_.]", name);
		}
	}
	if (framed)
		mark("\nkn.begins\n");
	file(own(name, ".delay", "delay"));
	double seconds = strtod(buffer, NULL);
	struct timespec pause = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
	nanosleep(&pause, NULL);
	say(1, buffer, file(own(name, "", "answer")));
	if (own(name, ".holds", NULL))
		for (char asked; read(0, &asked, 1) > 0;)
			if (asked == '?') {
				say(1, buffer, file("answer"));
				say(1, SURVEYED, strlen(SURVEYED));
			}
	if (framed)
		mark("kn.ends\n");
	return 0;
}
