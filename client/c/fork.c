// A child of fork has nothing of what its parent has joined.
#include "internal.h"

#include <sys/mman.h>
#include <unistd.h>

// Handlers of fork have no argument, so what was joined has to be found from here.
static pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct wcfs *joined; // guarded by all
static sigset_t forking;    // the signals that the thread that forks had blocked; guarded by all

// prepare makes the tables whole before the process is copied. They are held for memory
// operations only.
static void prepare(void) {
	sigset_t every, was;
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, &was);
	pthread_mutex_lock(&all);
	forking = was;
	for (wcfs *w = joined; w; w = w->next)
		for (wcfs_conn *c = w->conns; c; c = c->next) pthread_mutex_lock(&c->mu);
}

static void release(void) {
	sigset_t was = forking;
	for (wcfs *w = joined; w; w = w->next)
		for (wcfs_conn *c = w->conns; c; c = c->next) pthread_mutex_unlock(&c->mu);
	pthread_mutex_unlock(&all);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}

// abandon makes all memory of a connection fault, and closes what the child must not have:
// the server takes whoever has the link for its client.
static void abandon(wcfs_conn *c) {
	c->forked = c->dark = true;
	if (c->fd >= 0) close(c->fd);
	c->fd = -1;
	for (wcfs_file *f = c->files; f; f = f->next) {
		(void)wcfs_darken(f);
		close(f->fd);
		f->fd = -1;
	}
}

static void be_child(void) {
	for (wcfs *w = joined; w; w = w->next) {
		w->forked = true;
		for (wcfs_conn *c = w->conns; c; c = c->next) abandon(c);
		close(w->dir);
		close(w->alive);
		w->dir = w->alive = -1;
	}
	release();
}

static void watch_forks(void) { pthread_atfork(prepare, release, be_child); }

void wcfs_lock_all(void) {
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&all);
}

void wcfs_unlock_all(void) { pthread_mutex_unlock(&all); }

void wcfs_enlist(wcfs *w) {
	w->next = joined;
	w->prev = &joined;
	if (joined) joined->prev = &w->next;
	joined = w;
}

void wcfs_delist(wcfs *w) {
	*w->prev = w->next;
	if (w->next) w->next->prev = w->prev;
}
