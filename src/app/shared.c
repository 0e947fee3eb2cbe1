/*
 * One mapping for everything that processes share. Its layout belongs to one
 * build: after an upgrade to a build with another layout (the magic or the size
 * differs) the new master makes a new one, and rates begin anew.
 */
#include "app/shared.h"

#include <sys/mman.h>
#include <unistd.h>

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
