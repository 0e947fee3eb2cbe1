/*
 * The canonical body: whole, cut, and as a plain reference says it, always the same.
 *
 * The first four octets are a seed for the cuts, the others the body.
 */
#include "../canon_reference.h"

#include "base/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void collect(void *arg, struct slice piece)
{
	str_add(arg, piece);
}

static size_t random_length(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return 1 + ((*seed >> 28) == 0 ? *seed >> 8 & 1023 : *seed >> 24 & 7);
}

/* seed NULL: in one push. */
static struct slice canonical(struct arena *a, enum canon kind, struct slice body, uint32_t *seed)
{
	struct canon_body *b = arena_alloc(a, sizeof(*b));
	struct str out = STR_IN(a);

	canon_body_init(b, kind, collect, &out);
	while (body.n > 0) {
		struct slice piece = slice_head(body, seed ? random_length(seed) : body.n);
		char *copy = malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		canon_body_push(b, slice_make(copy, piece.n));
		free(copy);
		body = slice_from(body, piece.n);
	}
	canon_body_finish(b);
	BUG_ON(b->length != out.n);
	return str_slice(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice body;
	uint32_t seed;

	if (n < 4)
		return 0;
	memcpy(&seed, bytes, 4);
	body = slice_make((const char *)bytes + 4, n - 4);
	for (enum canon kind = CANON_SIMPLE; kind <= CANON_RELAXED; kind++) {
		struct slice expected = reference_body(&a, kind, body);
		BUG_ON(!slice_eq(canonical(&a, kind, body, NULL), expected));
		BUG_ON(!slice_eq(canonical(&a, kind, body, &seed), expected));
	}
	arena_drop(&a);
	return 0;
}
