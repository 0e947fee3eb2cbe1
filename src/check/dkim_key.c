/*
 * Key records: tag list in, a key of OpenSSL's out.
 *
 * Reading a key costs OpenSSL some microseconds, setting up its context again as many, verifying 20: so a
 * key is kept with its context. Kept ones are found by the text of the record, not by name and time: DNS answers from its own cache
 * by TTL within a microsecond, so a changed or revoked key is seen exactly when DNS shows it. Rejected: a second
 * clock for the same answer, which would have to be told about negative answers and trouble, too.
 */
#include "check/dkim_key.h"

#include "wire/rsa_key.h"
#include "wire/taglist.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define KEY_RECORD_MAX 16384u	/* a TXT record cannot be four times as long in practice */
#define ED25519_OCTETS 32u	/* RFC 8463 section 4 */
#define EXPONENT_OCTETS 8u	/* what OpenSSL takes for long moduli; all others are a denial of service */

/* ---- the key itself ---- */

/* OSSL_PARAM wants numbers in the order of the machine. */
static void native_order(uint8_t *out, struct slice number)
{
	for (size_t i = 0; i < number.n; i++)
		out[i] = (uint8_t)number.p[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? number.n - 1 - i : i];
}

static EVP_PKEY *rsa_make(const struct rsa_key *rsa)
{
	uint8_t modulus[DKIM_KEY_MAX_BITS / 8], exponent[EXPONENT_OCTETS];
	EVP_PKEY_CTX *from = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *pkey = NULL;

	native_order(modulus, rsa->modulus);
	native_order(exponent, rsa->exponent);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, modulus, rsa->modulus.n),
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, exponent, rsa->exponent.n),
		OSSL_PARAM_construct_end(),
	};
	if (from && EVP_PKEY_fromdata_init(from) == 1)
		EVP_PKEY_fromdata(from, &pkey, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(from);
	return pkey;
}

static EVP_PKEY_CTX *rsa_context(EVP_PKEY *pkey)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);

	if (c && EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1)
		return c;
	EVP_PKEY_CTX_free(c);
	return NULL;
}

static const char *read_rsa(struct dkim_key *k, struct slice der)
{
	struct rsa_key rsa;
	const char *why;

	if (!rsa_key_parse(&rsa, der, &why))
		return why;
	k->bits = rsa.bits;
	if (rsa.bits > DKIM_KEY_MAX_BITS)
		return "the RSA key is longer than 8192 bits";
	if (rsa.exponent.n > EXPONENT_OCTETS)
		return "the exponent of the RSA key is longer than 64 bits";
	k->pkey = rsa_make(&rsa);
	k->rsa = k->pkey ? rsa_context(k->pkey) : NULL;
	return k->rsa ? NULL : "the RSA key cannot be used";
}

static const char *read_ed25519(struct dkim_key *k, struct slice octets)
{
	if (octets.n != ED25519_OCTETS)
		return "the Ed25519 key has not 32 octets";
	k->bits = 256;
	k->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)octets.p, octets.n);
	return k->pkey ? NULL : "the Ed25519 key cannot be used";
}

/* ---- the record ---- */

/* Section 3.6.1, h=: "Acceptable hash algorithms (plain-text; OPTIONAL, defaults to allowing all algorithms).
 * [...] Unrecognized algorithms MUST be ignored." */
static void read_digests(struct dkim_key *k, struct slice h)
{
	k->sha1 = !h.p || taglist_has_item(h, SLICE("sha1"));
	k->sha256 = !h.p || taglist_has_item(h, SLICE("sha256"));
}

/* The tags in the order of section 3.6.1. NULL: the key can be used. */
static const char *read_tags(struct dkim_key *k, struct arena *a, const struct taglist *tags)
{
	struct slice v = taglist_value(tags, SLICE("v")), type = taglist_value(tags, SLICE("k"));
	struct slice service = taglist_value(tags, SLICE("s")), flags = taglist_value(tags, SLICE("t"));
	struct slice p = taglist_value(tags, SLICE("p")), octets;

	/* "If specified, this tag MUST be set to "DKIM1" [...] This tag MUST be the first tag in the record." */
	if (v.p && (!slice_eq(v, SLICE("DKIM1")) || !slice_eq(tags->tags[0].name, SLICE("v"))))
		return "the key record has another version than DKIM1";
	read_digests(k, taglist_value(tags, SLICE("h")));
	k->testing = taglist_has_item(flags, SLICE("y"));
	k->strict = taglist_has_item(flags, SLICE("s"));
	if (type.p && !slice_eq_nocase(type, SLICE("rsa")) && !slice_eq_nocase(type, SLICE("ed25519")))
		return "the key is of an unknown type";
	k->type = type.p && slice_eq_nocase(type, SLICE("ed25519")) ? DKIM_KEY_ED25519 : DKIM_KEY_RSA;
	if (service.p && !taglist_has_item(service, SLICE("*")) && !taglist_has_item(service, SLICE("email")))
		return "the key is not for mail";
	if (!p.p)
		return "the key record has no p=";
	/* "An empty value means that this public key has been revoked." */
	if (p.n == 0)
		return "the key has been revoked";
	if (!taglist_base64(a, p, &octets))
		return "the key is not base64";
	return k->type == DKIM_KEY_RSA ? read_rsa(k, octets) : read_ed25519(k, octets);
}

