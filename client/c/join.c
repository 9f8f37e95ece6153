// Joining: a mounted database, and its newest view.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_TIMEOUT_MS = 120 * 1000 };

deadline wcfs_deadline(int timeout_ms) {
	struct timespec now;
	if (timeout_ms < 0) return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + timeout_ms * INT64_C(1000000);
}

bool wcfs_is_over(deadline d) { return d && wcfs_deadline(0) >= d; }

struct timespec wcfs_timespec(deadline d) {
	return (struct timespec){.tv_sec = d / 1000000000, .tv_nsec = d % 1000000000};
}

int wcfs_open_below(const wcfs *w, const char *path, int flags) {
	int fd;
	while ((fd = openat(w->dir, path, flags | O_CLOEXEC)) < 0 && errno == EINTR) continue;
	return fd;
}

ssize_t wcfs_read_file(int fd, char *text, size_t size) {
	size_t have = 0;
	while (have < size - 1) {
		ssize_t n = pread(fd, text + have, size - 1 - have, have);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -1;
		if (n == 0) break;
		have += n;
	}
	text[have] = 0;
	return have;
}

// clean_path takes empty elements, "." and ".." out of a path from the root, so that one file
// has one url. Symbolic links are left as they are, as by the commands of wcfs.
static void clean_path(char *path) {
	char *to = path, *element, *rest = NULL;
	char copy[PATH_MAX + 64];
	snprintf(copy, sizeof copy, "%s", path);
	for (element = strtok_r(copy, "/", &rest); element; element = strtok_r(NULL, "/", &rest)) {
		if (!strcmp(element, "..")) {
			while (to > path && *--to != '/') continue;
		} else if (strcmp(element, ".")) {
			to = stpcpy(stpcpy(to, "/"), element);
		}
	}
	if (to == path) to = stpcpy(to, "/");
	*to = 0;
}

// url_of returns the url of a database that is named by it, or by a path.
static int url_of(const char *database, char *url, size_t size, wcfs_error *err) {
	char cwd[PATH_MAX] = "";
	bool is_url = strstr(database, "://") || !strncmp(database, "demo:", 5);
	if (!is_url && database[0] != '/' && !getcwd(cwd, sizeof cwd)) return wcfs_failed(err, "current directory");
	const char *path = database;
	int n = snprintf(url, size, "%s%s%s%s", is_url ? "" : "file://", cwd, cwd[0] ? "/" : "", path);
	if (n < 0 || (size_t)n >= size) return wcfs_fail(err, WCFS_EARGUMENT, ENAMETOOLONG, "database");
	if (!is_url) clean_path(url + strlen("file://"));
	return 0;
}

static int join_point(const char *point, const char *zurl, int timeout_ms, wcfs **joined, wcfs_error *err) {
	int dir, code = wcfs_open_mount(point, &dir, err);
	if (!code) code = wcfs_join_dir(point, dir, timeout_ms, joined, err);
	if (code || !zurl || !strcmp((*joined)->zurl, zurl)) return code;
	wcfs_leave(*joined);
	return wcfs_fail(err, WCFS_ENOTRUNNING, 0, "%s: the server there serves another database", point);
}

// join_running joins a server that serves the database wherever it is mounted. The first
// reason is told why there is none.
static int join_running(const char *zurl, const char *shown, int timeout_ms, wcfs **joined, wcfs_error *err) {
	char point[PATH_MAX];
	int code = wcfs_fail(err, WCFS_ENOTRUNNING, 0, "no server of %s is running; start one: wcfs mount", shown);
	for (int i = 0; wcfs_find_mount(shown, i, point, sizeof point); i++) {
		wcfs_error other;
		int failed = join_point(point, zurl, timeout_ms, joined, &other);
		if (!failed) return 0;
		if (code == WCFS_ENOTRUNNING && failed != code) {
			if (err) *err = other;
			code = failed;
		}
	}
	return code;
}

