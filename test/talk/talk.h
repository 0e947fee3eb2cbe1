/*
 * Replay of dialogues: the whole edge of a worker in one process, with a
 * scripted client, a scripted backend, a table for DNS and a clock that stands
 * still until the script moves it. README.md describes the language.
 */
#ifndef SPURN_TEST_TALK_H
#define SPURN_TEST_TALK_H

#include "edge/transaction.h"

/* ---- site.c: the edge under test ---- */

struct site {
	struct edge edge;
	struct config *config;
	char directory[64];
	uint64_t counters[EDGE_COUNTER_COUNT];
	bool observe_all;
	void *rate_memory;
	struct arena arena;
};
extern struct site site;

/* Opens the site with a configuration; exits with a message if it is wrong. */
void site_open(struct slice config_text);
void site_reload(struct slice config_text);
void site_close(void);
/* One answer of the DNS table. value: record data, or NXDOMAIN, NODATA, SERVFAIL, TIMEOUT. */
bool site_dns(struct slice name, struct slice type, struct slice value, struct arena *a);
/* All records of the journal so far, newline-separated. */
struct slice site_journal(struct arena *a);
/* Runs the loop until nothing is left to do at this moment of the fake clock. */
void site_settle(void);
/* Moves the clock, firing what falls due on the way. */
void site_wait(nanoseconds span);

/* ---- backend.c: the server behind ---- */

void backend_open(const char *path, bool lmtp);
void backend_close(void);
/* Accepts, reads and answers what is there. true: something happened. */
bool backend_poll(void);
void backend_capabilities(struct slice words);
/* From now on: a line that matches glob is answered with action ("reply TEXT", "close", "stall", "raw TEXT",
 * "drip TEXT"). times 0: always. */
bool backend_rule(struct slice glob, struct slice action, unsigned times, struct arena *a);
void backend_up(bool up);
/* The next line, behind those asked for before, that matches; *seen: what came instead. */
bool backend_got(struct slice glob, struct str *seen);
bool backend_ever_got(struct slice glob);
size_t backend_message_count(void);
struct slice backend_message(size_t i);
size_t backend_connections(void);
void backend_say(struct slice text);

/* Shell-like pattern: * and ?; all else literal. */
bool glob_match(struct slice pattern, struct slice text);
/* \r \n \t \\ \xHH and \0. */
struct slice unescape(struct arena *a, struct slice text);

#endif
