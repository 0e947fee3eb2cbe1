/*
 * The two numbers of an RSA public key in DER, as DKIM keys have it (RFC 6376 section 3.6.1, p=).
 */
#ifndef SPURN_WIRE_RSA_KEY_H
#define SPURN_WIRE_RSA_KEY_H

#include "base/str.h"

struct rsa_key {
	struct slice modulus, exponent;	/* big-endian, without leading zeros, slices into the input */
	uint32_t bits;			/* of the modulus */
};

/* A SubjectPublicKeyInfo (RFC 5280 section 4.1) or a bare RSAPublicKey (RFC 8017 appendix A.1.1). false and *why (a
 * static phrase) for anything else. */
bool rsa_key_parse(struct rsa_key *out, struct slice der, const char **why);

#endif
