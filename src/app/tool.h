/*
 * What the commands of the tool `spurn` share: arguments, errors, the
 * configuration, the control socket, and a loop for those that ask the network.
 *
 * A command is a function of its arguments that returns the exit status; the
 * table of all stands in spurn.c.
 */
#ifndef SPURN_APP_TOOL_H
#define SPURN_APP_TOOL_H

#include "policy/config.h"

#include <jansson.h>
#include <sysexits.h>

#define TOOL_CONFIG "/etc/spurn/spurn.conf"

/* ---- commands (tool_*.c) ---- */

int tool_check(int argc, char **argv);
int tool_doctor(int argc, char **argv);
int tool_try(int argc, char **argv);
int tool_why(int argc, char **argv);
int tool_report(int argc, char **argv);
int tool_status(int argc, char **argv);
int tool_observe(int argc, char **argv);
int tool_recipient(int argc, char **argv);
int tool_manual(int argc, char **argv);

/* ---- arguments ---- */

struct tool_words {
	const char **words;
	size_t count;
};

/* One of given, value and words is set. */
struct tool_flag {
	const char *name;		/* with its dashes */
	bool *given;			/* takes no value */
	const char **value;		/* takes one */
	struct tool_words *words;	/* takes one each time, and further ones behind it that hold an @ */
};

/* Flags may stand anywhere, "--" ends them, "--name=value" is understood. rest has room for argc words. false: it was
 * said what is wrong; the exit status is EX_USAGE. */
bool tool_arguments(const char *command, int argc, char **argv, const struct tool_flag *flags, size_t count,
	struct tool_words *rest);

/* ---- errors ---- */

/* "spurn: TEXT" on standard error. Returns status. */
int tool_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with where to read on. Returns EX_USAGE. */
int tool_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the configuration ---- */

/* NULL: its mistakes have been said. Warnings are left to `check`. */
struct config *tool_config(const char *path);

/* ---- the daemon ---- */

/* Sends one request and returns the answer whole; SLICE_NULL: it has been said why not. */
struct slice tool_ask(struct arena *a, const struct config *c, const char *request);
/* The same, as JSON; NULL: it has been said why not, an {"error": ...} of the daemon included. */
json_t *tool_ask_json(struct arena *a, const struct config *c, const char *request);

/* ---- JSON ---- */

/* A member of an object, along a path like "reply.code"; NULL if it is not there. */
const json_t *tool_member(const json_t *object, const char *path);
/* Its text; "" if it is not there or no text. */
const char *tool_text(const json_t *object, const char *path);
int64_t tool_number(const json_t *object, const char *path);

/* ---- output ---- */

/* Text of others on a terminal: control characters become \xHH. */
void tool_print_safe(const char *text);
/* tool_print_safe() between two texts of our own. */
void tool_print(const char *before, const char *text, const char *after);

/* ---- the loop ---- */

/* Runs fn(arg) in a fiber and the loop until it has returned. */
void tool_run(void (*fn)(void *), void *arg);

/* ---- records (tool_record.c) ---- */

/* One record of the journal as a trail for the help desk. */
void tool_record_print(const json_t *record);
/* One finding in a line. */
void tool_finding_print(const json_t *finding);

/* ---- live questions (tool_live.c) ---- */

/* What `check --live` asks; returns the number of errors. */
ASYNC unsigned tool_live_check(struct config *c);

#endif
