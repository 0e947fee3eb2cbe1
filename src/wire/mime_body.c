/*
 * What the parser of MIME tells of bodies: the octets of an entity, decoded or not, and to those who want an enclosed
 * message as a whole the same octets as they stand.
 *
 * The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1), so the last line end of what has
 * been seen waits for what follows, once for the entity and once for the listeners.
 */
#include "wire/mime_parser.h"

static void body_emit(struct mime *m, struct entity *e, struct slice piece)
{
	if (piece.n > 0 && m->events->part_body && !e->part.enough)
		m->events->part_body(m->arg, &e->part, piece);
}

void mime_body_decoded(struct mime *m, struct entity *e, struct slice piece)
{
	if (piece.n == 0)
		return;
	if (e->has_child)		/* it tells the message as it reads it: the header section before it says so */
		mime_push(m->child, piece);
	else if (e->want == MIME_DECODED)
		body_emit(m, e, piece);
}

static void mime_body_out(struct mime *m, struct slice piece)
{
	struct entity *e = mime_top(m);

	if (piece.n == 0)
		return;
	e->has_body = true;
	if (e->want == MIME_RAW)
		body_emit(m, e, piece);
	if ((e->want != MIME_DECODED || e->part.enough) && !e->has_child)
		return;
	if (e->decoder.encoding == MIME_IDENTITY) {
		mime_body_decoded(m, e, piece);
		return;
	}
	while (piece.n > 0 && (!e->part.enough || e->has_child)) {
		/* At first a little: many want no more. */
		size_t n = mime_decode(&e->decoder, &piece, m->out, e->decoding || e->has_child ? OUT_ROOM : FIRST_OUT);
		e->decoding = true;
		mime_body_decoded(m, e, slice_make(m->out, n));
	}
}

/* To all that listen to an enclosed message as a whole. */
static void raw_out(struct mime *m, struct slice piece)
{
	if (m->above)
		body_emit(m, m->above, piece);
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

void mime_listeners_out(struct mime *m, struct slice piece)
{
	if (m->listeners > 0)
		out_but_end(m, &m->raw_pending, piece, raw_out);
}

void mime_pending_flush(struct mime *m)
{
	enum line_end end = m->pending;

	m->pending = END_NONE;
	mime_body_out(m, end_text(end));
}

void mime_raw_flush(struct mime *m)
{
	enum line_end end = m->raw_pending;

	m->raw_pending = END_NONE;
	raw_out(m, end_text(end));
}

/* Octets of the body of the topmost entity. */
void mime_content_out(struct mime *m, struct slice piece)
{
	mime_listeners_out(m, piece);
	if (m->boundaries > 0) {
		out_but_end(m, &m->pending, piece, mime_body_out);
	} else {
		mime_pending_flush(m);
		mime_body_out(m, piece);
	}
}
