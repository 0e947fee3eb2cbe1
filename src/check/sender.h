/*
 * The sender: local lists, and whether its domain exists so that mail to it could be answered
 * (RFC 5321 section 5.1, RFC 7505).
 */
#ifndef SPURN_CHECK_SENDER_H
#define SPURN_CHECK_SENDER_H

#include "check/list.h"
#include "net/dns.h"
#include "wire/envelope.h"

struct sender_conf {
	struct address_list allow, deny;
};

/* From memory: SENDER allowed or denied, nothing otherwise. canonical: empty for <>. */
void sender_check_lists(const struct sender_conf *conf, struct slice canonical,
	struct findings *findings, struct arena *a);

/* SENDER_DOMAIN: pass (MX with at least one public address, or address records as implicit MX), nxdomain
 * (neither), null-mx, bad-mx (all targets loopback, private, unspecified), temperror. A literal
 * passes if it is a public address. detail: the domain. */
ASYNC void sender_check_domain(struct dns *dns, const struct path *reverse_path,
	struct findings *findings, struct arena *a, deadline until);

#endif
