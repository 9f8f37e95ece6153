// Mounts of wcfs, as the kernel tells of them. The server is not asked.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// mount is a line of mountinfo; see proc_pid_mountinfo(5).
struct mount {
	long id;
	char *point, *type, *source, *options; // of the filesystem
};

// unescape undoes how the kernel writes spaces and the like: \040.
static void unescape(char *text) {
	char *to = text;
	for (; *text; text++) {
		if (*text == '\\' && strspn(text + 1, "01234567") >= 3) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

// parse_mount takes a line to pieces.
static bool parse_mount(char *line, struct mount *m) {
	char *rest, *tail = strstr(line, " - ");
	if (!tail) return false;
	*tail = 0;
	line[strcspn(line, "\n")] = 0;
	m->id = strtol(strtok_r(line, " ", &rest), NULL, 10);
	for (int i = 0; i < 3; i++) // the parent, the device, the root of the mount
		if (!strtok_r(NULL, " ", &rest)) return false;
	if (!(m->point = strtok_r(NULL, " ", &rest))) return false;
	m->type = strtok_r(tail + 3, " \n", &rest);
	m->source = strtok_r(NULL, " \n", &rest);
	m->options = strtok_r(NULL, " \n", &rest);
	if (!m->type || !m->source || !m->options) return false;
	unescape(m->point);
	unescape(m->source);
	return true;
}

// each_mount calls f for all mounts of wcfs until it returns true.
static bool each_mount(bool (*f)(struct mount *, void *), void *arg) {
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	struct mount m;
	while (table && !found && getline(&line, &size, table) > 0)
		found = parse_mount(line, &m) && !strcmp(m.type, "fuse.wcfs") && f(&m, arg);
	free(line);
	if (table) fclose(table);
	return found;
}

struct wanted {
	const char *shown;
	int n;
	char *point;
	size_t size;
};

static bool serves(struct mount *m, void *arg) {
	struct wanted *w = arg;
	if (strcmp(m->source, w->shown) || strlen(m->point) >= w->size || w->n-- > 0) return false;
	strcpy(w->point, m->point);
	return true;
}

bool wcfs_find_mount(const char *shown, int n, char *point, size_t size) {
	struct wanted w = {shown, n, point, size};
	return each_mount(serves, &w);
}

// mount_id returns the number that mountinfo has of what an open file is on, -1 if that is
// not known.
static long mount_id(int fd) {
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	int info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0) return -1;
	ssize_t n = read(info, text, sizeof text - 1);
	close(info);
	if (n < 0) return -1;
	text[n] = 0;
	const char *id = strstr(text, "mnt_id:");
	return id ? strtol(id + strlen("mnt_id:"), NULL, 10) : -1;
}

struct trust {
	long id;
	bool open; // to other users
	long uid;  // of who serves it, -1 if that is not known
};

static bool is_mount(struct mount *m, void *arg) {
	struct trust *t = arg;
	char *rest;
	if (m->id != t->id) return false;
	for (char *o = strtok_r(m->options, ",", &rest); o; o = strtok_r(NULL, ",", &rest)) {
		if (!strcmp(o, "allow_other")) t->open = true;
		if (!strncmp(o, "user_id=", 8)) t->uid = strtol(o + 8, NULL, 10);
	}
	return true;
}

// A mount that is open to others could be anybody's, who could serve anything, or nothing.
// Only that of root is believed, and that of this user. Into others the kernel lets nobody
// but their owner.
int wcfs_open_mount(const char *point, int *dir, wcfs_error *err) {
	int fd = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return wcfs_fail(err, WCFS_ENOTRUNNING, errno, "%s", point);
	if (fd < 0 && errno == EACCES) return wcfs_fail(err, WCFS_EFOREIGN, errno, "%s", point);
	if (fd < 0) return wcfs_failed(err, "open %s", point);
	struct trust t = {.id = mount_id(fd), .uid = -1};
	int code = 0;
	if (t.id < 0 || !each_mount(is_mount, &t))
		code = wcfs_fail(err, WCFS_ENOTRUNNING, 0, "%s: no wcfs is mounted there", point);
	else if (t.open && t.uid > 0 && t.uid != (long)geteuid())
		code = wcfs_fail(err, WCFS_EFOREIGN, 0, "%s: the server there belongs to uid %ld; its data need not be true", point, t.uid);
	if (code) close(fd);
	else *dir = fd;
	return code;
}
