// Bytes that may be unreadable, and where they are mapped from.
#define _GNU_SOURCE
#include "witness.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char *pool;

static _Thread_local sigjmp_buf back;
static _Thread_local volatile bool touching;

// A fault comes from the kernel, and is expected only while bytes are compared.
// SIGBUS that was sent is how the server ends a client: it is obeyed.
static void on_fault(int sig, siginfo_t *info, void *context) {
	(void)context;
	if (info->si_code > 0 && touching) siglongjmp(back, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

void catch_faults(void) {
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

static long unequal(const char *mem, const char *want, size_t len) {
	if (!memcmp(mem, want, len)) return SAME;
	for (size_t i = 0; i < len; i++)
		if (mem[i] != want[i]) return i;
	return 0; // it was not equal, and is now: that is wrong too
}

static long nonzero(const char *mem, size_t len) {
	static const char zeros[1 << 16];
	for (size_t i = 0; i < len; i += sizeof zeros) {
		long at = unequal(mem + i, zeros, len - i < sizeof zeros ? len - i : sizeof zeros);
		if (at >= 0) return i + at;
	}
	return SAME;
}

static long compare(const char *mem, size_t start, size_t len, const struct version *v) {
	size_t done = start, end = start + len;
	for (int i = 0; i <= v->n && done < end; i++) {
		// What is between segments, and after the last, is zeros.
		size_t from = i < v->n ? v->segs[i].start : end, to = i < v->n ? from + v->segs[i].len : end;
		if (to <= done) continue;
		if (from > end) from = end;
		if (to > end) to = end;
		if (from > done) {
			long at = nonzero(mem + (done - start), from - done);
			if (at >= 0) return done - start + at;
			done = from;
		}
		if (to > done) {
			long at = unequal(mem + (done - start), pool + v->segs[i].pool + (done - v->segs[i].start), to - done);
			if (at >= 0) return done - start + at;
			done = to;
		}
	}
	return SAME;
}

long differs(const char *mem, size_t start, size_t len, const struct version *v) {
	long at = UNREADABLE;
	if (!sigsetjmp(back, 0)) {
		touching = true;
		at = compare(mem, start, len, v);
	} else {
		counts.bus++;
	}
	touching = false;
	counts.bytes += len;
	return at;
}

char *reserve(size_t size) {
	char *mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) broken("reserve %zu bytes: %m", size);
	return mem;
}

void map_from(char *at, size_t size, int fd, off_t off) {
	if (mmap(at, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, off) == MAP_FAILED)
		broken("map %zu bytes of the file at %lld: %m", size, (long long)off);
}

void map_nothing(char *at, size_t size, bool zeros) {
	int prot = zeros ? PROT_READ : PROT_NONE;
	if (mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		broken("map zeros: %m");
}
