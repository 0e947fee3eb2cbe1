/*
 * Public keys of DKIM and ARC (RFC 6376 section 3.6.1, RFC 8463): the record, and a memory of those read.
 */
#ifndef SPURN_CHECK_DKIM_KEY_H
#define SPURN_CHECK_DKIM_KEY_H

#include "base/table.h"
#include "net/dns.h"

#include <openssl/evp.h>

#define DKIM_KEY_MAX_BITS 8192u	/* RFC 8301 section 3.2 asks for 4096 */

enum dkim_key_type { DKIM_KEY_RSA, DKIM_KEY_ED25519 };

/* What one key record says. */
struct dkim_key {
	const char *error;	/* why it verifies nothing (a static phrase); NULL: it can be used */
	enum dkim_key_type type;
	uint32_t bits;		/* of an RSA modulus; 256 for Ed25519; 0 if it could not be read */
	bool sha1, sha256;	/* h=: digests that the domain accepts */
	bool testing;		/* t=y */
	bool strict;		/* t=s: i= may not be of a subdomain */
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *rsa;	/* set up to verify PKCS #1 v1.5 with SHA-256; NULL for Ed25519 */
};

/* Reads the text of a TXT record. A key with an error holds nothing to be dropped. */
void dkim_key_parse(struct dkim_key *out, struct slice record);
void dkim_key_drop(struct dkim_key *k);

/* Keys of the worker, by the text of their records: DNS keeps the text by its TTL, this the work of reading it. */
struct dkim_keys;

/* entries: how many are kept, at least 4. */
struct dkim_keys *dkim_keys_open(size_t entries);
void dkim_keys_close(struct dkim_keys *keys);
/* Never NULL. Good until the next call. Not for fibers (fiber_hoist). */
const struct dkim_key *dkim_keys_read(struct dkim_keys *keys, struct slice record);
struct dkim_keys_stats { uint64_t known, read; };
struct dkim_keys_stats dkim_keys_stats(const struct dkim_keys *keys);

/* Where the key of a selector is published: selector._domainkey.domain. Empty if that is no name DNS can have. */
struct slice dkim_key_name(struct arena *a, struct slice selector, struct slice domain);

#endif
