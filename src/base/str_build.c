/*
 * The builder, and what it can write: escapes, JSON, xtext, base64, hex, base32.
 *
 * It doubles its room in the arena and leaves the old one there: at most as much again as
 * the text, gone with the arena. Encoders that leave most bytes as they are
 * (JSON, escapes) copy runs, not bytes: a journal record is mostly plain text. The
 * decoders write into fresh room and count it only once all was well.
 *
 * Rejected: growing in place when the builder is last in its block (saves a copy
 * in few cases, and makes the arena know its users).
 */
#include "base/log.h"
#include "base/str.h"

#define FIRST_ROOM 64

void str_grow(struct str *b, size_t n)
{
	size_t cap = b->cap ? b->cap * 2 : FIRST_ROOM;
	char *p;

	BUG_ON(n > SIZE_MAX / 2 - b->n);
	if (cap < b->n + n)
		cap = b->n + n;
	p = arena_alloc(b->arena, cap);
	if (b->p)
		memcpy(p, b->p, b->n);
	b->p = p;
	b->cap = cap;
}

void str_vprintf(struct str *b, const char *format, va_list args)
{
	char *p = str_room(b, FIRST_ROOM);
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(p, b->cap - b->n, format, args);
	BUG_ON(n < 0);
	if ((size_t)n >= b->cap - b->n)
		vsnprintf(str_room(b, (size_t)n + 1), (size_t)n + 1, format, again);
	va_end(again);
	b->n += (size_t)n;
}

void str_printf(struct str *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	str_vprintf(b, format, args);
	va_end(args);
}

void str_number(struct str *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	str_add(b, slice_make(digits + at, sizeof(digits) - at));
}

const char *str_cstr(struct str *b)
{
	*str_room(b, 1) = '\0';
	return b->p;
}

/* ---- escapes and JSON ---- */

static const char upper_digits[] = "0123456789ABCDEF";
static const char lower_digits[] = "0123456789abcdef";

/* How many bytes at the start are printable ASCII, neither backslash nor `quote`. Eight at once: the
 * high bit of a byte ends up set where the byte is above '~', below ' ', or one of the two. A borrow or
 * carry comes only out of such a byte, so it can spoil none that we have not stopped at. */
static size_t plain_run(const char *p, size_t n, char quote)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t quotes = ones * (uint8_t)quote, backslashes = ones * '\\';
	size_t i = 0;
	uint64_t w;

	for (; n - i >= 8; i += 8) {
		memcpy(&w, p + i, 8);
		if ((w | (w + ones) | (w - ones * ' ') | ((w ^ quotes) - ones) |
			((w ^ backslashes) - ones)) & ones * 0x80)
			break;
	}
	while (i < n && p[i] >= ' ' && p[i] <= '~' && p[i] != '\\' && p[i] != quote)
		i++;
	return i;
}

void str_escaped(struct str *b, struct slice s, size_t max)
{
	size_t n = s.n < max ? s.n : max, i = 0;

	while (i < n) {
		size_t run = plain_run(s.p + i, n - i, '\\');
		unsigned char c;
		str_add(b, slice_make(s.p + i, run));
		i += run;
		if (i == n)
			break;
		c = (unsigned char)s.p[i++];
		if (c == '\\')
			str_add(b, SLICE("\\\\"));
		else
			str_add(b, slice_make((char[]){ '\\', 'x', upper_digits[c >> 4],
				upper_digits[c & 15] }, 4));
	}
	if (n < s.n)
		str_add(b, SLICE("..."));
}

/* How many bytes at i may stand in a JSON string as they are. */
static size_t json_run(struct slice s, size_t i)
{
	size_t start = i, length;

	do {
		i += plain_run(s.p + i, s.n - i, '"');
		length = i < s.n && s.p[i] & 0x80 ? utf8_length(slice_from(s, i)) : 0;
		i += length;
	} while (length);
	return i - start;
}

