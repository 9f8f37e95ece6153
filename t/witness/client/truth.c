// What the writer says.
#define _GNU_SOURCE
#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file *files;
int nfiles;
u64 *tids;
int ntids;
u64 packed;
u64 started;

const char *pool;
static size_t pool_size;
static int fd = -1;
static char *buf;
static size_t have, room;
static int tids_room;
static u64 tid; // of the lines being read

static void *grow(void *p, int n, int *cap, size_t size) {
	if (n < *cap) return p;
	*cap = *cap ? *cap * 2 : 4;
	p = realloc(p, *cap * size);
	if (!p) broken("no memory");
	return p;
}

void truth_open(const char *dir) {
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/pool", dir);
	int p = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (p < 0 || fstat(p, &st)) broken("open %s: %m", path);
	pool_size = st.st_size;
	pool = mmap(NULL, pool_size, PROT_READ, MAP_SHARED | MAP_POPULATE, p, 0);
	if (pool == MAP_FAILED) broken("map %s: %m", path);
	close(p);
	snprintf(path, sizeof path, "%s/truth", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) broken("open %s: %m", path);
	snprintf(path, sizeof path, "%s/start", dir);
	FILE *start = fopen(path, "r");
	if (!start || fscanf(start, "%" SCNx64, &started) != 1) broken("read %s: %m", path);
	fclose(start);
	files = calloc(1024, sizeof *files);
}

struct file *truth_file(u64 oid) {
	for (int i = 0; i < nfiles; i++)
		if (files[i].oid == oid) return &files[i];
	if (nfiles == 1024) broken("too many files");
	files[nfiles].oid = oid;
	return &files[nfiles++];
}

static void add_state(struct state s, u64 oid) {
	struct file *f = truth_file(oid);
	s.tid = tid;
	if (s.kind != PRESENT) s.epoch = -1;
	f->s = grow(f->s, f->n, &f->cap, sizeof *f->s);
	f->s[f->n++] = s;
}

static void add_version(u64 oid, size_t blk, const char *text) {
	struct file *f = truth_file(oid);
	if (blk >= f->nblocks) {
		f->blocks = realloc(f->blocks, (blk + 1) * sizeof *f->blocks);
		if (!f->blocks) broken("no memory");
		memset(f->blocks + f->nblocks, 0, (blk + 1 - f->nblocks) * sizeof *f->blocks);
		f->nblocks = blk + 1;
	}
	struct version v = {.tid = tid, .damaged = *text == '!'};
	struct segment s;
	int cap = 0, used;
	while (sscanf(text, " %" SCNu32 ",%" SCNu32 ",%" SCNu32 "%n", &s.start, &s.len, &s.pool, &used) == 3) {
		v.segs = grow(v.segs, v.n, &cap, sizeof s);
		v.segs[v.n++] = s;
		text += used;
	}
	struct block *b = &f->blocks[blk];
	b->v = grow(b->v, b->n, &b->cap, sizeof v);
	b->v[b->n++] = v;
}

static void take(const char *line) {
	u64 oid, t;
	size_t blk;
	int used = 0;
	struct state s = {.kind = PRESENT};
	switch (*line) {
	case 'T':
		if (sscanf(line, "T %" SCNx64, &tid) == 1) return;
		break;
	case 'F':
		if (sscanf(line, "F %" SCNx64 " %d %zu %zu", &oid, &s.epoch, &s.blksize, &s.blocks) == 4) {
			add_state(s, oid);
			return;
		}
		break;
	case 'G':
	case 'X':
		s.kind = *line == 'G' ? ABSENT : DAMAGED;
		if (sscanf(line + 1, "%" SCNx64, &oid) == 1) {
			add_state(s, oid);
			return;
		}
		break;
	case 'B':
		if (sscanf(line, "B %" SCNx64 " %zu %n", &oid, &blk, &used) == 2) {
			add_version(oid, blk, line + used);
			return;
		}
		break;
	case '.':
		tids = grow(tids, ntids, &tids_room, sizeof *tids);
		tids[ntids++] = tid;
		return;
	case 'P':
		if (sscanf(line, "P %" SCNx64, &t) == 1) {
			if (t > packed) packed = t;
			return;
		}
		break;
	}
	broken("truth: bad line: %s", line);
}

