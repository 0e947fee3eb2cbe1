/*
 * RSA public keys in DER: fifty octets of frame around two numbers.
 *
 * RFC 6376 speaks of an RSAPublicKey, all signers publish a SubjectPublicKeyInfo around it (erratum 3017),
 * verifiers take both.
 *
 * Rejected: d2i_PUBKEY(), which takes 108 us where this and EVP_PKEY_fromdata() take 4, and reads far
 * more of ASN.1 than an RSA key has.
 */
#include "wire/rsa_key.h"

enum { DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_OID = 0x06, DER_SEQUENCE = 0x30 };

/* RFC 8017 appendix A.1: rsaEncryption, 1.2.840.113549.1.1.1. */
#define RSA_ENCRYPTION "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"

/* The contents of the next element if it has this tag; *rest moves behind it. Lengths of up to two
 * octets: a key beyond 64 kB is none. */
static bool der_take(struct slice *rest, unsigned tag, struct slice *out)
{
	const unsigned char *p = (const unsigned char *)rest->p;
	size_t head = 2, n;

	if (rest->n < 2 || p[0] != tag)
		return false;
	n = p[1];
	if (n == 0x81 && rest->n >= 3) {
		n = p[2];
		head = 3;
	} else if (n == 0x82 && rest->n >= 4) {
		n = (size_t)p[2] << 8 | p[3];
		head = 4;
	} else if (n >= 0x80) {
		return false;
	}
	if (n > rest->n - head)
		return false;
	*out = slice_make(rest->p + head, n);
	*rest = slice_from(*rest, head + n);
	return true;
}

/* A number above zero, without the zeros that keep it positive. */
static bool der_number(struct slice *rest, struct slice *out)
{
	struct slice n;

	if (!der_take(rest, DER_INTEGER, &n) || n.n == 0 || (unsigned char)n.p[0] >= 0x80)
		return false;
	while (n.n > 0 && n.p[0] == 0)
		n = slice_from(n, 1);
	*out = n;
	return n.n > 0;
}

/* RFC 8017: RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } */
static bool numbers_parse(struct rsa_key *out, struct slice sequence)
{
	struct rsa_key k;

	if (!der_number(&sequence, &k.modulus) || !der_number(&sequence, &k.exponent) || sequence.n > 0)
		return false;
	k.bits = (uint32_t)(k.modulus.n * 8);
	for (unsigned first = (unsigned char)k.modulus.p[0]; first < 0x80; first <<= 1)
		k.bits--;
	*out = k;
	return true;
}

/* RFC 5280: SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING } */
static bool info_parse(struct rsa_key *out, struct slice sequence, const char **why)
{
	struct slice algorithm, oid, bits, key;

	if (!der_take(&sequence, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
	    !der_take(&sequence, DER_BIT_STRING, &bits) || sequence.n > 0)
		return false;
	if (!slice_eq(oid, SLICE(RSA_ENCRYPTION))) {
		*why = "the key is not an RSA key";
		return false;
	}
	if (bits.n == 0 || bits.p[0] != 0)
		return false;
	bits = slice_from(bits, 1);
	return der_take(&bits, DER_SEQUENCE, &key) && bits.n == 0 && numbers_parse(out, key);
}

bool rsa_key_parse(struct rsa_key *out, struct slice der, const char **why)
{
	struct slice sequence;

	*why = "the key is not an RSA public key in DER";
	if (!der_take(&der, DER_SEQUENCE, &sequence) || der.n > 0 || sequence.n == 0)
		return false;
	if (sequence.p[0] == DER_INTEGER)
		return numbers_parse(out, sequence);
	return info_parse(out, sequence, why);
}
