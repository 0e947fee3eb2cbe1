/*
 * Signing (RFC 6376 section 5): private keys, their public records, and the field that a key puts on a message.
 */
#ifndef SPURN_CHECK_DKIM_SIGN_H
#define SPURN_CHECK_DKIM_SIGN_H

#include "check/dkim_signature.h"

/* One `sign` block: a domain, a selector, a key. */
struct dkim_signer {
	struct slice domain, selector;	/* canonical */
	const char *key_file;
	EVP_PKEY *pkey;
	enum signature_algorithm algorithm;
	uint32_t bits;			/* of an RSA key; 256 for Ed25519 */
};

/* Reads the private key (PEM: RSA from 1024 to 8192 bits, or Ed25519) into pkey, algorithm and bits. The file must be a regular one that
 * belongs to root or to us and that nobody else can read or write, a group that reads it excepted. false and *why (in `a`). */
bool dkim_signer_load(struct dkim_signer *s, struct arena *a, const char *path, const char **why);
void dkim_signer_drop(struct dkim_signer *s);
/* The text of the TXT record to publish at dkim_key_name(selector, domain). Empty if the library fails. */
struct slice dkim_signer_record(struct arena *a, const struct dkim_signer *s);
/* Whether a key as published is the other half of the signer's. */
bool dkim_signer_matches(const struct dkim_signer *s, const struct dkim_key *published);

/* The domain of the one author: the domain of the only address in the only From field, canonical. Empty if it cannot be told
 * beyond doubt: then nobody's key answers for the message. */
struct slice dkim_author_domain(struct arena *a, const struct header *h);

/* Adds a DKIM-Signature field with its final CRLF: relaxed/relaxed over the header as it will be sent, and the relaxed SHA-256
 * of the body. now: seconds since the epoch. false: the library failed, *out as before. Not for fibers (fiber_hoist). */
bool dkim_sign(struct str *out, const struct dkim_signer *s, const struct header *h, struct slice body_hash, int64_t now);

#endif
