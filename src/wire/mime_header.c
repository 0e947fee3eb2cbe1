/*
 * Header sections of entities: lines are collected as they come, and at the blank line they become fields, which say what
 * the entity is.
 *
 * A line that is no field ends the section as it does in header_push(), but for a fold that has lost its white space.
 */
#include "wire/mime_parser.h"

#include "wire/field_name.h"

#define BLANKS_MAX 3u	/* blank lines that are passed over before an enclosed message */

void mime_header_reset(struct mime *m)
{
	m->header_n = 0;
	m->line = 0;
	m->line_octets = 0;
	m->header_cut = false;
	m->blanks = 0;
}

static void header_keep(struct mime *m, struct slice piece)
{
	size_t room = MIME_HEADER_MAX - m->header_n;

	if (piece.n > room || m->header_cut) {
		m->header_cut = true;
		m->totals->limited = true;
		return;
	}
	if (m->header_n + piece.n > m->header_cap) {
		size_t cap = m->header_cap ? m->header_cap : 1024;
		char *grown;
		while (cap < m->header_n + piece.n)
			cap *= 2;
		grown = arena_alloc(m->arena, cap);
		if (m->header_n > 0)
			memcpy(grown, m->header, m->header_n);
		m->header = grown;
		m->header_cap = cap;
	}
	/* A line that was read as part of this section may come again as the first of an enclosed one. */
	memmove(m->header + m->header_n, piece.p, piece.n);
	m->header_n += piece.n;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 section 3.6.8: optional-field = field-name ":" unstructured CRLF; section 4.5.8: *WSP ":".
 * Returns the length of the name, 0: no field. */
static size_t header_name(struct slice line)
{
	ptrdiff_t colon = slice_find(line, ':');
	size_t n = colon > 0 ? (size_t)colon : 0;

	while (n > 0 && is_wsp(line.p[n - 1]))
		n--;
	for (size_t i = 0; i < n; i++)
		if (line.p[i] <= ' ' || line.p[i] > '~')
			return 0;
	return n;
}

/* What header_line() took for a fold that has lost its white space: letters, "=", no colon before. */
static bool is_parameter(struct slice line)
{
	size_t n = 0;

	while (n < line.n && n < 30 && (ascii_alpha(line.p[n]) || line.p[n] == '-'))
		n++;
	return n > 2 && n < line.n && line.p[n] == '=';
}

static void fields_room(struct mime *m)
{
	if (!m->fields)
		m->fields = arena_alloc(m->arena, sizeof(struct field) * MIME_FIELDS_MAX);
}

/* Splits the section into fields. A field holds at least its name; folds belong to it. */
static uint32_t fields_read(struct mime *m, struct slice section)
{
	uint32_t count = 0;

	fields_room(m);
	while (section.n > 0) {
		size_t name = header_name(section), end = 0;
		for (;;) {
			ptrdiff_t lf = slice_find(slice_from(section, end), '\n');
			end = lf >= 0 ? end + (size_t)lf + 1 : section.n;
			if (end >= section.n || (!is_wsp(section.p[end]) && !is_parameter(slice_from(section, end))))
				break;
		}
		if (count == MIME_FIELDS_MAX) {
			m->header_cut = true;
			m->totals->limited = true;
			break;
		}
		if (name > 0) {
			struct slice raw = slice_head(section, end);
			size_t colon = (size_t)slice_find(raw, ':');
			m->fields[count++] = (struct field){ .name = slice_head(raw, name), .raw = raw,
				.value = slice_trim(slice_from(raw, colon + 1)) };
		}
		section = slice_from(section, end);
	}
	return count;
}

static void header_done(struct mime *m)
{
	struct entity *e = mime_top(m);

	e->part.header = slice_make(m->header, m->header_n);
	e->part.field_count = fields_read(m, e->part.header);
	e->part.fields = m->fields;
	e->part.header_cut = m->header_cut;
	mime_entity_begin(m);
}

/* The line is no field: the body begins with it (as in header_push()). Who listened has heard it but for its end, which waits; the line that
 * comes again leaves the same end waiting, for them and for those who hear it now. */
static void header_done_before(struct mime *m, struct slice line)
{
	struct entity *above = m->above;
	uint16_t newcomer = m->count;

	m->header_n = m->line;
	m->raw_pending = END_NONE;
	mime_top(m)->part.header_broken = true;
	header_done(m);
	m->listener_floor = newcomer - 1u;
	m->above = NULL;
	mime_push(m, line);
	m->above = above;
	m->listener_floor = 0;
}

/* "From somebody ..." or ">From ..." of a mailbox file, kept by some who return a message. */
static bool is_mailbox_line(struct slice line)
{
	return slice_starts(line, SLICE("From ")) || slice_starts(line, SLICE(">From "));
}

/* "boundary=..." behind a field that ends in ";": a fold that has lost its white space, as old gateways make them. */
static bool is_lost_parameter(const struct mime *m, struct slice line)
{
	return is_parameter(line) && m->line > 3 && m->header[m->line - 3] == ';';
}

/* A line of the header section is complete. */
static void header_line(struct mime *m)
{
	bool blank = m->line_octets == 1 || (m->line_octets == 2 && m->line_first == '\r');
	struct slice line = slice_make(m->header + m->line, m->header_n - m->line);
	bool enclosed = mime_top(m)->part.is_message && mime_top(m)->part.number > 1;

	m->line_octets = 0;
	if (blank) {
		if (!m->header_cut)
			m->header_n = m->line;
		if (enclosed && m->header_n == 0 && m->blanks++ < BLANKS_MAX)
			return;
		mime_raw_flush(m);	/* the blank line is not of the body */
		header_done(m);
		return;
	}
	if (m->header_cut) {
		m->header_n = m->line;	/* part of a line at most */
		return;
	}
	if (m->line == 0 && enclosed && is_mailbox_line(line)) {
		m->header_n = 0;
		return;
	}
	if (!(is_wsp(line.p[0]) && m->line > 0) && header_name(line) == 0 && !is_lost_parameter(m, line)) {
		header_done_before(m, line);
		return;
	}
	if (line.n < 2 || line.p[line.n - 2] != '\r') {
		m->header_n--;
		header_keep(m, SLICE("\r\n"));
		if (m->header_cut)
			m->header_n = m->line;
	}
	m->line = m->header_n;
}

/* Beyond the limit only the blank line and delimiters matter: the length of the lines before. */
static size_t lines_to_skip(const struct mime *m, struct slice in)
{
	size_t at = 0;

	while (at + 1 < in.n && in.p[at] != '\n' && in.p[at] != '\r' && in.p[at] != '-') {
		const char *lf = memchr(in.p + at, '\n', in.n - at);
		if (!lf)
			break;
		at = (size_t)(lf - in.p) + 1;
	}
	return at;
}

/* A line of a section that is as it should be: a field, or its fold; with its CRLF. Its length, 0: something else. */
static size_t plain_line(struct mime *m, struct slice in, uint32_t *count)
{
	bool folds = is_wsp(in.p[0]) && *count > 0;
	size_t name = folds ? 0 : field_name_length(in), colon = name;
	const char *lf;
	size_t n;

	while (!folds && colon < in.n && is_wsp(in.p[colon]))
		colon++;
	if (!folds && (name == 0 || colon == in.n || in.p[colon] != ':' || in.p[0] == '-' || memchr(in.p, '=', name)))
		return 0;
	lf = memchr(in.p + colon, '\n', in.n - colon);
	if (!lf || lf == in.p || lf[-1] != '\r' || (!folds && *count == MIME_FIELDS_MAX))
		return 0;
	n = (size_t)(lf - in.p) + 1;
	if (!folds)
		m->fields[(*count)++] = (struct field){ .name = slice_head(in, name), .raw = slice_make(in.p, 0),
			.value = slice_make(in.p + colon + 1, 0) };
	m->fields[*count - 1].raw.n += n;
	return n;
}

/* Most sections are there as a whole, and as they should be: then nothing is copied. Returns their length with the blank line; 0: it
 * is to go line by line. */
static size_t take_whole(struct mime *m, struct slice in)
{
	struct mime_part *p = &mime_top(m)->part;
	uint32_t count = 0;
	size_t at = 0, n;

	if (m->header_n > 0 || m->line_octets > 0 || m->header_cut || is_mailbox_line(in))
		return 0;
	fields_room(m);
	in = slice_head(in, MIME_HEADER_MAX);
	while (at < in.n && (n = plain_line(m, slice_from(in, at), &count)) > 0)
		at += n;
	if (!slice_starts(slice_from(in, at), SLICE("\r\n")) || (count == 0 && p->is_message && p->number > 1))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		struct field *f = &m->fields[i];
		f->value = slice_trim(slice_make(f->value.p, (size_t)(f->raw.p + f->raw.n - f->value.p)));
	}
	mime_listeners_out(m, slice_head(in, at + 2));
	m->at_start = true;
	mime_raw_flush(m);	/* the blank line is not of the body */
	p->header = slice_head(in, at);
	p->header_plain = true;
	p->fields = m->fields;
	p->field_count = count;
	mime_entity_begin(m);
	return at + 2;
}

