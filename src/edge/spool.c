/*
 * Messages wait here between the client's dot and the backend's. Most are
 * small and live for a millisecond: they take one chunk from a LIFO list, whose
 * memory is warm in the cache. Rejected: a file for every message (an order of
 * magnitude in system calls for nothing, since a spool never outlives its
 * process), and one growing buffer (copies itself).
 */
#include "edge/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FREE_CHUNKS_KEPT 64

void spool_pool_init(struct spool_pool *p, const char *directory, size_t memory, size_t memory_total)
{
	*p = (struct spool_pool){ .directory = directory, .memory = memory, .memory_total = memory_total };
}

void spool_pool_drop(struct spool_pool *p)
{
	while (p->free_chunks) {
		struct spool_chunk *chunk = p->free_chunks;

		p->free_chunks = chunk->next;
		free(chunk);
	}
	p->free_count = 0;
}

static struct spool_chunk *chunk_take(struct spool_pool *p)
{
	struct spool_chunk *chunk = p->free_chunks;

	if (chunk) {
		p->free_chunks = chunk->next;
		p->free_count--;
	} else {
		chunk = malloc(sizeof(*chunk) + SPOOL_CHUNK);
		if (!chunk)
			return NULL;
	}
	p->used += SPOOL_CHUNK;
	chunk->next = NULL;
	chunk->used = 0;
	return chunk;
}

static void chunk_give(struct spool_pool *p, struct spool_chunk *chunk)
{
	p->used -= SPOOL_CHUNK;
	if (p->free_count >= FREE_CHUNKS_KEPT) {
		free(chunk);
		return;
	}
	chunk->next = p->free_chunks;
	p->free_chunks = chunk;
	p->free_count++;
}

static void chunks_drop(struct spool *s)
{
	while (s->first) {
		struct spool_chunk *chunk = s->first;

		s->first = chunk->next;
		chunk_give(s->pool, chunk);
	}
	s->last = NULL;
}

void spool_init(struct spool *s, struct spool_pool *pool)
{
	*s = (struct spool){ .pool = pool, .fd = -1 };
}

void spool_drop(struct spool *s)
{
	if (!s->pool)
		return;
	chunks_drop(s);
	if (s->fd >= 0)
		close(s->fd);
	spool_init(s, s->pool);
}

static bool file_write(struct spool *s, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(s->fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			s->error = done < 0 ? errno : ENOSPC;
			return false;
		}
		p += done;
		n -= (size_t)done;
	}
	return true;
}

/* From memory to a file without a name. */
static bool move_to_file(struct spool *s)
{
	s->fd = open(s->pool->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd < 0) {
		s->error = errno;
		return false;
	}
	for (struct spool_chunk *chunk = s->first; chunk; chunk = chunk->next)
		if (!file_write(s, chunk->bytes, chunk->used))
			return false;
	chunks_drop(s);
	return true;
}

static bool memory_allows(const struct spool *s)
{
	uint64_t held = (s->size + SPOOL_CHUNK) / SPOOL_CHUNK * SPOOL_CHUNK;

	return held <= s->pool->memory && s->pool->used + SPOOL_CHUNK <= s->pool->memory_total;
}

static bool memory_add(struct spool *s, struct slice *bytes)
{
	while (bytes->n > 0) {
		if (!s->last || s->last->used == SPOOL_CHUNK) {
			struct spool_chunk *chunk = memory_allows(s) ? chunk_take(s->pool) : NULL;

			if (!chunk)
				return false;
			if (s->last)
				s->last->next = chunk;
			else
				s->first = chunk;
			s->last = chunk;
		}
		size_t room = SPOOL_CHUNK - s->last->used;
		size_t n = bytes->n < room ? bytes->n : room;

		memcpy(s->last->bytes + s->last->used, bytes->p, n);
		s->last->used += (uint32_t)n;
		s->size += n;
		*bytes = slice_from(*bytes, n);
	}
	return true;
}

bool spool_add(struct spool *s, struct slice bytes)
{
	if (s->error)
		return false;
	if (s->fd < 0) {
		if (memory_add(s, &bytes))
			return true;
		if (!move_to_file(s))
			return false;
	}
	if (!file_write(s, bytes.p, bytes.n))
		return false;
	s->size += bytes.n;
	return true;
}

static ptrdiff_t file_read(const struct spool *s, uint64_t from, char *to, size_t room)
{
	ssize_t n;

	do {
		n = pread(s->fd, to, room, (off_t)from);
	} while (n < 0 && errno == EINTR);
	return n;
}

ptrdiff_t spool_read(const struct spool *s, uint64_t from, char *to, size_t room)
{
	size_t done = 0;

	if (s->fd >= 0)
		return file_read(s, from, to, room);
	for (const struct spool_chunk *chunk = s->first; chunk && done < room; chunk = chunk->next) {
		size_t n;

		if (from >= chunk->used) {
			from -= chunk->used;
			continue;
		}
		n = chunk->used - from < room - done ? chunk->used - from : room - done;
		memcpy(to + done, chunk->bytes + from, n);
		done += n;
		from = 0;
	}
	return (ptrdiff_t)done;
}

#define SEND_AT_ONCE 32

/* Collects pieces and sends them a few at a time. */
struct sender {
	struct iovec iov[SEND_AT_ONCE];
	size_t count;
	struct stream *to;
	const char *label;
	deadline until;
};

static ASYNC enum wait_result sender_flush(struct sender *out)
{
	size_t count = out->count;

	out->count = 0;
	return count > 0 ? stream_send(out->to, out->iov, count, out->label, out->until) : WAIT_READY;
}

static ASYNC enum wait_result sender_add(struct sender *out, const char *p, size_t n)
{
	enum wait_result result = out->count == SEND_AT_ONCE ? sender_flush(out) : WAIT_READY;

	if (n > 0)
		out->iov[out->count++] = (struct iovec){ .iov_base = (char *)p, .iov_len = n };
	return result;
}

ASYNC enum wait_result spool_send(const struct spool *s, uint64_t from, struct slice lead,
	struct slice tail, struct stream *to, const char *label, deadline d)
{
	struct sender out = { .to = to, .label = label, .until = d };
	enum wait_result result = sender_add(&out, lead.p, lead.n);

	for (struct spool_chunk *chunk = s->first; chunk && result == WAIT_READY; chunk = chunk->next) {
		if (from >= chunk->used) {
			from -= chunk->used;
			continue;
		}
		result = sender_add(&out, chunk->bytes + from, chunk->used - from);
		from = 0;
	}
	if (result == WAIT_READY && s->fd >= 0) {
		result = sender_flush(&out);
		if (result == WAIT_READY && s->size > from)
			result = stream_send_file(to, s->fd, (int64_t)from, s->size - from, label, d);
	}
	if (result == WAIT_READY)
		result = sender_add(&out, tail.p, tail.n);
	return result == WAIT_READY ? sender_flush(&out) : result;
}
