// The link to the server: requests of ours, and the thread that answers its requests. The
// protocol has lines "STREAM MESSAGE"; see doc/protocol.rst.
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

void wcfs_lock(wcfs_conn *c, sigset_t *signals) {
	sigset_t every;
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, signals);
	pthread_mutex_lock(&c->mu);
}

void wcfs_unlock(wcfs_conn *c, const sigset_t *signals) {
	pthread_mutex_unlock(&c->mu);
	pthread_sigmask(SIG_SETMASK, signals, NULL);
}

bool wcfs_parse_hex16(const char *text, size_t len, uint64_t *v) {
	if (len != 16) return false;
	for (*v = 0; len; len--, text++) {
		int digit = *text >= '0' && *text <= '9' ? *text - '0' : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10 : -1;
		if (digit < 0) return false;
		*v = *v << 4 | (uint64_t)digit;
	}
	return true;
}

// parse_decimal parses a number with at most so many digits, and returns what follows; NULL
// if there is none.
static const char *parse_decimal(const char *text, int digits, bool canonical, uint64_t *v) {
	const char *p = text;
	for (*v = 0; *p >= '0' && *p <= '9'; p++) {
		if (p - text >= digits) return NULL;
		*v = *v * 10 + (uint64_t)(*p - '0');
	}
	return p == text || (canonical && *text == '0' && p - text > 1) ? NULL : p;
}

// parse_pin parses "pin <oid> #<blk> @<rev>".
static bool parse_pin(const char *text, wcfs_oid *oid, int64_t *blk, uint64_t *rev) {
	uint64_t number;
	if (strncmp(text, "pin ", 4) || strlen(text) < 22 || !wcfs_parse_hex16(text + 4, 16, oid) || strncmp(text + 20, " #", 2)) return false;
	text = parse_decimal(text + 22, 18, true, &number);
	if (!text || strncmp(text, " @", 2)) return false;
	*blk = (int64_t)number;
	*rev = WCFS_HEAD;
	return !strcmp(text + 2, "head") || (wcfs_parse_hex16(text + 2, strlen(text + 2), rev) && *rev != WCFS_HEAD);
}

// send_line sends a line in one piece, whoever else sends.
static int send_line(wcfs_conn *c, const char *line) {
	size_t len = strlen(line);
	ssize_t n;
	while ((n = write(c->fd, line, len)) < 0 && errno == EINTR) continue;
	return n == (ssize_t)len ? 0 : -1;
}

// next_stream returns the stream of a new request. With mu held.
static uint64_t next_stream(wcfs_conn *c) { return c->stream += c->stream ? 2 : 1; }

// darken makes all memory fault, and tells whether it does. With mu held.
static bool darken(wcfs_conn *c) {
	bool done = true;
	for (wcfs_file *f = c->files; f; f = f->next) done &= !wcfs_darken(f);
	return c->dark = done;
}

// The first reason is kept. When nothing is mapped that a commit could change, the server
// may forget about the client: bye says so. If something still is, which the kernel ought
// not to let happen, it must go on asking.
void wcfs_shut(wcfs_conn *c, const wcfs_error *why) {
	char bye[64] = "";
	sigset_t signals;
	wcfs_lock(c, &signals);
	if (!c->why.code) c->why = *why;
	if (darken(c) && !c->said_bye && !c->forked) {
		c->said_bye = true;
		snprintf(bye, sizeof bye, "%" PRIu64 " bye\n", next_stream(c));
	}
	for (struct request *r = c->pending; r; r = r->next) sem_post(&r->done);
	wcfs_unlock(c, &signals);
	if (bye[0]) (void)send_line(c, bye); // an error means that the link has ended already
}

static void lose(wcfs_conn *c, int code, int errnum, const char *what) {
	wcfs_error why;
	wcfs_fail(&why, code, errnum, "%s", what);
	wcfs_shut(c, &why);
}

