// A link: lines from and to head/watch, and the thread that answers pins.
#define _GNU_SOURCE
#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// pin is a request of the server that has not been answered.
struct pin {
	u64 stream, blk, rev, due; // due: when to answer
	struct view *v;
	struct pin *next;
};

struct link {
	int fd;
	u64 delay_ms;
	enum manners manners;
	pthread_t reader, pinner;
	pthread_mutex_t mu; // all below; held by no one who waits for the server
	pthread_cond_t changed;
	u64 stream;         // of the request that waits for its reply
	bool replied, leaving, ended, misbehaved;
	char reply[256];
	struct view *views; // of now, and gone ones
	struct view *unanswered; // whose pin was the first to get no ack
	struct pin *first, **last;
	int silent;         // what pins of views that are gone get: 0 ack, 1 nak, 2 nothing
	u64 pins;
};

static void send_line(struct link *l, const char *fmt, ...) {
	char line[200];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (write(l->fd, line, n) != n && !l->leaving && !l->ended && !l->misbehaved) fail("write to head/watch %.*s: %m", n - 1, line);
}

static struct view *watched(struct link *l, u64 oid) {
	for (struct view *v = l->views; v; v = v->next)
		if (v->f->oid == oid && !v->gone) return v;
	return NULL;
}

static void take_pin(struct link *l, u64 stream, char *text) {
	u64 oid, blk, rev = HEAD;
	char at[32];
	if (sscanf(text, "pin %16" SCNx64 " #%" SCNu64 " @%31s", &oid, &blk, at) != 3) fail("not a pin: %s", text);
	if (strcmp(at, "head") && (strlen(at) != 16 || sscanf(at, "%" SCNx64, &rev) != 1)) fail("not a revision: %s", text);
	struct view *v = watched(l, oid);
	if (!v) fail("pin of an array that is not watched, or was left: %s", text);
	u64 most = v->wanted > v->at ? v->wanted : v->at;
	if (rev != HEAD && rev > most) fail("pin to what the client must not see, at @%016" PRIx64 ": %s", most, text);
	struct pin *p = calloc(1, sizeof *p);
	*p = (struct pin){.stream = stream, .blk = blk, .rev = rev, .due = now_ms() + l->delay_ms, .v = v};
	*l->last = p;
	l->last = &p->next;
	l->pins++;
	counts.pins++;
	pthread_cond_broadcast(&l->changed);
}

static void take_line(struct link *l, char *line) {
	char *text;
	u64 stream = strtoull(line, &text, 10);
	if (text == line || *text != ' ') fail("not a message: %s", line);
	text++;
	pthread_mutex_lock(&l->mu);
	if (stream == 0) {
		if (l->manners == GOOD) {
			say_threads();
			fail("last words: %s", text);
		}
		say("last words: %s", text);
	} else if (stream % 2 == 0) {
		take_pin(l, stream, text);
	} else {
		if (stream != l->stream || l->replied) fail("reply to no request: %s", line);
		snprintf(l->reply, sizeof l->reply, "%s", text);
		l->replied = true;
		pthread_cond_broadcast(&l->changed);
		for (struct view *v = l->views; v; v = v->next)
			if (v->wanted == 0) v->gone = true; // the reply to "-"
	}
	pthread_mutex_unlock(&l->mu);
}

static void *read_lines(void *arg) {
	struct link *l = arg;
	char buf[4096];
	size_t have = 0;
	for (;;) {
		ssize_t n = read(l->fd, buf + have, sizeof buf - have);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		have += n;
		char *line = buf, *end;
		while ((end = memchr(line, '\n', buf + have - line))) {
			*end = 0;
			take_line(l, line);
			line = end + 1;
		}
		have -= line - buf;
		memmove(buf, line, have);
		if (have > 246) fail("a message of more than 246 bytes");
	}
	pthread_mutex_lock(&l->mu);
	l->ended = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mu);
	return NULL;
}

// put maps a block of a view from where the server wants it.
void put(struct view *v, size_t blk, u64 rev) {
	char *at = v->mem + blk * v->blksize;
	off_t off = (off_t)blk * v->blksize;
	if (rev == HEAD) {
		map_from(at, v->blksize, v->fd, off);
		return;
	}
	int fd = open_file(rev, v->f->oid);
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) {
		// What is not there to be mapped must not be seen; whoever looks decides
		// whether it may be missing.
		say("pin #%zu: cannot open @%016" PRIx64 "/bigfile/%016" PRIx64 ": %m", blk, rev, v->f->oid);
		map_nothing(at, v->blksize, false);
	} else if (off >= st.st_size) {
		map_nothing(at, v->blksize, true);
	} else {
		map_from(at, v->blksize, fd, off);
	}
	if (fd >= 0) close(fd);
}

static void pin(struct link *l, struct pin *p) {
	struct view *v = p->v;
	pthread_mutex_lock(&v->mu);
	if (!v->gone && p->blk < v->limit) {
		// Who watches an array again is told anew where pins were left, before the ok.
		bool anew = !v->at && p->rev == HEAD;
		if (v->pin[p->blk] == p->rev && !anew) fail("pinned twice: #%" PRIu64 " @%016" PRIx64, p->blk, p->rev);
		v->pin[p->blk] = p->rev;
		if (p->blk < v->mapped) put(v, p->blk, p->rev);
	}
	bool gone = v->gone;
	pthread_mutex_unlock(&v->mu);
	if (!gone && l->manners == NAK) send_line(l, "%" PRIu64 " nak: I do not want to\n", p->stream);
	else if (!gone || l->silent == 0) send_line(l, "%" PRIu64 " ack\n", p->stream);
	else if (l->silent == 1) send_line(l, "%" PRIu64 " nak: it is gone\n", p->stream);
}

