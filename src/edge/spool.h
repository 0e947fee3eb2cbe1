/*
 * The spool: one message on its way, in memory first, then in an unlinked file.
 *
 * It holds the wire form (dot-stuffed, without the final dot), so that relaying copies nothing and
 * frames nothing again. Memory is taken in chunks from a pool with a budget per
 * worker; a message over its own share, or one that meets an exhausted budget, moves to a file
 * that has no name (O_TMPFILE) and is gone with the process.
 */
#ifndef SPURN_EDGE_SPOOL_H
#define SPURN_EDGE_SPOOL_H

#include "run/stream.h"

#define SPOOL_CHUNK (64u * 1024u)

/* The budget of a worker and its free chunks. */
struct spool_pool {
	const char *directory;		/* for files */
	size_t memory, memory_total;	/* of one message; of all */
	size_t used;			/* octets of chunks handed out */
	void *free_chunks;
	size_t free_count;
};

struct spool_chunk {
	struct spool_chunk *next;
	uint32_t used;
	char bytes[];
};

struct spool {
	struct spool_pool *pool;
	struct spool_chunk *first, *last;	/* in memory; NULL once in a file */
	uint64_t size;
	int fd;				/* -1: in memory */
	int error;			/* errno of the first failure; nothing is added after it */
};

void spool_pool_init(struct spool_pool *p, const char *directory, size_t memory, size_t memory_total);
void spool_pool_drop(struct spool_pool *p);

void spool_init(struct spool *s, struct spool_pool *pool);
/* false: the file could not be written; s->error says why, and stays. */
bool spool_add(struct spool *s, struct slice bytes);
void spool_drop(struct spool *s);
/* Up to `room` octets from an offset on, also while more arrives. 0: there is no more (yet); -1: the file cannot be read. */
ptrdiff_t spool_read(const struct spool *s, uint64_t from, char *to, size_t room);
/* Sends `lead`, the spool from an offset, and `tail`; a message in memory leaves in one call. */
ASYNC enum wait_result spool_send(const struct spool *s, uint64_t from, struct slice lead,
	struct slice tail, struct stream *to, const char *label, deadline d);

#endif
