// The parts of libwcfs that its files know of each other.
//
// Locks, in the order in which they are taken:
//
//	wcfs_conn.view     for reading by calls that use the view, for writing by who changes it
//	wcfs_conn.opening  by who opens or closes a file, also while the server answers
//	all                the list of everything that was joined; see fork.c
//	wcfs_conn.mu       all that the thread of the link uses
//
// The thread of the link takes wcfs_conn.mu only. This lock is never held by a thread that
// touches mapped memory, nor while something is asked of the server that needs an answer
// of the client. Signals are blocked while it is held: a handler may touch mapped memory.
// No memory of malloc is taken with it, whose locks such a handler may have interrupted.
#pragma once

#include "wcfs.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

// ---- error.c ----

// wcfs_fail fills in an error and returns its code.
int wcfs_fail(wcfs_error *err, int code, int errnum, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

// wcfs_failed is wcfs_fail for a system call on a mount, which has set errno: it says
// WCFS_EGONE if nobody serves the mount.
int wcfs_failed(wcfs_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// wcfs_about puts where it happened before the text of an error.
int wcfs_about(wcfs_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// ---- secrets.c ----

// wcfs_shown returns a url as others may see it, which is to be freed; NULL without memory.
char *wcfs_shown(const char *zurl);

// ---- mount.c ----

// wcfs_find_mount finds where a database is mounted, the n-th place, by its url as it is
// shown. Others may be shown alike.
bool wcfs_find_mount(const char *shown, int n, char *point, size_t size);

// wcfs_open_mount opens a mount point for use in paths, if it is one of wcfs that may be
// believed.
int wcfs_open_mount(const char *point, int *dir, wcfs_error *err);

// ---- start.c ----

// wcfs_start starts a server of a database, and tells where it is mounted. Everybody can see
// the arguments of a program: so they have the url as it is shown, and its environment has it
// as it is.
int wcfs_start(const char *program, const char *zurl, const char *shown, int timeout_ms, char *point, size_t size, wcfs_error *err);

// ---- join.c ----

struct wcfs {
	char *point, *zurl;
	int dir;       // the mount point, for openat
	int alive;     // .wcfs/zurl: that it is open tells the server that it is used
	int timeout_ms;
	int refs;      // its user, and connections; guarded by all
	bool forked;   // it belongs to the parent
	wcfs_conn *conns; // guarded by all
	struct wcfs *next, **prev;
};

// wcfs_join_dir joins what is mounted at the directory dir, which it takes over.
int wcfs_join_dir(const char *point, int dir, int timeout_ms, wcfs **joined, wcfs_error *err);

// wcfs_wait_head waits until the newest view is at least at, and tells it. It ends when
// the connection c, if that is not NULL, is closed.
int wcfs_wait_head(wcfs *w, wcfs_tid at, wcfs_conn *c, wcfs_tid *head, wcfs_error *err);

// deadline is a time of the monotonic clock, 0 for none.
typedef int64_t deadline;
deadline wcfs_deadline(int timeout_ms);
bool wcfs_is_over(deadline d);
struct timespec wcfs_timespec(deadline d);

// wcfs_open_below opens a path of the mount, again if a signal interrupts that: files of FUSE
// are opened by a request to the server.
int wcfs_open_below(const wcfs *w, const char *path, int flags);

// wcfs_read_file reads a small file of the mount from its beginning.
ssize_t wcfs_read_file(int fd, char *text, size_t size);

// ---- fork.c ----

// wcfs_lock_all takes the lock of the list of everything that was joined.
void wcfs_lock_all(void);
void wcfs_unlock_all(void);
void wcfs_enlist(wcfs *w); // with the lock held
void wcfs_delist(wcfs *w); // with the lock held

// ---- pins.c: memory, and from where it is mapped ----

// pin says that a block is not shown from head/.
struct pin {
	int64_t blk;
	uint64_t rev; // WCFS_HEAD if it is not pinned any more
	bool used;
	bool own;     // not demanded by the server
};

// pins is a hash table with open addressing, in memory of its own. Entries are not removed
// before it grows.
struct pins {
	struct pin *slot;
	uint64_t slots, used;
};

struct mapping {
	char *mem;
	int64_t start, stop; // blocks
	bool dark;           // it faults, for good
	struct mapping *next;
};

// These functions are called with wcfs_conn.mu held. They return 0 or errno.
int wcfs_set_pin(wcfs_file *f, int64_t blk, uint64_t rev, bool own);
int wcfs_pin_own(wcfs_file *f, int64_t start, int64_t stop, uint64_t rev);
int wcfs_unpin_own(wcfs_file *f);
int wcfs_resize(wcfs_file *f, int64_t nblk);
int wcfs_show(wcfs_file *f, struct mapping *m, int64_t start, int64_t stop);
int wcfs_darken(wcfs_file *f); // all of the file faults from now on
void wcfs_free_pins(struct pins *p);

// ---- link.c: the connection to the server, and the thread that answers it ----

#define MAX_LINE 512 // bounds a line of the server, with its end; a message has at most 246
#define MAX_PENDING 64 // bounds the requests without an answer; servers bound them, too

struct request {
	uint64_t stream;
	bool replied;
	char text[MAX_LINE];
	sem_t done;
	struct request *next;
};

struct wcfs_conn {
	wcfs *w;
	int fd; // head/watch
	pthread_t thread;
	pthread_rwlock_t view;
	pthread_mutex_t opening;

	pthread_mutex_t mu; // of what follows
	wcfs_tid at;        // changed with view held for writing as well
	wcfs_error why;     // its code is not 0 when the connection is closed or has failed
	bool dark;          // nothing shows data any more
	bool said_bye;
	bool ended;         // the thread has; or will when nobody waits for it
	bool forked;
	uint64_t stream;    // of the last request
	char last_words[MAX_LINE];
	struct request *pending;
	wcfs_file *files;
	int refs;           // its user, its thread, calls, files that are open, and mappings
	sem_t end;          // posted when the thread ends

	wcfs_conn *next, **prev; // guarded by all

	char buf[4096]; // of the thread
	size_t have;
};

struct wcfs_file {
	wcfs_conn *c;
	wcfs_oid oid;
	int fd; // of head/, -1 when closed
	int64_t blksize;
	int64_t nblk; // blocks of head/ that memory shows; zeros follow
	int opens;   // guarded by mu, as is what follows
	bool listed; // in c->files, which frees it
	struct pins pins;
	struct mapping *maps;
	wcfs_file *next;
};

void wcfs_lock(wcfs_conn *c, sigset_t *signals);
void wcfs_unlock(wcfs_conn *c, const sigset_t *signals);

// wcfs_broken fills in an error if the connection is closed, has failed, or is of the
// parent. With wcfs_conn.mu held.
int wcfs_broken(wcfs_conn *c, wcfs_error *err);

// wcfs_shut makes all memory fault, because of why, and ends the link.
void wcfs_shut(wcfs_conn *c, const wcfs_error *why);

// wcfs_ask sends a request, which wcfs_await waits for. The reply should be "ok".
// Without a view, WCFS_HEAD, the watch shall end. After an error nothing was sent.
int wcfs_ask(wcfs_conn *c, struct request *r, wcfs_oid oid, wcfs_tid at, wcfs_error *err);
int wcfs_await(wcfs_conn *c, struct request *r, const char *what, wcfs_error *err);

// wcfs_start_link starts the thread. It returns 0 or errno.
int wcfs_start_link(wcfs_conn *c);

// wcfs_parse_hex16 parses exactly 16 lower-case hexadecimal digits.
bool wcfs_parse_hex16(const char *text, size_t len, uint64_t *v);

// ---- conn.c ----

// wcfs_conn_new starts a connection on the link fd, which it takes over.
int wcfs_conn_new(wcfs *w, int fd, wcfs_tid at, wcfs_conn **connected, wcfs_error *err);

// wcfs_use lets the caller use the view until wcfs_unuse. Nobody else does if it is for a
// change.
int wcfs_use(wcfs_conn *c, bool change, wcfs_error *err);
void wcfs_unuse(wcfs_conn *c);

// wcfs_unref gives up a reference to the connection, with wcfs_conn.mu held, which it
// releases.
void wcfs_unref(wcfs_conn *c, const sigset_t *signals);

// ---- file.c ----

// wcfs_free_file frees a file that nobody has open or mapped.
void wcfs_free_file(wcfs_file *f);

// wcfs_refit maps what a new size of the file in head/ changes. The view must be held.
int wcfs_refit(wcfs_file *f, wcfs_error *err);
