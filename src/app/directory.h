/*
 * The directory process: LDAP and SQL clients behind a socketmap server.
 *
 * Client libraries of databases block, and they want the password; so they live in a process of their own, with threads,
 * and no octet of mail comes here. A thread serves a connection: it reads a question, takes a
 * connection to the database from the directory's pool, waits for the answer as long as the directory's
 * timeout allows, writes the reply. The thread is the state. One configuration lasts a process: at a reload the master
 * starts another one and lets this one finish what it is at.
 */
#ifndef SPURN_APP_DIRECTORY_H
#define SPURN_APP_DIRECTORY_H

#include "policy/config.h"

/* Why something failed; of a thread, so not in any arena. */
struct directory_why {
	char text[200];
};
void directory_why(struct directory_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum directory_answer {
	DIRECTORY_FOUND,
	DIRECTORY_ABSENT,
	DIRECTORY_TROUBLE,	/* no answer; the connection is good for the next question */
	DIRECTORY_BROKEN,	/* no answer, and the connection has to be closed */
	DIRECTORY_LATE,		/* as BROKEN: the time was up */
};

/* Takes a value that may hold an address. false: enough. */
struct directory_sink {
	bool (*take)(struct directory_sink *sink, struct slice value);
};

/* What is different about each kind. Calls block, at the latest until the deadline (clock_precise(), not the loop's
 * clock: there is none here) or a little beyond where a library counts whole seconds. */
struct directory_driver {
	/* NULL: *why. password: empty if there is none. */
	void *(*open)(const struct directory_conf *conf, struct slice password, deadline d, struct directory_why *why);
	enum directory_answer (*ask)(void *connection, const struct directory_key *key, deadline d,
		struct directory_why *why);
	/* All addresses. true: all of them were given to the sink. */
	bool (*list)(void *connection, struct directory_sink *sink, deadline d, struct directory_why *why);
	void (*close)(void *connection);
};
extern const struct directory_driver directory_ldap, directory_postgresql, directory_mariadb, directory_sqlite;
const struct directory_driver *directory_driver_of(const struct directory_conf *conf);

/* ---- directory_source.c: one directory, its connections and its health ---- */

/* Shared with all processes of ours, for status. Written under the source's lock, read without one: at worst a torn text. */
struct directory_health {
	char name[32];		/* "" none */
	uint8_t kind;		/* enum directory_kind */
	bool up;		/* the last word is not a failure */
	uint64_t asked, found, absent, trouble, opened;
	int64_t answered_at, failed_at;	/* wall clock, nanoseconds; 0: never */
	int64_t time_total;	/* of all answers */
	char last_error[200];
	int64_t copied_at;	/* wall clock of the last copy made; 0: none by this process */
	uint64_t copied;	/* its entries */
	char copy_error[200];	/* "" none */
};
#define DIRECTORIES_SHOWN 64

struct directory_source;

/* health: NULL or a place that outlives it. Sources, with their connections, live as long as their process; so must the arena. */
struct directory_source *directory_source_new(struct arena *a, const struct directory_conf *conf,
	struct directory_health *health);
const struct directory_conf *directory_source_conf(const struct directory_source *s);
struct directory_health *directory_source_health(struct directory_source *s);
/* Is there a mailbox of this canonical address? LATE and BROKEN come out as TROUBLE; *late tells which it was. An address without
 * an @ is ABSENT. */
enum directory_answer directory_source_ask(struct directory_source *s, struct slice address, bool *late,
	struct directory_why *why);
/* On a connection of its own. */
bool directory_source_list(struct directory_source *s, struct directory_sink *sink, struct directory_why *why);
/* Before the first of them. */
void directory_libraries_init(void);

/* ---- directory_copy.c: a recipients file out of a directory or an export ---- */

struct directory_copy {
	size_t had, has;	/* entries before and now */
	size_t passed_over;	/* values that are no addresses */
};
/* Lists the directory into its copy. guard: per cent that it may shrink; 100: no matter. false: *why, and the old copy
 * stays. */
bool directory_copy_make(struct directory_source *s, unsigned guard, struct directory_copy *out,
	struct directory_why *why);
/* The same from the text of an export: CSV or a plain list. column: NULL: found by its name. */
bool directory_copy_import(const char *path, struct slice text, const char *column, unsigned guard,
	struct directory_copy *out, struct directory_why *why);
/* A thread that makes it on its schedule. false: no thread. */
bool directory_copy_schedule(struct directory_source *s);

/* ---- directory_process.c ---- */

struct directory_start {
	const struct config *config;
	int own;			/* listening Unix socket of the workers */
	int others[16];			/* listening sockets of directory-serve */
	size_t other_count;
	int channel;			/* from the master: its end is the order to leave */
	struct directory_health *health;	/* DIRECTORIES_SHOWN of them */
	bool foreground;
};
/* Never returns. */
_Noreturn void directory_run(const struct directory_start *start);
/* Whether a configuration needs the process. */
bool directory_is_needed(const struct config *c);

/* ---- directory_serve.c ---- */

struct directory_set {
	struct directory_source **sources;
	size_t count;
};
/* Serves a connection in a thread of its own; the descriptor is taken over. false: no thread, and it is closed. */
bool directory_serve(const struct directory_set *set, int fd, bool ours);
/* Questions under way, and since when the oldest (clock_precise(); 0: none). */
unsigned directory_serve_busy(nanoseconds *oldest);
/* From now on every connection ends behind its reply. */
void directory_serve_finish(void);

#endif