// take_reply hands a reply to who waits for it.
static void take_reply(wcfs_conn *c, uint64_t stream, const char *text) {
	bool known = stream == 0;
	sigset_t signals;
	wcfs_lock(c, &signals);
	if (stream == 0) snprintf(c->last_words, sizeof c->last_words, "%s", text);
	for (struct request *r = c->pending; r; r = r->next) {
		if (r->stream != stream || r->replied) continue;
		snprintf(r->text, sizeof r->text, "%s", text);
		known = r->replied = true;
		sem_post(&r->done);
	}
	known |= c->why.code != 0; // nobody waits any more
	wcfs_unlock(c, &signals);
	if (!known) lose(c, WCFS_EPROTOCOL, 0, "the server broke the protocol: answer to no request");
}

// take_pin does what a pin says. If that is not possible all memory faults, and the server
// may go on, too: nothing shows wrong data. Only if not even that is possible the pin must
// not be acknowledged.
static void take_pin(wcfs_conn *c, uint64_t stream, const char *text) {
	wcfs_oid oid = 0;
	int64_t blk = 0;
	uint64_t rev = 0;
	char ack[64];
	bool understood = parse_pin(text, &oid, &blk, &rev);
	int errnum = 0;
	sigset_t signals;
	wcfs_lock(c, &signals);
	for (wcfs_file *f = c->files; f && understood && !c->why.code; f = f->next)
		if (f->oid == oid) errnum = wcfs_set_pin(f, blk, rev, false);
	bool done = c->why.code ? darken(c) : understood && !errnum;
	wcfs_unlock(c, &signals);
	snprintf(ack, sizeof ack, "%" PRIu64 " ack\n", stream);
	if (done) {
		(void)send_line(c, ack); // if this fails the link is down, which the next read tells
		return;
	}
	wcfs_error why;
	if (understood) wcfs_fail(&why, WCFS_EPIN, errnum, "pin not applied: block %" PRId64 " of f<%016" PRIx64 ">", blk, oid);
	else wcfs_fail(&why, WCFS_EPROTOCOL, 0, "the server broke the protocol: not a pin: %.100s", text);
	wcfs_lock(c, &signals);
	if (!c->why.code) c->why = why;
	done = darken(c);
	wcfs_unlock(c, &signals);
	if (done) (void)send_line(c, ack);
	wcfs_shut(c, &why);
}

static void take_line(wcfs_conn *c, const char *line) {
	uint64_t stream;
	const char *text = parse_decimal(line, 19, false, &stream);
	if (!text || *text != ' ') lose(c, WCFS_EPROTOCOL, 0, "the server broke the protocol: no stream");
	else if (stream == 0 || stream % 2) take_reply(c, stream, text + 1);
	else take_pin(c, stream, text + 1);
}

// read_lines returns why the link has ended: 0 or errno.
static int read_lines(wcfs_conn *c) {
	for (;;) {
		ssize_t n = read(c->fd, c->buf + c->have, sizeof c->buf - c->have);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return n ? errno : 0;
		c->have += n;
		char *line = c->buf, *end;
		while ((end = memchr(line, '\n', c->buf + c->have - line))) {
			*end = 0;
			if (end - line >= MAX_LINE) lose(c, WCFS_EPROTOCOL, 0, "the server broke the protocol: a line is too long");
			else take_line(c, line);
			line = end + 1;
		}
		c->have -= line - c->buf;
		memmove(c->buf, line, c->have);
		if (c->have < MAX_LINE) continue;
		lose(c, WCFS_EPROTOCOL, 0, "the server broke the protocol: a line is too long");
		c->have = 0;
	}
}

