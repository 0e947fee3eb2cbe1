/* ARC sets: of a chain that can be read each set has its three fields and instance, and what its seals cover can be put together. */
#include "check/arc_set.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_sets(struct arena *a, const struct arc_sets *sets)
{
	BUG_ON(sets->count > ARC_MAX_INSTANCE || sets->failed_before);
	for (uint32_t i = 1; i <= sets->count; i++) {
		const struct arc_set *s = &sets->set[i - 1];
		struct str octets = STR_IN(a);

		BUG_ON(!s->results || !s->message_field || !s->seal_field);
		BUG_ON(s->seal.instance != i || s->message.instance != i || s->seal.domain.n == 0 || s->message.domain.n == 0);
		BUG_ON(s->said.p < s->results->value.p || s->said.p + s->said.n > s->results->value.p + s->results->value.n);
		arc_sealed_octets(&octets, sets, 1, i, s->seal.field, s->seal.emptied);
		BUG_ON(octets.n == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct arc_sets sets;
	struct header h;
	const char *why = NULL;

	header_init(&h, &a, 65536, 500);
	header_push(&h, slice_make((const char *)bytes, n));
	header_finish(&h);
	if (arc_sets_read(&sets, &a, &h, &why))
		check_sets(&a, &sets);
	else
		BUG_ON(!why || sets.count > ARC_MAX_INSTANCE);
	arena_drop(&a);
	return 0;
}
