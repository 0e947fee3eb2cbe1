/*
 * Messages in files, for commands that read many: single files, directories, Maildirs, mboxes, standard input.
 *
 * Files of a disk end lines in LF; SMTP ends them in CRLF. What is handed on is as SMTP would have it.
 */
#ifndef SPURN_APP_TOOL_MAIL_H
#define SPURN_APP_TOOL_MAIL_H

#include "app/tool.h"

struct mail_sink {
	void *arg;
	void (*begin)(void *arg, const char *name);	/* name: the path; within an mbox "path#2" */
	void (*take)(void *arg, struct slice piece);	/* the message, lines ending in CRLF */
	void (*end)(void *arg);
};

/* Hands over all messages of a path; "-" is standard input. Directories are walked in the order of names; of a Maildir
 * cur and new. What cannot be read is said on standard error. false: something could not. */
bool tool_mail_each(struct tool *t, const char *path, const struct mail_sink *sink);

#endif
