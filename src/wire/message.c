/*
 * The header section, octet by octet where a line's nature is open, by memchr() where
 * it is known.
 *
 * A line is a field or not by its first octets: the name and the colon. Until the colon has
 * come the parser looks at each octet (those within a name are taken together); behind it only
 * the CRLF matters. So every octet is looked at once however the input is cut, and a message without a header section is known
 * as such at the first octet that no field name has, not at the end of a line that
 * may never come.
 *
 * Most of a section arrives in one piece, and its lines are whole there: they are taken line by line (whole_lines()) and copied
 * at once. What is left, a line in two pieces or one that is near a limit or no field, goes octet by octet.
 *
 * While the section grows in `bytes`, which may move, a field holds offsets in the lengths of its slices
 * (field_begin); header_end() turns them into slices once. Rejected: slices into the
 * caller's buffer (it is gone with the next read), and a second pass over the finished
 * section (each octet twice).
 */
#include "wire/field_name.h"

#define MESSAGE_ID_MAX 998u	/* RFC 5322 section 2.1.1: no line is longer */

enum line_state {
	LINE_NEW,		/* at its first octet */
	LINE_CR,		/* its first octet was a CR: the empty line if LF follows */
	LINE_NAME,
	LINE_NAME_SPACE,	/* white space between name and colon */
	LINE_VALUE,		/* behind the colon, or a fold */
};

void header_init(struct header *h, struct arena *a, uint32_t limit, uint32_t max_fields)
{
	*h = (struct header){ .arena = a, .bytes = STR_IN(a), .limit = limit, .max_fields = max_fields,
		.line_state = LINE_NEW };
}

/* ---- fields: offsets while the section grows, slices at its end ---- */

static inline bool field_begin(struct header *h, size_t start, size_t name_length, size_t value)
{
	struct field *f;

	if (h->count == h->max_fields)
		return false;
	if (h->count == h->cap) {
		uint32_t cap = h->cap ? h->cap * 2 : 32;
		struct field *fields = arena_alloc(h->arena, arena_times(cap, sizeof(*fields)));
		if (h->count > 0)
			memcpy(fields, h->fields, h->count * sizeof(*fields));
		h->fields = fields;
		h->cap = cap;
	}
	f = &h->fields[h->count++];
	f->raw.n = start;
	f->name.n = name_length;
	f->value.n = value;
	return true;
}

static void header_end(struct header *h)
{
	struct slice all = str_slice(&h->bytes);

	h->done = true;
	for (uint32_t i = 0; i < h->count; i++) {
		struct field *f = &h->fields[i];
		size_t start = f->raw.n, value = f->value.n;
		size_t end = i + 1 < h->count ? h->fields[i + 1].raw.n : all.n;
		f->raw = slice_make(all.p + start, end - start);
		f->name = slice_head(f->raw, f->name.n);
		if (end - value >= 2 && all.p[end - 2] == '\r' && all.p[end - 1] == '\n')
			end -= 2;
		f->value = slice_make(all.p + value, end - value);
	}
}

/* The line is no field: it and all behind it are the body. */
static void header_end_before_line(struct header *h, size_t taken_before)
{
	h->malformed = true;
	if (taken_before > h->line_start)
		h->body_lead = slice_make(h->bytes.p + h->line_start, taken_before - h->line_start);
	h->bytes.n = h->line_start;
	header_end(h);
}

/* ---- lines ---- */

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 section 2.2: printable US-ASCII except the colon; RFC 6532 section 3.2 leaves names as they are. */
static bool is_name(char c)
{
	return field_name_length(slice_make(&c, 1)) == 1;
}

enum step { STEP_ON, STEP_NO_FIELD, STEP_BLANK, STEP_TOO_MANY };

/* One octet of a line whose nature is open; it is in `bytes` already.
 * RFC 5322 section 3.6.8:     optional-field = field-name ":" unstructured CRLF
 * section 4.5.8, obsolete:    obs-optional = field-name *WSP ":" unstructured CRLF
 * section 2.2.3:              a line that begins with WSP continues the field before it */
static enum step line_step(struct header *h, char c)
{
	switch ((enum line_state)h->line_state) {
	case LINE_NEW:
		if (c == '\r')
			h->line_state = LINE_CR;
		else if (is_wsp(c) && h->count > 0)
			h->line_state = LINE_VALUE;
		else if (is_name(c))
			h->line_state = LINE_NAME;
		else
			return STEP_NO_FIELD;
		return STEP_ON;
	case LINE_CR:
		return c == '\n' ? STEP_BLANK : STEP_NO_FIELD;
	case LINE_NAME:
	case LINE_NAME_SPACE:
		if (c == ':') {
			size_t length = h->bytes.n - 1 - h->line_start;
			while (is_wsp(h->bytes.p[h->line_start + length - 1]))
				length--;
			h->line_state = LINE_VALUE;
			return field_begin(h, h->line_start, length, h->bytes.n) ? STEP_ON : STEP_TOO_MANY;
		}
		if (is_wsp(c))
			h->line_state = LINE_NAME_SPACE;
		else if (!is_name(c) || h->line_state == LINE_NAME_SPACE)
			return STEP_NO_FIELD;
		return STEP_ON;
	case LINE_VALUE:
		break;
	}
	return STEP_ON;
}

