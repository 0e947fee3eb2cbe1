/*
 * Arenas are chains of blocks. The newest block is filled from its front; when it
 * is full the next one is twice as large, up to 64 KiB. What does not fit a
 * block of 64 KiB gets one of its own, placed behind the newest, so that the room left
 * in that is not lost.
 *
 * Dropped blocks go to a free list per size, capped at 256 KiB each: a worker takes and
 * drops arenas a few times per message, and a list is a dozen instructions where
 * malloc() and free() are two hundred and let the heap fragment over months.
 * The lists are per thread, since the store's writer thread has arenas as well.
 *
 * Under AddressSanitizer each allocation is a block of its own and nothing is
 * pooled, so that it sees an overrun of one byte, and any use after the drop.
 * Under valgrind nothing is pooled, for the second reason.
 *
 * Rejected: one size of block (1 KiB wastes system calls on large messages, 64 KiB
 * wastes memory on small ones); reserving address space by mmap() per arena (a
 * system call and a page fault per transaction).
 */
#include "base/arena.h"

#include "base/log.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_PER_ALLOCATION 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_PER_ALLOCATION 1
#endif
#endif
#ifndef BLOCK_PER_ALLOCATION
#define BLOCK_PER_ALLOCATION 0
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#define SMALLEST 1024U
#define ORDERS 7		/* 1 KiB << 0 .. 1 KiB << 6 = 64 KiB */
#define LARGEST (SMALLEST << (ORDERS - 1))
#define POOL_BYTES (256U * 1024)
#define SANE_SIZE (UINT32_C(1) << 30)
#define OWN_SIZE (-1)		/* order of a block made to measure */
#define EXIT_NO_MEMORY 71	/* EX_OSERR */

struct arena_block {
	struct arena_block *next;
	uint32_t size;		/* with this head */
	int32_t order;
} __attribute__((aligned(16)));

static __thread struct {
	struct arena_block *free[ORDERS];
	uint32_t held[ORDERS];	/* bytes in each list */
} pool;

_Noreturn void arena_exhausted(size_t wanted)
{
	log_alert("out of memory: %zu bytes wanted", wanted);
	_exit(EXIT_NO_MEMORY);
}

static struct arena_block *block_take(uint32_t size, int order)
{
	struct arena_block *block;

	if (order != OWN_SIZE && pool.free[order]) {
		block = pool.free[order];
		pool.free[order] = block->next;
		pool.held[order] -= size;
		return block;
	}
	block = malloc(size);
	if (!block)
		arena_exhausted(size);
	block->size = size;
	block->order = order;
	return block;
}

static void block_give(struct arena_block *block)
{
	int order = block->order;

	if (order == OWN_SIZE || pool.held[order] >= POOL_BYTES || RUNNING_ON_VALGRIND) {
		free(block);
		return;
	}
	block->next = pool.free[order];
	pool.free[order] = block;
	pool.held[order] += block->size;
}

static void count_block(struct arena *a, uint32_t size)
{
	/* Limits of the configuration end far below: a peer that gets here found a hole. */
	BUG_ON(a->total > UINT32_MAX - size);
	a->total += size;
}

/* A block made to measure, behind the newest one. */
static void *alloc_own(struct arena *a, size_t size)
{
	struct arena_block *block =
		block_take((uint32_t)(sizeof(struct arena_block) + size), OWN_SIZE);

	if (a->head) {
		block->next = a->head->next;
		a->head->next = block;
	} else {
		block->next = NULL;
		a->head = block;
	}
	count_block(a, block->size);
	return block + 1;
}

static void *alloc_slow(struct arena *a, size_t size)
{
	struct arena_block *block;
	uint32_t room = SMALLEST;
	int order = 0;

	BUG_ON(size > SANE_SIZE);
	if (BLOCK_PER_ALLOCATION || size > LARGEST - sizeof(*block))
		return alloc_own(a, size);
	if (a->head && a->head->order != OWN_SIZE)
		order = a->head->order + (a->head->order < ORDERS - 1);
	while ((room = SMALLEST << order) - sizeof(*block) < size)
		order++;
	block = block_take(room, order);
	block->next = a->head;
	a->head = block;
	count_block(a, room);
	a->left = (uint32_t)(room - sizeof(*block) - size);
	return block + 1;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t rounded = BLOCK_PER_ALLOCATION ? size : (size + 15) & ~(size_t)15;
	char *p;

	/* rounded < size: the sum wrapped. A size of 0 must not be told "fits" of a NULL head. */
	if (rounded < size || rounded > a->left || !a->left)
		return alloc_slow(a, rounded < size ? size : rounded);
	p = (char *)a->head + a->head->size - a->left;
	a->left -= (uint32_t)rounded;
	return p;
}

void *arena_zero(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

char *arena_copy(struct arena *a, const void *bytes, size_t n)
{
	char *copy = arena_alloc(a, n + 1);

	if (n)
		memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	char small[256], *text;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(small, sizeof(small), format, args);
	va_end(args);
	BUG_ON(n < 0);
	if ((size_t)n < sizeof(small))
		return arena_copy(a, small, (size_t)n);
	text = arena_alloc(a, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)n + 1, format, args);
	va_end(args);
	return text;
}

void arena_drop(struct arena *a)
{
	struct arena_block *block = a->head, *next;

	for (; block; block = next) {
		next = block->next;
		block_give(block);
	}
	*a = ARENA_INIT;
}
