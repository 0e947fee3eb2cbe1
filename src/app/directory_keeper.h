/*
 * The master's part of the directory process: its sockets, its life.
 */
#ifndef SPURN_APP_DIRECTORY_KEEPER_H
#define SPURN_APP_DIRECTORY_KEEPER_H

#include "app/shared.h"

#include <sys/types.h>

/* Starts the process if the configuration needs one and none is there. Called each turn. before_child: what the child
 * must close that is the master's alone. */
void directory_keep(const struct config *c, struct shared *shared, bool foreground, void (*before_child)(void));
/* The configuration has changed: the old process finishes its questions, directory_keep() starts another. */
void directory_let_go(void);
/* true: it was ours. */
bool directory_bury(pid_t pid, int status);
/* At the end: waits for it a moment, then ends it. */
void directory_stop(const struct config *c);
/* In a worker, just forked. */
void directory_forget(void);

/* Around an upgrade: the sockets stay open, named in the environment. */
void directory_hand_over(void);
void directory_inherit(void);

#endif