/* How much of the input belongs to a line whose nature is known, with its LF if that is there. */
static size_t value_length(struct slice in)
{
	ptrdiff_t lf = slice_find(in, '\n');

	return lf >= 0 ? (size_t)lf + 1 : in.n;
}

static void value_take(struct header *h, struct slice piece)
{
	str_add(&h->bytes, piece);
	if (h->bytes.p[h->bytes.n - 1] == '\n' && h->bytes.n - h->line_start >= 2 &&
	    h->bytes.p[h->bytes.n - 2] == '\r') {
		h->line_state = LINE_NEW;
		h->line_start = (uint32_t)h->bytes.n;
	}
}

/* Octets that go on with a name and change no state, as far as the limit permits. */
static size_t name_length(const struct header *h, struct slice in)
{
	return field_name_length(slice_head(in, h->limit - h->bytes.n));
}

/* Behind the first CRLF in p to end; NULL: there is none. */
static const char *line_end(const char *p, const char *end)
{
	const char *from = p;

	while (from < end) {
		const char *lf = memchr(from, '\n', (size_t)(end - from));
		if (!lf)
			break;
		if (lf > p && lf[-1] == '\r')
			return lf + 1;
		from = lf + 1;
	}
	return NULL;
}

/* Lines that are there as a whole and are fields or folds; the first octet begins a line. Returns what was taken. */
static size_t whole_lines(struct header *h, struct slice in)
{
	const char *p = in.p, *end = p + slice_head(in, h->limit - h->bytes.n).n, *next;
	size_t base = h->bytes.n;

	for (; p < end; p = next) {
		const char *value = p;
		size_t name = 0;
		if (!is_wsp(*p) || h->count == 0) {
			name = field_name_length(slice_make(p, (size_t)(end - p)));
			value += name;
			while (name > 0 && value < end && is_wsp(*value))
				value++;
			if (name == 0 || value == end || *value++ != ':')
				break;
		}
		next = line_end(value, end);
		if (!next)
			break;
		if (name > 0 && !field_begin(h, base + (size_t)(p - in.p), name, base + (size_t)(value - in.p)))
			break;
	}
	str_add(&h->bytes, slice_make(in.p, (size_t)(p - in.p)));
	h->line_start = (uint32_t)h->bytes.n;
	return (size_t)(p - in.p);
}

/* One octet of a line whose nature is open, or the empty line. Returns what was taken; `before` is as in header_push(). */
static size_t take_octet(struct header *h, struct slice in, size_t before)
{
	if (h->line_state == LINE_NEW && slice_starts(in, SLICE("\r\n")) && h->bytes.n + 2 <= h->limit) {
		h->blank_line = true;
		header_end(h);
		return 2;
	}
	str_addc(&h->bytes, in.p[0]);
	switch (line_step(h, in.p[0])) {
	case STEP_ON:
		break;
	case STEP_BLANK:
		h->blank_line = true;
		h->bytes.n = h->line_start;
		header_end(h);
		break;
	case STEP_NO_FIELD:
		header_end_before_line(h, before);
		break;
	case STEP_TOO_MANY:
		h->too_large = true;
		header_end(h);
		break;
	}
	return 1;
}

size_t header_push(struct header *h, struct slice content)
{
	size_t before = h->bytes.n, at = 0;

	while (!h->done && at < content.n) {
		struct slice rest = slice_from(content, at);
		size_t n = 0;
		if (h->line_state == LINE_NEW)
			n = whole_lines(h, rest);
		else if (h->line_state == LINE_NAME)
			n = name_length(h, rest);
		if (n > 0) {
			if (h->line_state == LINE_NAME)
				str_add(&h->bytes, slice_head(rest, n));
			at += n;
			continue;
		}
		n = h->line_state == LINE_VALUE ? value_length(rest) : 1;
		if (h->bytes.n + n > h->limit) {
			h->too_large = true;
			header_end(h);
			return at;
		}
		if (h->line_state == LINE_VALUE)
			value_take(h, slice_head(rest, n));
		else
			n = take_octet(h, rest, before);
		at += n;
	}
	if (h->malformed)
		return h->line_start > before ? h->line_start - before : 0;
	return at;
}

