// transcript FILE... runs what client/testdata/transcripts/README.rst describes: the fake
// server here, the client as everybody uses it.
#include "../wcfs.h"
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int wcfs_test_join(const char *dir, wcfs **joined, wcfs_error *err);
int wcfs_test_connect(wcfs *w, int fd, wcfs_tid at, wcfs_conn **connected, wcfs_error *err);

enum { PAGE = 4096, MOST = 16 };

static struct {
	const char *script;
	int line;
	char dir[64];
	wcfs *w;
	wcfs_conn *c;
	FILE *peer;
	struct {
		wcfs_oid oid;
		wcfs_file *f;
		int opens;
	} files[MOST];
	int nfiles, nmaps;
	struct {
		wcfs_file *f;
		const char *mem;
		int64_t count;
	} maps[MOST];
	// The call in progress.
	pthread_t thread;
	char call[32], arg[32];
	int code;
	wcfs_error err;
} t;

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: ", t.script, t.line);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	exit(1);
}

static uint64_t id(const char *hex) { return !strcmp(hex, "head") ? WCFS_HEAD : strtoull(hex, NULL, 16); }

static const char *name(int code) {
	static const char *const names[] = {[WCFS_OK] = "ok", [WCFS_ECLOSED] = "closed", [WCFS_EDOWN] = "down",
		[WCFS_EPROTOCOL] = "protocol", [WCFS_EPIN] = "pin", [WCFS_EBACK] = "back", [WCFS_EREFUSED] = "refused",
		[WCFS_ENOFILE] = "nofile"};
	return (size_t)code < sizeof names / sizeof *names && names[code] ? names[code] : "?";
}

static void write_file(const char *dir, const char *base, const char *letters, size_t each) {
	char path[PATH_MAX], *slash = path;
	snprintf(path, sizeof path, "%s/%s/%s", t.dir, dir, base);
	while ((slash = strchr(slash + 1, '/'))) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) fail("%s: %m", path);
	for (; *letters; letters++)
		for (size_t i = 0; i < each; i++)
			if (write(fd, letters, 1) != 1) fail("%s: %m", path);
	close(fd);
}

static int find(wcfs_oid oid) {
	for (int i = 0; i < t.nfiles; i++)
		if (t.files[i].oid == oid) return i;
	t.files[t.nfiles].oid = oid;
	return t.nfiles++;
}

static int close_file(wcfs_oid oid) {
	int i = find(oid);
	t.files[i].opens--;
	return wcfs_file_close(t.files[i].f, &t.err);
}

static void *run_call(void *arg) {
	uint64_t number = id(t.arg);
	wcfs_file *f;
	if (!strcmp(t.call, "open")) {
		if (!(t.code = wcfs_open(t.c, number, &f, &t.err))) {
			int i = find(number);
			t.files[i].f = f;
			t.files[i].opens++;
		}
	} else if (!strcmp(t.call, "close")) {
		t.code = close_file(number);
	} else if (!strcmp(t.call, "resync")) {
		t.code = wcfs_resync(t.c, number, &t.err);
	} else {
		t.code = wcfs_close(t.c, &t.err);
		t.c = NULL;
	}
	return arg;
}

static void end_call(const char *want) {
	pthread_join(t.thread, NULL);
	if (strcmp(name(t.code), want)) fail("%s %s: want %s, got %s: %s", t.call, t.arg, want, name(t.code), t.code ? t.err.text : "");
	t.call[0] = 0;
}

static void connect_client(wcfs_tid at) {
	int pair[2];
	write_file(".wcfs", "zurl", "file:///data.fs", 1);
	if (wcfs_test_join(t.dir, &t.w, &t.err)) fail("join: %s", t.err.text);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) fail("socketpair: %m");
	if (wcfs_test_connect(t.w, pair[0], at, &t.c, &t.err)) fail("connect: %s", t.err.text);
	t.peer = fdopen(pair[1], "r+");
	if (wcfs_at(t.c) != at) fail("the connection is at another view");
}

static void map(const char *oid, int64_t start, int64_t count, const char *want) {
	const void *mem = NULL;
	wcfs_file *f = t.files[find(id(oid))].f;
	int code = wcfs_map(f, start, count, &mem, &t.err);
	if (strcmp(name(code), want)) fail("map: want %s, got %s: %s", want, name(code), t.err.text);
	if (code) return;
	if (wcfs_blksize(f) != PAGE) fail("blksize %" PRId64, wcfs_blksize(f));
	t.maps[t.nmaps].f = f;
	t.maps[t.nmaps].mem = mem;
	t.maps[t.nmaps++].count = count;
}

static void shows(int n, const char *want) {
	char got[64] = "";
	for (int64_t i = 0; i < t.maps[n].count; i++) got[i] = letter(t.maps[n].mem + i * PAGE, PAGE);
	if (strcmp(got, want)) fail("want %s, got %s", want, got);
}

