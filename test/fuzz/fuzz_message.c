/*
 * The header section: fields, empty line and body put together are the input, and are the same however the input is
 * cut.
 *
 * First octet: bit 0 small limits; then a seed for the cuts, then the message.
 */
#include "wire/message.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct parsed {
	struct header h;
	struct str body;
};

static size_t random_length(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return 1 + ((*seed >> 28) == 0 ? *seed >> 8 & 255 : *seed >> 24 & 7);
}

/* seed NULL: in one push. */
static struct parsed parse(struct arena *a, struct slice s, bool small, uint32_t *seed)
{
	struct parsed p = { .body = STR_IN(a) };
	bool was_done = false;

	header_init(&p.h, a, small ? 100 : 1 << 20, small ? 5 : 10000);
	while (s.n > 0) {
		struct slice piece = slice_head(s, seed ? random_length(seed) : s.n);
		char *copy = malloc(piece.n);
		size_t taken;
		memcpy(copy, piece.p, piece.n);
		taken = header_push(&p.h, slice_make(copy, piece.n));
		BUG_ON(taken > piece.n || (taken < piece.n && !p.h.done) || (was_done && taken > 0));
		if (p.h.done && !was_done)
			str_add(&p.body, p.h.body_lead);
		was_done = p.h.done;
		str_add(&p.body, slice_from(piece, taken));
		free(copy);
		s = slice_from(s, piece.n);
	}
	header_finish(&p.h);
	if (!was_done)
		str_add(&p.body, p.h.body_lead);
	BUG_ON(!p.h.done);
	return p;
}

static void check_same(const struct parsed *a, const struct parsed *b)
{
	BUG_ON(a->h.count != b->h.count || a->h.too_large != b->h.too_large || a->h.malformed != b->h.malformed ||
		a->h.blank_line != b->h.blank_line);
	if (a->h.too_large)
		return;
	BUG_ON(!slice_eq(str_slice(&a->h.bytes), str_slice(&b->h.bytes)));
	BUG_ON(!slice_eq(str_slice(&a->body), str_slice(&b->body)));
	for (uint32_t i = 0; i < a->h.count; i++)
		BUG_ON(!slice_eq(a->h.fields[i].raw, b->h.fields[i].raw) ||
			!slice_eq(a->h.fields[i].value, b->h.fields[i].value));
}

static void check_fields(struct arena *a, const struct header *h)
{
	for (uint32_t i = 0; i < h->count; i++) {
		const struct field *f = &h->fields[i];
		struct slice text = field_unfolded(a, f);
		BUG_ON(f->name.n == 0 || !slice_starts(f->raw, f->name) || f->value.n > f->raw.n);
		BUG_ON(slice_search(text, SLICE("\r\n ")) >= 0 || slice_search(text, SLICE("\r\n\t")) >= 0);
		BUG_ON(header_field(h, f->name, header_count(h, f->name) - 1) == NULL);
		BUG_ON(header_field(h, f->name, header_count(h, f->name)) != NULL);
	}
}

static void check_message_id(struct slice id)
{
	if (id.n == 0)
		return;
	BUG_ON(id.n < 3 || id.n > 998 || id.p[0] != '<' || id.p[id.n - 1] != '>');
	for (size_t i = 0; i < id.n; i++)
		BUG_ON((unsigned char)id.p[i] <= ' ' || id.p[i] == 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct str all = STR_IN(&a);
	struct parsed whole, cut;
	struct slice input;
	uint32_t seed;

	if (n < 5)
		return 0;
	memcpy(&seed, bytes + 1, 4);
	input = slice_make((const char *)bytes + 5, n - 5);
	whole = parse(&a, input, bytes[0] & 1, NULL);
	cut = parse(&a, input, bytes[0] & 1, &seed);
	check_same(&whole, &cut);
	check_fields(&a, &whole.h);
	check_message_id(header_message_id(&a, &whole.h));
	if (!whole.h.too_large) {
		for (uint32_t i = 0; i < whole.h.count; i++)
			str_add(&all, whole.h.fields[i].raw);
		BUG_ON(!slice_eq(str_slice(&all), str_slice(&whole.h.bytes)));
		if (whole.h.blank_line)
			str_puts(&all, "\r\n");
		str_add(&all, str_slice(&whole.body));
		BUG_ON(!slice_eq(str_slice(&all), input));
	}
	arena_drop(&a);
	return 0;
}
