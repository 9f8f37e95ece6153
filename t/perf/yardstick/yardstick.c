/*
 * yardstick - a FUSE server that does as little as a server can: what it takes longer than
 * this is what a server adds to the kernel.
 *
 *   yardstick DIRECTORY BYTES THREADS
 *
 * mounts on DIRECTORY, as root, a tree with one file, "data", of BYTES that are in memory. A
 * READ is answered by one writev from there, by any of THREADS. It says "ready" when the mount
 * can be used, and then obeys lines on its standard input:
 *
 *   inval COUNT SIZE
 *       has the kernel drop the first COUNT blocks of SIZE bytes, by one notification after
 *       the other, and prints how many nanoseconds that took; more than one at a time take
 *       about as long
 *
 * At the end of its input it unmounts, and ends. It speaks the protocol itself, as
 * linux/fuse.h has it, and asks the kernel for what wcfs asks for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	file_node = 2,
	max_request = 2 << 20,
	max_threads = 64,
	valid_seconds = 3600,
};

static int dev; /* /dev/fuse */
static char *data;
static uint64_t size;

static void fail(const char *what)
{
	fprintf(stderr, "yardstick: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* answer sends a reply: an errno, or what out and payload have. */
static void answer(const struct fuse_in_header *in, int error, const void *out, size_t len, const void *payload,
		   size_t payload_len)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof head + len + payload_len),
		.error = -error,
		.unique = in->unique,
	};
	struct iovec parts[] = {
		{&head, sizeof head},
		{(void *)out, len},
		{(void *)payload, payload_len},
	};
	/* ENOENT: who asked was killed meanwhile. ENODEV: it is unmounted. */
	if (writev(dev, parts, 3) < 0 && errno != ENOENT && errno != ENODEV)
		fail("answer a request");
}

static void answer_error(const struct fuse_in_header *in, int error) { answer(in, error, NULL, 0, NULL, 0); }

static struct fuse_attr attributes(uint64_t node)
{
	struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = max_request};
	if (node == file_node) {
		attr.mode = S_IFREG | 0444;
		attr.size = size;
		attr.blocks = (size + 511) / 512;
	} else {
		attr.mode = S_IFDIR | 0555;
	}
	return attr;
}

static void init(const struct fuse_in_header *in, const struct fuse_init_in *kernel)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = kernel->minor < FUSE_KERNEL_MINOR_VERSION ? kernel->minor : FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = kernel->max_readahead,
		.flags = kernel->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_FILE_OPS | FUSE_PARALLEL_DIROPS |
					  FUSE_MAX_PAGES | FUSE_EXPLICIT_INVAL_DATA),
		.max_background = 65535,
		.congestion_threshold = 49151,
		.max_write = max_request,
		.max_pages = (uint16_t)(max_request / sysconf(_SC_PAGESIZE)),
	};
	answer(in, 0, &out, sizeof out, NULL, 0);
}

static void lookup(const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = {
		.nodeid = file_node,
		.entry_valid = valid_seconds,
		.attr_valid = valid_seconds,
		.attr = attributes(file_node),
	};
	if (in->nodeid != FUSE_ROOT_ID || strcmp(name, "data") != 0)
		answer_error(in, ENOENT);
	else
		answer(in, 0, &out, sizeof out, NULL, 0);
}

static void get_attributes(const struct fuse_in_header *in)
{
	struct fuse_attr_out out = {.attr_valid = valid_seconds, .attr = attributes(in->nodeid)};
	answer(in, 0, &out, sizeof out, NULL, 0);
}

static void open_node(const struct fuse_in_header *in)
{
	struct fuse_open_out out = {.open_flags = FOPEN_KEEP_CACHE};
	answer(in, 0, &out, sizeof out, NULL, 0);
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *read)
{
	uint64_t left = read->offset < size ? size - read->offset : 0;
	answer(in, 0, NULL, 0, data + (left ? read->offset : 0), left < read->size ? left : read->size);
}

static void serve(const struct fuse_in_header *in)
{
	const void *body = in + 1;
	switch (in->opcode) {
	case FUSE_INIT:
		init(in, body);
		break;
	case FUSE_LOOKUP:
		lookup(in, body);
		break;
	case FUSE_GETATTR:
		get_attributes(in);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		open_node(in);
		break;
	case FUSE_READ:
		read_file(in, body);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer_error(in, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: /* the READ is answered in a moment */
		break;
	default:
		answer_error(in, ENOSYS);
	}
}

static void *work(void *unused)
{
	const size_t len = max_request + 4096; /* less than a WRITE could need is refused */
	void *request = malloc(len);
	(void)unused;
	if (!request)
		fail("allocate a request");
	for (;;) {
		if (read(dev, request, len) >= 0)
			serve(request);
		else if (errno == ENODEV || errno == ECONNABORTED)
			break; /* the connection has ended (fuse_dev_do_read of Linux) */
		else if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			fail("read a request");
	}
	free(request);
	return NULL;
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* inval has the kernel drop a range of the file. */
static void inval(uint64_t from, uint64_t len)
{
	struct {
		struct fuse_out_header head;
		struct fuse_notify_inval_inode_out out;
	} notice = {
		{.len = sizeof notice, .error = FUSE_NOTIFY_INVAL_INODE},
		{.ino = file_node, .off = (int64_t)from, .len = (int64_t)len},
	};
	if (write(dev, &notice, sizeof notice) < 0)
		fail("invalidate");
}

static void obey(const char *line)
{
	unsigned long long count, block;
	if (sscanf(line, "inval %llu %llu", &count, &block) != 2) {
		fprintf(stderr, "yardstick: what is %s", line);
		exit(1);
	}
	int64_t start = now();
	for (uint64_t blk = 0; blk < count; blk++)
		inval(blk * block, block);
	printf("%lld\n", (long long)(now() - start));
	fflush(stdout);
}

static void mount_on(const char *dir)
{
	char options[200];
	dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		fail("open /dev/fuse");
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d", dev, max_request);
	if (mount("yardstick", dir, "fuse.yardstick", MS_NOSUID | MS_NODEV, options) < 0)
		fail("mount");
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: yardstick DIRECTORY BYTES THREADS\n");
		return 2;
	}
	int count = atoi(argv[3]);
	size = strtoull(argv[2], NULL, 10);
	if (size == 0 || count < 1 || count > max_threads) {
		fprintf(stderr, "yardstick: there must be some bytes, and 1 to %d threads\n", max_threads);
		return 2;
	}
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		fail("allocate the file");
	memset(data, 'y', size);
	mount_on(argv[1]);
	pthread_t threads[max_threads];
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, work, NULL) != 0)
			fail("start a thread");
	puts("ready");
	fflush(stdout);
	for (char line[200]; fgets(line, sizeof line, stdin);)
		obey(line);
	if (umount2(argv[1], 0) < 0)
		fail("unmount");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
