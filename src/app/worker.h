/*
 * A worker process: privileges away, services open, then the loop.
 */
#ifndef SPURN_APP_WORKER_H
#define SPURN_APP_WORKER_H

#include "app/shared.h"

/* What the master says to a worker over its channel, one message each, a descriptor with LISTEN. */
enum worker_order {
	ORDER_LISTEN = 'L',	/* text: an address; the descriptor listens on it */
	ORDER_RELOAD = 'R',	/* read the configuration again and swap */
	ORDER_QUIESCE = 'Q',	/* accept no more, end with the last session (upgrade) */
	ORDER_DRAIN = 'D',	/* accept no more, 421 to who is idle, end soon */
};

struct order {
	char kind;
	char text[255];
};

struct worker_start {
	struct shared *shared;
	struct config *config;		/* a reference is taken */
	unsigned slot;
	int channel;			/* from the master */
	int control;			/* listening Unix socket of the tool, -1: none */
	struct {
		const char *text;	/* address as configured */
		int fd;
	} listeners[LISTEN_ADDRESSES_MOST];
	size_t listener_count;
	bool foreground;
};

/* Never returns. */
_Noreturn void worker_run(const struct worker_start *start);

/* What the control socket needs to see (control.c). */
struct worker {
	struct edge edge;
	struct shared *shared;
	unsigned slot;
	bool quiesced;
	const char *dns_trouble;
};
extern struct worker worker;

/* control.c: serves `spurn` on a connection of the control socket. */
void control_accept(int fd);

/* sandbox.c: drops every capability and admits only the system calls that a worker needs.
 * false and *why: the kernel refuses; the worker goes on without, and says so. */
bool sandbox_enter(const char **why);

#endif
