/*
 * libwcfs shows arrays (ZBigFile) of a ZODB database as memory that does not change,
 * while others commit to it. The data is that of a wcfs server, which has the database
 * mounted, and is shared by all processes of the host.
 *
 *	wcfs *w;
 *	wcfs_conn *c;
 *	wcfs_file *f;
 *	const void *mem;
 *	wcfs_error err;
 *
 *	if (wcfs_join("climate.fs", NULL, &w, &err) ||       // a server, started if there is none
 *	    wcfs_connect(w, WCFS_HEAD, &c, &err) ||          // a view: the newest state
 *	    wcfs_open(c, oid, &f, &err) ||                   // an array of it
 *	    wcfs_map(f, 0, blocks, &mem, &err)) {            // its bytes
 *		fprintf(stderr, "%s\n", err.text);
 *		exit(1);
 *	}
 *	...                                                  // mem does not change,
 *	wcfs_resync(c, WCFS_HEAD, &err);                     // but here
 *	...
 *	wcfs_unmap(f, mem, &err);
 *	wcfs_file_close(f, &err);
 *	wcfs_close(c, &err);
 *	wcfs_leave(w);
 *
 * Threads. Everything may be called from all threads at the same time. A thread of the
 * library answers the server for each connection. It takes no lock that a thread holds
 * that touches mapped memory: such a lock may be held by an interpreter, an allocator or
 * the caller without any harm. A function must not be called from a signal handler; a
 * handler may touch mapped memory.
 *
 * Memory. A mapping is read-only, and stays at its address until wcfs_unmap. Behind
 * the end of an array it reads as zeros. It faults (SIGSEGV) after the file or the
 * connection was closed, or has failed, and in a child of fork; it faults (SIGBUS) where
 * the server cannot deliver the data, or is gone. It never shows other data than that of
 * the view.
 *
 * Fork. A child has nothing of what its parent has joined: memory faults there, and every
 * function returns WCFS_EFORKED. It has to join anew. The parent does not notice.
 *
 * A process that does not answer within the pin timeout of the server, normally 30 s, is
 * killed, since others would have to wait for it. The library answers at once; a process
 * that is stopped (SIGSTOP, a debugger) does not.
 */
#ifndef WCFS_H
#define WCFS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WCFS_VERSION "0.1"

/* wcfs is a mounted database that was joined. */
typedef struct wcfs wcfs;

/* wcfs_conn is one view of it: the database as of one transaction. */
typedef struct wcfs_conn wcfs_conn;

/* wcfs_file is an array as of the view of its connection. */
typedef struct wcfs_file wcfs_file;

/* wcfs_tid is the id of a transaction, and with it a view. Later ones are larger. */
typedef uint64_t wcfs_tid;

/* wcfs_oid is the id of an object, here always of a ZBigFile. */
typedef uint64_t wcfs_oid;

/* WCFS_HEAD, where a view is asked for, means the newest one at that moment. */
#define WCFS_HEAD UINT64_MAX

/* Codes that functions return. Numbers do not change their meaning. */
enum {
	WCFS_OK = 0,
	WCFS_ESYSTEM = 1,      /* the system refused something; errnum says why */
	WCFS_EARGUMENT = 2,    /* an argument cannot be */
	WCFS_ENOTRUNNING = 3,  /* no server serves the database */
	WCFS_EFOREIGN = 4,     /* the mount belongs to another user */
	WCFS_ESTART = 5,       /* a server could not be started */
	WCFS_EGONE = 6,        /* the server has ended; close everything and join anew */
	WCFS_ETIMEOUT = 7,     /* the server has not answered in time */
	WCFS_EFORKED = 8,      /* what is used belongs to the parent process */
	WCFS_ECLOSED = 9,      /* the connection or the file was closed */
	WCFS_EDOWN = 10,       /* the server closed the link; err.text has its last words */
	WCFS_EPROTOCOL = 11,   /* the server said what cannot be understood */
	WCFS_EPIN = 12,        /* a block could not be mapped as the server demanded */
	WCFS_EBACK = 13,       /* a connection does not move to an older view */
	WCFS_EREFUSED = 14,    /* the server refused a request; err.text says why */
	WCFS_ENOFILE = 15,     /* there is no ZBigFile of that oid */
	WCFS_EBADFILE = 16,    /* sizes that the server tells contradict each other */
	WCFS_EUNMAPPABLE = 17, /* blocks of the array are not whole pages */
};

