/*
 * The structure of a message, line by line where it can change, by the piece where it cannot.
 *
 * The entities that are open stand on a stack; the topmost one is in one of four phases. In its header section lines
 * are collected; everywhere else only a line that begins with "--" can mean anything, and only while a multipart is
 * open: so the parser runs from line end to line end with memchr() and looks at two octets of each line.
 * Such a line is held back (`hold`) until it is complete or too long for a delimiter.
 *
 * The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1), so the last line end of what has
 * been seen waits (`pending`) for what follows. Those who listen to an enclosed message as a
 * whole (`listeners`) get the same octets, header sections and inner delimiters included.
 *
 * A message that is enclosed in base64 or quoted-printable (RFC 2046 section 5.2.1 forbids it, some send it) has a
 * parser of its own, fed with what the decoder yields; events, limits and numbers are shared.
 *
 * Rejected: GMime (a tree in memory: 559 MB for a million header fields); a second pass over a spooled message (the
 * verdict would begin only at its end).
 */
#include "wire/mime_decode.h"

#include "base/log.h"

#define HOLD_MAX (MIME_BOUNDARY_MAX + 68u)	/* "--", the boundary, "--", white space, CRLF */
#define OUT_ROOM 4096u
#define BLANKS_MAX 3u	/* blank lines that are passed over before an enclosed message */

enum phase {
	PHASE_HEADER,
	PHASE_BODY,		/* of a leaf, or of an enclosed message that is encoded */
	PHASE_OUTSIDE,		/* of a multipart, outside its parts */
};

struct entity {
	struct mime_part part;
	enum mime_want want;
	bool closed;			/* a multipart: its close-delimiter has come */
	bool has_body;
	bool has_child;			/* m->child reads its body */
	uint16_t boundary_n;
	struct mime_decoder decoder;
	char boundary[MIME_BOUNDARY_MAX];	/* last: not cleared */
};

enum line_end { END_NONE, END_CR, END_LF, END_CRLF };

struct totals {
	uint32_t parts;
	bool limited;
	bool spent;		/* more parts than permitted: the rest is not looked at */
};

struct mime {
	struct arena *arena;
	const struct mime_events *events;
	void *arg;
	struct totals own, *totals;	/* of the outermost parser */
	struct mime *child;		/* for encoded messages; kept for the next one */
	uint8_t nesting;		/* how many parsers stand around this one */
	const struct mime_part *around;	/* whose body this parser reads; NULL: the outermost */

	struct entity *stack;		/* MIME_DEPTH_MAX of them */
	uint16_t count;
	uint8_t phase;
	bool at_start;			/* the next octet begins a line */
	bool finished;
	uint16_t boundaries;		/* open multiparts that are not closed */
	uint16_t listeners;		/* open messages whose octets are wanted */
	uint16_t listener_floor;	/* entities below it do not hear: they have heard these octets before */
	uint8_t pending, raw_pending;	/* enum line_end: of the topmost entity, of the listeners */
	uint16_t hold_n;

	char *header;			/* the header section at hand */
	size_t header_n, header_cap;
	size_t line;			/* where its last line begins */
	size_t line_octets;		/* of that line, kept or not */
	char line_first;
	bool header_cut;
	uint8_t blanks;
	struct field *fields;
	uint64_t seen;			/* a bit for each boundary there ever was, by the top of its hash: for a quick no */

	/* From here on nothing is cleared. */
	uint64_t hashes[MIME_DEPTH_MAX];	/* of each boundary: a second one */
	char hold[HOLD_MAX];
	char out[OUT_ROOM];
};

static void entity_begin(struct mime *m);

static struct entity *top_of(struct mime *m)
{
	return &m->stack[m->count - 1];
}

/* ---- bodies ---- */

static void body_emit(struct mime *m, struct entity *e, struct slice piece)
{
	if (piece.n > 0 && m->events->part_body)
		m->events->part_body(m->arg, &e->part, piece);
}

