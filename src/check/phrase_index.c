/*
 * Where phrases begin is found by sixteens where the processor can (SSE2, which every amd64 has): a bit for each octet that
 * may begin one. Of those most are told apart by a bit that their first octets hash to (four to eight, as many as the shortest phrase
 * has), and almost all others by the first eight and the last eight. So the length of the table costs nothing, and ordinary prose an instruction or two an octet.
 *
 * Rejected: an automaton of all phrases (Aho and Corasick: a step that waits for the one before it at each octet, and a table that
 * does not fit the first-level cache); looking for the rarest octets of each phrase (there are too many phrases).
 */
#include "check/phrase_index.h"

#include "base/log.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define BLOCK 16u

/* ---- the index ---- */

/* The first n octets of eight. */
static uint64_t octets_mask(size_t n)
{
	static const unsigned char ones[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint64_t mask;

	memcpy(&mask, ones + 8 - (n < 8 ? n : 8), sizeof(mask));
	return mask;
}

static uint32_t hash_of(uint64_t lead)
{
	return (uint32_t)(lead * UINT64_C(0x9e3779b97f4a7c15) >> 32);	/* the upper bits depend on all octets */
}

static uint64_t lead_bit(uint32_t hash)
{
	return UINT64_C(1) << (hash >> 18 & 63);
}

_Static_assert(PHRASE_BUCKETS == 1u << (32 - 22), "a bucket for each value of the upper ten bits");

static void add(struct phrase_index *x, uint16_t i, size_t n)
{
	uint16_t *bucket;
	uint32_t hash;

	memcpy(&x->start[i], x->table[i].text, n < 8 ? n : 8);
	x->mask[i] = octets_mask(n);
	if (n > 8)
		memcpy(&x->end[i], x->table[i].text + n - 8, 8);
	x->length[i] = (uint8_t)n;
	hash = hash_of(x->start[i] & x->lead);
	x->leads[hash >> 24] |= lead_bit(hash);
	bucket = &x->first[hash >> 22];
	x->next[i] = *bucket;
	*bucket = (uint16_t)(i + 1);
}

void phrase_index_build(struct phrase_index *x, const struct phrase *table, unsigned which)
{
	size_t shortest = 8;

	if (x->table)
		return;
	for (uint16_t i = 0; table[i].text; i++) {
		size_t n = strlen(table[i].text);
		BUG_ON(i >= PHRASES_MAX || n < PHRASE_LEAD || n > UINT8_MAX || table[i].text[0] == ' ');
		if (table[i].bits & which && n < shortest)
			shortest = n;
	}
	x->table = table;
	x->lead = octets_mask(shortest);
	for (uint16_t i = 0; table[i].text; i++)
		if (table[i].bits & which)
			add(x, i, strlen(table[i].text));
}

/* ---- searching ---- */

struct walk {
	const struct phrase_index *index;
	struct slice text;
	void (*hit)(void *arg, const struct phrase *p, size_t length, size_t at);
	void *arg;
};

/* Which of the sixteen octets may begin a phrase, as bits, and whether the last one is in a word. */
static unsigned beginnings(const char *p, unsigned *in_word);

#if defined(__SSE2__)
static unsigned beginnings(const char *p, unsigned *in_word)
{
	__m128i octets = _mm_loadu_si128((const __m128i *)(const void *)p);
	/* Moved so that "a" to "z" and "0" to "9" are the least there are, as signed numbers. */
	__m128i letters = _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - 'a'))), _mm_set1_epi8(-128 + 26));
	__m128i capitals = _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - 'A'))), _mm_set1_epi8(-128 + 26));
	__m128i digits = _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - '0'))), _mm_set1_epi8(-128 + 10));
	__m128i words = _mm_or_si128(_mm_or_si128(letters, capitals), digits);
	unsigned inside = (unsigned)_mm_movemask_epi8(words), high = (unsigned)_mm_movemask_epi8(octets);
	unsigned spaces = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(octets, _mm_set1_epi8(' ')));
	unsigned behind = inside << 1 | *in_word;

	*in_word = inside >> (BLOCK - 1);
	return (~behind | high) & ~spaces & ((1u << BLOCK) - 1);
}
#else
static unsigned beginnings(const char *p, unsigned *in_word)
{
	unsigned begin = 0;

	for (unsigned i = 0; i < BLOCK; i++) {
		if ((!*in_word || (p[i] & 0x80)) && p[i] != ' ')
			begin |= 1u << i;
		*in_word = ascii_alpha(p[i]) || ascii_digit(p[i]);
	}
	return begin;
}
#endif

/* The rest of a phrase of more than eight octets. */
static bool ends_so(const struct phrase_index *x, size_t i, const char *text, size_t n)
{
	uint64_t end;

	memcpy(&end, text + n - 8, sizeof(end));
	return end == x->end[i] && (n <= 16 || memcmp(text + 8, x->table[i].text + 8, n - 16) == 0);
}