void header_finish(struct header *h)
{
	if (h->done)
		return;
	if (h->line_state == LINE_NEW || h->line_state == LINE_VALUE)
		header_end(h);
	else
		header_end_before_line(h, h->bytes.n);
}

/* ---- asking ---- */

const struct field *header_field(const struct header *h, struct slice name, uint32_t n)
{
	for (uint32_t i = 0; i < h->count; i++) {
		if (slice_eq_nocase(h->fields[i].name, name) && n-- == 0)
			return &h->fields[i];
	}
	return NULL;
}

uint32_t header_count(const struct header *h, struct slice name)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->count; i++)
		n += slice_eq_nocase(h->fields[i].name, name);
	return n;
}

/* The first CRLF, -1: none. By memchr(), since memmem() goes octet by octet where two are looked for. */
static ptrdiff_t crlf_find(struct slice s)
{
	size_t from = 0;
	ptrdiff_t cr;

	while ((cr = slice_find(slice_from(s, from), '\r')) >= 0) {
		size_t at = from + (size_t)cr;
		if (at + 1 < s.n && s.p[at + 1] == '\n')
			return (ptrdiff_t)at;
		from = at + 1;
	}
	return -1;
}

/* RFC 5322 section 2.2.3: unfolding is accomplished by simply removing any CRLF that is
 * immediately followed by WSP. */
struct slice field_unfolded(struct arena *a, const struct field *f)
{
	struct slice rest = slice_trim(f->value);
	struct str out = STR_IN(a);
	ptrdiff_t fold = crlf_find(rest);

	if (fold < 0)
		return rest;
	str_room(&out, rest.n);
	while (fold >= 0) {
		bool folded = (size_t)fold + 2 < rest.n && is_wsp(rest.p[fold + 2]);
		str_add(&out, slice_head(rest, (size_t)fold + (folded ? 0 : 2)));
		rest = slice_from(rest, (size_t)fold + 2);
		fold = crlf_find(rest);
	}
	str_add(&out, rest);
	return str_slice(&out);
}

/* ---- Message-ID ---- */

/* RFC 5322 section 3.2.2:
 *   comment = "(" *([FWS] ccontent) [FWS] ")", ccontent = ctext / quoted-pair / comment
 * Returns what stands behind white space and comments; empty if a comment does not end. */
static struct slice skip_cfws(struct slice s)
{
	unsigned depth = 0;

	while (s.n > 0) {
		char c = s.p[0];
		if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth > 0 && c == '\\')
			s = slice_from(s, 1);
		else if (depth == 0 && !is_wsp(c) && c != '\r' && c != '\n')
			break;
		s = slice_from(s, 1);
	}
	return s;
}

/* The length of "<...>" with nothing in it that needs a closer look; 0: it does. */
static size_t plain_id(struct slice s)
{
	size_t n = 1;

	while (n < s.n && n < MESSAGE_ID_MAX && s.p[n] > ' ' && s.p[n] < 0x7f && s.p[n] != '<' && s.p[n] != '>' && s.p[n] != '"')
		n++;
	return n > 1 && n < s.n && n < MESSAGE_ID_MAX && s.p[n] == '>' ? n + 1 : 0;
}

/* RFC 5322 sections 3.6.4, 4.5.4:
 *   msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]
 *   obs-id-left = local-part (which may be a quoted string)
 * Deviations, since it only has to be found again as it was sent: any printable or UTF-8
 * octets are taken between the brackets, the "@" may be missing, and white space (obsolete) is left out. What
 * stands behind the ">" does not matter. */
struct slice field_message_id(struct arena *a, const struct field *f)
{
	struct slice s = skip_cfws(f->value);
	struct str id = STR_IN(a);
	bool quoted = false;
	size_t plain;

	if (s.n == 0 || s.p[0] != '<')
		return SLICE_NULL;
	plain = plain_id(s);
	if (plain > 0)
		return slice_copy(a, slice_head(s, plain));
	for (size_t i = 0; i < s.n && id.n < MESSAGE_ID_MAX; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_wsp((char)c) || c == '\r' || c == '\n')
			continue;
		if (c < ' ' || c == 0x7f || (c == '<' && i > 0 && !quoted))
			break;
		str_addc(&id, (char)c);
		if (c == '"')
			quoted = !quoted;
		if (quoted && c == '\\' && i + 1 < s.n && s.p[i + 1] > ' ' && s.p[i + 1] < 0x7f)
			str_addc(&id, s.p[++i]);
		if (c == '>' && !quoted)
			return id.n > 2 ? str_slice(&id) : SLICE_NULL;
	}
	return SLICE_NULL;
}

struct slice header_message_id(struct arena *a, const struct header *h)
{
	const struct field *f = header_field(h, SLICE("Message-ID"), 0);

	return f ? field_message_id(a, f) : SLICE_NULL;
}
