/*
 * Hashes of a body that arrives: each kind that some signature asks for (canonicalisation, digest, l=), computed once
 * however many signatures share it. For DKIM and ARC alike.
 */
#ifndef SPURN_CHECK_BODY_HASH_H
#define SPURN_CHECK_BODY_HASH_H

#include "wire/canon.h"

#include <openssl/evp.h>

enum digest { DIGEST_SHA1, DIGEST_SHA256 };
#define DIGEST_MAX_OCTETS 32u
const EVP_MD *digest_md(enum digest d);

/* Kinds of one message. Real mail has one or two; a sender who thinks up a new l= for each signature does not
 * have its message hashed once for each. */
#define BODY_HASH_MAX_KINDS 8u
#define BODY_LENGTH_ALL UINT64_MAX

/* One kind; the results are there after body_hashes_finish(). */
struct body_hash {
	enum canon canon;
	enum digest digest;
	uint64_t limit;			/* l=: octets of the canonical body; BODY_LENGTH_ALL without it */
	uint64_t hashed;		/* octets taken */
	uint64_t beyond;		/* canonical octets behind the limit */
	struct slice value;		/* empty if the library failed us: then nothing is known */
	/* private: */
	EVP_MD_CTX *context;
	uint8_t octets[DIGEST_MAX_OCTETS];
};

struct body_hashes;

struct body_hashes *body_hashes_new(struct arena *a);
/* The hash of one kind, to be called before the first push. NULL: too many kinds. */
const struct body_hash *body_hashes_want(struct body_hashes *h, enum canon canon, enum digest digest, uint64_t limit);
/* Not for fibers: OpenSSL takes more stack than they have to spare. */
void body_hashes_push(struct body_hashes *h, struct slice content);
/* Once; a second call does nothing. */
void body_hashes_finish(struct body_hashes *h);
/* Gives back what is not in the arena. NULL is allowed. */
void body_hashes_drop(struct body_hashes *h);

#endif
