/*
 * Many phrases looked for in one walk over a text, and the folding that such texts and phrases have in common.
 *
 * Phrases are in lower case with single spaces, and so is the text once it is folded. A phrase begins where a word begins: at the first
 * octet of a run of letters and digits, at any other octet that is not behind one but a space, and anywhere beyond ASCII, where words are
 * not told apart.
 */
#ifndef SPURN_CHECK_PHRASE_INDEX_H
#define SPURN_CHECK_PHRASE_INDEX_H

#include "base/str.h"

#define PHRASE_LEAD 4u		/* octets that a phrase has at least */
#define PHRASE_BUCKETS 1024u
#define PHRASES_MAX 512u

struct phrase {
	const char *text;
	unsigned bits;		/* what it says; 0: it is never looked for */
};

/* Of a table that ends with a NULL. Zeroed at first. */
struct phrase_index {
	const struct phrase *table;
	uint64_t lead;				/* which of the first eight octets every phrase has */
	uint64_t leads[256];			/* a bit for each lead there is, by its hash: for a quick no */
	uint16_t first[PHRASE_BUCKETS];		/* 1 + place in the table, 0: none */
	uint16_t next[PHRASES_MAX];
	uint64_t start[PHRASES_MAX];		/* the first eight octets, */
	uint64_t mask[PHRASES_MAX];		/* as far as the phrase has them */
	uint64_t end[PHRASES_MAX];		/* the last eight, if it has as many */
	uint8_t length[PHRASES_MAX];
};

/* Fills the index the first time, with the phrases of a constant table that say any of `which`. Workers are single-threaded. */
void phrase_index_build(struct phrase_index *x, const struct phrase *table, unsigned which);
/* Calls hit() for each phrase that stands in the text, in the order of their places. */
void phrase_index_search(const struct phrase_index *x, struct slice folded,
	void (*hit)(void *arg, const struct phrase *p, size_t length, size_t at), void *arg);

/* Text that is folded piece by piece: ASCII in lower case, each run of white space one space, none at the beginning. The typographic
 * apostrophe and the non-breaking space (UTF-8) are what they stand for. */
struct folding {
	char *p;
	size_t n, room;
	bool in_text;		/* the last octet is no space */
};

/* As far as there is room. */
void folding_add(struct folding *f, struct slice text);

#endif
