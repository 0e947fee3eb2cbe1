/*
 * The message that a bounce returns, as scanners are sent it: taken out of the content while that is read once more.
 *
 * It is the first enclosed message of the notice, with the transfer encoding of the part that holds it undone; what it encloses
 * itself is within it, and what the limits of the MIME parser leave out is left to the scan of the whole.
 *
 * Rejected: a copy beside the spool, kept as the message arrives: for every bounce twice the memory, though most are never
 * asked about; decoding in each scanner's client: there would be three of it.
 */
#include "check/content_scan.h"

#include "wire/mime.h"

#define BUFFER (32u * 1024u)

struct returned_pieces {
	struct pieces pieces;
	struct content_source source;
	struct content_cursor at;
	struct mime *mime;
	struct str out;			/* what the last octets of the content held of it */
	uint32_t number;		/* of the part that encloses it; 0: not seen yet */
	bool over;			/* it has ended, or the content has */
	char buffer[BUFFER];
};

static enum mime_want part_begin(void *arg, struct mime_part *part)
{
	struct returned_pieces *p = arg;

	if (p->number || part->shape != MIME_MESSAGE)
		return MIME_SKIP;
	p->number = part->number;
	return MIME_DECODED;
}

static void part_body(void *arg, struct mime_part *part, struct slice piece)
{
	struct returned_pieces *p = arg;

	if (part->number == p->number)
		str_add(&p->out, piece);
}

static void part_end(void *arg, struct mime_part *part)
{
	struct returned_pieces *p = arg;

	if (part->number == p->number)
		p->over = true;
}

static const struct mime_events events = { part_begin, part_body, part_end };

static bool next_piece(struct pieces *base, struct slice *piece)
{
	struct returned_pieces *p = container_of(base, struct returned_pieces, pieces);

	p->out.n = 0;
	while (p->out.n == 0 && !p->over) {
		ptrdiff_t n = p->source.read(p->source.arg, &p->at, p->buffer, sizeof(p->buffer));

		if (n < 0)
			return false;
		if (n > 0) {
			mime_push(p->mime, slice_make(p->buffer, (size_t)n));
		} else {
			mime_finish(p->mime);
			p->over = true;
		}
	}
	*piece = str_slice(&p->out);
	return true;
}

struct pieces *content_returned(struct arena *a, struct content_source source)
{
	struct returned_pieces *p = arena_alloc(a, sizeof(*p));

	memset(p, 0, offsetof(struct returned_pieces, buffer));
	p->pieces.next = next_piece;
	p->source = source;
	p->mime = mime_begin(a, &events, p);
	p->out = STR_IN(a);
	return &p->pieces;
}
