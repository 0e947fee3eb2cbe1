/*
 * Reading a configuration: what all readers of blocks share, and the readers.
 * For policy/ alone; the result is policy/config.h.
 */
#ifndef SPURN_POLICY_LOADER_H
#define SPURN_POLICY_LOADER_H

#include "base/table.h"
#include "policy/config.h"
#include "policy/option.h"
#include "policy/syntax.h"

/* Scanners by name, until all are known. */
struct content_choice {
	struct content_choice *next;
	const struct statement *statement;
	uint32_t *wanted;
};

struct loader {
	struct report report;
	struct config *c;
	struct arena *a;
	struct recipient_conf recipient_times;
	const struct word *sealer;		/* seal DOMAIN: its sign block may stand further down */
	struct content_choice *choices;		/* which block named which scanners; they may stand further down */
	struct table once;			/* where each value that may stand once was given */
	const struct word *nowhere;		/* names the file, and no line */
	bool examine;				/* open what is opened again and again while Spurn runs, too */
};

/* ---- loader.c ---- */

/* The place of a word among "a|b|c", or -1. */
int64_t loader_choice(const char *choices, struct slice text);
/* Reports a word that is none of "a|b|c", with the one that may be meant. */
void loader_bad_choice(struct loader *l, const struct word *w, const char *name, const char *choices);
/* Sets every default of a block's options in its struct. */
void loader_defaults(struct loader *l, const char *block, void *base);
/* false, and reported: it is the second directive `o` of one place, the struct that it fills. */
bool loader_once(struct loader *l, const void *place, const struct option *o, const struct statement *st);
/* The value of a directive that may stand once, where it was given; without one a word that names the file alone. */
const struct word *loader_given(struct loader *l, const void *place, const char *block, const char *name);
/* The option of a statement that needs a reader of its own. NULL: it was a plain value and is stored, or a mistake
 * was reported. */
const struct option *loader_option(struct loader *l, const char *block, const struct statement *st, void *base);
/* false, and reported: it is no block, or has a name. */
bool loader_is_block(struct loader *l, const struct statement *st);
/* false, and reported: the directive stands alone. */
bool loader_has_arguments(struct loader *l, const struct statement *st);
/* Adds the prefixes of a directive to a set, which is made if need be; ip_set_finish() is the caller's. */
void loader_prefixes(struct loader *l, const struct statement *st, struct ip_set **set);
/* "... file FILE": the file is word number `at`. NULL: reported. */
struct list_file *loader_list_file(struct loader *l, const struct statement *st, size_t at, enum list_kind kind,
	struct slice separators, unsigned guard);
bool loader_names_file(const struct statement *st);

/* "ADDRESS ..." or "file FILE", in the forms of LIST_SENDERS. */
void loader_addresses(struct loader *l, const struct statement *st, struct address_list *list, struct slice separators);

/* ---- readers of blocks ---- */

void loader_read_clients(struct loader *l, const struct statement *block);
void loader_read_senders(struct loader *l, const struct statement *block);
void loader_read_resolver(struct loader *l, const struct statement *block);
void loader_read_dnsbl(struct loader *l, const struct statement *block);
void loader_read_listener(struct loader *l, const struct statement *block);
void loader_read_domain(struct loader *l, const struct statement *block);
void loader_read_rules(struct loader *l, const struct statement *block);
void loader_read_scanner(struct loader *l, const struct statement *block);
/* "content NAMES...|none;" of a domain or a listener; *wanted is set by loader_finish_content(). */
void loader_read_content(struct loader *l, const struct statement *st, uint32_t *wanted);
void loader_finish_content(struct loader *l);
void loader_read_keys(struct loader *l, const struct statement *block);
void loader_read_srs(struct loader *l, const struct statement *st);
/* `bounces` in a domain; its separators are known. */
void loader_read_bounces(struct loader *l, const struct statement *block, struct domain_conf *d);
void loader_read_check(struct loader *l, const struct statement *block);
/* What `check arc` takes besides its mode. */
void loader_read_arc(struct loader *l, const struct option *o, const struct statement *st);
void loader_finish_arc(struct loader *l);
void loader_read_sign(struct loader *l, const struct statement *block);
void loader_read_directory(struct loader *l, const struct statement *block);
void loader_read_directory_serve(struct loader *l, const struct statement *st);

/* The directory of that name, or NULL; all of them have been read when domains are. */
struct directory_conf *loader_directory(struct loader *l, struct slice name);
/* Once state-dir is known: where workers ask. */
void loader_finish_directories(struct loader *l, const struct word *nowhere);

/* config_files.c: what is wrong with the files that are named; the last of them looks at those that are opened again and again while
 * Spurn runs. */
void loader_check_zone_files(struct loader *l, const struct statement *block);
void loader_check_anchor(struct loader *l);
void loader_examine(struct loader *l);

/* Defaults of what checks have besides their mode. */
void loader_check_defaults(struct loader *l);
/* Whether this version obeys `check NAME`. */
bool loader_knows_check(int check);
/* A backend before its directives, its directive, and the one object for all that are the same. */
void loader_backend_defaults(struct loader *l, struct backend *b);
void loader_backend_urls(struct loader *l, const struct statement *st, struct backend *b);
const struct backend *loader_share_backend(struct loader *l, const struct backend *draft);

#endif
