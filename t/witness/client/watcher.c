// A client of head/watch: arrays at a state, in memory, byte for byte.
#define _GNU_SOURCE
#include "witness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST ((size_t)32 << 20) // bytes of an array

static double delay, restless;
static enum manners manners;
static struct link *l; // the one that is open

// extend maps what the array has got, and all of what it had at the state.
static void extend(struct view *v) {
	struct stat st;
	alive("stat of %016" PRIx64, v->f->oid);
	if (fstat(v->fd, &st)) {
		if (!excused(v->f, ANY, v->at, true)) fail("stat of head/bigfile/%016" PRIx64 ": %m", v->f->oid);
		return;
	}
	size_t n = st.st_size / v->blksize, then = state_at(v->f, v->at)->blocks;
	if (n < then) n = then;
	if (n > v->limit) n = v->limit;
	pthread_mutex_lock(&v->mu);
	if (n > v->mapped) {
		map_from(v->mem + v->mapped * v->blksize, (n - v->mapped) * v->blksize, v->fd, v->mapped * v->blksize);
		size_t from = v->mapped;
		v->mapped = n;
		for (size_t b = from; b < n; b++)
			if (v->pin[b] != HEAD) put(v, b, v->pin[b]);
	}
	pthread_mutex_unlock(&v->mu);
}

static struct view *view_open(struct file *f, u64 at) {
	struct view *v = calloc(1, sizeof *v);
	struct stat st;
	alive("open %016" PRIx64, f->oid);
	v->fd = open_file(HEAD, f->oid);
	if (v->fd < 0 || fstat(v->fd, &st)) {
		if (!excused(f, ANY, at, false)) fail("open head/bigfile/%016" PRIx64 ": %m", f->oid);
		if (v->fd >= 0) close(v->fd);
		free(v);
		return NULL;
	}
	v->f = f;
	v->gone = true;
	v->blksize = st.st_blksize;
	v->limit = LARGEST / v->blksize;
	pthread_mutex_init(&v->mu, NULL);
	v->mem = reserve(LARGEST);
	v->pin = malloc(v->limit * sizeof *v->pin);
	for (size_t b = 0; b < v->limit; b++) v->pin[b] = HEAD;
	return v;
}

// view_close lets a view go that is not watched any more. Its pins may still be
// answered, so the struct stays.
static void view_close(struct view *v) {
	pthread_mutex_lock(&v->mu);
	munmap(v->mem, LARGEST);
	pthread_mutex_unlock(&v->mu);
	close(v->fd);
}

// await_end waits for what must come to who does not answer.
static void await_end(void) {
	alive("waiting to be ended");
	nap(pintimeout * 3000);
	if (link_is_forgiven(l)) return;
	fail("NOT ENDED: this client has not answered a pin, and lives");
}

// look_block compares a block. It returns false if the array is not there any more.
static bool look_block(struct view *v, size_t b, bool beyond) {
	static const struct version zeros;
	const struct version *want = beyond ? &zeros : version_at(v->f, b, v->at);
	alive("touch %016" PRIx64 " #%zu @%016" PRIx64 " mapped from @%016" PRIx64, v->f->oid, b, v->at, v->pin[b]);
	const char *mem = v->mem + b * v->blksize;
	u64 from = v->pin[b];
	long at = beyond ? differs(mem, 0, v->blksize, want) : differs_at(v->f, b, v->at, mem, 0, v->blksize);
	if (at == SAME) return true;
	if (at == UNREADABLE) {
		if (want->damaged || beyond) return true;
		struct stat st = {0};
		fstat(v->fd, &st);
		if (link_misbehaved(l)) await_end(); // its data is not for it any more
		if (excused(v->f, b, v->at, true)) return false;
		if (is_slow && may_end(v->f, b, v->at)) return true; // the commit did not wait so long
		fail("UNREADABLE %016" PRIx64 " #%zu of view @%016" PRIx64 ", mapped from @%016" PRIx64 "; view has %zu blocks, head %zu",
		     v->f->oid, b, v->at, from, state_at(v->f, v->at)->blocks, (size_t)st.st_size / v->blksize);
	}
	if (state_at(v->f, v->at)->kind == DAMAGED) return false;
	long page = at & ~15L;
	char seen[16];
	memcpy(seen, mem + page, 16);
	nap(200);
	bool stays = !memcmp(seen, mem + page, 16);
	truth_wait(head_at());
	fail("WRONG %016" PRIx64 " #%zu+%ld of view @%016" PRIx64 "%s, mapped from @%016" PRIx64 " then @%016" PRIx64 ": bytes %s (%s), want version @%016" PRIx64 "%s; head/at @%016" PRIx64,
	     v->f->oid, b, at, v->at, beyond ? " (beyond its end)" : "", from, v->pin[b], whence(seen), stays ? "stays" : "passes",
	     want->tid, want->damaged ? ", damaged" : "", head_at());
}

