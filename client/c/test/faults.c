#include "faults.h"

#include <string.h>

static _Thread_local sigjmp_buf back;
static _Thread_local volatile bool touching;

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

// look reads memory of which sanitizers know nothing: it changes by MAP_FIXED while others
// read it, which is what it is for.
__attribute__((noinline, no_sanitize("address", "thread"))) static char look(const volatile char *bytes, size_t size) {
	char found = bytes[0] ? bytes[0] : '.';
	for (size_t i = 1; i < size; i++)
		if (bytes[i] != bytes[0]) return '?';
	return found;
}

char letter(const char *block, size_t size) {
	volatile char found = '!';
	if (!sigsetjmp(back, 1)) {
		touching = true;
		found = look(block, size);
	}
	touching = false;
	return found;
}
