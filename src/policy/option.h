/*
 * The one table of options: block, name, type, range, default, help.
 *
 * The parser, the defaults, `spurn check`'s "did you mean" and spurn.conf(5) all
 * read it, so they cannot disagree.
 */
#ifndef SPURN_POLICY_OPTION_H
#define SPURN_POLICY_OPTION_H

#include <stddef.h>
#include <stdint.h>

enum option_type {
	OPTION_FLAG,		/* a word alone: present means yes */
	OPTION_BOOL,		/* yes | no */
	OPTION_COUNT_NUMBER,	/* 10, 100k, 1M: thousands and millions */
	OPTION_SIZE,		/* 10k, 25M: 1024-based octets */
	OPTION_DURATION,	/* 500ms 30s 5m 2h 7d */
	OPTION_RATE,		/* 1200/1m */
	OPTION_INTEGER,		/* may be negative */
	OPTION_WORD,		/* one word or quoted string */
	OPTION_CHOICE,		/* one of `choices`, separated by | */
	OPTION_PATH,
	OPTION_URL,		/* printable, at most 200 octets: it stands in replies */
	OPTION_CUSTOM,		/* has a parser of its own: lists, urls, ranges; may stand several times */
	OPTION_SINGLE,		/* the same, once in its block, as all those above */
};

struct option {
	const char *block;	/* "" for the top level; "listener", "dnsbl", "domain", "check", ... */
	const char *name;
	enum option_type type;
	const char *choices;	/* OPTION_CHOICE */
	int64_t least, most;	/* range; both 0: none */
	const char *fallback;	/* default as written in a configuration, NULL: none */
	const char *argument;	/* for the manual: "ADDRESS:PORT ..." */
	const char *help;	/* a sentence or two for the manual */
	size_t offset, width;	/* where it goes in the block's struct; width 0: read by its own reader */
};

extern const struct option options[];
extern const size_t option_count;

struct option_block {
	const char *name;	/* "" top level */
	const char *argument;	/* of the block itself: "NAME", NULL: none */
	const char *help;
};
extern const struct option_block option_blocks[];
extern const size_t option_block_count;

/* Keeps the candidate in *near (NULL: none yet) if it is the closest to `wanted` so far, and close enough to be meant. */
void option_near(const char *wanted, const char *candidate, const char **near);
/* The option, or NULL; *near: the closest name in that block if one is close enough to be meant. */
const struct option *option_find(const char *block, const char *name, const char **near);
#define OPTION_NUMBER_MAX 32
/* A number of an option as it would be written in a configuration: 30s, 25M, 3. */
void option_number(char *out, size_t size, const struct option *o, int64_t value);
/* Writes spurn.conf(5), or spurn-replies(7), as mdoc to standard output (used at build time). */
void option_write_manual(void);
void replies_write_manual(void);

#endif
