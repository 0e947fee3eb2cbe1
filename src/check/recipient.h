/*
 * Does the mailbox exist? Sources in the order configured, with a cache in the
 * store for what backends said.
 *
 * `file` answers from memory and is the truth about its domain: not in it is "no such user" unless another source
 * follows, which is then asked. `callforward` is the live RCPT, made by the relay (edge/relay), since the
 * connection and its transaction are the relay's; here stands what is known before it is asked and what its answer means.
 * A directory is asked over the socketmap protocol; its trouble stops no other source.
 */
#ifndef SPURN_CHECK_RECIPIENT_H
#define SPURN_CHECK_RECIPIENT_H

#include "check/list.h"
#include "net/socketmap.h"
#include "net/store.h"
#include "wire/envelope.h"

enum recipient_source_kind { SOURCE_FILE, SOURCE_DIRECTORY, SOURCE_CALLFORWARD };

/* A user database that can be asked about one address. */
struct recipient_directory {
	const char *name;		/* as configured */
	struct socketmap *map;
};
struct recipient_source {
	enum recipient_source_kind kind;
	struct list_file *file;		/* SOURCE_DIRECTORY: its local copy, NULL: none is kept */
	const struct recipient_directory *directory;
};
struct recipient_conf {
	const struct recipient_source *sources;
	size_t source_count;
	bool callforward;		/* one of the sources is */
	nanoseconds positive_ttl, refresh_after, negative_ttl, confirm_after;
	nanoseconds accept_all_test;	/* how often a backend is asked for nobody; 0: never */
	nanoseconds fresh;		/* a directory's "yes" is not asked for again so soon; then in the background */
	nanoseconds stale_for;		/* a directory that does not answer: whom it knew so lately exists; 0: nobody */
};

enum recipient_answer {
	RECIPIENT_EXISTS,
	RECIPIENT_NO_SUCH_USER,
	RECIPIENT_ASK,		/* the backend has to be asked live */
	RECIPIENT_CANNOT_TELL,
};

/* Asks one directory, whatever its copy says. EXISTS, NO_SUCH_USER, or CANNOT_TELL with the reason *why (in `a`). */
ASYNC enum recipient_answer recipient_ask_directory(const struct recipient_directory *directory, struct slice canonical,
	struct arena *a, const char **why, deadline d);

/* What directories, sources in memory and the cache say before the backend is asked. Even EXISTS is followed by the live RCPT (the
 * message needs a live backend); NO_SUCH_USER is final (file, directory, or a fresh negative entry). harvester: answered
 * from the cache alone, ASK becomes CANNOT_TELL. store: NULL, or in trouble, is as if nothing were known. */
ASYNC enum recipient_answer recipient_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient *r, bool harvester, struct findings *findings, struct arena *a, deadline d);

/* What the backend's reply to RCPT means. Only 5.1.x and 5.2.1 (or a bare 550, 551, 553 without enhanced code, from
 * a backend that gives none) is a "no"; everything else is not an answer about the mailbox and is never remembered.
 * Not a "no" are the 5.1.x that speak of the sender (7, 8) or of nothing (0, 5, 9), and a bare refusal whose text
 * names the sender, relaying or a policy. */
enum recipient_answer recipient_answer_of(const struct reply *backend, bool backend_has_enhanced);

/* Remembers a live answer; adds the RECIPIENT finding (or changes the one that recipient_look_up() gave r): exists,
 * no-such-user, unconfirmed (was known good until now: 450 until confirmed after confirm_after), unknown. */
void recipient_learn(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	enum recipient_answer answer, const struct reply *backend, struct findings *findings, struct arena *a);

/* The backend takes everybody: its "yes" about r is shown as accept-all. */
void recipient_proves_nothing(struct findings *findings, const struct recipient *r);

/* For `spurn recipient`. */
struct recipient_cache_entry {
	enum recipient_answer answer;	/* RECIPIENT_CANNOT_TELL: was known, the "no" is not confirmed yet */
	time_t first, last, expires;	/* wall clock */
	char reply[64];			/* what the backend said, cut */
};
bool recipient_show(struct store *store, struct slice canonical, struct recipient_cache_entry *out);
/* Drops what is remembered of an address: what its backend said, and what the directories among the sources did. false: nothing was. */
bool recipient_forget(const struct recipient_conf *conf, struct store *store, struct slice canonical);

/* Many known addresses turning 5.1.1 at once: a broken backend, not a purge. Counts per worker and domain; true when the
 * alarm is on for any domain. While it is, a "no" of that domain's backend is UNCONFIRMED and not remembered. */
bool recipient_flip_alarm(void);

#endif
