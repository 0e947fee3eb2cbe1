/*
 * ARC of one message (RFC 8617): is its chain whole, who sealed it last, and do we trust what the sealers say?
 */
#ifndef SPURN_CHECK_ARC_H
#define SPURN_CHECK_ARC_H

#include "check/body_hash.h"
#include "check/dkim_key.h"
#include "wire/envelope.h"

struct dkim_signer;

struct arc_conf {
	struct slice *trusted;		/* domains of sealers (d=), canonical */
	size_t trusted_count;
	const struct dkim_signer *sealer;	/* whose key seals what we relay; NULL: nothing is sealed */
};

struct arc_check;

/* conf stays as long as the check. */
struct arc_check *arc_begin(struct arena *a, const struct arc_conf *conf);
/* The header section is complete and stays: sets are collected, and the hash of the body that the newest one needs is asked for. */
void arc_header(struct arc_check *c, const struct header *h, struct body_hashes *hashes);
/* The body has been pushed: asks for the keys in parallel and validates. Facts into auth->arc, and a finding. */
ASYNC void arc_finish(struct arc_check *c, struct dns *dns, struct dkim_keys *keys, struct auth_facts *auth,
	struct findings *found, deadline until);

#endif
