/*
 * Canonical header fields, and which of them a signature covers.
 *
 * Relaxed, RFC 6376 section 3.4.2:
 *   - "Convert all header field names (not the header field values) to lowercase."
 *   - "Unfold all header field continuation lines"
 *   - "Convert all sequences of one or more WSP characters to a single SP character. WSP characters here include those
 *     before and after a line folding boundary."
 *   - "Delete all WSP characters at the end of each unfolded header field value."
 *   - "Delete any WSP characters remaining before and after the colon"
 *
 * A peer chooses both the header and h=, so fields are found in a sorted index: comparing each name of
 * h= with each field would let 200 kB of names cost a minute.
 */
#include "wire/canon.h"

#include "wire/taglist.h"

#include <stdlib.h>

/* ---- one field ---- */

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Adds text with each run of white space and folds as one SP; none at the beginning of a value, and one
 * at the end is left to the next text. Returns where writing ended. `space`: white space is open. */
static char *relaxed_text(char *to, struct slice text, bool *space, const char *start)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (is_wsp(c)) {
			*space = true;
			continue;
		}
		if (c == '\r' && i + 1 < text.n && text.p[i + 1] == '\n') {
			i++;
			continue;
		}
		if (*space && to != start)
			*to++ = ' ';
		*space = false;
		*to++ = c;
	}
	return to;
}

/* The field with the parts of its value, without CRLF. */
static void relaxed_field(struct str *out, const struct field *f, struct slice head, struct slice tail)
{
	char *p = str_room(out, f->name.n + head.n + tail.n + 1), *start = p;
	const char *value;
	bool space = false;

	for (size_t i = 0; i < f->name.n; i++)
		*p++ = ascii_lower(f->name.p[i]);
	*p++ = ':';
	value = p;
	p = relaxed_text(p, head, &space, value);
	p = relaxed_text(p, tail, &space, value);
	out->n += (size_t)(p - start);
}

void canon_field(struct str *out, enum canon kind, const struct field *f)
{
	if (kind == CANON_SIMPLE) {
		str_add(out, f->raw);
		return;
	}
	relaxed_field(out, f, f->value, SLICE_NULL);
	str_add(out, SLICE("\r\n"));
}

/* Section 3.7: "the value of the "b=" tag (including all surrounding whitespace) deleted (i.e., treated as the
 * empty string)" and "without a trailing CRLF". */
void canon_field_unsigned(struct str *out, enum canon kind, const struct field *f, struct slice emptied)
{
	struct slice head = slice_make(f->value.p, (size_t)(emptied.p - f->value.p));
	struct slice tail = slice_from(f->value, head.n + emptied.n);

	if (kind == CANON_RELAXED) {
		relaxed_field(out, f, head, tail);
		return;
	}
	str_add(out, slice_make(f->raw.p, (size_t)(f->value.p - f->raw.p)));
	str_add(out, head);
	str_add(out, tail);
}

/* ---- which fields ---- */

static int name_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		int d = (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);
		if (d)
			return d;
	}
	return (a.n > b.n) - (a.n < b.n);
}

static int order_cmp(const void *left, const void *right, void *arg)
{
	const struct field *fields = arg;
	uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
	int d = name_cmp(fields[l].name, fields[r].name);

	return d ? d : (l > r) - (l < r);
}

void canon_index_build(struct canon_index *index, struct arena *a, const struct header *h)
{
	index->header = h;
	index->order = arena_array(a, uint32_t, h->count + 1);
	for (uint32_t i = 0; i < h->count; i++)
		index->order[i] = i;
	if (h->count > 1)
		qsort_r(index->order, h->count, sizeof(*index->order), order_cmp, h->fields);
}

/* Where the instances of a name end in the order (behind the last one). */
static uint32_t instances_end(const struct canon_index *index, struct slice name)
{
	uint32_t low = 0, high = index->header->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (name_cmp(index->header->fields[index->order[middle]].name, name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Section 5.4.2: "Signers choosing to sign an existing header field that occurs more than once in the message (such
 * as Received) MUST sign the physically last instance of that header field in the header block. [...] from the
 * bottom of the header field block to the top." `taken[end]` counts those of the name that ends there. */
uint32_t canon_signed_fields(struct str *out, enum canon kind, const struct canon_index *index, struct slice names,
	struct arena *a)
{
	const struct header *h = index->header;
	uint32_t *taken = arena_array(a, uint32_t, h->count + 1);
	uint32_t added = 0;

	while (names.p) {
		struct slice name = taglist_item(&names);
		uint32_t end = instances_end(index, name);
		const struct field *f = NULL;
		if (end > taken[end])
			f = &h->fields[index->order[end - 1 - taken[end]]];
		if (!f || !slice_eq_nocase(f->name, name))
			continue;
		taken[end]++;
		canon_field(out, kind, f);
		added++;
	}
	return added;
}
