/*
 * Framing: whatever comes, however it is cut, the machine does what the reference does; the wire view holds no
 * end of data; and framing the wire view again, with the final dot, gives the same content and the true end.
 *
 * First octet: bit 0 repair, bit 1 BDAT, bit 2 its end; then a seed for the cuts, then the input.
 */
#include "../smtp_data_reference.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static size_t random_length(void *arg)
{
	uint32_t *seed = arg;

	*seed = *seed * 1664525u + 1013904223u;
	/* Mostly short, at times longer than the scanner's blocks. */
	return (*seed >> 28) == 0 ? *seed >> 8 & 255 : *seed >> 24 & 7;
}

/* A backend that reads the wire view finds the same message, and its end where we put it. */
static void check_backend(struct arena *a, const struct framed *f, bool repaired)
{
	struct str all = STR_IN(a);
	struct framed again;
	bool clean = repaired || (!f->bare_cr && !f->bare_lf);

	str_add(&all, str_slice(&f->wire));
	str_add(&all, SLICE(".\r\n"));
	again = machine_frame(a, str_slice(&all), false, false, false, NULL, NULL);
	BUG_ON(!again.end || again.used != all.n);
	if (clean)
		BUG_ON(again.bare_cr || again.bare_lf);
	BUG_ON(!slice_starts(str_slice(&again.content), str_slice(&f->content)));
	BUG_ON(again.content.n > f->content.n + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct framed expected, whole, cut;
	bool repair, chunks, last;
	struct slice input;
	uint32_t seed;

	if (n < 5)
		return 0;
	repair = bytes[0] & 1;
	chunks = bytes[0] & 2;
	last = chunks && (bytes[0] & 4);
	memcpy(&seed, bytes + 1, 4);
	input = slice_make((const char *)bytes + 5, n - 5);

	expected = reference_frame(&a, input, repair, chunks, last);
	whole = machine_frame(&a, input, repair, chunks, last, NULL, NULL);
	cut = machine_frame(&a, input, repair, chunks, last, random_length, &seed);
	BUG_ON(framed_difference(&expected, &whole));
	BUG_ON(framed_difference(&expected, &cut));
	if (whole.end || last) {
		BUG_ON(!framed_is_safe(&whole, repair));
		check_backend(&a, &whole, repair);
	}
	arena_drop(&a);
	return 0;
}
