// Secrets of urls: they stand in no command line, and in no message.
#include "internal.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

// patterns are what storage.Redact of the server hides behind the first group of each:
// passwords, and options that carry secrets or lead to them.
static const char *const patterns[] = {
	"(://[^:/?#@()]*:)[^()?#[:space:]]*@",
	"(([?&;]|://)(ssl_)?(password|passwd|pwd|pass|key|cert|ca|secret|token)=)[^&;()#@[:space:]]+",
};
static const char *const instead[] = {"xxx@", "xxx"};

// hide replaces in text, which has room for more, what a pattern finds.
static bool hide(char *text, size_t size, const char *pattern, const char *by) {
	regex_t re;
	regmatch_t m[2];
	if (regcomp(&re, pattern, REG_EXTENDED | REG_ICASE)) return false;
	bool ok = true;
	for (char *at = text; ok && !regexec(&re, at, 2, m, 0);) {
		char *from = at + m[1].rm_eo, *rest = at + m[0].rm_eo;
		size_t n = strlen(by), tail = strlen(rest) + 1;
		ok = (size_t)(from - text) + n + tail <= size;
		if (ok) memmove(from + n, rest, tail), memcpy(from, by, n);
		at = from + n;
	}
	regfree(&re);
	return ok;
}

char *wcfs_shown(const char *zurl) {
	size_t size = 4 * strlen(zurl) + 1; // a secret of one byte becomes three, or four
	char *text = malloc(size);
	if (!text) return NULL;
	strcpy(text, zurl);
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		if (!hide(text, size, patterns[i], instead[i])) return free(text), NULL;
	return text;
}
