// witness MOUNT DIRECTORY KIND SEED SECONDS PACE: looks at a mount for some seconds, as
// a client of some kind. PACE is slow if it may not answer pins at once, else prompt. DIRECTORY has what the writer says. It ends with 0, or with
// 1 if a promise was broken, 2 if the test cannot go on, 3 if it waits for too long;
// or it is ended by the server.
#define _GNU_SOURCE
#include "witness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *mnt;
double pintimeout;
bool is_slow;
struct counts counts;
static u64 random_state, end_ms;
static _Atomic u64 beats;
static char doing[200]; // read by the watchdog while it is written, at worst

u64 now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

bool over(void) { return now_ms() >= end_ms; }

u64 pick(u64 n) {
	random_state += 0x9e3779b97f4a7c15;
	u64 z = random_state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % n;
}

bool chance(double p) { return pick(1 << 20) < p * (1 << 20); }

void nap(u64 ms) {
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&t, &t) && errno == EINTR) {
	}
}

static void vsay(const char *before, const char *fmt, va_list ap) {
	char text[1000];
	int n = snprintf(text, sizeof text, "[%d] %s", getpid(), before);
	n += vsnprintf(text + n, sizeof text - n - 1, fmt, ap);
	if (n > (int)sizeof text - 2) n = sizeof text - 2;
	text[n] = '\n';
	if (write(1, text, n + 1) < 0) _exit(2);
}

void say(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	vsay("", fmt, ap);
	va_end(ap);
}

// Both end without exit handlers: other threads may wait for the server.
void fail(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	vsay("FAIL: ", fmt, ap);
	_exit(1);
}

void broken(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	vsay("BROKEN: ", fmt, ap);
	_exit(2);
}

static void say_file(const char *tid, const char *name) {
	char path[100], text[900];
	snprintf(path, sizeof path, "/proc/self/task/%s/%s", tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n > 0) say("thread %s %s: %.*s", tid, name, (int)n, text);
	if (fd >= 0) close(fd);
}

void say_threads(void) {
	say("doing: %s", doing);
	DIR *dir = opendir("/proc/self/task");
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.') {
			say_file(e->d_name, "syscall");
			say_file(e->d_name, "stack"); // for root
		}
	if (dir) closedir(dir);
}

void alive(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(doing, sizeof doing, fmt, ap);
	va_end(ap);
	beats++;
}

// The watchdog counts its own ticks: who is stopped does not hang.
static void *watchdog(void *arg) {
	u64 seen = 0, ticks = 0, most = *(double *)arg * 4;
	for (;; nap(250)) {
		if (seen != beats) {
			seen = beats;
			ticks = 0;
		} else if (++ticks > most) {
			say("HANG: for %.0f seconds", most / 4.);
			say_threads();
			_exit(3);
		}
	}
}

static ssize_t read_all(const char *name, char *buf, size_t size) {
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", mnt, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) fail("open %s: %m", name);
	ssize_t n = read(fd, buf, size - 1);
	if (n < 0) fail("read %s: %m", name);
	close(fd);
	buf[n] = 0;
	return n;
}

u64 head_at(void) {
	static u64 last;
	char text[64];
	u64 at;
	read_all("head/at", text, sizeof text);
	if (sscanf(text, "%16" SCNx64, &at) != 1 || strlen(text) < 16) fail("head/at is %s", text);
	if (at < last) fail("head/at went back from @%016" PRIx64 " to @%016" PRIx64, last, at);
	return last = at;
}

int open_file(u64 rev, u64 oid) {
	char path[PATH_MAX], view[20] = "head";
	if (rev != HEAD) snprintf(view, sizeof view, "@%016" PRIx64, rev);
	snprintf(path, sizeof path, "%s/%s/bigfile/%016" PRIx64, mnt, view, oid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void join_mount(void) {
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/.wcfs/zurl", mnt);
	if (open(path, O_RDONLY) < 0) fail("open .wcfs/zurl: %m");
}

int main(int argc, char **argv) {
	if (argc != 7) broken("usage: witness MOUNT DIRECTORY KIND SEED SECONDS PACE");
	is_slow = !strcmp(argv[6], "slow");
	mnt = argv[1];
	const char *kind = argv[3];
	random_state = strtoull(argv[4], NULL, 10) * 0x2545f4914f6cdd1d;
	end_ms = now_ms() + atof(argv[5]) * 1000;
	char text[64];
	join_mount();
	read_all(".wcfs/pintimeout", text, sizeof text);
	pintimeout = atof(text);
	double patience = 10 + 4 * pintimeout;
	pthread_t dog;
	if (pthread_create(&dog, NULL, watchdog, &patience)) broken("no threads");
	catch_faults();
	truth_open(argv[2]);
	truth_read();
	if (!strcmp(kind, "watch")) be_watcher(0, GOOD, 0.05);
	else if (!strcmp(kind, "restless")) be_watcher(chance(0.5) ? 0.02 : 0, GOOD, 0.6);
	else if (!strcmp(kind, "late")) be_watcher(0.4 * pintimeout, GOOD, 0.3);
	else if (!strcmp(kind, "mute")) be_watcher(0, MUTE, 0.02);
	else if (!strcmp(kind, "nak")) be_watcher(0, NAK, 0.02);
	else if (!strcmp(kind, "drop")) be_watcher(0, DROP, 0.02);
	else if (!strcmp(kind, "head")) be_reader();
	else if (!strcmp(kind, "past")) be_historian();
	else broken("no such kind of client: %s", kind);
	say("%s: %" PRIu64 " MiB compared, %" PRIu64 " states, %" PRIu64 " left, %" PRIu64 " pins, %" PRIu64 " refused, %" PRIu64 " faults", kind,
	    counts.bytes >> 20, counts.moves, counts.unwatches, counts.pins, counts.errors, counts.bus);
	return 0;
}
