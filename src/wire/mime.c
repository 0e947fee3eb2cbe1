/*
 * The structure of a message, line by line where it can change, by the piece where it cannot.
 *
 * The entities that are open stand on a stack; the topmost one is in one of four phases. In its header section lines
 * are collected; everywhere else only a line that begins with "--" can mean anything, and only while a multipart is
 * open: so the parser looks for a line end with a "-" behind it.
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
#include "wire/mime_parser.h"

#include "base/log.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* ---- entities ---- */

static void entity_push(struct mime *m, bool is_message)
{
	const struct mime_part *around = m->count > 0 ? &mime_top(m)->part : m->around;
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
	mime_header_reset(m);
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
	m->child->boundaries = 0;
	m->child->above = e->want == MIME_DECODED ? e : NULL;
	m->child->listeners = m->child->above != NULL;
	m->child->raw_pending = END_NONE;
	m->child->hold_n = 0;
	m->child->at_start = true;
	m->child->around = &e->part;
	e->has_child = true;
	entity_push(m->child, true);
}

/* The header section of the topmost entity is there. */
void mime_entity_begin(struct mime *m)
{
	struct entity *e = mime_top(m);
	bool in_digest = m->count > 1 && mime_is_type(&m->stack[m->count - 2].part, "multipart", "digest");

	mime_describe(m, e, in_digest ? "message" : "text", in_digest ? "rfc822" : "plain");
	if (m->events->part_begin)
		e->want = m->events->part_begin(m->arg, &e->part);
	e->part.fields = e->part.content_type = e->part.content_disposition = NULL;
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
	mime_raw_flush(m);
	m->listeners += e->want != MIME_SKIP;
	entity_push(m, true);
}

/* The topmost entity ends. */
static void entity_end(struct mime *m, bool cut)
{
	struct entity *e = mime_top(m);
	char rest[4];

	if (m->phase == PHASE_HEADER) {
		mime_header_end(m);
		if (mime_top(m) != e) {		/* an enclosed message without an octet */
			m->phase = PHASE_BODY;
			m->totals->parts--;
			m->count--;
		}
	} else if (e->decoder.encoding != MIME_IDENTITY && (e->want == MIME_DECODED || e->has_child)) {
		mime_body_decoded(m, e, slice_make(rest, mime_decode_end(&e->decoder, rest)));
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
		mime_top(m)->has_body = true;
		m->phase = mime_top(m)->part.shape == MIME_MULTIPART ? PHASE_OUTSIDE : PHASE_BODY;
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

static void delimiter_act(struct mime *m, struct delimiter d, struct slice line)
{
	struct entity *e = &m->stack[d.level];

	entities_end(m, d.level + 1u);
	e->has_body = true;
	m->pending = END_NONE;
	m->phase = PHASE_OUTSIDE;
	if (m->listeners > 0)
		mime_listeners_out(m, line);
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

/* The line at hand may be a delimiter. Returns what was taken; 0: it is text. */
static size_t take_delimiter(struct mime *m, struct slice in)
{
	struct slice line = in;
	struct delimiter d;

	switch (mime_line_nature(m, in, &line, &d)) {
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

#if defined(__SSE2__)
/* Which of sixteen octets are a LF with a "-" behind it. */
static inline unsigned dash_lines(const char *p)
{
	__m128i octets = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i behind = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));

	return (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(octets, _mm_set1_epi8('\n')),
		_mm_cmpeq_epi8(behind, _mm_set1_epi8('-'))));
}
#endif

/* Where the next line begins that begins with "-"; the length if there is none. */
static size_t dash_line(struct slice in, size_t at)
{
#if defined(__SSE2__)
	for (; in.n - at > 32; at += 32) {
		unsigned found = dash_lines(in.p + at) | dash_lines(in.p + at + 16) << 16;
		if (found)
			return at + (unsigned)__builtin_ctz(found) + 1;
	}
#endif
	while (at < in.n) {
		const char *lf = memchr(in.p + at, '\n', in.n - at);
		if (!lf)
			break;
		at = (size_t)(lf - in.p) + 1;
		if (at < in.n && in.p[at] == '-')
			return at;
	}
	return in.n;
}

/* The octets before the next line that may be a delimiter. */
static size_t text_length(struct mime *m, struct slice in)
{
	size_t at = 0;

	for (;;) {
		if (m->at_start && in.p[at] == '-') {
			struct delimiter d;
			struct slice line = SLICE_NULL;
			if (mime_line_nature(m, slice_from(in, at), &line, &d) != LINE_TEXT)
				return at;
			at += line.n;
			if (at == in.n)
				return at;
			if (line.n > 0)
				continue;
		}
		at = dash_line(in, at);
		m->at_start = in.p[at - 1] == '\n';
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
		mime_content_out(m, slice_head(in, n));
	return n;
}

/* Octets that are no delimiter. */
static size_t take_text(struct mime *m, struct slice in)
{
	return m->phase == PHASE_HEADER ? mime_header_take(m, in) : take_body(m, in);
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
	switch (mime_line_nature(m, held, &line, &d)) {
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
	e = mime_top(m);
	e->part.header = str_slice(&h->bytes);
	e->part.fields = h->fields;
	e->part.field_count = h->count;
	e->part.header_cut = h->too_large;
	e->part.header_broken = h->malformed;
	mime_entity_begin(m);
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
		if (mime_delimiter_match(m, held, &d))
			delimiter_act(m, d, held);
		else
			take_text(m, held);
	}
	mime_raw_flush(m);
	if (m->phase != PHASE_HEADER)
		mime_pending_flush(m);
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
