// A way into the library for tests: a mount that is a directory, and a link that is a
// socket. It is not part of what users get.
#include "../internal.h"

#include <fcntl.h>

int wcfs_test_join(const char *dir, wcfs **joined, wcfs_error *err);
int wcfs_test_connect(wcfs *w, int fd, wcfs_tid at, wcfs_conn **connected, wcfs_error *err);

int wcfs_test_join(const char *dir, wcfs **joined, wcfs_error *err) {
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return wcfs_failed(err, "open %s", dir);
	return wcfs_join_dir(dir, fd, 20 * 1000, joined, err);
}

int wcfs_test_connect(wcfs *w, int fd, wcfs_tid at, wcfs_conn **connected, wcfs_error *err) {
	return wcfs_conn_new(w, fd, at, connected, err);
}
