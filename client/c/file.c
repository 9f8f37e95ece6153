// Files of a connection, and what is mapped of them.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// stat_blocks tells the sizes of an open file: its blocks, and the bytes of one.
static int stat_blocks(int fd, int64_t *nblk, int64_t *blksize, wcfs_error *err) {
	struct stat st;
	int failed;
	while ((failed = fstat(fd, &st)) && errno == EINTR) continue;
	if (failed) return wcfs_failed(err, "stat");
	if (st.st_blksize <= 0 || st.st_size % st.st_blksize)
		return wcfs_fail(err, WCFS_EBADFILE, 0, "wcfs bug: size %lld is not multiple of blksize %ld", (long long)st.st_size, (long)st.st_blksize);
	*nblk = st.st_size / st.st_blksize;
	*blksize = st.st_blksize;
	return 0;
}

// open_past opens a file as of the view of its connection.
static int open_past(const wcfs_file *f) {
	char path[64];
	snprintf(path, sizeof path, "@%016" PRIx64 "/bigfile/%016" PRIx64, f->c->at, f->oid);
	return wcfs_open_below(f->c->w, path, O_RDONLY);
}

// system_error is an error of what is done with wcfs_conn.mu held, which returns errno.
static int system_error(wcfs_error *err, int errnum, const char *what) {
	errno = errnum;
	return errnum ? wcfs_failed(err, "%s", what) : 0;
}

// pin_tail takes blocks that the file had at the view, and has not in head/, from the view
// itself: the server does not tell of them, as nobody can read them from head/.
static int pin_tail(wcfs_file *f, wcfs_error *err) {
	wcfs_conn *c = f->c;
	wcfs_tid head;
	int64_t nblk, blksize;
	sigset_t signals;
	int code = wcfs_head(c->w, &head, err);
	if (code || head == c->at) return code; // usual: it is what head/ had
	int fd = open_past(f);
	if (fd < 0 && (errno == EINVAL || errno == ENOENT)) return 0; // the server will say what is wrong
	if (fd < 0) return wcfs_failed(err, "open @%016" PRIx64, c->at);
	code = stat_blocks(fd, &nblk, &blksize, err);
	close(fd);
	if (code) return code;
	wcfs_lock(c, &signals);
	int errnum = wcfs_pin_own(f, f->nblk, nblk, c->at);
	wcfs_unlock(c, &signals);
	return system_error(err, errnum, "pin the end");
}

int wcfs_refit(wcfs_file *f, wcfs_error *err) {
	int64_t nblk, blksize;
	sigset_t signals;
	int code = stat_blocks(f->fd, &nblk, &blksize, err);
	if (!code && blksize != f->blksize)
		code = wcfs_fail(err, WCFS_EBADFILE, 0, "wcfs bug: blksize changed: %" PRId64 " -> %" PRId64, f->blksize, blksize);
	if (code) return code;
	wcfs_lock(f->c, &signals);
	// Blocks that were pinned since they are missing in head/ are looked at anew.
	int errnum = wcfs_unpin_own(f);
	if (!errnum) errnum = wcfs_resize(f, nblk);
	wcfs_unlock(f->c, &signals);
	code = system_error(err, errnum, "map the end");
	return code ? code : pin_tail(f, err);
}

// list makes a file known: what is pinned of it is noted from now on.
static void list(wcfs_file *f) {
	sigset_t signals;
	wcfs_lock(f->c, &signals);
	f->listed = true;
	f->next = f->c->files;
	f->c->files = f;
	wcfs_unlock(f->c, &signals);
}

// unlist makes it unknown. With wcfs_conn.mu held.
static void unlist(wcfs_file *f) {
	wcfs_file **p = &f->c->files;
	while (*p != f) p = &(*p)->next;
	*p = f->next;
	f->listed = false;
}

void wcfs_free_file(wcfs_file *f) {
	if (f->fd >= 0) close(f->fd);
	wcfs_free_pins(&f->pins);
	free(f);
}