size_t mime_header_take(struct mime *m, struct slice in)
{
	size_t skipped = take_whole(m, in);
	struct slice piece;
	ptrdiff_t lf;

	if (skipped > 0)
		return skipped;
	skipped = m->header_cut && m->line_octets == 0 ? lines_to_skip(m, in) : 0;
	lf = slice_find(in, '\n');
	piece = slice_head(in, lf >= 0 ? (size_t)lf + 1 : in.n);
	if (skipped > 0) {
		mime_listeners_out(m, slice_head(in, skipped));
		m->at_start = true;
		return skipped;
	}
	if (m->line_octets == 0)
		m->line_first = piece.p[0];
	m->line_octets += piece.n;
	mime_listeners_out(m, piece);
	header_keep(m, piece);
	m->at_start = lf >= 0;
	if (lf >= 0)
		header_line(m);
	return piece.n;
}

void mime_header_end(struct mime *m)
{
	/* A line without its end may still be a field, and what it begins may be another message. */
	if (!m->header_cut && m->header_n > m->line && header_name(slice_make(m->header + m->line,
		m->header_n - m->line)) > 0)
		header_keep(m, SLICE("\r\n"));
	else
		m->header_n = m->line;
	header_done(m);
}

/* ---- what they say ---- */

bool mime_is_type(const struct mime_part *p, const char *type, const char *subtype)
{
	return strcmp(p->type, type) == 0 && strcmp(p->subtype, subtype) == 0;
}

