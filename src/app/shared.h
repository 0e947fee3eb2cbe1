/*
 * Memory that the master and all workers share: who is who, what is counted, and the switch
 * `spurn observe on`. It is a memfd, so that it survives the replacement of the binary.
 */
#ifndef SPURN_APP_SHARED_H
#define SPURN_APP_SHARED_H

#include "app/directory.h"
#include "base/log.h"
#include "check/rate.h"
#include "check/wave.h"
#include "edge/session.h"

#define SHARED_MAGIC 0x5350524e00000001ull
#define RATE_CLIENTS 65536

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_RUNNING, WORKER_QUIESCED, WORKER_DRAINING };

struct worker_slot {
	_Atomic int32_t pid;		/* 0: free */
	_Atomic uint32_t generation;	/* of the process in it; 0: none */
	_Atomic int32_t state;		/* enum worker_state */
	_Atomic int64_t heartbeat;	/* monotonic, nanoseconds */
	_Atomic uint64_t sessions;
	uint64_t counters[EDGE_COUNTER_COUNT];
};

struct shared {
	uint64_t magic, size;
	bool observe_all;
	int32_t master_pid;
	int64_t started, reloaded;	/* wall clock, nanoseconds */
	uint32_t reload_failed;		/* the last reload was refused */
	_Atomic uint32_t generations;
	_Atomic uint64_t crashes;
	uint64_t glitches[GLITCH_COUNT];
	struct worker_slot slots[RATE_WORKERS];
	struct directory_health directories[DIRECTORIES_SHOWN];	/* written by the directory process */
	struct waves waves;
	_Alignas(64) char rates[];
};

/* Makes it. Returns the descriptor, -1 on failure. */
int shared_create(void);
/* The cell of a slot in STATE-DIR/references, which outlives master and workers (struct edge.references); NULL: it cannot
 * be used, and the worker counts for itself. */
uint64_t *shared_references(const char *state_dir, unsigned slot);
/* Maps what a descriptor holds; NULL if it is not ours or of another layout. */
struct shared *shared_map(int fd);

#endif
