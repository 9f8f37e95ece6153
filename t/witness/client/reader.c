// Clients that do not watch: of head/, and of the past.
#define _GNU_SOURCE
#include "witness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

// page_is says whether bytes are those of one of the versions since a state.
static bool page_is(const struct file *f, size_t b, const char *bytes, size_t start, u64 since, bool *unreadable) {
	static const struct version zeros;
	long at = differs_at(f, b, since, bytes, start, PAGE);
	*unreadable = at == UNREADABLE;
	if (at == SAME) return true;
	if (b < f->nblocks)
		for (int i = 0; i < f->blocks[b].n; i++) {
			const struct version *v = &f->blocks[b].v[i];
			if (v->tid > since && differs(bytes, start, PAGE, v) == SAME) return true;
			if (*unreadable && v->tid > since && v->damaged) return true;
		}
	if (*unreadable && version_at(f, b, since)->damaged) return true;
	return may_end(f, b, since) && (*unreadable || differs(bytes, start, PAGE, &zeros) == SAME);
}

// look_page compares a page with all that it may be: what the writer has done by
// now may not have been said yet.
static bool look_page(struct file *f, size_t b, const char *bytes, size_t start, u64 since) {
	bool unreadable;
	if (page_is(f, b, bytes, start, since, &unreadable)) return true;
	for (u64 begin = now_ms(); now_ms() - begin < 3000; nap(10)) {
		truth_read();
		if (page_is(f, b, bytes, start, since, &unreadable)) return true;
	}
	if (unreadable) {
		if (excused(f, ANY, since, false)) return false;
		fail("UNREADABLE head/bigfile/%016" PRIx64 " #%zu+%zu, with head/at @%016" PRIx64, f->oid, b, start, since);
	}
	if (epoch_changes(f, since)) return false;
	fail("WRONG head/bigfile/%016" PRIx64 " #%zu+%zu: bytes %s, want @%016" PRIx64 " or later, as head/at was @%016" PRIx64, f->oid, b, start,
	     whence(bytes), version_at(f, b, since)->tid, since);
}

// ends says whether a block is behind the end of its file by now, or was since a state.
static bool ends(const struct file *f, size_t b, u64 since) {
	for (u64 begin = now_ms(); now_ms() - begin < 3000; nap(10)) {
		if (may_end(f, b, since)) return true;
		truth_read();
	}
	return false;
}

// read_block reads a block of head/ and compares it.
static bool read_block(struct file *f, int fd, const char *mem, char *buf, size_t blksize, size_t b) {
	u64 since = head_at();
	if (!truth_wait(since)) broken("the writer does not say what happened");
	if (epoch_changes(f, since) || state_at(f, since)->blksize != blksize) return false;
	alive("read head/ %016" PRIx64 " #%zu since @%016" PRIx64, f->oid, b, since);
	const char *bytes = mem ? mem + b * blksize : buf;
	if (!mem) {
		ssize_t n = pread(fd, buf, blksize, b * blksize);
		if (n < 0) {
			const struct version *v = version_at(f, b, since);
			int how = errno;
			if (how != EIO || !(v->damaged || ends(f, b, since) || excused(f, b, since, false)))
				fail("UNREADABLE head/bigfile/%016" PRIx64 " #%zu with head/at @%016" PRIx64 ": %s", f->oid, b, since, strerror(how));
			return false;
		}
		memset(buf + n, 0, blksize - n);
	}
	for (size_t start = 0; start < blksize; start += PAGE)
		if (!look_page(f, b, bytes + start, start, since)) return false;
	return true;
}

// size_is says whether an array has got that size since a state.
static bool size_is(const struct file *f, size_t size, u64 since) {
	const struct state *s = state_at(f, since);
	if (s->kind == DAMAGED || s->blocks * s->blksize == size) return true;
	for (int i = 0; i < f->n; i++)
		if (f->s[i].tid > since && (f->s[i].kind == DAMAGED || f->s[i].blocks * f->s[i].blksize == size)) return true;
	return false;
}

static void check_size(struct file *f, size_t size, u64 since) {
	for (u64 start = now_ms(); !size_is(f, size, since); nap(10)) {
		truth_read();
		if (epoch_changes(f, since)) return;
		if (now_ms() - start > 3000)
			fail("WRONG size %zu of head/bigfile/%016" PRIx64 ", want %zu blocks or later, as head/at was @%016" PRIx64, size, f->oid,
			     state_at(f, since)->blocks, since);
	}
}

