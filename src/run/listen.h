/*
 * Listeners: descriptors that the master opened, accepted from by a worker,
 * and the PROXY protocol in front of the first byte.
 *
 * Every worker has its own SO_REUSEPORT socket per address; the master holds
 * them all, so that a worker's death or a reload resets no pending connection.
 * Listeners are level-triggered and accept one connection a turn while the arrivals are
 * single ones, more after a turn that found more (at most 64, fairness): so a lone connection
 * costs no accept() that ends in EAGAIN.
 */
#ifndef SPURN_RUN_LISTEN_H
#define SPURN_RUN_LISTEN_H

#include "base/ip.h"
#include "run/loop.h"

/* Opens, binds and listens (backlog: somaxconn). -1, *why (static or strerror text) and errno. reuse_port:
 * one of several sockets on the same address. Unix: the path is replaced if it is a dead socket. */
int listen_open(const struct sockaddr *sa, socklen_t length, bool reuse_port, const char **why);

struct acceptor {
	struct watch watch;
	struct timer pause;		/* out of descriptors: try again in 100 ms */
	/* A new connection, non-blocking, close-on-exec; the callee owns fd. Unix peers have ip all zero. */
	void (*on_accept)(struct acceptor *a, int fd, const struct ip *peer, uint16_t port);
	void *owner;
	uint64_t accepted, failed;
	unsigned burst;			/* accepts allowed in the next turn */
};
/* Sets TCP_NODELAY on the listener; its connections inherit it. Set on_accept and owner before. */
bool acceptor_start(struct acceptor *a, int listening_fd);
/* Stops accepting; the descriptor stays open (it is the master's). */
void acceptor_stop(struct acceptor *a);

/* ---- PROXY protocol, version 1 and 2 (haproxy.org proxy-protocol.txt) ---- */

enum proxy_result {
	PROXY_MORE,	/* incomplete: read on */
	PROXY_OK,	/* *used bytes belong to the header */
	PROXY_LOCAL,	/* LOCAL or UNKNOWN: the proxy speaks for itself (health check) */
	PROXY_BAD,
};
/* Pure. Reads at most 536 bytes; v2 TLVs are skipped. */
enum proxy_result proxy_parse(struct slice input, size_t *used, struct ip *client, uint16_t *port);

#endif
