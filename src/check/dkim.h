/*
 * DKIM of one message (RFC 6376, with RFC 8301 and RFC 8463): which signatures it has and what each is worth.
 */
#ifndef SPURN_CHECK_DKIM_H
#define SPURN_CHECK_DKIM_H

#include "check/dkim_signature.h"
#include "wire/envelope.h"

struct dkim_conf {
	uint32_t max_signatures;	/* looked at in one message, from the top */
	bool partial_is_policy;		/* l= that leaves octets unsigned: "policy" instead of "pass" */
};

struct dkim_check;

/* conf stays as long as the check. */
struct dkim_check *dkim_begin(struct arena *a, const struct dkim_conf *conf);
/* Leaves out the signatures of other domains than those wanted; before dkim_header(). */
void dkim_only(struct dkim_check *d, bool (*wanted)(void *arg, struct slice domain), void *arg);
/* The header section is complete and stays: signatures are read, and the hashes of the body that they need are asked for.
 * hashes NULL: of a message whose body is not there; signatures are judged by the header section alone. */
void dkim_header(struct dkim_check *d, const struct header *h, struct body_hashes *hashes);
/* The body has been pushed: asks for the keys in parallel and verifies. Facts, from the top of the message, into auth; a
 * finding for each signature, or one "none". now: seconds since the epoch. Trouble of DNS is temperror. */
ASYNC void dkim_finish(struct dkim_check *d, struct dns *dns, struct dkim_keys *keys, int64_t now,
	struct auth_facts *auth, struct findings *found, deadline until);

/* The best result of all signatures, as one word about the message: pass, else temperror, fail, policy, permerror;
 * none without a signature. */
enum result dkim_best(const struct auth_facts *auth);

#endif
