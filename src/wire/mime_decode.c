/*
 * base64 and quoted-printable, as they flow.
 *
 * base64 is read in groups of four through one table; a group with a line end, a pad or a stranger in
 * it goes octet by octet. Quoted-printable copies up to the next "=". Deviation from RFC 2045
 * section 6.7 rule (3): white space at the end of a line is kept, since it would have to be held back without limit.
 */
#include "wire/mime_decode.h"

#define X 0xff
/* Table 1 of section 6.8; X: not of the alphabet. */
static const uint8_t base64_value[256] = {
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, 62, X, X, X, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X, X, X, X, X, X,
	X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X, X, X, X, X,
	X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X, X,
	X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
};
#undef X

/* The octets of an unfinished group (a pad, or the end of the body). */
static size_t base64_rest(struct mime_decoder *d, char *out)
{
	size_t n = 0;

	if (d->count >= 2)
		out[n++] = (char)(d->bits >> (d->count * 6 - 8));
	if (d->count == 3)
		out[n++] = (char)(d->bits >> 2);
	d->count = 0;
	d->bits = 0;
	return n;
}

static size_t base64_octet(struct mime_decoder *d, unsigned char c, char *out)
{
	if (c == '=')
		return base64_rest(d, out);
	if (base64_value[c] == 0xff)
		return 0;
	d->bits = d->bits << 6 | base64_value[c];
	if (++d->count < 4)
		return 0;
	out[0] = (char)(d->bits >> 16);
	out[1] = (char)(d->bits >> 8);
	out[2] = (char)d->bits;
	d->count = 0;
	d->bits = 0;
	return 3;
}

static size_t base64_decode(struct mime_decoder *d, struct slice *in, char *out, size_t room)
{
	const unsigned char *p = (const unsigned char *)in->p, *end = p + in->n;
	size_t n = 0;

	while (p < end && n + 3 <= room) {
		if (d->count == 0) {
			while (end - p >= 4 && n + 3 <= room) {
				uint8_t a = base64_value[p[0]], b = base64_value[p[1]];
				uint8_t c = base64_value[p[2]], e = base64_value[p[3]];
				if ((a | b | c | e) & 0xc0)
					break;
				out[n++] = (char)(a << 2 | b >> 4);
				out[n++] = (char)(b << 4 | c >> 2);
				out[n++] = (char)(c << 6 | e);
				p += 4;
			}
			if (p == end || n + 3 > room)
				break;
		}
		n += base64_octet(d, *p++, out + n);
	}
	*in = slice_make((const char *)p, (size_t)(end - p));
	return n;
}

/* ---- quoted-printable ---- */

/* X: no digit. */
#define X 0x10
static const uint8_t hex_value[256] = {
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, X, X, X, X, X, X,
	X, 10, 11, 12, 13, 14, 15, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, 10, 11, 12, 13, 14, 15, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
};
#undef X

enum { QP_TEXT, QP_EQUALS, QP_HEX, QP_SPACE, QP_CR };

/* One octet behind an "=". Section 6.7:
 *   (1) "=" followed by two hexadecimal digits: the octet
 *   (5) "=" at the end of a line, perhaps with white space behind it: no line end */
static size_t qp_octet(struct mime_decoder *d, char c, char *out)
{
	size_t n = 0;

	switch (d->state) {
	case QP_EQUALS:
		if (ascii_hex(c) >= 0) {
			d->first = (uint8_t)c;
			d->state = QP_HEX;
			return 0;
		}
		d->state = c == '\n' ? QP_TEXT : c == '\r' ? QP_CR : c == ' ' || c == '\t' ? QP_SPACE : QP_TEXT;
		if (d->state != QP_TEXT || c == '\n')
			return 0;
		out[n++] = '=';
		break;
	case QP_HEX:
		d->state = QP_TEXT;
		if (ascii_hex(c) >= 0) {
			out[0] = (char)(ascii_hex((char)d->first) << 4 | ascii_hex(c));
			return 1;
		}
		out[n++] = '=';
		out[n++] = (char)d->first;
		break;
	case QP_SPACE:
		if (c == ' ' || c == '\t')
			return 0;
		d->state = c == '\r' ? QP_CR : QP_TEXT;
		if (c == '\r' || c == '\n')
			return 0;
		break;
	case QP_CR:
		d->state = QP_TEXT;
		if (c == '\n')
			return 0;
		break;
	default:
		break;
	}
	if (c == '=') {
		d->state = QP_EQUALS;
		return n;
	}
	out[n++] = c;
	return n;
}

static size_t qp_decode(struct mime_decoder *d, struct slice *in, char *out, size_t room)
{
	size_t n = 0;

	while (in->n > 0 && n + 3 <= room) {
		size_t text;
		ptrdiff_t equals;
		while (in->n > 2 && d->state == QP_TEXT && in->p[0] == '=' && n + 3 <= room) {
			uint8_t high = hex_value[(unsigned char)in->p[1]], low = hex_value[(unsigned char)in->p[2]];
			if ((high | low) & 0x10)
				break;
			out[n++] = (char)(high << 4 | low);
			*in = slice_from(*in, 3);
		}
		if (in->n == 0 || n + 3 > room)
			break;
		if (d->state != QP_TEXT) {
			n += qp_octet(d, in->p[0], out + n);
			*in = slice_from(*in, 1);
			continue;
		}
		equals = slice_find(slice_head(*in, room - n), '=');
		text = equals >= 0 ? (size_t)equals : in->n < room - n ? in->n : room - n;
		memcpy(out + n, in->p, text);
		n += text;
		*in = slice_from(*in, text);
		if (equals >= 0) {
			d->state = QP_EQUALS;
			*in = slice_from(*in, 1);
		}
	}
	return n;
}

size_t mime_decode(struct mime_decoder *d, struct slice *in, char *out, size_t room)
{
	return d->encoding == MIME_BASE64 ? base64_decode(d, in, out, room) : qp_decode(d, in, out, room);
}

size_t mime_decode_end(struct mime_decoder *d, char *out)
{
	size_t n = 0;

	if (d->encoding == MIME_BASE64)
		return base64_rest(d, out);
	if (d->state == QP_HEX) {
		out[n++] = '=';
		out[n++] = (char)d->first;
	}
	d->state = QP_TEXT;
	return n;
}

enum mime_encoding mime_encoding_of(struct slice value)
{
	value = slice_trim(value);
	if (slice_starts_nocase(value, SLICE("base64")))
		return MIME_BASE64;
	return slice_starts_nocase(value, SLICE("quoted-printable")) ? MIME_QUOTED_PRINTABLE : MIME_IDENTITY;
}
