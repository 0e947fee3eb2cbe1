/*
 * DNS questions for mail code: zone files of ours, and libunbound inside our loop.
 *
 * One context per worker; it recurses or forwards, caches, and validates where it can. A question waits in a fiber
 * with our own deadline (libunbound takes 29 s over dead servers). One question is in flight per name and type: later
 * askers wait for the same answer.
 *
 * A failed question is DNS_TROUBLE, and nothing else is: SERVFAIL, timeout, refused, bogus signatures,
 * our own fault. NXDOMAIN and an empty answer are answers.
 */
#ifndef SPURN_NET_DNS_H
#define SPURN_NET_DNS_H

#include "base/ip.h"
#include "run/stream.h"
#include "run/wait.h"
#include "wire/dns_packet.h"	/* enum dns_type, struct dns_record */

enum dns_status { DNS_FOUND, DNS_NODATA, DNS_NXDOMAIN, DNS_TROUBLE };
const char *dns_status_name(enum dns_status s);

struct dns_answer {
	enum dns_status status;
	bool secure;		/* DNSSEC validated */
	uint32_t ttl;		/* seconds */
	struct dns_record *records;	/* in the order received; CNAMEs followed */
	size_t count;
	const char *why;	/* of trouble: "timeout", "SERVFAIL", "bogus: ..." */
	bool cached;		/* answered without waiting */
};

struct dns_conf {
	bool recurse;			/* else: forward; neither, nor stubs: what zone files lack is trouble */
	const char *const *forward;	/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT" or "ADDRESS@PORT" */
	size_t forward_count;
	const struct dns_stub { const char *zone, *address; uint16_t port; } *stubs;	/* port 0: 53 */
	size_t stub_count;
	const char *const *zone_files;	/* RFC 1035 master files; at or below an SOA in one, the file alone answers */
	size_t zone_file_count;
	const char *trust_anchor_file;	/* NULL: the built-in root anchor; "": no validation */
	nanoseconds timeout;		/* upper bound of one question; 0: 8 s */
	size_t cache_size;		/* bytes; 0: 32 MiB */
};

struct dns;

/* NULL and *why (in `a`) when the configuration cannot be used. A zone file's mistake names file and line. */
struct dns *dns_open(struct arena *a, const struct dns_conf *conf, const char **why);
/* Takes another configuration; pointers to d stay good, fibers that wait go on waiting. The cache
 * is kept if only zone files (which are read again) or the timeout changed. False and *why: nothing has changed. */
bool dns_reload(struct dns *d, struct arena *a, const struct dns_conf *conf, const char **why);
/* Fibers that wait get DNS_TROUBLE. None may ask any more. */
void dns_close(struct dns *d);

/* Asks. name: without escapes, with or without a final dot; a name that cannot exist in DNS (label over 63, name
 * over 253, empty label) is DNS_NXDOMAIN without a question. Any other octet is asked for as it is (RFC 2181 section
 * 11), UTF-8 too: the caller has made A-labels of it. Names in answers have a backslash before dots within labels
 * and \DDD for odd octets, so they are safe to show, and asking for such a one finds nothing. Records live in `a`. */
ASYNC void dns_ask(struct dns *d, struct arena *a, struct slice name, enum dns_type type,
	struct dns_answer *out, deadline until);
/* A and AAAA in parallel, records joined (A first). NODATA if both are; NXDOMAIN if either says so and
 * nothing was found; TROUBLE only if nothing was found and either was in trouble. */
ASYNC void dns_addresses(struct dns *d, struct arena *a, struct slice name,
	struct dns_answer *out, deadline until);
/* Questions asked in parallel from one fiber. */
struct dns_question {
	struct slice name;
	enum dns_type type;
	struct dns_answer answer;	/* filled in */
};
ASYNC void dns_ask_all(struct dns *d, struct arena *a, struct dns_question *questions, size_t count,
	deadline until);

/* Asks and waits for nothing: when somebody asks the same, the answer is in the cache or on its way. */
void dns_prefetch(struct dns *d, struct slice name, enum dns_type type);

struct dns_stats {
	uint64_t questions, joined, answered, trouble, timeouts;
};
const struct dns_stats *dns_stats(const struct dns *d);

/* ---- tests: a table in the place of the network ---- */

/* Called instead of libunbound. Returns false to pass the question on. *delay: when the answer comes
 * (DNS_TROUBLE with "timeout" if over the deadline). */
typedef bool dns_source(void *arg, struct arena *a, struct slice name, enum dns_type type,
	struct dns_answer *out, nanoseconds *delay);
void dns_set_source(struct dns *d, dns_source *source, void *arg);

#endif