// drop closes the link while its reader reads. Its number stays taken: the reader would
// else go on with whatever is opened next.
static void drop(struct link *l) {
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, l->fd) < 0 || close(null)) fail("close head/watch: %m");
}

static void *answer_pins(void *arg) {
	struct link *l = arg;
	pthread_mutex_lock(&l->mu);
	for (;;) {
		while (!l->first && !l->ended) pthread_cond_wait(&l->changed, &l->mu);
		if (!l->first) break;
		struct pin *p = l->first;
		if (!(l->first = p->next)) l->last = &l->first;
		bool gone = p->v->gone || p->v->wanted == 0; // it is left, or just being left
		if (!gone && l->manners != GOOD && !l->misbehaved) {
			l->misbehaved = true;
			l->unanswered = p->v;
			pthread_cond_broadcast(&l->changed);
		}
		pthread_mutex_unlock(&l->mu);
		if (gone || l->manners == GOOD || l->manners == NAK) {
			if (!gone && p->due > now_ms()) nap(p->due - now_ms());
			pin(l, p);
		} else if (l->manners == DROP) {
			drop(l);
		}
		free(p);
		pthread_mutex_lock(&l->mu);
	}
	pthread_mutex_unlock(&l->mu);
	return NULL;
}

struct link *link_open(double delay, enum manners manners) {
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/head/watch", mnt);
	struct link *l = calloc(1, sizeof *l);
	*l = (struct link){.delay_ms = delay * 1000, .manners = manners, .stream = UINT64_MAX, .replied = true};
	l->last = &l->first;
	l->fd = open(path, O_RDWR | O_CLOEXEC);
	if (l->fd < 0) fail("open head/watch: %m");
	pthread_mutex_init(&l->mu, NULL);
	pthread_cond_init(&l->changed, NULL);
	if (pthread_create(&l->reader, NULL, read_lines, l) || pthread_create(&l->pinner, NULL, answer_pins, l))
		broken("no threads");
	return l;
}

// ask sends a request and waits for its reply.
static bool ask(struct link *l, struct view *v, u64 wanted, const char *what, char *err, size_t size) {
	pthread_mutex_lock(&l->mu);
	l->stream += 2;
	l->replied = false;
	v->wanted = wanted;
	pthread_mutex_unlock(&l->mu);
	alive("%s of %016" PRIx64, what, v->f->oid);
	send_line(l, "%" PRIu64 " watch %016" PRIx64 " %s\n", l->stream, v->f->oid, what);
	pthread_mutex_lock(&l->mu);
	while (!l->replied && !l->ended) pthread_cond_wait(&l->changed, &l->mu);
	if (!l->replied && l->manners == GOOD) fail("the link ended, with no reply to: watch %s", what);
	// Until it is ended, which it is not for a pin of an array that it has left since.
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += pintimeout * 3;
	bool late = false;
	while (!l->replied)
		if (late) pthread_cond_wait(&l->changed, &l->mu);
		else if ((late = pthread_cond_timedwait(&l->changed, &l->mu, &until)) && link_is_forgiven(l)) exit(0);
	bool ok = !strcmp(l->reply, "ok");
	if (!ok) {
		if (strncmp(l->reply, "error ", 6)) fail("neither ok nor error: %s", l->reply);
		snprintf(err, size, "%s", l->reply + 6);
		counts.errors++;
	}
	pthread_mutex_unlock(&l->mu);
	alive("replied to %s", what);
	return ok;
}

bool link_watch(struct link *l, struct view *v, u64 at, char *err, size_t size) {
	char what[32];
	snprintf(what, sizeof what, "@%016" PRIx64, at);
	if (!watched(l, v->f->oid)) {
		pthread_mutex_lock(&l->mu);
		v->gone = false;
		v->next = l->views;
		l->views = v;
		pthread_mutex_unlock(&l->mu);
	}
	u64 was = v->at;
	if (ask(l, v, at, what, err, size)) {
		v->at = at;
		return true;
	}
	pthread_mutex_lock(&l->mu);
	v->wanted = was;
	if (!was) v->gone = true;
	pthread_mutex_unlock(&l->mu);
	return false;
}

void link_unwatch(struct link *l, struct view *v, int late) {
	char err[256];
	l->silent = late;
	counts.unwatches++;
	if (!ask(l, v, 0, "-", err, sizeof err)) fail("watch -: %s", err);
	pthread_mutex_lock(&v->mu);
	if (!v->gone) fail("the reply did not come");
	pthread_mutex_unlock(&v->mu);
}

void link_close(struct link *l, bool bye, unsigned linger_ms) {
	if (bye) {
		pthread_mutex_lock(&l->mu);
		u64 stream = l->stream += 2;
		l->leaving = true;
		pthread_mutex_unlock(&l->mu);
		send_line(l, "%" PRIu64 " bye\n", stream);
		alive("bye");
		pthread_join(l->reader, NULL); // the server ends the stream
		pthread_join(l->pinner, NULL);
	}
	nap(linger_ms);
	if (close(l->fd)) fail("close head/watch: %m");
}

bool link_misbehaved(const struct link *l) { return l->misbehaved; }

bool link_is_forgiven(const struct link *l) { return l->unanswered && l->unanswered->gone; }
