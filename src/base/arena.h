/*
 * Arenas: memory with a lifetime instead of an owner.
 *
 * Everything that mail code allocates belongs to one of three lifetimes, chosen
 * at the allocation: the connection, the transaction, or scratch (one stage,
 * one lookup). A lifetime ends as a whole with arena_drop(); there is no free()
 * of single objects, so there is nothing to forget and nothing to free twice.
 *
 * An empty arena owns nothing: the first allocation takes the first block, so a
 * parked session costs no arena memory. Blocks grow from 1 KiB to 64 KiB.
 *
 * Exhaustion. arena_alloc() never returns NULL: when the system has no memory
 * the worker says so and ends, the master starts another, and every sender
 * still holds its message. Growth that a peer controls is bounded before it is
 * stored, by limits in the configuration; arena_bytes() lets the caller check.
 * The rejected design is NULL checks at every allocation: thousands of paths
 * that no test walks.
 */
#ifndef SPURN_BASE_ARENA_H
#define SPURN_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	struct arena_block *head;	/* newest block, NULL while empty */
	uint32_t left;			/* bytes left in the newest block */
	uint32_t total;			/* bytes of all blocks */
};

#define ARENA_INIT ((struct arena){ NULL, 0, 0 })

/* Aligned to 16, not zeroed. Ends the process when the system has no memory. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
/* The same, zeroed. */
void *arena_zero(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
/* A NUL-terminated copy of n bytes. */
char *arena_copy(struct arena *a, const void *bytes, size_t n) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *format, ...)
	__attribute__((format(printf, 2, 3), returns_nonnull));
/* Frees everything; the arena is empty and usable again. */
void arena_drop(struct arena *a);
/* Bytes held, including what blocks waste. */
static inline size_t arena_bytes(const struct arena *a) { return a->total; }

/* Says that there is no memory and ends the process; for those few who call malloc(). */
_Noreturn void arena_exhausted(size_t wanted);

#define arena_new(a, type) ((type *)arena_zero((a), sizeof(type)))
#define arena_array(a, type, count) ((type *)arena_zero((a), arena_times(sizeof(type), (count))))
/* The product, or a size that arena_alloc() stops at if it does not fit. */
static inline size_t arena_times(size_t size, size_t count)
{
	size_t product;

	return __builtin_mul_overflow(size, count, &product) ? SIZE_MAX : product;
}

#endif
