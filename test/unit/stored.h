/*
 * A store of its own for each test, in a directory that goes away with it; and an arena.
 */
#ifndef SPURN_TEST_STORED_H
#define SPURN_TEST_STORED_H

#include "unit.h"

#include "base/clock.h"
#include "net/store.h"

#include <stdio.h>

static char stored_dir[64];
static struct arena arena;
static struct store *store;

static inline int stored_setup(time_t now)
{
	struct store_conf conf = { .directory = stored_dir, .map_size = 16 << 20, .synchronous = true };
	const char *why = NULL;

	clock_fake(NS_PER_SECOND, now * NS_PER_SECOND);
	snprintf(stored_dir, sizeof(stored_dir), "/tmp/spurn-test-store-XXXXXX");
	if (!mkdtemp(stored_dir))
		return -1;
	store = store_open(&arena, &conf, &why);
	return store ? 0 : -1;
}

static inline int stored_teardown(void **state)
{
	char command[128];

	(void)state;
	store_close(store);
	arena_drop(&arena);
	snprintf(command, sizeof(command), "rm -r '%s'", stored_dir);
	return system(command);
}

#endif
