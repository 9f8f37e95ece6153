// Connections: their beginning, moves and end.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLOSE_WAIT_MS = 10 * 1000 }; // bounds how long wcfs_close waits for the server

int wcfs_connect(wcfs *w, wcfs_tid at, wcfs_conn **connected, wcfs_error *err) {
	wcfs_tid head;
	int code = wcfs_wait_head(w, at == WCFS_HEAD ? 0 : at, NULL, &head, err);
	if (code) return wcfs_about(err, code, "connect");
	int fd = wcfs_open_below(w, "head/watch", O_RDWR);
	if (fd < 0 && errno == EACCES)
		code = wcfs_fail(err, WCFS_EFOREIGN, errno, "open head/watch: the server may not end this process, which is of another user");
	else if (fd < 0) code = wcfs_failed(err, "open head/watch");
	else code = wcfs_conn_new(w, fd, at == WCFS_HEAD ? head : at, connected, err);
	return wcfs_about(err, code, "wcfs %s: connect", w->point);
}

// init_locks makes the locks of a new connection. A thread that changes the view goes first:
// else threads that use it all the time would keep it out.
static void init_locks(wcfs_conn *c) {
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&c->view, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&c->opening, NULL);
	pthread_mutex_init(&c->mu, NULL);
	sem_init(&c->end, 0, 0);
}

static void enlist(wcfs_conn *c) {
	wcfs_lock_all();
	wcfs *w = c->w;
	w->refs++;
	c->next = w->conns;
	c->prev = &w->conns;
	if (c->next) c->next->prev = &c->next;
	w->conns = c;
	wcfs_unlock_all();
}

// destroy frees a connection that nobody refers to.
static void destroy(wcfs_conn *c) {
	wcfs_lock_all();
	*c->prev = c->next;
	if (c->next) c->next->prev = c->prev;
	wcfs_unlock_all();
	while (c->files) {
		wcfs_file *f = c->files;
		c->files = f->next;
		wcfs_free_file(f);
	}
	if (c->fd >= 0) close(c->fd);
	pthread_rwlock_destroy(&c->view);
	pthread_mutex_destroy(&c->opening);
	pthread_mutex_destroy(&c->mu);
	sem_destroy(&c->end);
	wcfs_leave(c->w);
	free(c);
}

void wcfs_unref(wcfs_conn *c, const sigset_t *signals) {
	bool last = --c->refs == 0;
	wcfs_unlock(c, signals);
	if (last) destroy(c);
}

int wcfs_conn_new(wcfs *w, int fd, wcfs_tid at, wcfs_conn **connected, wcfs_error *err) {
	wcfs_conn *c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		return wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "connect");
	}
	c->w = w;
	c->fd = fd;
	c->at = at;
	c->refs = 2;
	init_locks(c);
	enlist(c);
	int errnum = wcfs_start_link(c);
	if (errnum) {
		destroy(c);
		return wcfs_fail(err, WCFS_ESYSTEM, errnum, "start a thread");
	}
	*connected = c;
	return 0;
}

wcfs_tid wcfs_at(wcfs_conn *c) {
	sigset_t signals;
	wcfs_lock(c, &signals);
	wcfs_tid at = c->at;
	wcfs_unlock(c, &signals);
	return at;
}

// In a child of fork a thread that is not there may have the view, so that is not waited for.
int wcfs_use(wcfs_conn *c, bool change, wcfs_error *err) {
	sigset_t signals;
	wcfs_lock(c, &signals);
	int code = wcfs_broken(c, err);
	c->refs += !code;
	wcfs_unlock(c, &signals);
	if (code) return code;
	if (change) pthread_rwlock_wrlock(&c->view);
	else pthread_rwlock_rdlock(&c->view);
	wcfs_lock(c, &signals);
	code = wcfs_broken(c, err);
	wcfs_unlock(c, &signals);
	if (code) wcfs_unuse(c);
	return code;
}

void wcfs_unuse(wcfs_conn *c) {
	sigset_t signals;
	pthread_rwlock_unlock(&c->view);
	wcfs_lock(c, &signals);
	wcfs_unref(c, &signals);
}