/* RFC 8259 section 7; DEL is escaped as well, for the terminals that show records. */
void str_json(struct str *b, struct slice s)
{
	str_room(b, s.n + 2);
	str_addc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		size_t run = json_run(s, i);
		unsigned char c;
		str_add(b, slice_make(s.p + i, run));
		i += run;
		if (i == s.n)
			break;
		c = (unsigned char)s.p[i];
		switch (c) {
		case '"': str_add(b, SLICE("\\\"")); break;
		case '\\': str_add(b, SLICE("\\\\")); break;
		case '\n': str_add(b, SLICE("\\n")); break;
		case '\r': str_add(b, SLICE("\\r")); break;
		case '\t': str_add(b, SLICE("\\t")); break;
		default:
			if (c >= 0x80)
				str_add(b, SLICE("\xef\xbf\xbd"));
			else
				str_add(b, slice_make((char[]){ '\\', 'u', '0', '0',
					lower_digits[c >> 4], lower_digits[c & 15] }, 6));
		}
	}
	str_addc(b, '"');
}

void str_utf8(struct str *b, uint32_t code)
{
	if (code < 0x80) {
		str_addc(b, (char)code);
		return;
	}
	if (code < 0x800) {
		str_addc(b, (char)(0xc0 | code >> 6));
	} else if (code < 0x10000) {
		str_addc(b, (char)(0xe0 | code >> 12));
		str_addc(b, (char)(0x80 | (code >> 6 & 0x3f)));
	} else {
		str_addc(b, (char)(0xf0 | code >> 18));
		str_addc(b, (char)(0x80 | (code >> 12 & 0x3f)));
		str_addc(b, (char)(0x80 | (code >> 6 & 0x3f)));
	}
	str_addc(b, (char)(0x80 | (code & 0x3f)));
}

/* ---- xtext ----
 * RFC 3461 section 4:
 *   xtext = *( xchar / hexchar )
 *   xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
 *   hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits */

static bool is_xchar(char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

void str_xtext(struct str *b, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_xchar(s.p[i]))
			str_addc(b, s.p[i]);
		else
			str_add(b, slice_make((char[]){ '+', upper_digits[c >> 4],
				upper_digits[c & 15] }, 3));
	}
}

bool str_xtext_decode(struct str *b, struct slice s)
{
	char *out = str_room(b, s.n);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int high, low;
		if (is_xchar(s.p[i])) {
			out[n++] = s.p[i];
			continue;
		}
		if (s.p[i] != '+' || s.n - i < 3)
			return false;
		high = ascii_hex(s.p[i + 1]);
		low = ascii_hex(s.p[i + 2]);
		if (high < 0 || low < 0)
			return false;
		out[n++] = (char)(high << 4 | low);
		i += 2;
	}
	b->n += n;
	return true;
}

/* ---- base64, hex, base32 ---- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void str_base64(struct str *b, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	char *out = str_room(b, (s.n + 2) / 3 * 4);
	size_t left = s.n;

	for (; left >= 3; p += 3, left -= 3) {
		uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		for (int shift = 18; shift >= 0; shift -= 6)
			*out++ = base64_digits[bits >> shift & 63];
	}
	if (left) {
		uint32_t bits = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);
		*out++ = base64_digits[bits >> 18 & 63];
		*out++ = base64_digits[bits >> 12 & 63];
		*out++ = left == 2 ? base64_digits[bits >> 6 & 63] : '=';
		*out++ = '=';
	}
	b->n += (s.n + 2) / 3 * 4;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (ascii_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool str_base64_decode(struct str *b, struct slice s)
{
	char *out = str_room(b, s.n / 4 * 3);
	size_t padding = 0, n = 0;

	if (s.n % 4)
		return false;
	while (padding < 2 && padding < s.n && s.p[s.n - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < s.n; i += 4) {
		uint32_t bits = 0;
		for (size_t j = i; j < i + 4; j++) {
			int value = j < s.n - padding ? base64_value(s.p[j]) : 0;
			if (value < 0)
				return false;
			bits = bits << 6 | (uint32_t)value;
		}
		out[n++] = (char)(bits >> 16);
		out[n++] = (char)(bits >> 8);
		out[n++] = (char)bits;
	}
	b->n += n - padding;
	return true;
}

void str_hex(struct str *b, struct slice s)
{
	char *out = str_room(b, s.n * 2);

	for (size_t i = 0; i < s.n; i++) {
		*out++ = lower_digits[(unsigned char)s.p[i] >> 4];
		*out++ = lower_digits[(unsigned char)s.p[i] & 15];
	}
	b->n += s.n * 2;
}

void str_base32(struct str *b, uint64_t value, int width)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char *out = str_room(b, (size_t)width);

	for (int i = width - 1; i >= 0; i--, value >>= 5)
		out[i] = digits[value & 31];
	b->n += (size_t)width;
}
