// helper DATABASE [start] does what it is told by lines on stdin, and answers each with one line:
// "ok", what was asked for, or "error: " and the text. It is the helper goclient of
// t/harness for libwcfs, with the same commands but for those that read without memory.
#include "../wcfs.h"
#include "faults.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64, THREADS_MOST = 200 };

// thing is what a name stands for.
struct thing {
	char name[16];
	void *p; // wcfs_conn, wcfs_file, or memory
	wcfs_file *f;
	int64_t count;
};

static wcfs *w;
static struct thing conns[MOST], files[MOST], maps[MOST];
static wcfs_error err;

static struct thing *named(struct thing *all, const char *name) {
	for (int i = 0; i < MOST; i++) {
		if (!all[i].name[0]) snprintf(all[i].name, sizeof all[i].name, "%s", name);
		if (!strcmp(all[i].name, name)) return &all[i];
	}
	abort();
}

static wcfs_tid view(const char *s) { return strcmp(s, "head") ? strtoull(s, NULL, 16) : WCFS_HEAD; }

static int closed(const char *what) {
	err.code = WCFS_ECLOSED;
	snprintf(err.text, sizeof err.text, "%s", what);
	return err.code;
}

// show prints the text of each block, "!" for a fault.
static void show(const struct thing *m) {
	int64_t size = wcfs_blksize(m->f);
	printf("[");
	for (int64_t i = 0; i < m->count; i++) {
		const char *block = (const char *)m->p + i * size;
		char text[32] = "";
		bool fault = letter(block + size - 4096, 4096) == '!'; // whole blocks fault or do not
		for (int n = 0; !fault && n < 31; n++) {
			text[n] = letter(block + n, 1);
			if (text[n] == '.') text[n] = 0;
			if (!text[n]) break;
		}
		printf("%s\"%s\"", i ? " " : "", fault ? "!" : text);
	}
	printf("]\n");
}

// forked tells what is seen by a child of fork: codes of calls, and whether memory faults.
static void forked(const struct thing *c, const struct thing *m) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		wcfs_tid at;
		wcfs_file *f;
		const void *mem;
		int64_t size;
		int wrong = 0;
		wrong += wcfs_head(w, &at, NULL) != WCFS_EFORKED;
		wrong += wcfs_resync(c->p, WCFS_HEAD, NULL) != WCFS_EFORKED;
		wrong += wcfs_open(c->p, 1, &f, NULL) != WCFS_EFORKED;
		wrong += wcfs_size(m->f, &size, NULL) != WCFS_EFORKED;
		wrong += wcfs_map(m->f, 0, 1, &mem, &err) != WCFS_EFORKED || !strstr(err.text, "parent process");
		for (int64_t i = 0; i < m->count; i++) wrong += letter((const char *)m->p + i * wcfs_blksize(m->f), 1) != '!';
		wrong += wcfs_unmap(m->f, m->p, NULL) != 0 || wcfs_file_close(m->f, NULL) != 0 || wcfs_close(c->p, NULL) != 0;
#ifndef __SANITIZE_THREAD__ // with it a child cannot start threads
		wcfs *own;
		wcfs_conn *conn;
		wrong += wcfs_join(wcfs_mountpoint(w), &(wcfs_options){.no_start = 1}, &own, &err) != 0;
		wrong += !wrong && (wcfs_connect(own, WCFS_HEAD, &conn, &err) || wcfs_close(conn, &err));
		wcfs_leave(own);
#endif
		_exit(wrong);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	printf("%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static struct {
	wcfs_oid oid;
	int64_t count;
} each;

// live is what a thread does: a connection of its own, an array, memory, and all back.
static void *live(void *arg) {
	wcfs_conn *c;
	wcfs_file *f;
	const void *mem;
	wcfs_error e;
	for (int i = 0; i < 3; i++) {
		if (wcfs_connect(w, WCFS_HEAD, &c, &e) || wcfs_open(c, each.oid, &f, &e) || wcfs_map(f, 0, each.count, &mem, &e)) {
			fprintf(stderr, "%s\n", e.text);
			return arg;
		}
		char was[64] = "", is[64] = "";
		for (int64_t b = 0; b < each.count; b++) was[b] = letter((const char *)mem + b * wcfs_blksize(f), 1);
		for (int64_t b = 0; b < each.count; b++) is[b] = letter((const char *)mem + b * wcfs_blksize(f), 1);
		bool bad = strcmp(was, is) || strchr(was, '!');
		bad |= wcfs_resync(c, WCFS_HEAD, &e) || wcfs_file_close(f, &e) || wcfs_unmap(f, mem, &e) || wcfs_close(c, &e);
		if (bad) {
			fprintf(stderr, "%s, then %s; %s\n", was, is, e.text);
			return arg;
		}
	}
	return NULL;
}

