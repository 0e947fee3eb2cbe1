/*
 * DNS lists: weights, answers that count, and the health of each zone (RFC 5782).
 *
 * An answer counts only inside the ranges configured. 127.255.255.0/24 and
 * anything outside 127/8 is the list saying that something is wrong: never a listing,
 * counted, alarmed, and the zone rests. Each zone is tested at start and hourly: 127.0.0.2 must be
 * listed and 127.0.0.1 must not (for name lists: TEST and INVALID); a zone that fails is off until it passes. Trouble of
 * the test itself proves nothing and changes nothing.
 */
#ifndef SPURN_CHECK_DNSBL_H
#define SPURN_CHECK_DNSBL_H

#include "net/dns.h"
#include "wire/envelope.h"

enum dnsbl_key { DNSBL_CLIENT = 1, DNSBL_SENDER_DOMAIN = 2, DNSBL_HELO = 4 };

struct dnsbl_zone_conf {
	const char *zone;
	const char *label;	/* what records may show; a paid key in the zone name is never shown. NULL: dnsbl_default_label() */
	struct dnsbl_range { struct ip first, last; } *answers;	/* none: 127.0.0.2-127.0.0.255 */
	size_t answer_count;
	int weight;
	unsigned keys;		/* enum dnsbl_key bits */
};
struct dnsbl_conf {
	const struct dnsbl_zone_conf *zones;
	size_t zone_count;
	int threshold;
	nanoseconds timeout;	/* of all questions of one moment together */
};

/* The zone, but a first label of 20 or more letters and digits, which is how paid feeds hand out keys, is
 * replaced: "[key].zen.dq.example.net". */
const char *dnsbl_default_label(struct arena *a, const char *zone);

/* State of zones per worker, keyed by zone name: survives a reload. Before a zone has passed its first
 * test its hits wait for that test, within the deadline of the check. */
struct dnsbl;
struct dnsbl *dnsbl_open(void);
/* Tells it the zones in use and starts (or continues) the self-tests. Copies what it keeps. */
void dnsbl_configure(struct dnsbl *b, const struct dnsbl_conf *conf, struct dns *dns);
void dnsbl_close(struct dnsbl *b);

/* Asks all zones of these keys in parallel; one finding LISTED per hit (weight in it, detail the client's address
 * or the domain), TEMPERROR per failed question, none otherwise. Not asked about: private addresses, address literals,
 * names without a dot. The verdict adds weights up. */
ASYNC void dnsbl_check(struct dnsbl *b, const struct dnsbl_conf *conf, struct dns *dns, unsigned keys,
	const struct client_facts *client, struct slice sender_domain,
	struct findings *findings, struct arena *a, deadline until);
/* True when there is anything to ask for these keys. */
bool dnsbl_wanted(const struct dnsbl_conf *conf, unsigned keys);

struct dnsbl_zone_info {
	const char *label;
	bool on, tested;
	const char *reason;	/* why off, or the last trouble */
	uint64_t asked, listed, errors, trouble;
};
void dnsbl_each_zone(struct dnsbl *b, void (*fn)(const struct dnsbl_zone_info *, void *), void *arg);
/* Self-test of one zone now (spurn check --live). true: healthy; *why otherwise. */
ASYNC bool dnsbl_self_test(const struct dnsbl_zone_conf *zone, struct dns *dns, struct arena *a,
	const char **why, deadline until);

#endif