static void broken(const char *want) {
	wcfs_file *f;
	int code = wcfs_resync(t.c, WCFS_HEAD, &t.err); // writes to the link, and so notices
	if (strcmp(name(code), want)) fail("want %s, got %s: %s", want, name(code), t.err.text);
	code = wcfs_open(t.c, 0x99, &f, &t.err);
	if (strcmp(name(code), want)) fail("want %s again, got %s: %s", want, name(code), t.err.text);
}

// expect takes as many lines of the client as are wanted, in any order.
static void expect(char want[MOST][128], int n) {
	for (char line[256]; n > 0; n--) {
		int i = 0;
		if (!fgets(line, sizeof line, t.peer)) fail("the client closed the link; want %s", want[0]);
		line[strcspn(line, "\n")] = 0;
		while (i < n && strcmp(want[i], line)) i++;
		if (i == n) fail("want %s, got %s", want[0], line);
		if (i != n - 1) memcpy(want[i], want[n - 1], sizeof want[i]);
	}
}

static void say(const char *line) {
	if (!line[0]) {
		shutdown(fileno(t.peer), SHUT_RDWR);
		return;
	}
	char text[256];
	int n = snprintf(text, sizeof text, "%s\n", line);
	if (write(fileno(t.peer), text, n) != n) fail("write: %m");
}

static void step(char *line) {
	char word[5][128] = {"", "", "", "", ""}, path[160];
	int n = sscanf(line, "%127s %127s %127s %127s %127s", word[0], word[1], word[2], word[3], word[4]);
	const char *verb = word[0];
	if (!strcmp(verb, "head")) {
		snprintf(path, sizeof path, "%016" PRIx64, id(word[1]));
		write_file("head", "at", path, 1);
	} else if (!strcmp(verb, "file")) {
		if (word[1][0] == '@') snprintf(path, sizeof path, "@%016" PRIx64 "/bigfile", id(word[1] + 1));
		else snprintf(path, sizeof path, "head/bigfile");
		snprintf(word[4], sizeof word[4], "%016" PRIx64, id(word[2]));
		write_file(path, word[4], word[3], PAGE);
	} else if (!strcmp(verb, "connect")) {
		connect_client(id(word[1]));
	} else if (!strcmp(verb, "open") || !strcmp(verb, "close") || !strcmp(verb, "resync") || !strcmp(verb, "disconnect")) {
		snprintf(t.call, sizeof t.call, "%.31s", word[0]);
		snprintf(t.arg, sizeof t.arg, "%.31s", word[1]);
		pthread_create(&t.thread, NULL, run_call, NULL);
	} else if (!strcmp(verb, "ok")) {
		end_call("ok");
	} else if (!strcmp(verb, "fails")) {
		end_call(word[1]);
	} else if (!strcmp(verb, "map")) {
		map(word[1], atoll(word[2]), atoll(word[3]), n > 4 ? word[4] : "ok");
	} else if (!strcmp(verb, "shows")) {
		shows(atoi(word[1]), word[2]);
	} else if (!strcmp(verb, "S")) {
		say(line[1] ? line + 2 : "");
	} else if (!strcmp(verb, "broken")) {
		broken(word[1]);
	} else {
		fail("not known: %s", line);
	}
}

static void clean_up(void) {
	if (t.call[0]) fail("the transcript does not say how %s ends", t.call);
	if (t.c && wcfs_close(t.c, &t.err)) fail("close: %s", t.err.text);
	for (int i = 0; i < t.nmaps; i++)
		if (wcfs_unmap(t.maps[i].f, t.maps[i].mem, &t.err)) fail("unmap: %s", t.err.text);
	for (int i = 0; i < t.nfiles; i++)
		while (t.files[i].opens)
			if (close_file(t.files[i].oid)) fail("close file: %s", t.err.text);
	wcfs_leave(t.w);
	if (t.peer) fclose(t.peer);
}

static void run(const char *script) {
	char line[256], want[MOST][128];
	int wanted = 0;
	FILE *f = fopen(script, "r");
	memset(&t, 0, sizeof t);
	t.script = script;
	if (!f) fail("%m");
	snprintf(t.dir, sizeof t.dir, "fake-XXXXXX");
	if (!mkdtemp(t.dir)) fail("mkdtemp: %m");
	while (fgets(line, sizeof line, f)) {
		t.line++;
		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#' || !line[0]) continue;
		if (!strncmp(line, "C ", 2)) {
			snprintf(want[wanted++], sizeof want[0], "%.127s", line + 2);
			continue;
		}
		expect(want, wanted);
		wanted = 0;
		step(line);
	}
	expect(want, wanted);
	clean_up();
	fclose(f);
	printf("ok %s\n", script);
}

int main(int argc, char **argv) {
	alarm(120); // a transcript that waits for ever has failed
	signal(SIGPIPE, SIG_IGN);
	catch_faults();
	for (int i = 1; i < argc; i++) run(argv[i]);
	return 0;
}
