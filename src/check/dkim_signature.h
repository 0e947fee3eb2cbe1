/*
 * Signature fields: DKIM-Signature (RFC 6376 section 3.5) and, in the same form, ARC-Message-Signature and ARC-Seal
 * (RFC 8617 section 4.1), read and verified.
 *
 * The steps of verifying are apart, so that ARC can take them one by one: dkim_signature_parse(), the hash of the body
 * (check/body_hash.h), dkim_signed_header(), the key (check/dkim_key.h), dkim_signature_verify().
 */
#ifndef SPURN_CHECK_DKIM_SIGNATURE_H
#define SPURN_CHECK_DKIM_SIGNATURE_H

#include "check/body_hash.h"
#include "check/dkim_key.h"

enum signature_kind { SIGNATURE_DKIM, SIGNATURE_ARC_MESSAGE, SIGNATURE_ARC_SEAL };
enum signature_algorithm { ALGORITHM_RSA_SHA1, ALGORITHM_RSA_SHA256, ALGORITHM_ED25519_SHA256 };

#define DKIM_MIN_BITS 1024u	/* RFC 8301 section 3.2 */
#define DKIM_GOOD_BITS 2048u	/* what signers should have */
#define ARC_MAX_INSTANCE 50u	/* RFC 8617 section 4.2.1 */
#define DKIM_TIME_NONE INT64_MIN

struct dkim_signature {
	const struct field *field;
	struct slice emptied;		/* the extent of the value of b= in field->value */
	enum signature_algorithm algorithm;
	const char *algorithm_name;	/* "rsa-sha256"; NULL: unknown */
	enum canon header_canon, body_canon;
	struct slice domain, selector;	/* d=, s=: canonical (A-labels, lower case) */
	struct slice identity;		/* i= as written without folds, or "@" and the domain; DKIM alone */
	struct slice identity_domain;	/* canonical */
	struct slice names;		/* h= */
	struct slice body_hash, value;	/* bh= and b=, decoded */
	struct slice start;		/* the first 8 octets of b= as written */
	uint64_t body_length;		/* l=, or BODY_LENGTH_ALL */
	int64_t signed_at, expires_at;	/* t=, x=: seconds since the epoch, DKIM_TIME_NONE without */
	uint32_t instance;		/* i= of ARC */
	struct slice chain;		/* cv= of ARC-Seal */
};

const char *signature_algorithm_name(enum signature_algorithm a);
/* The digest of both header and body. */
enum digest signature_digest(enum signature_algorithm a);

/* Reads a field; f must stay. false and *why (a static phrase): this signature can never be verified (permerror); what
 * could be read of domain, selector, identity, start and algorithm_name stands in *out then, all else is zero.
 * DKIM: h= must name From (section 6.1.1). Expiry is the caller's to judge. */
bool dkim_signature_parse(struct dkim_signature *out, struct arena *a, const struct field *f,
	enum signature_kind kind, const char **why);

/* What the signature of DKIM or ARC-Message-Signature is made over: the fields that h= chooses, then the signature's
 * own field with b= emptied. Added to *out. `a`: scratch. */
void dkim_signed_header(struct str *out, const struct dkim_signature *s, const struct canon_index *index,
	struct arena *a);

/* Whether the key goes with the signature (types, h=, strict i=, bits). NULL: it does; else why not (permerror). */
const char *dkim_key_mismatch(const struct dkim_signature *s, const struct dkim_key *k);
/* Whether the signature over `signed_octets` is good. The key must go with it. Not for fibers (fiber_hoist). */
bool dkim_signature_verify(const struct dkim_signature *s, const struct dkim_key *k, struct slice signed_octets);

#endif