static void read_file(struct file *f) {
	u64 since = head_at();
	if (!truth_wait(since)) broken("the writer does not say what happened");
	struct state s = *state_at(f, since);
	if (s.kind != PRESENT) return;
	alive("open head/bigfile/%016" PRIx64, f->oid);
	int fd = open_file(HEAD, f->oid);
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) {
		if (!excused(f, ANY, since, false)) fail("open head/bigfile/%016" PRIx64 ": %m", f->oid);
		if (fd >= 0) close(fd);
		return;
	}
	check_size(f, st.st_size, since);
	char *buf = malloc(s.blksize), *mem = NULL;
	size_t n = st.st_size / s.blksize;
	if (n && chance(0.5)) {
		mem = mmap(NULL, n * s.blksize, PROT_READ, MAP_SHARED, fd, 0);
		if (mem == MAP_FAILED) broken("map: %m");
	}
	for (int left = n ? 1 + pick(2 * n) : 0; left > 0 && !over(); left--)
		if (!read_block(f, fd, mem, buf, s.blksize, pick(n))) break;
	if (mem) munmap(mem, n * s.blksize);
	free(buf);
	close(fd);
}

void be_reader(void) {
	while (!over()) {
		truth_read();
		read_file(&files[pick(nfiles)]);
		nap(pick(20));
	}
}

// ---- the past ----

static void read_past(struct file *f, u64 at) {
	struct state s = *state_at(f, at);
	alive("open @%016" PRIx64 "/bigfile/%016" PRIx64, at, f->oid);
	int fd = open_file(at, f->oid), saved = errno;
	struct stat st;
	if (fd >= 0 && fstat(fd, &st)) fail("stat of @%016" PRIx64 "/bigfile/%016" PRIx64 ": %m", at, f->oid);
	if (s.kind == DAMAGED) {
		if (fd >= 0) close(fd);
		return;
	}
	if (s.kind == ABSENT) {
		if (fd >= 0) fail("@%016" PRIx64 "/bigfile/%016" PRIx64 " is there, which it was not", at, f->oid);
		return;
	}
	truth_read();
	if (fd < 0) {
		errno = saved;
		if (packed <= at) fail("open @%016" PRIx64 "/bigfile/%016" PRIx64 ": %m", at, f->oid);
		return;
	}
	if ((size_t)st.st_size != s.blocks * s.blksize || (size_t)st.st_blksize != s.blksize)
		fail("WRONG size %lld (%lld) of @%016" PRIx64 "/bigfile/%016" PRIx64 ", want %zu blocks of %zu", (long long)st.st_size,
		     (long long)st.st_blksize, at, f->oid, s.blocks, s.blksize);
	char *mem = s.blocks ? mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
	if (mem == MAP_FAILED) broken("map: %m");
	for (size_t b = 0; b < s.blocks; b++) {
		alive("read @%016" PRIx64 " %016" PRIx64 " #%zu", at, f->oid, b);
		const struct version *v = version_at(f, b, at);
		long diff = differs_at(f, b, at, mem + b * s.blksize, 0, s.blksize);
		if (diff == SAME) continue;
		truth_read();
		v = version_at(f, b, at);
		if (diff == UNREADABLE) {
			if (v->damaged || packed > at) continue;
			fail("UNREADABLE @%016" PRIx64 "/bigfile/%016" PRIx64 " #%zu, version @%016" PRIx64, at, f->oid, b, v->tid);
		}
		fail("WRONG @%016" PRIx64 "/bigfile/%016" PRIx64 " #%zu+%ld: bytes %s, want version @%016" PRIx64, at, f->oid, b, diff,
		     whence(mem + b * s.blksize + (diff & ~15L)), v->tid);
	}
	if (mem) munmap(mem, st.st_size);
	close(fd);
}

void be_historian(void) {
	while (!over()) {
		u64 head = head_at();
		if (!truth_wait(head)) broken("the writer does not say what happened");
		int recent = ntids < 40 ? ntids : 40;
		u64 at = tids[chance(0.7) ? ntids - 1 - pick(recent) : pick(ntids)];
		if (chance(0.2)) at += chance(0.5) ? 1 : -1;
		if (at > head) continue;
		read_past(&files[pick(nfiles)], at);
		nap(pick(40));
		if (chance(0.05) && open_file(head + (1ull << 36), files[0].oid) >= 0) fail("a view of the future is there");
	}
}