// threads tells how many of so many failed.
static int threads(int n) {
	pthread_t all[THREADS_MOST];
	int failed = 0;
	for (int i = 0; i < n; i++)
		if (pthread_create(&all[i], NULL, live, all)) abort();
	for (int i = 0; i < n; i++) {
		void *bad;
		pthread_join(all[i], &bad);
		failed += bad != NULL;
	}
	return failed;
}

static int act(char word[5][32]) {
	struct thing *c = named(conns, word[1]), *f = named(files, word[1]), *m = named(maps, word[1]);
	const char *verb = word[0];
	if (!strcmp(verb, "connect")) return wcfs_connect(w, view(word[2]), (wcfs_conn **)&c->p, &err);
	if (!strcmp(verb, "resync")) return c->p ? wcfs_resync(c->p, view(word[2]), &err) : closed("connection closed");
	if (!strcmp(verb, "close")) {
		int code = wcfs_close(c->p, &err);
		c->p = NULL; // not used any more
		return code;
	}
	if (!strcmp(verb, "open")) {
		c = named(conns, word[2]);
		return c->p ? wcfs_open(c->p, view(word[3]), (wcfs_file **)&f->p, &err) : closed("connection closed");
	}
	if (!strcmp(verb, "closefile")) {
		int code = wcfs_file_close(f->p, &err);
		f->p = NULL;
		return code;
	}
	if (!strcmp(verb, "mmap")) {
		f = named(files, word[2]);
		if (!f->p) return closed("file already closed");
		m->f = f->p;
		m->count = atoll(word[4]);
		return wcfs_map(m->f, atoll(word[3]), m->count, (const void **)&m->p, &err);
	}
	if (!strcmp(verb, "unmap")) {
		int code = wcfs_unmap(m->f, m->p, &err);
		m->p = NULL;
		return code;
	}
	fprintf(stderr, "not known: %s\n", verb);
	abort();
}

static void answer(char word[5][32]) {
	int64_t size = 0;
	if (!strcmp(word[0], "show")) {
		show(named(maps, word[1]));
	} else if (!strcmp(word[0], "joined")) {
		printf("%s %s\n", wcfs_mountpoint(w), wcfs_zurl(w));
	} else if (!strcmp(word[0], "at")) {
		printf("%016" PRIx64 "\n", wcfs_at(named(conns, word[1])->p));
	} else if (!strcmp(word[0], "fork")) {
		forked(named(conns, word[1]), named(maps, word[2]));
	} else if (!strcmp(word[0], "threads")) {
		each.oid = view(word[2]);
		each.count = atoll(word[3]);
		printf("%d\n", threads(atoi(word[1])));
	} else if (!strcmp(word[0], "size") ? wcfs_size(named(files, word[1])->p, &size, &err) : act(word)) {
		printf("error: %s\n", err.text);
	} else if (!strcmp(word[0], "size")) {
		printf("%" PRId64 "\n", size);
	} else {
		printf("ok\n");
	}
	fflush(stdout);
}

// give_back leaves nothing, so that a leak of the library is one.
static void give_back(void) {
	for (int i = 0; i < MOST; i++)
		if (maps[i].p) wcfs_unmap(maps[i].f, maps[i].p, NULL);
	for (int i = 0; i < MOST; i++)
		if (files[i].p) wcfs_file_close(files[i].p, NULL);
	for (int i = 0; i < MOST; i++)
		if (conns[i].p) wcfs_close(conns[i].p, NULL);
	wcfs_leave(w);
}

int main(int argc, char **argv) {
	char line[256];
	if (argc < 2) return 2;
	catch_faults();
	if (wcfs_join(argv[1], &(wcfs_options){.no_start = argc < 3}, &w, &err)) {
		printf("error %d: %s\n", err.code, err.text);
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		char word[5][32] = {"", "", "", "", ""};
		sscanf(line, "%31s %31s %31s %31s %31s", word[0], word[1], word[2], word[3], word[4]);
		answer(word);
	}
	give_back();
	return 0;
}