int wcfs_join(const char *database, const wcfs_options *options, wcfs **joined, wcfs_error *err) {
	static const wcfs_options defaults;
	const wcfs_options *o = options ? options : &defaults;
	int timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
	char url[PATH_MAX + 64], point[PATH_MAX];
	struct stat st;
	if (!database || !*database || !joined) return wcfs_fail(err, WCFS_EARGUMENT, 0, "join: no database");
	// The path of a mount whose server is gone gives ENOTCONN to stat.
	if (!strstr(database, "://") && (stat(database, &st) ? errno == ENOTCONN : S_ISDIR(st.st_mode)))
		return wcfs_about(err, join_point(database, NULL, timeout_ms, joined, err), "join");
	int code = url_of(database, url, sizeof url, err);
	if (code) return wcfs_about(err, code, "join");
	char *shown = wcfs_shown(url);
	if (!shown) return wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "join");
	code = join_running(url, shown, timeout_ms, joined, err);
	if (code == 0 || code == WCFS_EARGUMENT || o->no_start) return free(shown), wcfs_about(err, code, "join");
	code = wcfs_start(o->program, url, shown, timeout_ms, point, sizeof point, err);
	if (!code) code = join_point(point, NULL, timeout_ms, joined, err);
	code = wcfs_about(err, code, "join %s", shown);
	free(shown);
	return code;
}

int wcfs_join_dir(const char *point, int dir, int timeout_ms, wcfs **joined, wcfs_error *err) {
	enum { MOST = 64 << 10 }; // of a url
	wcfs *w = calloc(1, sizeof *w);
	int code = 0;
	if (w) *w = (struct wcfs){.dir = dir, .alive = -1, .timeout_ms = timeout_ms, .refs = 1};
	if (!w || !(w->point = strdup(point)) || !(w->zurl = malloc(MOST)))
		code = wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "join %s", point);
	else if ((w->alive = wcfs_open_below(w, ".wcfs/zurl", O_RDONLY)) < 0 || wcfs_read_file(w->alive, w->zurl, MOST) < 0)
		code = errno == EACCES ? wcfs_fail(err, WCFS_EFOREIGN, errno, "%s", point)
			: errno == ENOENT ? wcfs_fail(err, WCFS_ENOTRUNNING, errno, "%s", point)
			: wcfs_failed(err, "open %s/.wcfs/zurl", point);
	if (code) {
		if (w && w->alive >= 0) close(w->alive);
		if (w) free(w->point), free(w->zurl);
		free(w);
		close(dir);
		return code;
	}
	wcfs_lock_all();
	wcfs_enlist(w);
	wcfs_unlock_all();
	*joined = w;
	return 0;
}

void wcfs_leave(wcfs *w) {
	if (!w) return;
	wcfs_lock_all();
	bool last = --w->refs == 0;
	if (last) wcfs_delist(w);
	wcfs_unlock_all();
	if (!last) return;
	if (w->dir >= 0) close(w->dir);
	if (w->alive >= 0) close(w->alive);
	free(w->point);
	free(w->zurl);
	free(w);
}

const char *wcfs_mountpoint(const wcfs *w) { return w->point; }

const char *wcfs_zurl(const wcfs *w) { return w->zurl; }

static int read_at(int fd, wcfs_tid *at, wcfs_error *err) {
	char text[64];
	ssize_t n = wcfs_read_file(fd, text, sizeof text);
	if (n < 0) return wcfs_failed(err, "read head/at");
	if (n > 0 && text[n - 1] == '\n') n--;
	if (!wcfs_parse_hex16(text, n, at)) return wcfs_fail(err, WCFS_EPROTOCOL, 0, "head/at is no tid");
	return 0;
}

// interrupted fills in why a connection does not wait any more.
static int interrupted(wcfs_conn *c, wcfs_error *err) {
	sigset_t signals;
	if (!c) return 0;
	wcfs_lock(c, &signals);
	int code = wcfs_broken(c, err);
	wcfs_unlock(c, &signals);
	return code;
}

// Nothing tells about changes of head/at, so it is looked at every millisecond.
int wcfs_wait_head(wcfs *w, wcfs_tid at, wcfs_conn *c, wcfs_tid *head, wcfs_error *err) {
	const struct timespec interval = {.tv_nsec = 1000000};
	deadline until = wcfs_deadline(w->timeout_ms);
	if (w->forked) return wcfs_fail(err, WCFS_EFORKED, 0, "the parent process has joined it, this one has to join anew");
	int fd = wcfs_open_below(w, "head/at", O_RDONLY);
	if (fd < 0) return wcfs_failed(err, "open %s/head/at", w->point);
	int code;
	while (!(code = read_at(fd, head, err)) && *head < at && !(code = interrupted(c, err))) {
		if (wcfs_is_over(until)) {
			code = wcfs_fail(err, WCFS_ETIMEOUT, 0, "%s: the server does not show @%016lx in time", w->point, (unsigned long)at);
			break;
		}
		nanosleep(&interval, NULL);
	}
	close(fd);
	return code;
}

int wcfs_head(wcfs *w, wcfs_tid *at, wcfs_error *err) { return wcfs_wait_head(w, 0, NULL, at, err); }
