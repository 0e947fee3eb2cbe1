/*
 * One mapping for everything that processes share. Its layout belongs to one
 * build: after an upgrade to a build with another layout (the magic or the size
 * differs) the new master makes a new one, and rates begin anew.
 */
#include "app/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REFERENCE_CELL 64	/* a cache line for each slot */

static size_t whole_size(void)
{
	return sizeof(struct shared) + rate_memory(RATE_CLIENTS);
}

int shared_create(void)
{
	size_t size = whole_size();
	int fd = memfd_create("spurn-shared", 0);
	struct shared *s;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) != 0)
		goto fail;
	s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		goto fail;
	s->magic = SHARED_MAGIC;
	s->size = size;
	/* Entries in the store name generations of a master that was killed: no number of ours may be one of its. */
	random_bytes(&s->generations, sizeof(s->generations));
	rate_init(s->rates, RATE_CLIENTS);
	munmap(s, size);
	return fd;
fail:
	close(fd);
	return -1;
}

struct shared *shared_map(int fd)
{
	size_t size = whole_size();
	struct shared *s;

	if (lseek(fd, 0, SEEK_END) != (off_t)size)
		return NULL;
	s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return NULL;
	if (s->magic == SHARED_MAGIC && s->size == size)
		return s;
	munmap(s, size);
	return NULL;
}

uint64_t *shared_references(const char *state_dir, unsigned slot)
{
	size_t size = (size_t)RATE_WORKERS * REFERENCE_CELL;
	char path[512], *map = MAP_FAILED;
	int fd;

	snprintf(path, sizeof(path), "%s/references", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		log_warning("%s: %s; references may be given out twice after a crash", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return map == MAP_FAILED ? NULL : (uint64_t *)(void *)(map + (size_t)slot * REFERENCE_CELL);
}