static void body_decoded(struct mime *m, struct entity *e, struct slice piece)
{
	if (piece.n == 0)
		return;
	if (e->want == MIME_DECODED)
		body_emit(m, e, piece);
	if (e->has_child)
		mime_push(m->child, piece);
}

static void body_out(struct mime *m, struct slice piece)
{
	struct entity *e = top_of(m);

	if (piece.n == 0)
		return;
	e->has_body = true;
	if (e->want == MIME_RAW)
		body_emit(m, e, piece);
	if (e->want != MIME_DECODED && !e->has_child)
		return;
	if (e->decoder.encoding == MIME_IDENTITY) {
		body_decoded(m, e, piece);
		return;
	}
	while (piece.n > 0) {
		size_t n = mime_decode(&e->decoder, &piece, m->out, OUT_ROOM);
		body_decoded(m, e, slice_make(m->out, n));
	}
}

/* To all that listen to an enclosed message as a whole. */
static void raw_out(struct mime *m, struct slice piece)
{
	for (uint16_t i = m->listener_floor; i < m->count && piece.n > 0; i++) {
		struct entity *e = &m->stack[i];
		if (e->part.shape == MIME_MESSAGE && e->want != MIME_SKIP && !e->has_child)
			body_emit(m, e, piece);
	}
}

/* ---- line ends that wait ---- */

static struct slice end_text(enum line_end end)
{
	static const struct slice text[] = { { "", 0 }, { "\r", 1 }, { "\n", 1 }, { "\r\n", 2 } };

	return text[end];
}

/* Hands a piece on, but for its last line end, which waits. */
static void out_but_end(struct mime *m, uint8_t *pending, struct slice piece,
	void (*out)(struct mime *m, struct slice piece))
{
	enum line_end end = END_NONE;

	if (piece.n > 0 && *pending == END_CR && piece.p[0] == '\n') {
		*pending = END_CRLF;
		piece = slice_from(piece, 1);
	}
	if (piece.n == 0)
		return;
	if (*pending != END_NONE)
		out(m, end_text(*pending));
	if (piece.p[piece.n - 1] == '\n')
		end = piece.n > 1 && piece.p[piece.n - 2] == '\r' ? END_CRLF : END_LF;
	else if (piece.p[piece.n - 1] == '\r')
		end = END_CR;
	*pending = (uint8_t)end;
	out(m, slice_head(piece, piece.n - end_text(end).n));
}

static void listeners_out(struct mime *m, struct slice piece)
{
	if (m->listeners > 0)
		out_but_end(m, &m->raw_pending, piece, raw_out);
}

static void pending_flush(struct mime *m)
{
	enum line_end end = m->pending;

	m->pending = END_NONE;
	body_out(m, end_text(end));
}

static void raw_flush(struct mime *m)
{
	enum line_end end = m->raw_pending;

	m->raw_pending = END_NONE;
	raw_out(m, end_text(end));
}

/* Octets of the body of the topmost entity. */
static void content_out(struct mime *m, struct slice piece)
{
	listeners_out(m, piece);
	if (m->boundaries > 0) {
		out_but_end(m, &m->pending, piece, body_out);
	} else {
		pending_flush(m);
		body_out(m, piece);
	}
}

/* ---- header sections ---- */

static void header_reset(struct mime *m)
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
static size_t field_name(struct slice line)
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

