/*
 * What the commands of `spurn` share: arguments, output, errors, and the two
 * ways to learn something: from files (configuration, journal) or by asking the
 * daemon over its control socket.
 *
 * Exit statuses beyond a command's own 0, 1 and 2 are those of sysexits(3).
 */
#ifndef SPURN_APP_TOOL_H
#define SPURN_APP_TOOL_H

#include "policy/config.h"

#include <jansson.h>
#include <sysexits.h>

#define TOOL_CONFIG "/etc/spurn/spurn.conf"

struct tool {
	struct arena arena;	/* of the process */
	struct str out;		/* for standard output; written by tool_end() */
	const char *config;	/* path of the configuration */
	struct config *loaded;	/* what tool_config() has read */
	const char *command;	/* the command's name, for messages */
	int failed;		/* standard output took something no more: errno */
};

/* ---- output ---- */

void tool_print(struct tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was printed so far leaves once it is much; nothing else does before tool_end(). */
void tool_relieve(struct tool *t);
/* Writes what was printed. Returns status, or EX_IOERR if it could not be written. */
int tool_end(struct tool *t, int status);
/* "spurn: ..." on standard error; returns status. */
int tool_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong use: EX_USAGE, with a word where help is. */
int tool_misused(const struct tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Rows of cells, printed with aligned columns, two spaces before each row. */
#define TOOL_COLUMNS 8
struct tool_table {
	const char *(*rows)[TOOL_COLUMNS];
	size_t count, cap;
};
/* Cells end with NULL. */
void tool_row(struct tool *t, struct tool_table *table, ...) __attribute__((sentinel));
void tool_rows(struct tool *t, const struct tool_table *table);

/* "3 d 4 h", "12 min", "5 s", "20 ms". */
const char *tool_span(struct tool *t, int64_t ms);
/* Bytes of a stranger made harmless for a terminal. */
const char *tool_safe(struct tool *t, struct slice text);

/* ---- arguments ---- */

struct tool_option {
	const char *name;	/* without dashes */
	const char **value;	/* takes a value, or ... */
	bool *flag;		/* ... does not, or ... */
	struct tool_words *words;	/* ... takes one and may be repeated */
};
struct tool_words {
	const char *word[256];
	size_t count;
};
/* Reads the options of a command (-c FILE is always one) and leaves the other words in argv, in their order.
 * Returns their number; -1: misused, and said so. options end with a NULL name. */
int tool_arguments(struct tool *t, int argc, char **argv, const struct tool_option *options);
/* "2d": that long ago, wall clock. false: said so. NULL text: 0. */
bool tool_since(const struct tool *t, const char *text, nanoseconds *out);

/* ---- configuration ---- */

/* false and errno: the file of the configuration cannot be read, or is none. */
bool tool_reads_config(const struct tool *t);
/* One directive of the top level, or its default, even if the rest of the file is wrong: what the running daemon
 * uses may be found while somebody edits. NULL: the file cannot be read, and it was said. */
const char *tool_directive(struct tool *t, const char *name);
/* The whole, which stays the tool's; mistakes go to standard error. NULL: there were some. */
struct config *tool_config(struct tool *t);
/* STATE-DIR/name, NULL as above. */
const char *tool_state(struct tool *t, const char *name);
/* Started by root: becomes the daemon's user, so that everything is seen as the daemon sees it. false: *why. */
bool tool_become_user(struct tool *t, const char **why);

/* ---- the daemon ---- */

/* One request to the control socket. Returns what came back, one JSON object a line; on failure NULL with *status
 * set, and it was said. */
const char *tool_ask(struct tool *t, const char *request, int *status);

/* What of the running daemon needs attention is printed. true: nothing does. */
bool tool_attention(struct tool *t);

/* ---- JSON ---- */

/* NULL, and it was said. */
json_t *tool_parse(const char *text, size_t n);
/* Members, harmless for a terminal; "" and 0 if absent or of another type. */
const char *tool_text(struct tool *t, const json_t *object, const char *name);
int64_t tool_number(const json_t *object, const char *name);
bool tool_is(const json_t *object, const char *name);

/* ---- fibers in a tool ---- */

/* Sets loop and fibers up, once: before anything is opened that lives in them. */
void tool_loop(void);
/* Runs fn(arg) in a fiber and the loop until it has returned. */
void tool_run_fiber(const char *name, void (*fn)(void *), void *arg);

/* ---- DNS without a daemon ---- */

/* zone: a zone file, and what it lacks does not exist; NULL: the resolver of the configuration if one was named, else of
 * this machine. NULL, and it was said: *status is the exit status. */
struct dns *tool_resolver(struct tool *t, const char *zone, int *status);

/* ---- records ---- */

/* One record for people. */
void tool_show_record(struct tool *t, const json_t *record);
/* The findings of a record, one a line. */
void tool_show_findings(struct tool *t, const json_t *record);
/* "accepted", "refused", ... for a record's disposition. */
const char *tool_fate(const char *disposition);

/* ---- commands: argv[0] is the command's name; the exit status is returned ---- */

int tool_check(struct tool *t, int argc, char **argv);
int tool_doctor(struct tool *t, int argc, char **argv);
int tool_try(struct tool *t, int argc, char **argv);
int tool_why(struct tool *t, int argc, char **argv);
int tool_report(struct tool *t, int argc, char **argv);
int tool_status(struct tool *t, int argc, char **argv);
int tool_observe(struct tool *t, int argc, char **argv);
int tool_spf(struct tool *t, int argc, char **argv);
int tool_auth(struct tool *t, int argc, char **argv);
int tool_bounce(struct tool *t, int argc, char **argv);
int tool_recipient(struct tool *t, int argc, char **argv);
/* tool_directory.c: of tool_recipient(). name: a directory or a domain; NULL: all with a copy. */
int tool_recipient_sync(struct tool *t, const char *name, bool force);
int tool_recipient_import(struct tool *t, const char *path, const char *column, bool force);
int tool_keys(struct tool *t, int argc, char **argv);
int tool_sent(struct tool *t, int argc, char **argv);

#endif
