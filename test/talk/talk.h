/*
 * Replay of dialogues: the whole edge of a worker in one process, with a
 * scripted client, a scripted backend, a table for DNS and a clock that stands
 * still until the script moves it. README.md describes the language.
 */
#ifndef SPURN_TEST_TALK_H
#define SPURN_TEST_TALK_H

#include "edge/transaction.h"

#include <poll.h>
#include <sys/socket.h>

/* ---- site.c: the edge under test ---- */

struct site {
	struct edge edge;
	struct config *config;
	char directory[64];
	uint64_t counters[EDGE_COUNTER_COUNT];
	bool observe_all;
	void *rate_memory;
	struct store *store;
	struct arena arena;
};
extern struct site site;

/* Opens the site with a configuration; exits with a message if it is wrong. */
void site_open(struct slice config_text);
void site_reload(struct slice config_text);
void site_close(void);
/* Connects to all backends, as a worker does at its start, to learn what they offer. */
void site_learn(void);
/* The worker is replaced by another process, as the others see it: what it left open in the store is nobody's. */
void site_worker_dies(void);
/* Whether there is a store; without one the worker goes on as if it could not open it. */
void site_store(bool there);
/* Answers about a name are forgotten. */
void site_dns_forget(struct slice name);
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
/* host 0, or 1: the second one, which is down until it is told to be up. */
void backend_up(unsigned host, bool up);
/* Every connection ends; both go on listening. */
void backend_hang_up(void);
/* The next line, behind those asked for before, that matches; *seen: what came instead. */
bool backend_got(struct slice glob, struct str *seen);
bool backend_ever_got(struct slice glob);
size_t backend_got_count(struct slice glob);
size_t backend_message_count(void);
struct slice backend_message(size_t i);
size_t backend_connections(void);
void backend_say(struct slice text);

/* ---- scanner.c: clamd, spamd and a milter ---- */

/* Where "clamd", "spamd" or "milter" listens; NULL: no such name. */
const char *scanner_path(struct slice name);
void scanner_open(void);
void scanner_close(void);
void scanner_up(struct slice name, bool up);
bool scanner_poll(void);
/* As backend_rule(); action: "raw TEXT", "packet TEXT" (a milter's, the length is added), "close", "stall", "nothing", or
 * several of them with " && " between. */
bool scanner_rule(struct slice glob, struct slice action, unsigned times, struct arena *a);
bool scanner_got(struct slice glob, struct str *seen);
size_t scanner_got_count(struct slice glob);

/* ---- directory.c: a socketmap server ---- */

void directory_open(const char *path);
void directory_up(bool up);
bool directory_poll(void);
/* Whom it answers OK; everybody else is NOTFOUND. */
void directory_knows(struct slice address, bool knows);
/* From now on these octets, whoever is asked for; "nothing": silence; empty: what it knows. */
void directory_says(struct slice octets);
size_t directory_asked(struct slice glob);

/* ---- secure.c: certificates, and TLS of a client ---- */

/* Makes a certificate for mx.example.org and its key. */
void secure_make(const char *certificate, const char *key);
/* The client's side of TLS on a descriptor; free with secure_drop. */
struct secure;
struct secure *secure_new(int fd);
void secure_drop(struct secure *s);
/* One step of the handshake: 1 done, 0 go on, -1 failed. */
int secure_shake(struct secure *s);
/* As recv and send: > 0, 0 at the end, -1 with EAGAIN in errno or a failure. */
ssize_t secure_read(struct secure *s, char *buffer, size_t n);
ssize_t secure_write(struct secure *s, const char *bytes, size_t n);

/* Shell-like pattern: * and ?; all else literal. */
bool glob_match(struct slice pattern, struct slice text);
/* \r \n \t \\ \xHH and \0. */
struct slice unescape(struct arena *a, struct slice text);

/* A connection that waits at a listening socket, or -1. The kernel makes a socket before it looks whether anybody is there, so it is
 * asked first: a talk that waits for days looks a million times. */
static inline int accept_waiting(int listening)
{
	struct pollfd p = { .fd = listening, .events = POLLIN };

	return listening >= 0 && poll(&p, 1, 0) > 0 ? accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
}

#endif