void truth_read(void) {
	for (;;) {
		if (room - have < 1 << 16) {
			room = room ? room * 2 : 1 << 20;
			buf = realloc(buf, room);
			if (!buf) broken("no memory");
		}
		ssize_t n = read(fd, buf + have, room - have);
		if (n < 0) broken("read truth: %m");
		if (n == 0) return;
		have += n;
		char *line = buf, *end;
		while ((end = memchr(line, '\n', buf + have - line))) {
			*end = 0;
			take(line);
			line = end + 1;
		}
		have -= line - buf;
		memmove(buf, line, have);
	}
}

bool truth_wait(u64 t) {
	for (u64 start = now_ms();;) {
		truth_read();
		if (ntids && tids[ntids - 1] >= t) return true;
		if (now_ms() - start > 20000) return false;
		nap(5);
	}
}

const struct state *state_at(const struct file *f, u64 at) {
	static const struct state none = {.kind = ABSENT, .epoch = -1};
	for (int i = f->n - 1; i >= 0; i--)
		if (f->s[i].tid <= at) return &f->s[i];
	return &none;
}

const struct version *version_at(const struct file *f, size_t blk, u64 at) {
	static const struct version zeros;
	if (blk < f->nblocks)
		for (int i = f->blocks[blk].n - 1; i >= 0; i--)
			if (f->blocks[blk].v[i].tid <= at) return &f->blocks[blk].v[i];
	return &zeros;
}

// before_damage is what was to be read before the block was damaged, or not yet.
static const struct version *before_damage(const struct file *f, size_t blk, u64 at) {
	const struct version *v = version_at(f, blk, at);
	while (v->damaged && v->tid) v = version_at(f, blk, v->tid - 1);
	return v;
}

long differs_at(const struct file *f, size_t blk, u64 at, const char *mem, size_t start, size_t len) {
	const struct version *v = version_at(f, blk, at);
	long diff = differs(mem, start, len, v);
	// What a pack removes of current data stays where it is cached, and the writer says
	// with its next transaction only that it is gone.
	if (v->damaged && packed && diff != UNREADABLE) diff = differs(mem, start, len, before_damage(f, blk, at));
	return diff;
}

bool epoch_changes(const struct file *f, u64 after) {
	return f->n && f->s[f->n - 1].epoch != state_at(f, after)->epoch;
}

bool may_end(const struct file *f, size_t b, u64 since) {
	if (state_at(f, since)->blocks <= b) return true;
	for (int i = 0; i < f->n; i++)
		if (f->s[i].tid > since && f->s[i].blocks <= b) return true;
	return false;
}

bool excused(const struct file *f, size_t blk, u64 at, bool pack) {
	for (u64 start = now_ms();; nap(20)) {
		truth_read();
		if (epoch_changes(f, at) || (pack && packed > at)) return true;
		for (int i = 0; i < f->n; i++)
			if (f->s[i].kind == DAMAGED && (i + 1 == f->n || f->s[i + 1].tid > at)) return true;
		for (int i = 0; blk < f->nblocks && i < f->blocks[blk].n; i++)
			if (f->blocks[blk].v[i].damaged && f->blocks[blk].v[i].tid > at) return true;
		if (now_ms() - start > 3000) return false;
	}
}

const char *whence(const void *bytes) {
	static char text[200];
	static const char zeros[16];
	if (!memcmp(bytes, zeros, 16)) return "zeros";
	const char *p = memmem(pool, pool_size, bytes, 16);
	if (!p) return "of nothing that was ever written";
	size_t at = p - pool;
	snprintf(text, sizeof text, "of nothing that was committed (pool %zu)", at);
	for (int i = 0; i < nfiles; i++)
		for (size_t b = 0; b < files[i].nblocks; b++)
			for (int k = 0; k < files[i].blocks[b].n; k++) {
				const struct version *v = &files[i].blocks[b].v[k];
				for (int s = 0; s < v->n; s++)
					if (v->segs[s].pool <= at && at < v->segs[s].pool + (size_t)v->segs[s].len) {
						snprintf(text, sizeof text, "of %016" PRIx64 " #%zu @%016" PRIx64 " +%zu",
						         files[i].oid, b, v->tid, at - v->segs[s].pool + v->segs[s].start);
						return text;
					}
			}
	return text;
}
