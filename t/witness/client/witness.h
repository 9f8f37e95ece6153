// witness sees a mount of wcfs with the eyes of a client, and compares every
// byte with what the writer says. Written from doc/protocol.rst.
#pragma once

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t u64;

#define HEAD UINT64_MAX // the revision of what is mapped from head/

// ---- truth.c: what the writer says; writer.py tells the format ----

struct segment {
	uint32_t start, len, pool;
};

// version is what a block is from tid on, until the next version.
struct version {
	u64 tid;
	bool damaged;
	int n;
	struct segment *segs;
};

struct block {
	struct version *v;
	int n, cap;
};

// state is what a file is from tid on, until the next state.
struct state {
	u64 tid;
	enum { ABSENT, DAMAGED, PRESENT } kind;
	int epoch;
	size_t blksize, blocks;
};

struct file {
	u64 oid;
	struct state *s;
	int n, cap;
	struct block *blocks;
	size_t nblocks;
};

extern struct file *files;
extern int nfiles;
extern u64 *tids; // of all transactions
extern int ntids;
extern u64 packed; // views before it may be gone
extern u64 started; // head/at when the server was started

void truth_open(const char *dir);
void truth_read(void);      // reads what there is
bool truth_wait(u64 tid);   // reads until tid is known, some seconds at most
struct file *truth_file(u64 oid);
const struct state *state_at(const struct file *f, u64 at);          // never NULL
const struct version *version_at(const struct file *f, size_t blk, u64 at); // never NULL
bool epoch_changes(const struct file *f, u64 after); // the file is not the one of then
// may_end tells whether the array may have got so short since a state that it does
// not have the block.
bool may_end(const struct file *f, size_t blk, u64 since);
// excused tells whether a block, or ANY, of a state may be unreadable, since the file
// is another one by now, or was lost by a pack, or cannot be told any more. It waits
// for the writer to say so.
#define ANY SIZE_MAX
bool excused(const struct file *f, size_t blk, u64 at, bool pack);
const char *whence(const void *bytes); // which content these bytes are of

// ---- memory.c: bytes that may be unreadable ----

// differs returns the first of len bytes at mem, which are at start of a block of
// blksize, that is not as v says; -1 if all are; UNREADABLE if they cannot be read.
#define SAME (-1L)
#define UNREADABLE (-2L)
long differs(const char *mem, size_t start, size_t len, const struct version *v);
long differs_at(const struct file *f, size_t blk, u64 at, const char *mem, size_t start, size_t len); // from what it was at a state
void catch_faults(void);
char *reserve(size_t size);
void map_from(char *at, size_t size, int fd, off_t off); // whatever was there is replaced
void map_nothing(char *at, size_t size, bool zeros);     // zeros, or what cannot be read

// ---- link.c: head/watch ----

struct view;

// Manners are how a link answers pins.
enum manners { GOOD, MUTE, NAK, DROP };

struct link *link_open(double delay, enum manners manners);
bool link_watch(struct link *l, struct view *v, u64 at, char *err, size_t size); // until ok, or error
void link_unwatch(struct link *l, struct view *v, int late);
void link_close(struct link *l, bool bye, unsigned linger_ms);
void put(struct view *v, size_t blk, u64 rev); // maps a block from there; with mu held
bool link_misbehaved(const struct link *l);
// link_is_forgiven says whether the array of the pin that got no ack is not watched now:
// its setup has failed meanwhile, and such pins count for nothing.
bool link_is_forgiven(const struct link *l);

// view is an array at a state, in memory. The pinner of its link changes what is
// mapped; mu is never held by whoever touches the memory.
struct view {
	struct file *f;
	u64 at;      // reached
	u64 wanted;  // asked for; at, or later
	int fd;      // head/bigfile/<oid>
	size_t blksize, limit;
	pthread_mutex_t mu;
	char *mem;       // limit blocks of reserved addresses
	size_t mapped;   // blocks
	u64 *pin;        // of each block: where it is mapped from
	_Atomic bool gone; // no longer watched, or not yet
	struct view *next;
};

// ---- main.c ----

extern const char *mnt;
extern double pintimeout;
extern bool is_slow; // to answer pins // seconds
u64 now_ms(void);
u64 pick(u64 n);                 // 0 <= . < n
bool chance(double p);
void nap(u64 ms);
void alive(const char *fmt, ...) __attribute__((format(printf, 1, 2))); // tells the watchdog what is done
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_threads(void); // and what each of them waits for
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn)); // a promise is broken
void broken(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn)); // the test cannot go on
u64 head_at(void);
int open_file(u64 rev, u64 oid); // HEAD or a revision; -1 and errno
struct counts {
	_Atomic u64 bytes, pages, moves, pins, unwatches, errors, bus;
};
extern struct counts counts;

bool over(void); // the time of this client is
void be_watcher(double delay, enum manners manners, double restless);
void be_reader(void);
void be_historian(void);