/* `start`: the eight octets at the place, zero behind the end of the text. */
static inline void match_at(const struct walk *w, size_t at, uint64_t start)
{
	const struct phrase_index *x = w->index;
	uint32_t hash = hash_of(start & x->lead);

	if (!(x->leads[hash >> 24] & lead_bit(hash)))
		return;
	for (uint16_t i = x->first[hash >> 22]; i; i = x->next[i - 1]) {
		size_t n = x->length[i - 1];
		if ((start ^ x->start[i - 1]) & x->mask[i - 1])
			continue;
		if (n <= w->text.n - at && (n <= 8 || ends_so(x, i - 1, w->text.p + at, n)))
			w->hit(w->arg, &x->table[i - 1], n, at);
	}
}

void phrase_index_search(const struct phrase_index *x, struct slice folded,
	void (*hit)(void *arg, const struct phrase *p, size_t length, size_t at), void *arg)
{
	struct walk w = { x, folded, hit, arg };
	char last[3 * BLOCK] = "";
	unsigned in_word = 0;
	size_t at = 0;

	for (; folded.n - at >= BLOCK + sizeof(uint64_t); at += BLOCK) {
		unsigned begin = beginnings(folded.p + at, &in_word);
		for (; begin; begin &= begin - 1) {
			size_t place = at + (unsigned)__builtin_ctz(begin);
			uint64_t start;
			memcpy(&start, folded.p + place, sizeof(start));
			match_at(&w, place, start);
		}
	}
	/* The end, in room that goes on behind it. */
	if (at < folded.n)
		memcpy(last, folded.p + at, folded.n - at);
	for (size_t from = at; at + PHRASE_LEAD <= folded.n; at += BLOCK) {
		unsigned begin = beginnings(last + (at - from), &in_word);
		for (; begin; begin &= begin - 1) {
			size_t place = at + (unsigned)__builtin_ctz(begin);
			uint64_t start;
			memcpy(&start, last + (place - from), sizeof(start));
			if (place + PHRASE_LEAD <= folded.n)
				match_at(&w, place, start);
		}
	}
}

/* ---- folding ---- */

/* One character, or white space up to the next one; returns its length. */
static size_t fold_one(struct folding *f, struct slice text)
{
	unsigned char c = (unsigned char)text.p[0];
	size_t length = 1;

	if (c == 0xe2 && text.n > 2 && text.p[1] == '\x80' && (text.p[2] == '\x99' || text.p[2] == '\x98')) {
		c = '\'';
		length = 3;
	} else if (c == 0xc2 && text.n > 1 && text.p[1] == '\xa0') {
		c = ' ';
		length = 2;
	}
	if (c == ' ' || (c >= '\t' && c <= '\r')) {
		if (f->in_text)
			f->p[f->n++] = ' ';
		f->in_text = false;
		while (length < text.n && ascii_space(text.p[length]))
			length++;
	} else {
		f->p[f->n++] = ascii_lower((char)c);
		f->in_text = true;
	}
	return length;
}

#if defined(__SSE2__)
/* Sixteen octets at a time, as long as they only need lower case; returns how many there were. */
static size_t fold_plain(struct folding *f, struct slice text)
{
	size_t done = 0;

	while (text.n - done >= BLOCK && f->room - f->n >= BLOCK) {
		__m128i octets = _mm_loadu_si128((const __m128i *)(const void *)(text.p + done));
		__m128i capitals = _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - 'A'))),
			_mm_set1_epi8(-128 + 26));
		__m128i breaks = _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - '\t'))),
			_mm_set1_epi8(-128 + 5));
		__m128i characters = _mm_or_si128(_mm_cmpeq_epi8(octets, _mm_set1_epi8((char)0xe2)),
			_mm_cmpeq_epi8(octets, _mm_set1_epi8((char)0xc2)));
		unsigned spaces = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(octets, _mm_set1_epi8(' ')));
		unsigned odd = (unsigned)_mm_movemask_epi8(_mm_or_si128(breaks, characters)) |
			(spaces & (spaces << 1 | !f->in_text));
		size_t n = odd ? (unsigned)__builtin_ctz(odd) : BLOCK;

		_mm_storeu_si128((__m128i *)(void *)(f->p + f->n),
			_mm_or_si128(octets, _mm_and_si128(capitals, _mm_set1_epi8(0x20))));
		f->n += n;
		done += n;
		if (n > 0)
			f->in_text = !(spaces >> (n - 1) & 1);
		if (odd)
			break;
	}
	return done;
}
#else
static size_t fold_plain(struct folding *f, struct slice text)
{
	return 0;
}
#endif

void folding_add(struct folding *f, struct slice text)
{
	for (;;) {
		text = slice_from(text, fold_plain(f, text));
		if (text.n == 0 || f->n >= f->room)
			return;
		text = slice_from(text, fold_one(f, text));
	}
}
