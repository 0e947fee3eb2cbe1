/*
 * The text of a configuration: words, blocks, places.
 *
 * Grammar:
 *   file      = *statement
 *   statement = 1*word ( ";" / "{" *statement "}" [ ";" ] )
 *   word      = 1*(any but white space, ";", "{", "}", quote, "#") / quoted
 *   quoted    = %x22 *(any but quote and backslash / backslash any) %x22
 * A # begins a comment up to the end of the line. `include "pattern";` stands for the statements of
 * the files that match, in the order of their names. Everything keeps its place, so that every mistake
 * can be shown where it is; reading goes on behind a mistake, so that all are shown.
 */
#ifndef SPURN_POLICY_SYNTAX_H
#define SPURN_POLICY_SYNTAX_H

#include "base/str.h"

struct source {
	const char *path;
	struct slice text;
};

struct word {
	struct slice text;	/* unescaped */
	const struct source *source;
	uint32_t line, column;	/* from 1 */
	uint32_t length;	/* columns it takes in the source */
};

struct statement {
	struct statement *next;
	struct word *words;
	size_t count;		/* at least 1 */
	bool is_block;
	struct statement *children;
};

/* Collects what is said about a configuration. */
struct report {
	struct arena *arena;
	void (*say)(void *arg, const char *message);
	void *arg;
	unsigned errors, warnings;
};

/* "FILE:LINE:COL: error: text", the line, and a caret under the word. */
void report_error(struct report *r, const struct word *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void report_warning(struct report *r, const struct word *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The statements of a file and of those it includes; NULL with nothing said: an empty file. */
struct statement *syntax_read_file(struct report *r, const char *path);
struct statement *syntax_read_text(struct report *r, const char *name, struct slice text);

#endif
