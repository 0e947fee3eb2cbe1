/*
 * Reduced reports: the same however the report is cut; reduced twice is reduced once; nothing grows but by the few
 * fields that are changed; and of each part that was a message nothing behind its header section is left.
 *
 * First four octets: a seed for the cuts; then the report, header section and all.
 */
#include "wire/dsn_reduce.h"

#include "base/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct result {
	bool good;
	uint64_t dropped;
	struct str out;
};

static void collect(void *arg, struct slice piece)
{
	BUG_ON(piece.n == 0);
	str_add(arg, piece);
}

static struct result reduce(struct arena *a, const struct header *h, struct slice body, uint32_t *seed)
{
	struct result result = { .out = STR_IN(a) };
	const char *why = NULL;
	struct dsn_reducer *r = dsn_reduce_begin(a, h, collect, &result.out, &why);

	BUG_ON(!r && !why);
	while (r && body.n > 0) {
		size_t n = body.n;
		char *copy;

		if (seed) {
			*seed = *seed * 1664525u + 1013904223u;
			n = 1 + (*seed >> 24 & 15);
			n = n < body.n ? n : body.n;
		}
		copy = malloc(n);
		memcpy(copy, body.p, n);
		dsn_reduce_push(r, slice_make(copy, n));
		free(copy);
		body = slice_from(body, n);
	}
	result.good = r && dsn_reduce_finish(r, &result.dropped, &why);
	return result;
}

/* No enclosed message with a body is left in the outermost multipart. */
static void look_at_part(void *arg, struct mime_part *p)
{
	bool *found = arg;

	*found |= p->depth == 2 && p->is_message && !p->no_body;
}

static bool returns_message(struct arena *a, const struct header *h, struct slice body)
{
	static const struct mime_events events = { .part_end = look_at_part };
	bool found = false;
	struct mime *m = mime_begin(a, &events, &found);

	mime_header(m, h);
	mime_push(m, body);
	mime_finish(m);
	return found && !mime_limited(m);
}

/* Such a message is refused, or repaired, before anybody reads it. */
static bool has_bare_newline(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')) ||
		    (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct result whole, cut, again;
	struct slice input;
	struct header h;
	uint32_t seed;

	if (n < 4)
		return 0;
	memcpy(&seed, bytes, 4);
	input = slice_make((const char *)bytes + 4, n - 4);
	header_init(&h, &a, 65536, 100);
	input = slice_from(input, header_push(&h, input));
	header_finish(&h);
	whole = reduce(&a, &h, input, NULL);
	cut = reduce(&a, &h, input, &seed);
	BUG_ON(whole.good != cut.good);
	if (whole.good) {
		BUG_ON(!slice_eq(str_slice(&whole.out), str_slice(&cut.out)) || whole.dropped != cut.dropped);
		again = reduce(&a, &h, str_slice(&whole.out), NULL);
		BUG_ON(!again.good || again.dropped != 0 || !slice_eq(str_slice(&again.out), str_slice(&whole.out)));
		BUG_ON(whole.out.n > input.n * 4 + 200);
		BUG_ON(whole.dropped > 0 && !has_bare_newline(input) &&
			returns_message(&a, &h, str_slice(&whole.out)));
	}
	arena_drop(&a);
	return 0;
}
