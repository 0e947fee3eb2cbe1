/*
 * What the client is: local lists, reverse name, HELO.
 */
#ifndef SPURN_CHECK_CLIENT_H
#define SPURN_CHECK_CLIENT_H

#include "check/list.h"
#include "net/dns.h"
#include "wire/envelope.h"

struct client_conf {
	struct client_list allow, deny, trust;
};

/* At connect, from memory: sets client->class and adds a finding if a list names it. The first of trust, allow, deny
 * that names the client holds (an exception is written into allow, whatever deny's prefix); the reason names the list. */
void client_check_lists(const struct client_conf *conf, struct client_facts *client,
	struct findings *findings, struct arena *a);

/* Forward-confirmed reverse name (RFC 8601 section 2.7.3 iprev): sets client->name and client->reverse_name,
 * adds a finding RDNS pass, fail (PTR but no forward match), none (no PTR), temperror. At most 4 PTR names. */
ASYNC void client_check_reverse(struct dns *dns, struct client_facts *client,
	struct findings *findings, struct arena *a, deadline until);

/* Plausibility of the HELO argument (RFC 5321 section 4.1.4 forbids refusing for it alone): a finding HELO
 * pass or implausible (our own name, our own address, a bare address, no dot, illegal characters, an address
 * literal of another host). No DNS. */
void client_check_helo(const struct client_facts *client, const char *our_name, const struct ip *our_ip,
	struct findings *findings, struct arena *a);

#endif
