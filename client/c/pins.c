// Memory, and from where it is mapped: from head/, unless the server had a block pinned to
// a revision of the past. Everything here is done with wcfs_conn.mu held, also by the
// thread of the link. It only asks the kernel, and the server for files of past views, for
// which that needs nothing of its clients.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// The kernel loads so much at once where it is asked to.
enum { HUGE_PAGE = 2 << 20 };

// map_over maps over what is there; without a file memory that costs nothing.
//
// Where blocks are made of whole huge pages, each page fault shall ask the server for one
// aligned huge page. MADV_RANDOM alone would ask for single small pages, so it is not given
// if the kernel knows no huge pages.
static int map_over(char *mem, size_t size, int prot, int fd, off_t off) {
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	if (mmap(mem, size, prot, flags | MAP_FIXED, fd, off) == MAP_FAILED) return errno;
	if (fd >= 0 && size % HUGE_PAGE == 0 && off % HUGE_PAGE == 0 && !madvise(mem, size, MADV_HUGEPAGE))
		(void)madvise(mem, size, MADV_RANDOM);
	return 0;
}

static struct pin *find_slot(const struct pins *p, int64_t blk) {
	uint64_t hash = (uint64_t)blk * UINT64_C(0xd6e8feb86659fd93);
	for (uint64_t i = hash ^ hash >> 32;; i++) {
		struct pin *e = &p->slot[i & (p->slots - 1)];
		if (!e->used || e->blk == blk) return e;
	}
}

// get_pin returns the pin of a block, NULL if it has none.
static struct pin *get_pin(const struct pins *p, int64_t blk) {
	if (!p->slots) return NULL;
	struct pin *e = find_slot(p, blk);
	return e->used && e->rev != WCFS_HEAD ? e : NULL;
}

// reserve_pin makes room for one more. If there is none, pins move to a table with room for
// as many again. It is memory of mmap: locks of malloc may be held by a thread that touches
// mapped memory in a signal handler.
static int reserve_pin(struct pins *p) {
	struct pins old = *p, new = {.slots = 256};
	uint64_t pinned = 0;
	if (2 * (old.used + 1) <= old.slots) return 0;
	for (uint64_t i = 0; i < old.slots; i++) pinned += old.slot[i].used && old.slot[i].rev != WCFS_HEAD;
	while (new.slots < 4 * (pinned + 1)) new.slots *= 2;
	new.slot = mmap(NULL, new.slots * sizeof *new.slot, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new.slot == MAP_FAILED) return errno;
	for (uint64_t i = 0; i < old.slots; i++) {
		struct pin *e = &old.slot[i];
		if (!e->used || e->rev == WCFS_HEAD) continue;
		*find_slot(&new, e->blk) = *e;
		new.used++;
	}
	wcfs_free_pins(&old);
	*p = new;
	return 0;
}

void wcfs_free_pins(struct pins *p) {
	if (p->slots) (void)munmap(p->slot, p->slots * sizeof *p->slot);
	*p = (struct pins){0};
}

static char *at_block(const wcfs_file *f, const struct mapping *m, int64_t blk) {
	return m->mem + (blk - m->start) * f->blksize;
}

// place maps one block from a revision. Behind the end of the array it was zeros.
static int place(const wcfs_file *f, const struct mapping *m, int64_t blk, uint64_t rev) {
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "@%016" PRIx64 "/bigfile/%016" PRIx64, rev, f->oid);
	int fd = wcfs_open_below(f->c->w, path, O_RDONLY);
	if (fd < 0) return errno;
	int failed = fstat(fd, &st) ? errno : st.st_blksize != f->blksize ? EPROTO : 0;
	if (!failed)
		failed = map_over(at_block(f, m, blk), f->blksize, PROT_READ, blk < st.st_size / f->blksize ? fd : -1, blk * f->blksize);
	close(fd);
	return failed;
}

// base maps blocks as if none were pinned: from head/ as far as that goes, and zeros from
// there on.
static int base(const wcfs_file *f, const struct mapping *m, int64_t start, int64_t stop) {
	int64_t middle = stop < f->nblk ? stop : f->nblk > start ? f->nblk : start;
	int failed = 0;
	if (start < middle)
		failed = map_over(at_block(f, m, start), (middle - start) * f->blksize, PROT_READ, f->fd, start * f->blksize);
	if (!failed && middle < stop)
		failed = map_over(at_block(f, m, middle), (stop - middle) * f->blksize, PROT_READ, -1, 0);
	return failed;
}

int wcfs_show(wcfs_file *f, struct mapping *m, int64_t start, int64_t stop) {
	int failed = base(f, m, start, stop);
	bool few = (uint64_t)(stop - start) <= f->pins.slots; // blocks to look for, else slots to look at
	uint64_t n = few ? (uint64_t)(stop - start) : f->pins.slots;
	for (uint64_t i = 0; i < n && !failed; i++) {
		struct pin *e = few ? get_pin(&f->pins, start + (int64_t)i) : &f->pins.slot[i];
		if (e && e->used && e->rev != WCFS_HEAD && start <= e->blk && e->blk < stop) failed = place(f, m, e->blk, e->rev);
	}
	return failed;
}

int wcfs_set_pin(wcfs_file *f, int64_t blk, uint64_t rev, bool own) {
	int failed = 0;
	struct pin *e = get_pin(&f->pins, blk); // it may be one of those that the caller walks over
	if (!e && !(failed = reserve_pin(&f->pins))) {
		e = find_slot(&f->pins, blk);
		f->pins.used += !e->used;
	}
	if (!failed) *e = (struct pin){.blk = blk, .rev = rev, .used = true, .own = own};
	for (struct mapping *m = f->maps; m && !failed; m = m->next) {
		if (m->dark || blk < m->start || blk >= m->stop) continue;
		failed = rev == WCFS_HEAD ? base(f, m, blk, blk + 1) : place(f, m, blk, rev);
	}
	return failed;
}

int wcfs_pin_own(wcfs_file *f, int64_t start, int64_t stop, uint64_t rev) {
	int failed = 0;
	for (int64_t blk = start; blk < stop && !failed; blk++)
		if (!get_pin(&f->pins, blk)) failed = wcfs_set_pin(f, blk, rev, true);
	return failed;
}

int wcfs_unpin_own(wcfs_file *f) {
	int failed = 0;
	for (uint64_t i = 0; i < f->pins.slots && !failed; i++) {
		struct pin *e = &f->pins.slot[i];
		if (e->used && e->own && e->rev != WCFS_HEAD) failed = wcfs_set_pin(f, e->blk, WCFS_HEAD, false);
	}
	return failed;
}

int wcfs_resize(wcfs_file *f, int64_t nblk) {
	int64_t from = nblk < f->nblk ? nblk : f->nblk, to = nblk < f->nblk ? f->nblk : nblk;
	int failed = 0;
	f->nblk = nblk;
	for (struct mapping *m = f->maps; m && !failed; m = m->next) {
		int64_t start = from > m->start ? from : m->start, stop = to < m->stop ? to : m->stop;
		if (!m->dark && start < stop) failed = wcfs_show(f, m, start, stop);
	}
	return failed;
}

int wcfs_darken(wcfs_file *f) {
	int failed = 0;
	for (struct mapping *m = f->maps; m; m = m->next) {
		if (m->dark) continue;
		int errnum = map_over(m->mem, (m->stop - m->start) * f->blksize, PROT_NONE, -1, 0);
		m->dark = !errnum;
		if (errnum) failed = errnum;
	}
	return failed;
}
