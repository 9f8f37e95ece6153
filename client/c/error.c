// Errors: a code to decide by, and a text to read.
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

// describe returns what an errno means. strerror is not for several threads.
static const char *describe(int errnum, char *text, size_t size) {
	return strerror_r(errnum, text, size); // that of GNU
}

static void fill(wcfs_error *err, int code, int errnum, const char *fmt, va_list ap) {
	char why[128];
	if (!err) return;
	err->code = code;
	err->errnum = errnum;
	int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
	if (errnum && n >= 0 && (size_t)n < sizeof err->text)
		snprintf(err->text + n, sizeof err->text - n, ": %s", describe(errnum, why, sizeof why));
}

int wcfs_fail(wcfs_error *err, int code, int errnum, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	fill(err, code, errnum, fmt, ap);
	va_end(ap);
	return code;
}

int wcfs_failed(wcfs_error *err, const char *fmt, ...) {
	// The kernel says one of these when nobody serves a mount.
	int errnum = errno, code = errnum == ENOTCONN || errnum == ECONNABORTED ? WCFS_EGONE : WCFS_ESYSTEM;
	va_list ap;
	va_start(ap, fmt);
	fill(err, code, errnum, fmt, ap);
	va_end(ap);
	if (code == WCFS_EGONE) return wcfs_about(err, code, "the wcfs server is gone");
	return code;
}

int wcfs_about(wcfs_error *err, int code, const char *fmt, ...) {
	if (!code || !err) return code;
	char about[sizeof err->text];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(about, sizeof about - 2, fmt, ap);
	va_end(ap);
	if (n < 0) return code;
	size_t len = strlen(strcat(about, ": ")), room = sizeof err->text - 1 - len, was = strlen(err->text);
	if (was > room) was = room; // the end of what is too long is lost
	memmove(err->text + len, err->text, was);
	memcpy(err->text, about, len);
	err->text[len + was] = 0;
	return code;
}