/* Splits the section into fields. A field holds at least its name; folds belong to it. */
static uint32_t fields_read(struct mime *m, struct slice section)
{
	uint32_t count = 0;

	if (!m->fields)
		m->fields = arena_alloc(m->arena, sizeof(struct field) * MIME_FIELDS_MAX);
	while (section.n > 0) {
		size_t name = field_name(section), end = 0;
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
	struct entity *e = top_of(m);

	e->part.header = slice_make(m->header, m->header_n);
	e->part.field_count = fields_read(m, e->part.header);
	e->part.fields = m->fields;
	e->part.header_cut = m->header_cut;
	entity_begin(m);
}

/* The line is no field: the body begins with it (as in header_push()). */
static void header_done_before(struct mime *m, struct slice line)
{
	uint16_t newcomer = m->count;

	m->header_n = m->line;
	top_of(m)->part.header_broken = true;
	header_done(m);
	raw_flush(m);
	m->listener_floor = newcomer - 1u;
	mime_push(m, line);
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
	bool enclosed = top_of(m)->part.is_message && top_of(m)->part.number > 1;

	m->line_octets = 0;
	if (blank) {
		if (!m->header_cut)
			m->header_n = m->line;
		if (enclosed && m->header_n == 0 && m->blanks++ < BLANKS_MAX)
			return;
		raw_flush(m);	/* the blank line is not of the body */
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
	if (!(is_wsp(line.p[0]) && m->line > 0) && field_name(line) == 0 && !is_lost_parameter(m, line)) {
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

static size_t take_header(struct mime *m, struct slice in)
{
	size_t skipped = m->header_cut && m->line_octets == 0 ? lines_to_skip(m, in) : 0;
	ptrdiff_t lf = slice_find(in, '\n');
	struct slice piece = slice_head(in, lf >= 0 ? (size_t)lf + 1 : in.n);

	if (skipped > 0) {
		listeners_out(m, slice_head(in, skipped));
		m->at_start = true;
		return skipped;
	}
	if (m->line_octets == 0)
		m->line_first = piece.p[0];
	m->line_octets += piece.n;
	listeners_out(m, piece);
	header_keep(m, piece);
	m->at_start = lf >= 0;
	if (lf >= 0)
		header_line(m);
	return piece.n;
}

/* ---- entities ---- */

static void entity_push(struct mime *m, bool is_message)
{
	const struct mime_part *around = m->count > 0 ? &top_of(m)->part : m->around;
	struct entity *e = &m->stack[m->count++];

	BUG_ON(m->count > MIME_DEPTH_MAX);
	memset(e, 0, offsetof(struct entity, boundary));
	m->totals->parts++;
	e->part.number = m->totals->parts;
	if (around) {
		e->part.parent = around->number;
		e->part.depth = around->depth + 1u;
		e->part.messages = around->messages + (is_message ? 1u : 0u);
	}
	e->part.is_message = is_message;
	m->phase = PHASE_HEADER;
	m->pending = END_NONE;
	header_reset(m);
}

static bool is_type(const struct mime_part *p, const char *type, const char *subtype)
{
	return strcmp(p->type, type) == 0 && strcmp(p->subtype, subtype) == 0;
}

/* Eight octets at a time. Not keyed: who makes boundaries collide gains twenty comparisons a line. */
static uint64_t hash_of(struct slice s)
{
	uint64_t hash = s.n * 0x9e3779b97f4a7c15u, word;

	while (s.n > 0) {
		size_t n = s.n < 8 ? s.n : 8;
		word = 0;
		memcpy(&word, s.p, n);
		hash = (hash ^ word) * 0xff51afd7ed558ccdu;
		hash ^= hash >> 32;
		s.p += n;
		s.n -= n;
	}
	return hash;
}

static uint64_t seen_bit(uint64_t hash)
{
	return UINT64_C(1) << (hash >> 58);
}

static void boundary_set(struct mime *m, struct entity *e, ptrdiff_t n)
{
	while (n > 0 && is_wsp(e->boundary[n - 1]))	/* RFC 2046 section 5.1.1: bchars do not end with space */
		n--;
	if (n == 0)
		return;
	e->boundary_n = (uint16_t)n;
	e->part.shape = MIME_MULTIPART;
	m->hashes[e - m->stack] = hash_of(slice_make(e->boundary, (size_t)n));
	m->seen |= seen_bit(m->hashes[e - m->stack]);
}

/* Type, encoding and shape, from the header fields. */
static void entity_describe(struct mime *m, struct entity *e, const char *type, const char *subtype)
{
	const struct field *content_type = mime_field(&e->part, SLICE("Content-Type"), 0);
	const struct field *encoding = mime_field(&e->part, SLICE("Content-Transfer-Encoding"), 0);
	struct mime_part *p = &e->part;
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
			boundary_set(m, e, n);
		if (p->shape == MIME_MULTIPART)	/* section 5: no other encoding is permitted */
			p->encoding = e->decoder.encoding = MIME_IDENTITY;
	} else if (is_type(p, "message", "rfc822") || is_type(p, "message", "global") ||
	    is_type(p, "message", "news")) {
		bool fits = room && m->totals->parts < MIME_PARTS_MAX &&
			(p->encoding == MIME_IDENTITY || m->nesting < MIME_NESTING_MAX);
		m->totals->limited |= !fits;
		if (fits)
			p->shape = MIME_MESSAGE;
	}
}

static void child_begin(struct mime *m, struct entity *e)
{
	if (!m->child) {
		m->child = mime_begin(m->arena, m->events, m->arg);
		m->child->totals = m->totals;
		m->child->nesting = m->nesting + 1u;
	}
	m->child->count = 0;
	m->child->finished = false;
	m->child->boundaries = m->child->listeners = 0;
	m->child->hold_n = 0;
	m->child->at_start = true;
	m->child->around = &e->part;
	e->has_child = true;
	entity_push(m->child, true);
}

/* The header section of the topmost entity is there. */
static void entity_begin(struct mime *m)
{
	struct entity *e = top_of(m);
	bool in_digest = m->count > 1 && is_type(&m->stack[m->count - 2].part, "multipart", "digest");

	entity_describe(m, e, in_digest ? "message" : "text", in_digest ? "rfc822" : "plain");
	if (m->events->part_begin)
		e->want = m->events->part_begin(m->arg, &e->part);
	e->part.fields = NULL;
	e->part.field_count = 0;
	e->part.header = SLICE_NULL;
	m->phase = e->part.shape == MIME_MULTIPART ? PHASE_OUTSIDE : PHASE_BODY;
	if (e->part.shape == MIME_MULTIPART)
		m->boundaries++;
	if (e->part.shape != MIME_MESSAGE)
		return;
	if (e->part.encoding != MIME_IDENTITY) {
		child_begin(m, e);
		return;
	}
	raw_flush(m);
	m->listeners += e->want != MIME_SKIP;
	entity_push(m, true);
}

/* The topmost entity ends. */
static void entity_end(struct mime *m, bool cut)
{
	struct entity *e = top_of(m);
	char rest[4];

	if (m->phase == PHASE_HEADER) {
		/* A line without its end may still be a field, and what it begins may be another message. */
		if (!m->header_cut && m->header_n > m->line && field_name(slice_make(m->header + m->line,
			m->header_n - m->line)) > 0)
			header_keep(m, SLICE("\r\n"));
		else
			m->header_n = m->line;
		header_done(m);
		if (top_of(m) != e) {		/* an enclosed message without an octet */
			m->phase = PHASE_BODY;
			m->totals->parts--;
			m->count--;
		}
	} else if (e->decoder.encoding != MIME_IDENTITY && (e->want == MIME_DECODED || e->has_child)) {
		body_decoded(m, e, slice_make(rest, mime_decode_end(&e->decoder, rest)));
	}
	if (e->has_child)
		mime_finish(m->child);
	if (e->part.shape == MIME_MULTIPART && !e->closed) {
		m->boundaries--;
		cut = true;
	}
	if (e->part.shape == MIME_MESSAGE && e->want != MIME_SKIP && !e->has_child)
		m->listeners--;
	e->part.cut = cut;
	e->part.no_body = !e->has_body;
	if (m->events->part_end)
		m->events->part_end(m->arg, &e->part);
	m->count--;
	m->pending = END_NONE;
	if (m->count > 0) {
		top_of(m)->has_body = true;
		m->phase = top_of(m)->part.shape == MIME_MULTIPART ? PHASE_OUTSIDE : PHASE_BODY;
	}
}

/* All entities above the first `keep` end. */
static void entities_end(struct mime *m, uint16_t keep)
{
	bool cut = false;

	for (uint16_t i = keep; i < m->count; i++)
		cut |= m->stack[i].part.shape == MIME_MULTIPART && !m->stack[i].closed;
	while (m->count > keep)
		entity_end(m, cut);
}

/* ---- delimiters ---- */

struct delimiter {
	uint16_t level;		/* on the stack */
	bool close;
};

/* RFC 2046 section 5.1.1:
 *   delimiter := CRLF "--" boundary, close-delimiter := delimiter "--", both before *LWSP-char CRLF */
static bool delimiter_match(const struct mime *m, struct slice line, struct delimiter *out)
{
	uint64_t open, close;
	size_t n;

	while (line.n > 0 && (is_wsp(line.p[line.n - 1]) || line.p[line.n - 1] == '\n' ||
	       line.p[line.n - 1] == '\r'))
		line.n--;
	if (line.n < 3)
		return false;
	line = slice_from(line, 2);
	n = line.n > 2 && line.p[line.n - 1] == '-' && line.p[line.n - 2] == '-' ? line.n - 2 : line.n;
	open = hash_of(line);
	close = n < line.n ? hash_of(slice_make(line.p, n)) : open;
	if (!(m->seen & (seen_bit(open) | seen_bit(close))))
		return false;
	for (uint16_t i = m->count; i-- > 0;) {
		const struct entity *e = &m->stack[i];
		if (e->boundary_n == 0 || e->closed || (m->hashes[i] != open && m->hashes[i] != close))
			continue;
		if ((e->boundary_n != line.n && e->boundary_n != n) ||
		    memcmp(line.p, e->boundary, e->boundary_n) != 0)
			continue;
		*out = (struct delimiter){ i, e->boundary_n < line.n };
		return true;
	}
	return false;
}

static void delimiter_act(struct mime *m, struct delimiter d, struct slice line)
{
	struct entity *e = &m->stack[d.level];

	entities_end(m, d.level + 1u);
	e->has_body = true;
	m->pending = END_NONE;
	m->phase = PHASE_OUTSIDE;
	if (m->listeners > 0)
		listeners_out(m, line);
	else
		m->raw_pending = END_NONE;
	m->at_start = true;
	if (d.close) {
		e->closed = true;
		m->boundaries--;
	} else if (m->totals->parts < MIME_PARTS_MAX) {
		entity_push(m, false);
	} else {
		m->totals->limited = m->totals->spent = true;
	}
}

enum nature { LINE_TEXT, LINE_DELIMITER, LINE_OPEN };

/* What the line at the start of `in` is, as far as it has come. */
static enum nature line_nature(const struct mime *m, struct slice in, struct slice *line, struct delimiter *d)
{
	const char *lf;

	if (in.n > 1 && in.p[1] != '-')
		return LINE_TEXT;
	lf = memchr(in.p, '\n', in.n < HOLD_MAX ? in.n : HOLD_MAX);
	if (!lf)
		return in.n < HOLD_MAX ? LINE_OPEN : LINE_TEXT;
	*line = slice_make(in.p, (size_t)(lf - in.p) + 1);
	return delimiter_match(m, *line, d) ? LINE_DELIMITER : LINE_TEXT;
}

/* The line at hand may be a delimiter. Returns what was taken; 0: it is text. */
static size_t take_delimiter(struct mime *m, struct slice in)
{
	struct slice line = in;
	struct delimiter d;

	switch (line_nature(m, in, &line, &d)) {
	case LINE_DELIMITER:
		delimiter_act(m, d, line);
		return line.n;
	case LINE_OPEN:
		memcpy(m->hold, in.p, in.n);
		m->hold_n = (uint16_t)in.n;
		return in.n;
	case LINE_TEXT:
		break;
	}
	return 0;
}

/* ---- bodies, line by line ---- */

/* The octets before the next line that may be a delimiter. */
static size_t text_length(struct mime *m, struct slice in)
{
	size_t at = 0;

	for (;;) {
		const char *lf;
		if (m->at_start && in.p[at] == '-') {
			struct delimiter d;
			struct slice line = SLICE_NULL;
			if (line_nature(m, slice_from(in, at), &line, &d) != LINE_TEXT)
				return at;
			at += line.n;
			if (at == in.n)
				return at;
			if (line.n > 0)
				continue;
		}
		lf = memchr(in.p + at, '\n', in.n - at);
		m->at_start = lf != NULL;
		if (!lf)
			return in.n;
		at = (size_t)(lf - in.p) + 1;
		if (at == in.n)
			return at;
	}
}

static size_t take_body(struct mime *m, struct slice in)
{
	size_t n = m->boundaries > 0 ? text_length(m, in) : in.n;

	if (m->boundaries == 0)
		m->at_start = in.p[in.n - 1] == '\n';
	if (n > 0)
		content_out(m, slice_head(in, n));
	return n;
}

/* Octets that are no delimiter. */
static size_t take_text(struct mime *m, struct slice in)
{
	return m->phase == PHASE_HEADER ? take_header(m, in) : take_body(m, in);
}

/* A line that was held back goes on. Returns what was taken of the piece. */
static size_t take_held(struct mime *m, struct slice in)
{
	size_t room = HOLD_MAX - m->hold_n, n;
	ptrdiff_t lf = slice_find(slice_head(in, room), '\n');
	struct slice line, held;
	struct delimiter d;

	n = lf >= 0 ? (size_t)lf + 1 : in.n < room ? in.n : room;
	memcpy(m->hold + m->hold_n, in.p, n);
	m->hold_n += (uint16_t)n;
	held = slice_make(m->hold, m->hold_n);
	switch (line_nature(m, held, &line, &d)) {
	case LINE_DELIMITER:
		m->hold_n = 0;
		delimiter_act(m, d, line);
		break;
	case LINE_TEXT:
		m->hold_n = 0;
		m->at_start = false;	/* known to be text: not asked again */
		take_text(m, held);
		m->at_start = lf >= 0;
		break;
	case LINE_OPEN:
		break;
	}
	return n;
}

void mime_push(struct mime *m, struct slice piece)
{
	if (m->count == 0)
		entity_push(m, true);
	while (piece.n > 0 && !m->totals->spent) {
		size_t n = 0;
		if (m->hold_n > 0)
			n = take_held(m, piece);
		else if (m->boundaries > 0 && m->at_start && piece.p[0] == '-')
			n = take_delimiter(m, piece);
		if (n == 0)
			n = take_text(m, piece);
		piece = slice_from(piece, n);
	}
}

/* ---- begin and end ---- */

struct mime *mime_begin(struct arena *a, const struct mime_events *events, void *arg)
{
	struct mime *m = arena_alloc(a, sizeof(*m));

	memset(m, 0, offsetof(struct mime, hashes));
	m->arena = a;
	m->events = events;
	m->arg = arg;
	m->totals = &m->own;
	m->stack = arena_alloc(a, sizeof(struct entity) * MIME_DEPTH_MAX);	/* each is set when it begins */
	m->at_start = true;
	return m;
}

void mime_header(struct mime *m, const struct header *h)
{
	struct entity *e;

	BUG_ON(m->count > 0);
	entity_push(m, true);
	e = top_of(m);
	e->part.header = str_slice(&h->bytes);
	e->part.fields = h->fields;
	e->part.field_count = h->count;
	e->part.header_cut = h->too_large;
	e->part.header_broken = h->malformed;
	entity_begin(m);
}

void mime_finish(struct mime *m)
{
	struct delimiter d;

	if (m->finished)
		return;
	if (m->count == 0)
		entity_push(m, true);
	m->finished = true;
	if (m->hold_n > 0) {
		struct slice held = slice_make(m->hold, m->hold_n);
		m->hold_n = 0;
		m->at_start = false;
		if (delimiter_match(m, held, &d))
			delimiter_act(m, d, held);
		else
			take_text(m, held);
	}
	raw_flush(m);
	if (m->phase != PHASE_HEADER)
		pending_flush(m);
	entities_end(m, 0);
}

uint32_t mime_count(const struct mime *m)
{
	return m->totals->parts;
}

bool mime_limited(const struct mime *m)
{
	return m->totals->limited;
}