// watch_all moves the watches of all files to the view, some at a time.
static int watch_all(wcfs_conn *c, wcfs_error *err) {
	struct request *requests = calloc(MAX_PENDING, sizeof *requests);
	int code = requests ? 0 : wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "watch");
	for (wcfs_file *f = c->files; f && !code;) {
		int n = 0;
		for (; f && n < MAX_PENDING && !(code = wcfs_ask(c, &requests[n], f->oid, c->at, err)); f = f->next) n++;
		for (int i = 0; i < n; i++) {
			int failed = wcfs_await(c, &requests[i], "watch", code ? NULL : err);
			if (!code) code = failed;
		}
	}
	free(requests);
	return code;
}

// move moves all files to a view that the server shows. The view must be held for a change.
static int move(wcfs_conn *c, wcfs_tid at, wcfs_error *err) {
	sigset_t signals;
	int code = 0;
	wcfs_lock(c, &signals);
	c->at = at;
	wcfs_unlock(c, &signals);
	for (wcfs_file *f = c->files; f && !code; f = f->next) code = wcfs_about(err, wcfs_refit(f, err), "f<%016" PRIx64 ">", f->oid);
	return code ? code : watch_all(c, err);
}

int wcfs_resync(wcfs_conn *c, wcfs_tid at, wcfs_error *err) {
	wcfs_error own;
	wcfs_tid head;
	if (!err) err = &own;
	int code = wcfs_use(c, true, err);
	if (code) return wcfs_about(err, code, "resync");
	wcfs_tid before = c->at;
	if (at != WCFS_HEAD && at < before) {
		code = wcfs_fail(err, WCFS_EBACK, 0, "going back in history is forbidden");
		wcfs_shut(c, err);
	} else if (!(code = wcfs_wait_head(c->w, at == WCFS_HEAD ? 0 : at, c, &head, err))) {
		if ((code = move(c, at == WCFS_HEAD ? head : at, err))) wcfs_shut(c, err);
	} else if (code != WCFS_ETIMEOUT) {
		wcfs_shut(c, err);
	}
	wcfs_unuse(c);
	return wcfs_about(err, code, "resync @%016" PRIx64 " -> @%016" PRIx64, before, at);
}

// wait_idle waits until the thread of the link has ended, and no call is in progress.
static bool wait_idle(wcfs_conn *c) {
	struct timespec until = wcfs_timespec(wcfs_deadline(CLOSE_WAIT_MS));
	int failed;
	while ((failed = sem_clockwait(&c->end, CLOCK_MONOTONIC, &until)) && errno == EINTR) continue;
	if (failed) return false;
	pthread_join(c->thread, NULL);
	if (pthread_rwlock_clockwrlock(&c->view, CLOCK_MONOTONIC, &until)) return false;
	pthread_rwlock_unlock(&c->view);
	return true;
}

int wcfs_close(wcfs_conn *c, wcfs_error *err) {
	wcfs_error why;
	sigset_t signals;
	if (!c) return 0;
	wcfs_lock(c, &signals);
	bool forked = c->forked;
	wcfs_unlock(c, &signals);
	if (forked) return 0; // what it has is gone, but for some memory
	wcfs_fail(&why, WCFS_ECLOSED, 0, "connection closed");
	wcfs_shut(c, &why);
	int code = 0;
	if (!wait_idle(c)) {
		wcfs_lock(c, &signals);
		if (!c->ended) pthread_detach(c->thread);
		wcfs_unlock(c, &signals);
		code = wcfs_fail(err, WCFS_ETIMEOUT, 0, "close: the server does not end the link");
	}
	wcfs_lock(c, &signals);
	for (wcfs_file *f = c->files; f && !code; f = f->next)
		if (f->fd >= 0) {
			close(f->fd);
			f->fd = -1;
		}
	if (!code) {
		close(c->fd);
		c->fd = -1;
	}
	wcfs_unref(c, &signals);
	return code;
}