static int watch(wcfs_file *f, wcfs_tid at, wcfs_error *err) {
	struct request r;
	int code = wcfs_ask(f->c, &r, f->oid, at, err);
	return code ? code : wcfs_await(f->c, &r, at == WCFS_HEAD ? "unwatch" : "watch", err);
}

// open_new opens a file that is not open yet. The view and opening must be held.
static int open_new(wcfs_file *f, wcfs_error *err) {
	char path[64];
	snprintf(path, sizeof path, "head/bigfile/%016" PRIx64, f->oid);
	f->fd = wcfs_open_below(f->c->w, path, O_RDONLY);
	if (f->fd < 0 && (errno == EINVAL || errno == ENOENT)) return wcfs_fail(err, WCFS_ENOFILE, 0, "not a ZBigFile");
	if (f->fd < 0) return wcfs_failed(err, "open %s", path);
	int code = stat_blocks(f->fd, &f->nblk, &f->blksize, err);
	if (code) return code;
	list(f);
	if ((code = pin_tail(f, err))) return code;
	if ((code = watch(f, f->c->at, err)) == WCFS_EREFUSED) (void)watch(f, WCFS_HEAD, NULL);
	return code;
}

// find returns the file of an oid that is open, as one more that has it open.
static wcfs_file *find(wcfs_conn *c, wcfs_oid oid) {
	sigset_t signals;
	wcfs_lock(c, &signals);
	wcfs_file *f = c->files;
	while (f && f->oid != oid) f = f->next;
	if (f) {
		f->opens++;
		c->refs++;
	}
	wcfs_unlock(c, &signals);
	return f;
}

int wcfs_open(wcfs_conn *c, wcfs_oid oid, wcfs_file **opened, wcfs_error *err) {
	wcfs_error own;
	sigset_t signals;
	if (!err) err = &own;
	int code = wcfs_use(c, false, err);
	if (code) return wcfs_about(err, code, "open f<%016" PRIx64 ">", oid);
	pthread_mutex_lock(&c->opening);
	wcfs_file *f = find(c, oid);
	if (!f && !(f = calloc(1, sizeof *f))) {
		code = wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "memory");
	} else if (!f->c) {
		*f = (struct wcfs_file){.c = c, .oid = oid, .fd = -1, .opens = 1};
		code = open_new(f, err);
		wcfs_lock(c, &signals);
		c->refs += !code;
		if (code && f->listed) unlist(f);
		wcfs_unlock(c, &signals);
		if (code) wcfs_free_file(f);
	}
	pthread_mutex_unlock(&c->opening);
	if (!code) *opened = f;
	code = wcfs_about(err, code, "wcfs %s: conn @%016" PRIx64 ": open f<%016" PRIx64 ">", c->w->point, c->at, oid);
	wcfs_unuse(c);
	return code;
}

int64_t wcfs_blksize(const wcfs_file *f) { return f->blksize; }

int wcfs_size(wcfs_file *f, int64_t *size, wcfs_error *err) {
	int64_t nblk, blksize;
	int code = wcfs_use(f->c, false, err);
	if (code) return wcfs_about(err, code, "size");
	int fd = open_past(f);
	code = fd < 0 ? wcfs_failed(err, "open @%016" PRIx64 "/bigfile/%016" PRIx64, f->c->at, f->oid) : stat_blocks(fd, &nblk, &blksize, err);
	if (fd >= 0) close(fd);
	if (!code) *size = nblk * blksize;
	wcfs_unuse(f->c);
	return wcfs_about(err, code, "size");
}

// map maps blocks at a new address. The view must be held.
static int map(wcfs_file *f, struct mapping *m, wcfs_error *err) {
	size_t size = (m->stop - m->start) * f->blksize;
	sigset_t signals;
	wcfs_lock(f->c, &signals);
	int code = wcfs_broken(f->c, err), errnum = 0;
	if (!code) {
		m->mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (m->mem == MAP_FAILED) errnum = errno;
		else if ((errnum = wcfs_show(f, m, m->start, m->stop))) munmap(m->mem, size);
	}
	if (!code && !errnum) {
		m->next = f->maps;
		f->maps = m;
		f->c->refs++;
	}
	wcfs_unlock(f->c, &signals);
	return code ? code : system_error(err, errnum, "map");
}

