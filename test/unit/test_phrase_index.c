/* phrase_index: every phrase at every place of blocks and ends, against a search octet by octet; folding, whole and in pieces. */
#include "unit.h"

#include "check/phrase_index.h"

static const struct phrase table[] = {
	{ "late", 1 }, { "not delivered", 2 }, { "not deliverable", 4 }, { "not de", 8 }, { "(delay)", 16 },
	{ "\xc3\xa9" "chec", 32 }, { "550 5.", 64 }, { "never looked for", 0 }, { "user unknown here, alas", 128 },
	{ NULL, 0 },
};

static struct phrase_index index_of_table;

/* ---- searching ---- */

struct hits {
	unsigned count;
	uint64_t places;	/* sum over hits, so that place and phrase tell */
};

static void hit(void *arg, const struct phrase *p, size_t length, size_t at)
{
	struct hits *h = arg;

	assert_int_equal(length, strlen(p->text));
	h->count++;
	h->places += p->bits * 1000 + at;
}

static bool in_word(char c)
{
	return ascii_alpha(c) || ascii_digit(c);
}

static struct hits found_slowly(struct slice s)
{
	struct hits h = { 0, 0 };

	for (size_t at = 0; at < s.n; at++) {
		if (at > 0 && in_word(s.p[at - 1]) && !(s.p[at] & 0x80))
			continue;
		for (size_t i = 0; table[i].text; i++)
			if (table[i].bits && slice_starts(slice_from(s, at), slice_of(table[i].text)))
				hit(&h, &table[i], strlen(table[i].text), at);
	}
	return h;
}

/* In memory of just that size, so that a look behind the end is seen. */
static void agrees(struct slice s)
{
	char *exact = malloc(s.n > 0 ? s.n : 1);
	struct hits h = { 0, 0 }, slow = found_slowly(s);

	memcpy(exact, s.p, s.n);
	phrase_index_search(&index_of_table, slice_make(exact, s.n), hit, &h);
	free(exact);
	assert_int_equal(h.count, slow.count);
	assert_int_equal(h.places, slow.places);
}

static void every_place(void **state)
{
	static const char *const before[] = { "", "x", " ", "9", "-", "\xc3", "z ", "a-" };
	char text[100];

	phrase_index_build(&index_of_table, table, ~0u);
	for (size_t i = 0; table[i].text; i++) {
		size_t n = strlen(table[i].text);
		for (size_t b = 0; b < sizeof(before) / sizeof(before[0]); b++) {
			for (size_t at = strlen(before[b]); at < 40; at++) {
				memset(text, '.', sizeof(text));
				memcpy(text + at - strlen(before[b]), before[b], strlen(before[b]));
				memcpy(text + at, table[i].text, n);
				for (size_t end = at; end <= at + n + 20; end++)
					agrees(slice_make(text, end));
			}
		}
	}
}

static void any_text(void **state)
{
	static const char *const words[] = { "late", "not", " ", " ", "de", "delivered", "deliverable", "(", "delay)", "-", "\xc3\xa9",
		"chec", "550", "5.", "user unknown", " here, alas", "x", "never looked for", "\xc3" };
	unsigned seed = 1, hits = 0;
	char text[400];

	phrase_index_build(&index_of_table, table, ~0u);
	for (unsigned round = 0; round < 3000; round++) {
		size_t n = 0;
		while (n < 20 + round % 300) {
			struct slice word = slice_of(words[(seed = seed * 1103515245 + 12345) >> 16 & 15]);
			if ((seed >> 8 & 15) == 0)
				word = slice_of(words[16 + (seed >> 12) % 3]);
			memcpy(text + n, word.p, word.n);
			n += word.n;
		}
		agrees(slice_make(text, n));
		hits += found_slowly(slice_make(text, n)).count;
	}
	assert_true(hits > 1000);
}

static void some_of_them(void **state)
{
	static struct phrase_index index;
	struct hits h = { 0, 0 };

	phrase_index_build(&index, table, 2 | 64);
	phrase_index_search(&index, SLICE("late: not deliverable, not delivered, 550 5.1.1"), hit, &h);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.places, 2000 + 23 + 64000 + 38);
}

/* ---- folding ---- */

static void folds_to(const char *text, const char *folded)
{
	struct slice all = slice_of(text), rest;
	char room[200], pieces[200];
	struct folding f = { .p = room, .room = sizeof(room) }, g = { .p = pieces, .room = sizeof(pieces) };

	folding_add(&f, all);
	assert_slice(slice_make(room, f.n), folded);
	/* Line by line it comes to the same, and each shorter room holds the beginning. */
	for (rest = all; rest.n > 0;) {
		ptrdiff_t lf = slice_find(rest, '\n');
		size_t n = lf >= 0 ? (size_t)lf + 1 : rest.n;
		folding_add(&g, slice_head(rest, n));
		rest = slice_from(rest, n);
	}
	assert_slice(slice_make(pieces, g.n), folded);
	for (size_t n = 0; n < strlen(folded); n++) {
		char *exact = malloc(n > 0 ? n : 1);
		struct folding h = { .p = exact, .room = n };
		folding_add(&h, all);
		assert_slices(slice_make(exact, h.n), slice_head(slice_of(folded), n));
		free(exact);
	}
}

static void folding(void **state)
{
	folds_to("", "");
	folds_to(" \t\r\n\v\f ", "");
	folds_to("  Could NOT be\r\n\tdelivered  ", "could not be delivered ");
	folds_to("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG@[`{Z", "the quick brown fox jumps over the lazy dog@[`{z");
	folds_to("a  b   c    d     e      f       g        h", "a b c d e f g h");
	folds_to("0123456789abcde \nf0123456789abcdef \r\n gh", "0123456789abcde f0123456789abcdef gh");
	folds_to("I\xe2\x80\x99m and \xe2\x80\x98you\xe2\x80\x99, d\xc3\xa9j\xc3\xa0 \xe2\x82\xac", "i'm and 'you', d\xc3\xa9j\xc3\xa0 \xe2\x82\xac");
	folds_to("a\xc2\xa0\xc2\xa0" "b \xc2\xa0 c\xc2", "a b c\xc2");
	folds_to("\x01\x1f\x7f\x80\xff Ends with \xe2\x80", "\x01\x1f\x7f\x80\xff ends with \xe2\x80");
}

UNIT_MAIN(T(every_place), T(any_text), T(some_of_them), T(folding))
