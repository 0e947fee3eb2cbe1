/*
 * Slices and string builders.
 *
 * A slice is a borrowed run of bytes with a length: it is how every piece of
 * peer input travels. It is not NUL-terminated and may hold any
 * octet. A slice never owns; whoever keeps one longer than its source copies it
 * into an arena with slice_copy().
 *
 * A builder (struct str) grows in an arena. It is for text we compose.
 */
#ifndef SPURN_BASE_STR_H
#define SPURN_BASE_STR_H

#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
#define SLICE_NULL ((struct slice){ NULL, 0 })
/* For printf: "%.*s" takes SLICE_ARG(s). Only for bytes already made safe. */
#define SLICE_ARG(s) (int)(s).n, (s).p

static inline struct slice slice_of(const char *cstr)
{
	return (struct slice){ cstr, cstr ? strlen(cstr) : 0 };
}
static inline struct slice slice_make(const char *p, size_t n)
{
	return (struct slice){ p, n };
}
static inline bool slice_empty(struct slice s) { return s.n == 0; }
static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static inline bool ascii_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

#define ASCII_HIGH_BITS UINT64_C(0x8080808080808080)
#define ASCII_ALL_OCTETS(c) (UINT64_C(0x0101010101010101) * (c))

/* Eight octets in lower case. Below its highest bit an octet has room for a sum that tells whether it is at least
 * "A", and another for "beyond Z": where one holds and the other does not, 0x20 is added. */
static inline uint64_t ascii_lower_eight(uint64_t word)
{
	uint64_t low = word & ~ASCII_HIGH_BITS;
	uint64_t upper = (low + ASCII_ALL_OCTETS(0x80 - 'A')) ^ (low + ASCII_ALL_OCTETS(0x7f - 'Z'));

	return word | ((upper & ~word & ASCII_HIGH_BITS) >> 2);
}

/* Equal but for ASCII case, which never depends on the locale. Each has n octets. */
bool bytes_eq_nocase(const char *a, const char *b, size_t n);

/* ASCII case folding only. Most questions are answered by the length or the first octet. */
static inline bool slice_eq_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || (ascii_lower(a.p[0]) == ascii_lower(b.p[0]) && bytes_eq_nocase(a.p, b.p, a.n)));
}
static inline bool slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool slice_starts_nocase(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 ||
		(ascii_lower(s.p[0]) == ascii_lower(prefix.p[0]) && bytes_eq_nocase(s.p, prefix.p, prefix.n)));
}
bool slice_ends_nocase(struct slice s, struct slice suffix);
/* s without its first n bytes (n is capped at the length). */
static inline struct slice slice_from(struct slice s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return n ? (struct slice){ s.p + n, s.n - n } : s;
}
/* The first n bytes of s (n is capped at the length). */
static inline struct slice slice_head(struct slice s, size_t n)
{
	return (struct slice){ s.p, n < s.n ? n : s.n };
}
static inline bool ascii_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
/* Without leading and trailing SP, HTAB, CR, LF. */
static inline struct slice slice_trim(struct slice s)
{
	while (s.n && ascii_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && ascii_space(s.p[s.n - 1]))
		s.n--;
	return s;
}
/* Position of a byte, or -1. */
static inline ptrdiff_t slice_find(struct slice s, char c)
{
	const char *at = s.n ? (const char *)memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}
ptrdiff_t slice_rfind(struct slice s, char c);
/* Position of a needle (exact, or ASCII case folded), or -1. */
ptrdiff_t slice_search(struct slice s, struct slice needle);
ptrdiff_t slice_search_nocase(struct slice s, struct slice needle);
/* Cuts *rest at the first sep: returns what stands before it and moves *rest
 * behind it; without sep returns all and empties *rest. */
struct slice slice_split(struct slice *rest, char sep);
/* Next word separated by SP or HTAB; empty at the end. */
struct slice slice_word(struct slice *rest);
/* Decimal digits only, at least one, no sign, at most max; false for anything else. */
bool slice_number(struct slice s, uint64_t max, uint64_t *out);
/* NUL-terminated copies in an arena. */
struct slice slice_copy(struct arena *a, struct slice s);
struct slice slice_lower(struct arena *a, struct slice s);
char *slice_cstr(struct arena *a, struct slice s);
int slice_cmp(struct slice a, struct slice b);

/* Value of a hexadecimal digit, or -1. */
int ascii_hex(char c);

/* Length of the well-formed UTF-8 sequence at the start of s; 0 if there is none. */
size_t utf8_length(struct slice s);
/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_valid(struct slice s);
/* True if every byte is 7-bit. */
bool ascii_only(struct slice s);

/* ---- builder ---- */

struct str {
	struct arena *arena;
	char *p;	/* not NUL-terminated, save what str_cstr() returned */
	size_t n, cap;
};

#define STR_IN(arena_ptr) ((struct str){ (arena_ptr), NULL, 0, 0 })

/* More room than there is, at least for n more bytes; for str_room(). */
void str_grow(struct str *b, size_t n);
/* Room for n more bytes at the end; the caller writes there and adds to b->n. */
static inline char *str_room(struct str *b, size_t n)
{
	if (!b->p || n > b->cap - b->n)
		str_grow(b, n);
	return b->p + b->n;
}
static inline void str_add(struct str *b, struct slice s)
{
	if (s.n == 0)
		return;
	memcpy(str_room(b, s.n), s.p, s.n);
	b->n += s.n;
}
static inline void str_addc(struct str *b, char c)
{
	*str_room(b, 1) = c;
	b->n++;
}
static inline void str_puts(struct str *b, const char *cstr)
{
	str_add(b, slice_of(cstr));
}
void str_printf(struct str *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(struct str *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
void str_number(struct str *b, uint64_t value);
static inline struct slice str_slice(const struct str *b) { return (struct slice){ b->p, b->n }; }
const char *str_cstr(struct str *b);

/* Printable ASCII as it is, backslash doubled, all else as \xHH, cut at max
 * source bytes with "..." (for logs and records; hostile bytes become harmless). */
void str_escaped(struct str *b, struct slice s, size_t max);
/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void str_json(struct str *b, struct slice s);
/* A code point as UTF-8 (RFC 3629 section 3). */
void str_utf8(struct str *b, uint32_t code);
/* RFC 3461 section 4 xtext, and back. Decoding: false for a malformed one, nothing added;
 * lower case in "+2b" is understood too, since peers write it. */
void str_xtext(struct str *b, struct slice s);
bool str_xtext_decode(struct str *b, struct slice s);
/* RFC 4648 section 4, on one line. Decoding: false for what is no alphabet character or badly
 * padded (white space too), nothing added. */
void str_base64(struct str *b, struct slice s);
bool str_base64_decode(struct str *b, struct slice s);
/* Lower case. */
void str_hex(struct str *b, struct slice s);
/* Crockford base32 (no I, L, O, U) of the low width * 5 bits, width digits: our references. */
void str_base32(struct str *b, uint64_t value, int width);

#endif