// explain tells why the link has ended. A request that a server has begun to handle when it
// dies may end in all ways, so the mount is asked.
static void explain(wcfs_conn *c, int errnum, wcfs_error *why) {
	wcfs_tid at;
	sigset_t signals;
	wcfs_lock(c, &signals);
	*why = c->why;
	wcfs_unlock(c, &signals);
	if (why->code || wcfs_head(c->w, &at, why) == WCFS_EGONE) return;
	if (errnum) {
		wcfs_fail(why, WCFS_EDOWN, errnum, "link is down: read head/watch");
		return;
	}
	wcfs_lock(c, &signals);
	wcfs_fail(why, WCFS_EDOWN, 0, "link is down%s%s", c->last_words[0] ? ": " : "", c->last_words);
	wcfs_unlock(c, &signals);
}

// link_main answers the server until it has closed the link. All signals are blocked here.
static void *link_main(void *arg) {
	wcfs_conn *c = arg;
	wcfs_error why;
	sigset_t signals;
	explain(c, read_lines(c), &why);
	wcfs_lock(c, &signals);
	c->said_bye = true; // there is nobody to say it to
	wcfs_unlock(c, &signals);
	wcfs_shut(c, &why);
	wcfs_lock(c, &signals);
	c->ended = true;
	sem_post(&c->end);
	wcfs_unref(c, &signals);
	return NULL;
}

int wcfs_start_link(wcfs_conn *c) {
	enum { STACK = 256 << 10 };
	pthread_attr_t attr;
	sigset_t every, signals;
	sigfillset(&every);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_BLOCK, &every, &signals);
	int errnum = pthread_create(&c->thread, &attr, link_main, c);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	pthread_attr_destroy(&attr);
	return errnum;
}

int wcfs_broken(wcfs_conn *c, wcfs_error *err) {
	if (c->forked) return wcfs_fail(err, WCFS_EFORKED, 0, "the connection belongs to the parent process; join anew");
	if (!c->why.code) return 0;
	const char *closed = c->why.code == WCFS_ECLOSED ? "" : "connection closed: ";
	return wcfs_fail(err, c->why.code, 0, "%s%s", closed, c->why.text);
}

static void forget(wcfs_conn *c, struct request *r) {
	struct request **p = &c->pending;
	while (*p != r) p = &(*p)->next;
	*p = r->next;
}

int wcfs_ask(wcfs_conn *c, struct request *r, wcfs_oid oid, wcfs_tid at, wcfs_error *err) {
	char line[128];
	sigset_t signals;
	sem_init(&r->done, 0, 0);
	wcfs_lock(c, &signals);
	int code = wcfs_broken(c, err);
	if (!code) {
		r->stream = next_stream(c);
		r->replied = false;
		r->next = c->pending;
		c->pending = r;
	}
	wcfs_unlock(c, &signals);
	if (code) {
		sem_destroy(&r->done);
		return code;
	}
	int n = snprintf(line, sizeof line, "%" PRIu64 " watch %016" PRIx64 " ", r->stream, oid);
	snprintf(line + n, sizeof line - n, at == WCFS_HEAD ? "-\n" : "@%016" PRIx64 "\n", at);
	if (send_line(c, line)) lose(c, WCFS_EDOWN, errno, "link is down: write to head/watch"); // wcfs_await tells
	return 0;
}

int wcfs_await(wcfs_conn *c, struct request *r, const char *what, wcfs_error *err) {
	deadline until = wcfs_deadline(c->w->timeout_ms);
	struct timespec time = wcfs_timespec(until);
	sigset_t signals;
	int code = 0;
	while ((until ? sem_clockwait(&r->done, CLOCK_MONOTONIC, &time) : sem_wait(&r->done)) && errno == EINTR) continue;
	wcfs_lock(c, &signals);
	forget(c, r);
	if (!r->replied && !(code = wcfs_broken(c, err))) code = wcfs_fail(err, WCFS_ETIMEOUT, 0, "%s: the server does not answer", what);
	else if (!code && strcmp(r->text, "ok")) code = wcfs_fail(err, WCFS_EREFUSED, 0, "%s: %s", what, r->text);
	wcfs_unlock(c, &signals);
	sem_destroy(&r->done);
	if (code == WCFS_ETIMEOUT) wcfs_shut(c, err); // the server may do it yet
	return code;
}
