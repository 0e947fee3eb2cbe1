/*
 * libunbound in our loop: the network behind dns.c, and nothing but that.
 *
 * No threads, no processes, no sockets of ours: libunbound asks for events through a table of functions
 * (unbound-event.h), and ours hand them to run/loop.
 */
#ifndef SPURN_NET_DNS_UNBOUND_H
#define SPURN_NET_DNS_UNBOUND_H

#include "net/dns.h"

struct dns_unbound;

struct unbound_reply {
	int rcode;		/* not 0: no packet, the question failed */
	struct slice packet;	/* lasts during the call only */
	bool secure;
	const char *bogus;	/* why it cannot be believed, or NULL */
};
typedef void unbound_heard(void *arg, const struct unbound_reply *r);

/* NULL and *why (in `a`) if the configuration cannot be used. It is fixed from here on. */
struct dns_unbound *dns_unbound_open(struct arena *a, const struct dns_conf *conf, const char **why);
/* No heard() is called after the return, nor during it. */
void dns_unbound_close(struct dns_unbound *u);

/* Asks; heard() may be called before the return. Runs on the scheduler's stack only (fiber_hoist).
 * False: not asked, heard() will not be called. */
bool dns_unbound_ask(struct dns_unbound *u, const struct dns_name *name, enum dns_type type,
	unbound_heard *heard, void *arg);

#endif
