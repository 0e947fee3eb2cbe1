/*
 * The canonical header: a field's relaxed form has no folds and no white space to spare, making it canonical again changes
 * nothing, the emptied form is the whole with an extent taken out; and h= chooses each field at most once, the
 * same ones as a search through the whole header does.
 *
 * First octet: length of the value of h= in front of the header.
 */
#include "wire/canon.h"
#include "wire/taglist.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct header parse(struct arena *a, struct slice text)
{
	struct header h;

	header_init(&h, a, 1 << 20, 1000);
	header_push(&h, text);
	header_finish(&h);
	return h;
}

static void check_relaxed(struct arena *a, const struct field *f)
{
	struct str once = STR_IN(a), twice = STR_IN(a), emptied = STR_IN(a);
	struct slice text;
	struct header again;

	canon_field(&once, CANON_RELAXED, f);
	text = str_slice(&once);
	BUG_ON(slice_search(text, SLICE("  ")) >= 0 || slice_find(text, '\t') >= 0);
	BUG_ON(slice_search(text, SLICE(" \r\n")) >= 0 || slice_search(text, SLICE(": ")) == (ptrdiff_t)f->name.n);
	BUG_ON(slice_search(text, SLICE("\r\n")) != (ptrdiff_t)text.n - 2);
	again = parse(a, text);
	BUG_ON(again.count != 1);
	canon_field(&twice, CANON_RELAXED, &again.fields[0]);
	BUG_ON(!slice_eq(str_slice(&twice), text));
	canon_field_unsigned(&emptied, CANON_RELAXED, f, slice_from(f->value, f->value.n));
	BUG_ON(!slice_eq(str_slice(&emptied), slice_head(text, text.n - 2)));
}

static void check_simple(struct arena *a, const struct field *f)
{
	struct str out = STR_IN(a), cut = STR_IN(a);
	struct slice middle = slice_make(f->value.p + f->value.n / 3, f->value.n / 3);

	canon_field(&out, CANON_SIMPLE, f);
	BUG_ON(!slice_eq(str_slice(&out), f->raw));
	canon_field_unsigned(&cut, CANON_SIMPLE, f, middle);
	BUG_ON(cut.n + middle.n + 2 < f->raw.n || cut.n + middle.n > f->raw.n);
	BUG_ON(!slice_starts(f->raw, slice_head(str_slice(&cut), (size_t)(middle.p - f->raw.p))));
}

/* As the RFC says it: for each name, the next instance from the bottom. */
static struct slice choose_slowly(struct arena *a, const struct header *h, struct slice names)
{
	bool *taken = arena_array(a, bool, h->count + 1);
	struct str out = STR_IN(a);

	while (names.p) {
		struct slice name = taglist_item(&names);
		for (uint32_t i = h->count; i-- > 0;) {
			if (taken[i] || !slice_eq_nocase(h->fields[i].name, name))
				continue;
			taken[i] = true;
			str_add(&out, h->fields[i].raw);
			break;
		}
	}
	return str_slice(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice all, names;
	struct canon_index index;
	struct str chosen = STR_IN(&a);
	struct header h;

	if (n < 1)
		return 0;
	all = slice_make((const char *)bytes + 1, n - 1);
	names = slice_head(all, bytes[0]);
	h = parse(&a, slice_from(all, bytes[0]));
	for (uint32_t i = 0; i < h.count; i++) {
		check_relaxed(&a, &h.fields[i]);
		check_simple(&a, &h.fields[i]);
	}
	canon_index_build(&index, &a, &h);
	BUG_ON(canon_signed_fields(&chosen, CANON_SIMPLE, &index, names, &a) > h.count);
	BUG_ON(!slice_eq(str_slice(&chosen), choose_slowly(&a, &h, names)));
	arena_drop(&a);
	return 0;
}
