/*
 * Signatures, heads, names. Rejected: libzip and minizip, which want to seek and believe the central directory alone.
 */
#include "wire/zip.h"

#define LOCAL_HEAD 30u
#define CENTRAL_HEAD 46u
#define VERSION_MOST 63u	/* of the specification: 6.3; more is no header, but chance */

enum { SEEKING, IN_SIGNATURE, IN_HEAD, SKIPPING, IN_NAME };

void zip_begin(struct zip *z, void (*on_name)(void *, struct slice, bool), void *arg)
{
	memset(z, 0, sizeof(*z));
	z->on_name = on_name;
	z->arg = arg;
}

static unsigned u16_at(const struct zip *z, unsigned at)
{
	return z->head[at] | (unsigned)z->head[at + 1] << 8;
}

/* "PK" 1 2: central; "PK" 3 4: local. */
static void take_signature(struct zip *z, uint8_t c)
{
	static const uint8_t start[2] = { 'P', 'K' };

	if (z->have < 2 ? c == start[z->have] : z->have == 2 ? c == 1 || c == 3 : c == z->head[2] + 1) {
		z->head[z->have++] = c;
		z->central = z->head[2] == 1;
		if (z->have == 4)
			z->state = IN_HEAD;
		return;
	}
	z->state = SEEKING;
	z->have = 0;
	if (c == 'P') {
		z->head[z->have++] = c;
		z->state = IN_SIGNATURE;
	}
}

/* The head is complete: is it one, and how long is the name behind it? */
static void end_head(struct zip *z)
{
	unsigned version = u16_at(z, z->central ? 6 : 4), length = u16_at(z, z->central ? 28 : 26);

	z->have = 0;
	z->state = SEEKING;
	if ((version & 0xff) > VERSION_MOST || length == 0 || z->names >= ZIP_NAMES_MOST)
		return;
	z->skip = length > ZIP_NAME_MOST ? length - ZIP_NAME_MOST : 0;
	z->left = length - z->skip;
	z->state = z->skip ? SKIPPING : IN_NAME;
}

static void take_name(struct zip *z, struct slice *piece)
{
	struct slice part = slice_head(*piece, z->left);

	memcpy(z->name + z->have, part.p, part.n);
	z->have += (uint32_t)part.n;
	z->left -= (uint32_t)part.n;
	*piece = slice_from(*piece, part.n);
	if (z->left > 0)
		return;
	z->names++;
	z->on_name(z->arg, slice_make(z->name, z->have), u16_at(z, z->central ? 8 : 6) & 1);
	z->state = SEEKING;
	z->have = 0;
}

/* Up to the next octet that could begin a signature. */
static void seek(struct zip *z, struct slice *piece)
{
	ptrdiff_t at = slice_find(*piece, 'P');

	*piece = at < 0 ? SLICE_NULL : slice_from(*piece, (size_t)at);
	if (at >= 0)
		z->state = IN_SIGNATURE;
}

void zip_push(struct zip *z, struct slice piece)
{
	while (piece.n > 0) {
		switch (z->state) {
		case SEEKING:
			seek(z, &piece);
			continue;
		case IN_SIGNATURE:
			take_signature(z, (uint8_t)piece.p[0]);
			break;
		case IN_HEAD:
			z->head[z->have++] = (uint8_t)piece.p[0];
			if (z->have == (z->central ? CENTRAL_HEAD : LOCAL_HEAD))
				end_head(z);
			break;
		case SKIPPING:
			if (--z->skip == 0)
				z->state = IN_NAME;
			break;
		case IN_NAME:
			take_name(z, &piece);
			continue;
		}
		piece = slice_from(piece, 1);
	}
}