int wcfs_map(wcfs_file *f, int64_t start, int64_t count, const void **mem, wcfs_error *err) {
	const int64_t most = INT64_C(1) << 62;
	if (start < 0 || count <= 0 || count > most / f->blksize || start > most / f->blksize - count)
		return wcfs_fail(err, WCFS_EARGUMENT, 0, "map %" PRId64 " blocks from block %" PRId64 " on", count, start);
	if (f->blksize % sysconf(_SC_PAGESIZE))
		return wcfs_fail(err, WCFS_EUNMAPPABLE, 0, "map: blocks of %" PRId64 " bytes are not whole pages; read @tid/bigfile/oid", f->blksize);
	struct mapping *m = calloc(1, sizeof *m);
	if (!m) return wcfs_fail(err, WCFS_ESYSTEM, ENOMEM, "map");
	m->start = start;
	m->stop = start + count;
	int code = wcfs_use(f->c, false, err);
	if (!code) {
		code = f->listed ? map(f, m, err) : wcfs_fail(err, WCFS_ECLOSED, 0, "file already closed");
		wcfs_unuse(f->c);
	}
	if (code) free(m);
	else *mem = m->mem;
	return wcfs_about(err, code, "map f<%016" PRIx64 "> #[%" PRId64 " +%" PRId64 ")", f->oid, start, count);
}

int wcfs_unmap(wcfs_file *f, const void *mem, wcfs_error *err) {
	wcfs_conn *c = f->c;
	sigset_t signals;
	wcfs_lock(c, &signals);
	struct mapping **p = &f->maps;
	while (*p && (*p)->mem != mem) p = &(*p)->next;
	struct mapping *m = *p;
	int errnum = m ? 0 : EINVAL;
	if (m && munmap(m->mem, (m->stop - m->start) * f->blksize)) errnum = errno;
	if (errnum) {
		wcfs_unlock(c, &signals);
		return wcfs_fail(err, m ? WCFS_ESYSTEM : WCFS_EARGUMENT, errnum, "unmap");
	}
	*p = m->next;
	bool last = !f->maps && !f->opens && !f->listed;
	wcfs_unlock(c, &signals);
	free(m);
	if (last) wcfs_free_file(f);
	wcfs_lock(c, &signals);
	wcfs_unref(c, &signals);
	return 0;
}

// end_watch ends mappings and watch of a file. The view and opening must be held.
static int end_watch(wcfs_file *f, wcfs_error *err) {
	wcfs_conn *c = f->c;
	sigset_t signals;
	wcfs_lock(c, &signals);
	int errnum = wcfs_darken(f);
	wcfs_unlock(c, &signals);
	int code = system_error(err, errnum, "make it fault");
	if (!code) code = watch(f, WCFS_HEAD, err);
	if (code) {
		wcfs_shut(c, err);
		return code;
	}
	wcfs_lock(c, &signals);
	unlist(f);
	int fd = f->fd;
	f->fd = -1;
	bool last = !f->maps; // else the last wcfs_unmap frees it, maybe at once
	wcfs_unlock(c, &signals);
	close(fd);
	if (last) wcfs_free_file(f);
	return 0;
}

int wcfs_file_close(wcfs_file *f, wcfs_error *err) {
	wcfs_error own;
	wcfs_conn *c = f->c;
	sigset_t signals;
	if (!err) err = &own;
	int code = 0;
	bool live = !wcfs_use(c, false, &own);
	if (live) pthread_mutex_lock(&c->opening);
	wcfs_lock(c, &signals);
	bool last = --f->opens == 0;
	wcfs_unlock(c, &signals);
	if (live) {
		if (last) code = wcfs_about(err, end_watch(f, err), "close f<%016" PRIx64 ">", f->oid);
		pthread_mutex_unlock(&c->opening);
		wcfs_unuse(c);
	}
	wcfs_lock(c, &signals);
	wcfs_unref(c, &signals);
	return code;
}