static bool look(struct view *v) {
	size_t blocks = state_at(v->f, v->at)->blocks, n = v->mapped, start = pick(n + 1), step = chance(0.5) ? 1 : 7;
	if (n % step == 0) step = 1;
	for (size_t i = 0; i < n; i++) {
		size_t b = (start + i * step) % n;
		if (over()) break; // each block may wait for an answer of this very client
		if (!look_block(v, b, b >= blocks)) return false;
	}
	return true;
}

static double seconds(u64 tid) {
	return (tid >> 32) * 60. + (tid & UINT32_MAX) * (60. / 4294967296.);
}

// refused says whether the server may refuse a state of an array.
static void refused(struct view *v, u64 at, const char *err) {
	u64 head = head_at();
	truth_wait(head);
	if (strstr(err, "too far away back") && (at < started || seconds(head) - seconds(at) > 59)) return;
	if (strstr(err, "epoch detected") || strstr(err, "another file now") || strstr(err, "not yet known") || state_at(v->f, at)->kind != PRESENT)
		if (excused(v->f, ANY, v->at ? v->at : at, false)) return;
	if (packed > at || state_at(v->f, at)->kind != PRESENT) return;
	fail("watch %016" PRIx64 " @%016" PRIx64 " from @%016" PRIx64 " with head @%016" PRIx64 ": %s", v->f->oid, at, v->at, head, err);
}

// reach brings a view to a state, and looks. It returns false if that cannot be.
static bool reach(struct view *v, u64 at) {
	char err[256];
	u64 was = v->at;
	if (!link_watch(l, v, at, err, sizeof err)) {
		refused(v, at, err);
		return false;
	}
	counts.moves++;
	if (at > head_at()) fail("ok for a state that is not there");
	if (!truth_wait(at <= tids[ntids - 1] ? at : head_at())) broken("the writer does not say what happened");
	if (state_at(v->f, at)->kind == ABSENT) fail("ok for %016" PRIx64 " @%016" PRIx64 " from @%016" PRIx64 ", where the array is not there", v->f->oid, at, was);
	extend(v);
	return look(v);
}

// check_refusals asks for what must be refused, or must change nothing.
static bool check_refusals(struct view *v) {
	char err[256];
	if (chance(0.5)) {
		if (!link_watch(l, v, v->at, err, sizeof err)) {
			refused(v, v->at, err);
			return false;
		}
		return look(v);
	}
	u64 at = v->at, back = at - 1 - pick(1 << 20);
	if (link_watch(l, v, back, err, sizeof err)) fail("watch of an earlier state is allowed");
	if (!strstr(err, "going back") && !strstr(err, "too far away") && !excused(v->f, ANY, back, true)) fail("going back is refused with: %s", err);
	return look(v);
}

static u64 choose_state(u64 head) {
	if (chance(0.2)) return head + 1; // waits for a commit
	if (chance(0.4)) {
		u64 tid = tids[ntids - 1 - pick(ntids < 30 ? ntids : 30)];
		if (tid < head) return tid + pick(2);
	}
	return head;
}

static void leave(struct view *v) {
	if (!v->gone) link_unwatch(l, v, pick(3));
	view_close(v);
}

enum { VIEWS = 4 };

static struct view *enter(struct view **views) {
	u64 head = head_at();
	if (!truth_wait(head)) broken("the writer does not say what happened");
	struct file *f = &files[pick(nfiles)];
	if (state_at(f, head)->kind != PRESENT) return NULL;
	for (int i = 0; i < VIEWS; i++)
		if (views[i] && views[i]->f == f) return NULL;
	struct view *v = view_open(f, head);
	if (!v) return NULL;
	if (reach(v, choose_state(head))) return v;
	leave(v);
	return NULL;
}

// act does something with a view; false if the view cannot go on.
static bool act(struct view *v) {
	if (chance(restless)) return false;
	if (chance(0.5)) return look(v);
	if (chance(0.15)) return check_refusals(v);
	if (chance(0.2)) nap(pick(300));
	u64 head = head_at();
	truth_wait(head);
	return reach(v, head > v->at ? head : v->at);
}

// visit is the life of a link.
static void visit(void) {
	l = link_open(delay, manners);
	struct view *views[VIEWS] = {0};
	for (int left = 10 + pick(60); left > 0 && !over(); left--) {
		struct view **v = &views[pick(VIEWS)];
		if (!*v) {
			*v = enter(views);
		} else if (!act(*v)) {
			leave(*v);
			*v = NULL;
		}
		nap(pick(10));
	}
	for (int i = 0; i < VIEWS; i++)
		if (views[i] && chance(0.5)) {
			leave(views[i]);
			views[i] = NULL;
		}
	if (link_misbehaved(l)) await_end();
	link_close(l, true, chance(0.3) ? pick(2000) : 0);
	for (int i = 0; i < VIEWS; i++)
		if (views[i]) view_close(views[i]);
}

void be_watcher(double d, enum manners m, double r) {
	delay = d;
	manners = m;
	restless = r;
	while (!over()) visit();
}
