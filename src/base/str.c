/*
 * Slices: looking, comparing, cutting. Nothing here allocates but the
 * three copies, nothing reads past the length, nothing depends on the locale.
 *
 * Case is folded by ASCII rules only: in SMTP nothing else folds, and a
 * Turkish locale must not change what POSTMASTER means.
 *
 * Rejected: NUL-terminated strings (a NUL in peer input ends the check but not the
 * message); reference-counted strings (an arena knows when all end).
 * The builder is in str_build.c.
 */
#include "base/str.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const char *find_end(struct slice s)
{
	return s.p + s.n;
}

static bool same_eight(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x == y || ascii_lower_eight(x) == ascii_lower_eight(y);
}

/* The last eight of more than eight are looked at together, some of them twice. */
bool bytes_eq_nocase(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8)
		if (!same_eight(a + i, b + i))
			return false;
	if (i > 0)
		return i == n || same_eight(a + n - 8, b + n - 8);
	for (; i < n; i++)
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
	return true;
}

bool slice_ends_nocase(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n &&
	       (suffix.n == 0 || bytes_eq_nocase(find_end(s) - suffix.n, suffix.p, suffix.n));
}

ptrdiff_t slice_rfind(struct slice s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

#define SHORT_NEEDLE 32u

/* Where the first octet and the last one stand as far apart as they should is looked for by sixteens; what lies between is
 * compared there. Short needles only, since the work at a place is bounded by their length. */
static ptrdiff_t search_short(struct slice s, struct slice needle)
{
	size_t i = 0;

#if defined(__SSE2__)
	__m128i first = _mm_set1_epi8(needle.p[0]), last = _mm_set1_epi8(needle.p[needle.n - 1]);

	for (; i + needle.n + 15 <= s.n; i += 16) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i + needle.n - 1));
		unsigned at = (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, last)));
		for (; at; at &= at - 1) {
			size_t k = i + (unsigned)__builtin_ctz(at);
			if (memcmp(s.p + k, needle.p, needle.n) == 0)
				return (ptrdiff_t)k;
		}
	}
#endif
	for (; i + needle.n <= s.n; i++)
		if (s.p[i] == needle.p[0] && memcmp(s.p + i, needle.p, needle.n) == 0)
			return (ptrdiff_t)i;
	return -1;
}

ptrdiff_t slice_search(struct slice s, struct slice needle)
{
	const char *at;

	if (needle.n == 0)
		return 0;
	if (needle.n <= SHORT_NEEDLE)
		return search_short(s, needle);
	at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return at ? at - s.p : -1;
}

/* Needles are words of ours and short, so the product of the lengths is bounded by us. As in search_short(). */
ptrdiff_t slice_search_nocase(struct slice s, struct slice needle)
{
	size_t i = 0;
	char first, last;

	if (needle.n == 0)
		return 0;
	first = ascii_lower(needle.p[0]);
	last = ascii_lower(needle.p[needle.n - 1]);
#if defined(__SSE2__)
	__m128i firsts = _mm_set1_epi8(first), lasts = _mm_set1_epi8(last);
	__m128i first_case = _mm_set1_epi8(ascii_alpha(first) ? 0x20 : 0), last_case = _mm_set1_epi8(ascii_alpha(last) ? 0x20 : 0);

	for (; i + needle.n + 15 <= s.n; i += 16) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i + needle.n - 1));
		unsigned at = (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(_mm_or_si128(a, first_case), firsts),
			_mm_cmpeq_epi8(_mm_or_si128(b, last_case), lasts)));
		for (; at; at &= at - 1) {
			size_t k = i + (unsigned)__builtin_ctz(at);
			if (bytes_eq_nocase(s.p + k, needle.p, needle.n))
				return (ptrdiff_t)k;
		}
	}
#endif
	for (; i + needle.n <= s.n; i++) {
		if (ascii_lower(s.p[i]) == first && ascii_lower(s.p[i + needle.n - 1]) == last &&
		    bytes_eq_nocase(s.p + i, needle.p, needle.n))
			return (ptrdiff_t)i;
	}
	return -1;
}

struct slice slice_split(struct slice *rest, char sep)
{
	ptrdiff_t at = slice_find(*rest, sep);
	struct slice part = *rest;

	if (at >= 0) {
		part.n = (size_t)at;
		*rest = slice_from(*rest, part.n + 1);
	} else {
		*rest = slice_from(*rest, rest->n);
	}
	return part;
}

struct slice slice_word(struct slice *rest)
{
	struct slice s = *rest, word;

	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_from(s, 1);
	word = slice_head(s, 0);
	while (word.n < s.n && s.p[word.n] != ' ' && s.p[word.n] != '\t')
		word.n++;
	*rest = slice_from(s, word.n);
	return word;
}

bool slice_number(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)s.p[i] - '0';
		if (digit > 9 || value > max / 10 || value * 10 > max - digit || digit > max)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

struct slice slice_copy(struct arena *a, struct slice s)
{
	return (struct slice){ arena_copy(a, s.p, s.n), s.n };
}

struct slice slice_lower(struct arena *a, struct slice s)
{
	char *copy = arena_copy(a, s.p, s.n);

	for (size_t i = 0; i < s.n; i++)
		copy[i] = ascii_lower(copy[i]);
	return (struct slice){ copy, s.n };
}

char *slice_cstr(struct arena *a, struct slice s)
{
	return arena_copy(a, s.p, s.n);
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

int ascii_hex(char c)
{
	if (ascii_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* How many bytes at the start are 7-bit, looked at by eights (so at most 7 too few). */
static size_t ascii_run(const char *p, size_t n)
{
	size_t i = 0;
	uint64_t word;

	for (; n - i >= 8; i += 8) {
		memcpy(&word, p + i, 8);
		if (word & ASCII_HIGH_BITS)
			break;
	}
	return i;
}

bool ascii_only(struct slice s)
{
	for (size_t i = ascii_run(s.p, s.n); i < s.n; i++) {
		if (s.p[i] & 0x80)
			return false;
	}
	return true;
}

static bool is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* RFC 3629 section 4:
 *   UTF8-2 = %xC2-DF UTF8-tail
 *   UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
 *            %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *   UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) / %xF4 %x80-8F 2( UTF8-tail ) */
size_t utf8_length(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	if (p[0] < 0xe0)
		return s.n >= 2 && is_tail(p[1]) ? 2 : 0;
	if (p[0] < 0xf0) {
		if (s.n < 3 || !is_tail(p[1]) || !is_tail(p[2]))
			return 0;
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	}
	if (s.n < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

bool utf8_valid(struct slice s)
{
	size_t i = 0, step;

	while (i < s.n) {
		if (!(s.p[i] & 0x80)) {
			step = ascii_run(s.p + i, s.n - i);
			i += step ? step : 1;
			continue;
		}
		step = utf8_length(slice_from(s, i));
		if (!step)
			return false;
		i += step;
	}
	return true;
}
