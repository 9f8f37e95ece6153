// Starting a server: wcfs mount does it, and says where it is.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ALREADY_MOUNTED = 3 }; // exit code: its place is printed as well

// output is what a program has printed, without the newline at its end.
struct output {
	int fd;
	char *text;
	size_t size, len;
};

static void take_output(struct output *o) {
	char rest[512];
	size_t room = o->size - 1 - o->len;
	ssize_t n = read(o->fd, room ? o->text + o->len : rest, room ? room : sizeof rest);
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n > 0) {
		o->len += room ? (size_t)n : 0;
		return;
	}
	close(o->fd);
	o->fd = -1;
	while (o->len && o->text[o->len - 1] == '\n') o->len--;
	o->text[o->len] = 0;
}

// spawn starts a program with its stdout and stderr on pipes. Nothing of ours but that is
// open in it, no handler of this process runs, and no signal is blocked.
static int spawn(const char *program, char *const args[], char *const env[], struct output *out, struct output *words, pid_t *pid) {
	int pipes[2][2] = {{-1, -1}, {-1, -1}};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	int errnum = pipe2(pipes[0], O_CLOEXEC) || pipe2(pipes[1], O_CLOEXEC) ? errno : 0;
	if (!errnum) {
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
		posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&files, pipes[0][1], 1);
		posix_spawn_file_actions_adddup2(&files, pipes[1][1], 2);
		errnum = posix_spawnp(pid, program, &files, &attr, args, env);
	}
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	for (int i = 0; i < 2; i++)
		if (pipes[i][1] >= 0) close(pipes[i][1]);
	out->fd = pipes[0][0];
	words->fd = pipes[1][0];
	return errnum;
}

// wait_for takes what a program prints until it has closed its outputs. It returns the exit
// code; 0 if somebody else has waited for the program, -1 if it was killed, or is now since
// the time is over.
static int wait_for(pid_t pid, struct output *out, struct output *words, deadline until) {
	bool killed = false;
	while (out->fd >= 0 || words->fd >= 0) {
		struct pollfd fds[] = {{.fd = out->fd, .events = POLLIN}, {.fd = words->fd, .events = POLLIN}};
		if (poll(fds, 2, 100) > 0) {
			if (fds[0].revents) take_output(out);
			if (fds[1].revents) take_output(words);
		}
		if (!killed && wcfs_is_over(until)) {
			killed = true;
			kill(pid, SIGTERM); // not waited for yet, so it is no other process
		}
	}
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) return 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// environment returns the one of a program that gets a url by it. Both are to be freed.
static char **environment(const char *zurl, char **variable) {
	static const char name[] = "WCFS_ZURL=";
	size_t n = 0, len = sizeof name + strlen(zurl);
	while (environ && environ[n]) n++;
	char **env = calloc(n + 2, sizeof *env), **to = env;
	*variable = malloc(len);
	if (!env || !*variable) return free(env), free(*variable), *variable = NULL, NULL;
	snprintf(*variable, len, "%s%s", name, zurl);
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], name, sizeof name - 1)) *to++ = environ[i];
	*to = *variable;
	return env;
}

int wcfs_start(const char *program, const char *zurl, const char *shown, int timeout_ms, char *point, size_t size, wcfs_error *err) {
	char said[400] = "";
	struct output out = {-1, point, size, 0}, words = {-1, said, sizeof said, 0};
	if (!program && !(program = getenv("WCFS"))) program = "wcfs";
	char *args[] = {(char *)program, "mount", "--autoexit", "--", (char *)shown, NULL};
	pid_t pid = -1;
	char *variable, **env = environment(zurl, &variable);
	int errnum = env ? spawn(program, args, env, &out, &words, &pid) : ENOMEM;
	free(env);
	free(variable);
	if (errnum) {
		for (int i = 0; i < 2; i++)
			if ((i ? words : out).fd >= 0) close((i ? words : out).fd);
		return wcfs_fail(err, WCFS_ESTART, errnum, "no server runs, and none can be started: %s mount", program);
	}
	int code = wait_for(pid, &out, &words, wcfs_deadline(timeout_ms));
	if ((code == 0 || code == ALREADY_MOUNTED) && point[0] == '/') return 0;
	if (code < 0) return wcfs_fail(err, WCFS_ESTART, 0, "start a server: %s mount was ended: %s", program, said);
	return wcfs_fail(err, WCFS_ESTART, 0, "start a server: %s (exit code %d of %s mount)", said, code, program);
}