/*
 * wcfs_error is what a function says of its failure. It belongs to the caller, and NULL
 * may stand for it. It is filled in when a function fails, and else left alone.
 */
typedef struct wcfs_error {
	int code;
	int errnum;     /* errno if the system has failed, else 0 */
	char text[504]; /* what was attempted, why it failed and what to do */
} wcfs_error;

/* wcfs_options say how to join. A field that is 0 is as without options. */
typedef struct wcfs_options {
	int no_start;        /* do not start a server */
	int timeout_ms;      /* limit of each wait for the server: 120 s if 0, none if negative */
	const char *program; /* path of the command wcfs: $WCFS, or else wcfs in $PATH */
} wcfs_options;

/*
 * wcfs_join uses the server of a database: a path, a url, or the directory where it is
 * mounted. If none runs one is started with wcfs mount --autoexit, that ends some time
 * after its last client. Secrets of a url stand in no command line and no error.
 */
int wcfs_join(const char *database, const wcfs_options *options, wcfs **joined, wcfs_error *err);

/* wcfs_leave gives it back. Connections stay as they are, and use it until they are closed. */
void wcfs_leave(wcfs *w);

/* wcfs_mountpoint returns where the database is mounted, wcfs_zurl which one it is. */
const char *wcfs_mountpoint(const wcfs *w);
const char *wcfs_zurl(const wcfs *w);

/* wcfs_head tells the newest view. */
int wcfs_head(wcfs *w, wcfs_tid *at, wcfs_error *err);

/* wcfs_connect makes a connection at a view, when the server shows that. */
int wcfs_connect(wcfs *w, wcfs_tid at, wcfs_conn **connected, wcfs_error *err);

/* wcfs_at returns the view. */
wcfs_tid wcfs_at(wcfs_conn *c);

/*
 * wcfs_resync moves a connection with all that is mapped to another view, which must not
 * be older. While it runs memory shows a mixture of both views. After an error, but for
 * WCFS_ETIMEOUT before the server shows the view, the connection is closed.
 */
int wcfs_resync(wcfs_conn *c, wcfs_tid at, wcfs_error *err);

/*
 * wcfs_close ends a connection: all of its memory faults, and calls in progress fail. c is
 * not used any more. Its files still have to be closed, and their memory to be unmapped,
 * before or after. WCFS_ETIMEOUT says that the server does not end the link within 10 s.
 */
int wcfs_close(wcfs_conn *c, wcfs_error *err);

/* wcfs_open opens an array, which must have existed at the view. */
int wcfs_open(wcfs_conn *c, wcfs_oid oid, wcfs_file **opened, wcfs_error *err);

/* wcfs_blksize returns the size of a block in bytes. */
int64_t wcfs_blksize(const wcfs_file *f);

/* wcfs_size tells the size at the view in bytes, a multiple of that of a block. */
int wcfs_size(wcfs_file *f, int64_t *size, wcfs_error *err);

/* wcfs_map maps count blocks, at least one, from block start on. */
int wcfs_map(wcfs_file *f, int64_t start, int64_t count, const void **mem, wcfs_error *err);

/* wcfs_unmap frees what wcfs_map has mapped. It may be called after wcfs_file_close. */
int wcfs_unmap(wcfs_file *f, const void *mem, wcfs_error *err);

/*
 * wcfs_file_close closes f. An array that was opened several times is the same wcfs_file,
 * and is closed with the last one: then what is mapped of it faults.
 */
int wcfs_file_close(wcfs_file *f, wcfs_error *err);

#ifdef __cplusplus
}
#endif

#endif
