/*
 * MIME: the same events however the message is cut; every entity begins once and ends once, within the limits.
 *
 * First octet: what is wanted of bodies; then a seed for the cuts, then the message.
 */
#include "wire/mime.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct witness {
	struct arena *arena;
	struct str events;
	enum mime_want want;
	uint32_t open, begun;
};

static enum mime_want note_begin(void *arg, struct mime_part *p)
{
	struct witness *w = arg;

	BUG_ON(p->arg || p->depth >= MIME_DEPTH_MAX + 1 || p->field_count > MIME_FIELDS_MAX || p->messages > p->depth);
	BUG_ON(p->header.n > MIME_HEADER_MAX);
	w->open++;
	w->begun++;
	str_printf(&w->events, "%u<%u %u %u %s/%s %d %d %d\n", p->number, p->parent, p->depth, p->messages, p->type,
		p->subtype, p->shape, p->encoding, p->header_cut);
	for (uint32_t i = 0; i < p->field_count; i++) {
		const struct field *f = &p->fields[i];
		BUG_ON(f->name.n == 0 || !slice_starts(f->raw, f->name));
		str_add(&w->events, f->raw);
	}
	str_add(&w->events, mime_file_name(w->arena, p));
	str_add(&w->events, mime_words(w->arena, mime_value(w->arena, p, SLICE("Subject"))));
	p->arg = arena_new(w->arena, struct str);
	*(struct str *)p->arg = STR_IN(w->arena);
	return w->want;
}

static void note_body(void *arg, struct mime_part *p, struct slice piece)
{
	BUG_ON(!p->arg || piece.n == 0);
	str_add(p->arg, piece);
}

static void note_end(void *arg, struct mime_part *p)
{
	struct witness *w = arg;

	BUG_ON(w->open-- == 0);
	str_printf(&w->events, "%u %d %d: ", p->number, p->cut, p->no_body);
	str_add(&w->events, str_slice(p->arg));
}

static struct slice parse(struct arena *a, struct slice s, enum mime_want want, uint32_t *seed)
{
	static const struct mime_events events = { note_begin, note_body, note_end };
	struct witness w = { .arena = a, .events = STR_IN(a), .want = want };
	struct mime *m = mime_begin(a, &events, &w);

	while (s.n > 0) {
		size_t n = s.n;
		char *copy;
		if (seed) {
			*seed = *seed * 1664525u + 1013904223u;
			n = 1 + ((*seed >> 28) == 0 ? *seed >> 8 & 255 : *seed >> 24 & 7);
			n = n < s.n ? n : s.n;
		}
		copy = malloc(n);
		memcpy(copy, s.p, n);
		mime_push(m, slice_make(copy, n));
		free(copy);
		s = slice_from(s, n);
	}
	mime_finish(m);
	BUG_ON(w.open != 0 || w.begun == 0 || mime_count(m) > MIME_PARTS_MAX + MIME_DEPTH_MAX);
	return str_slice(&w.events);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice input;
	enum mime_want want;
	uint32_t seed;

	if (n < 5)
		return 0;
	memcpy(&seed, bytes + 1, 4);
	want = bytes[0] % 3;
	input = slice_make((const char *)bytes + 5, n - 5);
	BUG_ON(!slice_eq(parse(&a, input, want, NULL), parse(&a, input, want, &seed)));
	arena_drop(&a);
	return 0;
}