/* The fields of MIME, in one walk; returns Content-Transfer-Encoding. */
static const struct field *fields_find(struct mime_part *p)
{
	const struct field *encoding = NULL;

	for (uint32_t i = 0; i < p->field_count; i++) {
		const struct field *f = &p->fields[i];
		if (f->name.n < 12 || ascii_lower(f->name.p[0]) != 'c')
			continue;
		if (!p->content_type && slice_eq_nocase(f->name, SLICE("Content-Type")))
			p->content_type = f;
		else if (!encoding && slice_eq_nocase(f->name, SLICE("Content-Transfer-Encoding")))
			encoding = f;
		else if (!p->content_disposition && slice_eq_nocase(f->name, SLICE("Content-Disposition")))
			p->content_disposition = f;
	}
	return encoding;
}

/* Type, encoding and shape, from the header fields. */
void mime_describe(struct mime *m, struct entity *e, const char *type, const char *subtype)
{
	struct mime_part *p = &e->part;
	const struct field *encoding = fields_find(p), *content_type = p->content_type;
	bool room = p->depth + 1u < MIME_DEPTH_MAX;
	struct slice charset;

	memcpy(p->type, type, strlen(type) + 1);
	memcpy(p->subtype, subtype, strlen(subtype) + 1);
	if (content_type)
		mime_type_read(content_type->value, p->type, p->subtype);
	if (encoding)
		p->encoding = mime_encoding_of(encoding->value);
	e->decoder.encoding = p->encoding;
	if (strcmp(p->type, "multipart") == 0 && content_type) {
		ptrdiff_t n = mime_parameter_read(content_type->value, SLICE("boundary"), e->boundary,
			MIME_BOUNDARY_MAX, &charset);
		m->totals->limited |= !room && n > 0;
		if (room && n > 0)
			mime_boundary_set(m, e, n);
		if (p->shape == MIME_MULTIPART)	/* section 5: no other encoding is permitted */
			p->encoding = e->decoder.encoding = MIME_IDENTITY;
	} else if (mime_is_type(p, "message", "rfc822") || mime_is_type(p, "message", "global") ||
	    mime_is_type(p, "message", "news")) {
		bool fits = room && m->totals->parts < MIME_PARTS_MAX &&
			(p->encoding == MIME_IDENTITY || m->nesting < MIME_NESTING_MAX);
		m->totals->limited |= !fits;
		if (fits)
			p->shape = MIME_MESSAGE;
	}
}
