/*
 * SPF: may this client send for this domain? check_host() of RFC 7208.
 *
 * The evaluation is sequential, as the standard describes it; only its questions run ahead (src/check/spf_ask.h), so
 * neither the result nor a limit depends on which answer comes first.
 */
#ifndef SPURN_CHECK_SPF_H
#define SPURN_CHECK_SPF_H

#include "net/dns.h"
#include "wire/envelope.h"

struct spf_question {
	const struct ip *ip;		/* IPv4-mapped addresses are IPv4 (section 5) */
	struct slice helo;		/* as said */
	struct slice local, domain;	/* of the reverse-path; domain empty: the null path, and HELO is asked about
					 * as postmaster@helo (section 2.4) */
	const char *receiver;		/* our name, for %{r}; NULL: "unknown" */
	time_t now;			/* wall clock, for %{t} */
};

struct spf_answer {
	enum result result;		/* none, pass, fail, softfail, neutral, temperror, permerror */
	bool helo;			/* the identity is HELO, not MAIL FROM */
	bool never_sends;		/* fail, by a record that holds nothing but "-all": the domain sends no mail */
	const char *domain;		/* the identity's, escaped */
	const char *mechanism;		/* that matched, or failed to be looked up, as written, escaped; NULL: none did */
	const char *record;		/* the domain in whose record it stands (an included one, say), escaped */
	const char *reason;		/* a sentence */
	const char *explanation;	/* the domain's own words for a fail (section 6.2), escaped; NULL: none */
	unsigned lookups, voids;	/* terms that asked DNS (10 allowed), and those that found nothing (2) */
};

#define SPF_LOOKUPS_MAX 10		/* section 4.6.4 */
#define SPF_VOIDS_MAX 2
#define SPF_EXPLANATION_MAX 400		/* octets kept of the domain's words */

/* Evaluates; never fails: DNS trouble and a deadline that passes are temperror. Strings of the answer are static
 * or in `a`. */
ASYNC void spf_check_host(struct dns *dns, struct arena *a, const struct spf_question *question,
	struct spf_answer *out, deadline until);

/* The SPF of a transaction, or of HELO if its reverse-path is null: facts for the envelope, and a finding whatever the
 * result. The finding's detail is what a refusal may say. hostname: ours. */
ASYNC void spf_check(struct dns *dns, const struct envelope *e, const char *hostname, struct spf_facts *facts,
	struct findings *findings, deadline until);

#endif
