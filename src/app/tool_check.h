/*
 * What `spurn check` collects. For tool_check.c and tool_live.c.
 */
#ifndef SPURN_APP_TOOL_CHECK_H
#define SPURN_APP_TOOL_CHECK_H

#include "app/tool.h"

struct examination {
	struct tool *t;
	struct config *config;
	unsigned errors, warnings;
	bool quiet;		/* what is in order is not told */
};

/* "spurn: FILE: reason" on standard error. */
void exam_error(struct examination *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
void exam_warning(struct examination *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line on standard output. */
void exam_fine(struct examination *x, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* tool_live.c: asks resolver, own name, certificates, backends and DNS lists. The argument is an examination. */
ASYNC void examine_live(void *x);

/* tool_directory.c: asks every directory. */
ASYNC void examine_directories(struct examination *x);

#endif
