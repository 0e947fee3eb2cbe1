/*
 * The master process: holds every listening descriptor, starts workers, replaces those that die or hang,
 * reloads, and replaces its own binary without losing a session. It reads nothing that comes from the network.
 */
#ifndef SPURN_APP_MASTER_H
#define SPURN_APP_MASTER_H

#include "app/worker.h"

struct master_options {
	const char *config_path;
	char **argv;		/* to execute the next binary with */
	bool foreground;
};

/* Returns the exit status. */
int master_run(const struct master_options *o, struct config *c);

#endif