void dkim_key_parse(struct dkim_key *out, struct slice record)
{
	struct arena scratch = ARENA_INIT;
	struct dkim_key k = { .error = NULL };
	struct taglist tags;
	const char *why;

	if (record.n > KEY_RECORD_MAX)
		k.error = "the key record is too long";
	else if (!taglist_parse(&tags, &scratch, record, &why))
		k.error = "the key record is not a list of tags";
	else
		k.error = read_tags(&k, &scratch, &tags);
	arena_drop(&scratch);
	if (k.error)
		dkim_key_drop(&k);
	*out = k;
}

void dkim_key_drop(struct dkim_key *k)
{
	EVP_PKEY_CTX_free(k->rsa);
	EVP_PKEY_free(k->pkey);
	k->rsa = NULL;
	k->pkey = NULL;
}

/* ---- keys that are kept ---- */

#define WAYS 4u

/* A place is chosen by the hash of the text; of four, the one that was used longest ago gives way. */
struct kept_key {
	char *record;		/* NULL: free */
	size_t n;
	uint64_t hash, used;
	struct dkim_key key;
};

struct dkim_keys {
	struct kept_key *places;
	size_t sets;
	uint64_t turn;
	struct dkim_keys_stats stats;
};

struct dkim_keys *dkim_keys_open(size_t entries)
{
	struct dkim_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		arena_exhausted(sizeof(*keys));
	keys->sets = entries < WAYS ? 1 : entries / WAYS;
	keys->places = calloc(keys->sets * WAYS, sizeof(*keys->places));
	if (!keys->places)
		arena_exhausted(keys->sets * WAYS * sizeof(*keys->places));
	return keys;
}

static void kept_drop(struct kept_key *k)
{
	if (k->record)
		dkim_key_drop(&k->key);
	free(k->record);
	k->record = NULL;
}

void dkim_keys_close(struct dkim_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->sets * WAYS; i++)
		kept_drop(&keys->places[i]);
	free(keys->places);
	free(keys);
}

const struct dkim_key *dkim_keys_read(struct dkim_keys *keys, struct slice record)
{
	uint64_t hash = hash_bytes(record.p, record.n);
	struct kept_key *set = keys->places + hash % keys->sets * WAYS, *oldest = set;

	keys->turn++;
	for (struct kept_key *k = set; k < set + WAYS; k++) {
		if (k->record && k->hash == hash && slice_eq(slice_make(k->record, k->n), record)) {
			k->used = keys->turn;
			keys->stats.known++;
			return &k->key;
		}
		if (oldest->record && (!k->record || k->used < oldest->used))
			oldest = k;
	}
	kept_drop(oldest);
	oldest->record = malloc(record.n + 1);
	if (!oldest->record)
		arena_exhausted(record.n + 1);
	if (record.n > 0)
		memcpy(oldest->record, record.p, record.n);
	oldest->n = record.n;
	oldest->hash = hash;
	oldest->used = keys->turn;
	dkim_key_parse(&oldest->key, record);
	keys->stats.read++;
	return &oldest->key;
}

struct dkim_keys_stats dkim_keys_stats(const struct dkim_keys *keys)
{
	return keys->stats;
}

/* Section 3.6.2.1: "All DKIM keys are stored in a subdomain named "_domainkey"." */
struct slice dkim_key_name(struct arena *a, struct slice selector, struct slice domain)
{
	struct str name = STR_IN(a);

	str_add(&name, selector);
	str_add(&name, SLICE("._domainkey."));
	str_add(&name, domain);
	return name.n <= 253 ? str_slice(&name) : SLICE_NULL;
}
