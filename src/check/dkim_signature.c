/*
 * Signature fields, read strictly: whatever a verifier has to guess is what an attacker chooses.
 *
 * Tags are taken from a table by the kind of field; each has a reader. Unknown tags are ignored, known ones
 * that make no sense make the signature unusable (RFC 6376 section 6.1.1: "any inconsistency or unexpected values
 * MUST cause the header field to be completely ignored").
 */
#include "check/dkim_signature.h"

#include "wire/address.h"
#include "wire/taglist.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#define START_OCTETS 8u		/* RFC 6008 section 4 */
#define DOMAIN_OCTETS 253u

const char *signature_algorithm_name(enum signature_algorithm a)
{
	static const char *const names[] = {
		[ALGORITHM_RSA_SHA1] = "rsa-sha1",
		[ALGORITHM_RSA_SHA256] = "rsa-sha256",
		[ALGORITHM_ED25519_SHA256] = "ed25519-sha256",
	};

	return names[a];
}

enum digest signature_digest(enum signature_algorithm a)
{
	return a == ALGORITHM_RSA_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256;
}

/* ---- tags ---- */

struct reading {
	struct dkim_signature *s;
	struct arena *arena;
	enum signature_kind kind;
};

/* Each gets its value trimmed; `value.p` is NULL if the tag is not there. Returns NULL, or what is wrong. */
typedef const char *tag_reader(struct reading *r, struct slice value);

/* Section 3.5, v=: "it MUST have the value "1" for implementations compliant with this version of DKIM." */
static const char *read_version(struct reading *r, struct slice v)
{
	if (!v.p)
		return "v= is missing";
	return slice_eq(v, SLICE("1")) ? NULL : "v= is not 1";
}

static const char *read_algorithm(struct reading *r, struct slice v)
{
	if (!v.p)
		return "a= is missing";
	for (enum signature_algorithm a = ALGORITHM_RSA_SHA1; a <= ALGORITHM_ED25519_SHA256; a++) {
		if (!slice_eq_nocase(v, slice_of(signature_algorithm_name(a))))
			continue;
		r->s->algorithm = a;
		r->s->algorithm_name = signature_algorithm_name(a);
		return NULL;
	}
	return "a= names an unknown algorithm";
}

/* Labels of letters, digits, hyphens, underscores, or U-labels (RFC 8616), at most 253 octets. */
static struct slice name_canonical(struct arena *a, struct slice v)
{
	if (v.n == 0 || !domain_valid(v, true))
		return SLICE_NULL;
	v = domain_canonical(a, v);
	return v.n <= DOMAIN_OCTETS ? v : SLICE_NULL;
}

static const char *read_domain(struct reading *r, struct slice v)
{
	if (!v.p)
		return "d= is missing";
	r->s->domain = name_canonical(r->arena, v);
	return r->s->domain.n ? NULL : "d= is not a domain name";
}

static const char *read_selector(struct reading *r, struct slice v)
{
	if (!v.p)
		return "s= is missing";
	r->s->selector = name_canonical(r->arena, v);
	return r->s->selector.n ? NULL : "s= is not a selector";
}

static bool is_below_or_same(struct slice name, struct slice domain)
{
	return slice_eq(name, domain) || (name.n > domain.n && slice_ends_nocase(name, domain) &&
		name.p[name.n - domain.n - 1] == '.');
}

/* "i= The Agent or User Identifier (AUID) [...] (dkim-quoted-printable; OPTIONAL, default is an empty local-part
 * followed by an "@" followed by the domain from the "d=" tag). [...] The domain part of the address MUST be the
 * same as, or a subdomain of, the value of the "d=" tag." The local part proves nothing, so it is not decoded. */
static const char *read_identity(struct reading *r, struct slice v)
{
	struct dkim_signature *s = r->s;
	struct str text = STR_IN(r->arena);
	ptrdiff_t at = slice_rfind(v, '@');

	if (!v.p) {
		str_addc(&text, '@');
		str_add(&text, s->domain);
		s->identity = str_slice(&text);
		s->identity_domain = s->domain;
		return NULL;
	}
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] != ' ' && v.p[i] != '\t' && v.p[i] != '\r' && v.p[i] != '\n')
			str_addc(&text, v.p[i]);
	s->identity = str_slice(&text);
	if (at < 0)
		return "i= has no domain";
	s->identity_domain = name_canonical(r->arena, slice_trim(slice_from(v, (size_t)at + 1)));
	if (s->identity_domain.n == 0 || !is_below_or_same(s->identity_domain, s->domain))
		return "i= is neither of d= nor below it";
	return NULL;
}

/* RFC 8617 section 4.2.1: "the instance value MUST be an integer in the range 1 to 50". */
static const char *read_instance(struct reading *r, struct slice v)
{
	uint64_t n;

	if (!v.p)
		return "i= is missing";
	if (!slice_number(v, ARC_MAX_INSTANCE, &n) || n == 0)
		return "i= is not an instance";
	r->s->instance = (uint32_t)n;
	return NULL;
}

/* "sig-c-tag-alg ["/" sig-c-tag-alg]", "defaults to "simple/simple"", of one name: the body is simple. */
static const char *read_canon(struct reading *r, struct slice v)
{
	struct slice body = v, header = slice_split(&body, '/');

	r->s->header_canon = r->s->body_canon = CANON_SIMPLE;
	if (!v.p)
		return NULL;
	if (!canon_parse(slice_trim(header), &r->s->header_canon))
		return "c= names an unknown canonicalisation";
	if (slice_find(v, '/') >= 0 && !canon_parse(slice_trim(body), &r->s->body_canon))
		return "c= names an unknown canonicalisation of the body";
	return NULL;
}

/* "INFORMATIVE NOTE: [...] The "From" header field MUST be signed" (section 5.4), and 6.1.1: "If the "h=" tag does not
 * include the From header field, the Verifier MUST ignore the DKIM-Signature". RFC 8617 section 4.1.2 forbids the fields of
 * ARC's own sets here only for AMS and leaves From to the signer. */
static const char *read_names(struct reading *r, struct slice v)
{
	if (!v.p)
		return "h= is missing";
	/* Of ARC it may be: RFC 8617 leaves the choice of fields to the sealer, From included. */
	if (v.n == 0 && r->kind == SIGNATURE_DKIM)
		return "h= is empty";
	r->s->names = v;
	if (r->kind == SIGNATURE_DKIM && !taglist_has_item(v, SLICE("From")))
		return "From is not signed";
	return NULL;
}

/* RFC 8617 section 4.1.3 does not allow the tag h in ARC-Seal: with it the chain has failed. */
static const char *read_no_names(struct reading *r, struct slice v)
{
	return v.p ? "h= must not be there" : NULL;
}

static const char *read_body_hash(struct reading *r, struct slice v)
{
	if (!v.p)
		return "bh= is missing";
	return taglist_base64(r->arena, v, &r->s->body_hash) ? NULL : "bh= is not base64";
}

static const char *read_value(struct reading *r, struct slice v)
{
	if (!v.p)
		return "b= is missing";
	return taglist_base64(r->arena, v, &r->s->value) ? NULL : "b= is not base64";
}

/* "l=: body length count (plain-text unsigned decimal integer; OPTIONAL, default is entire body)", up to 76 digits: what
 * does not fit is longer than any body. */
static const char *read_length(struct reading *r, struct slice v)
{
	r->s->body_length = BODY_LENGTH_ALL;
	if (!v.p)
		return NULL;
	return slice_number(v, BODY_LENGTH_ALL - 1, &r->s->body_length) ? NULL : "l= is not a length of a body";
}

/* "q= [...] Implementations MUST use "dns/txt" as default"; "unrecognized query methods MUST be ignored". */
static const char *read_query(struct reading *r, struct slice v)
{
	return !v.p || taglist_has_item(v, SLICE("dns/txt")) ? NULL : "q= does not name dns/txt";
}

static const char *read_time(struct slice v, int64_t *out, const char *wrong)
{
	uint64_t n;

	*out = DKIM_TIME_NONE;
	if (!v.p)
		return NULL;
	if (!slice_number(v, UINT64_C(999999999999), &n))
		return wrong;
	*out = (int64_t)n;
	return NULL;
}

static const char *read_signed_at(struct reading *r, struct slice v)
{
	return read_time(v, &r->s->signed_at, "t= is not a time");
}

/* "The value of the "x=" tag MUST be greater than the value of the "t=" tag if both are present." */
static const char *read_expires_at(struct reading *r, struct slice v)
{
	const char *wrong = read_time(v, &r->s->expires_at, "x= is not a time");

	if (wrong)
		return wrong;
	return v.p && r->s->expires_at <= r->s->signed_at ? "x= is not later than t=" : NULL;
}

static const char *read_chain(struct reading *r, struct slice v)
{
	r->s->chain = v;
	return v.p ? NULL : "cv= is missing";
}

#define IN(kind) (1u << SIGNATURE_##kind)
#define IN_ALL (IN(DKIM) | IN(ARC_MESSAGE) | IN(ARC_SEAL))
#define IN_MESSAGE (IN(DKIM) | IN(ARC_MESSAGE))

/* In the order in which their mistakes are told; d= before i=, t= before x=. */
static const struct {
	const char *name;
	unsigned kinds;
	tag_reader *read;
} tags[] = {
	{ "d", IN_ALL, read_domain },
	{ "s", IN_ALL, read_selector },
	{ "v", IN(DKIM), read_version },
	{ "i", IN(DKIM), read_identity },
	{ "i", IN(ARC_MESSAGE) | IN(ARC_SEAL), read_instance },
	{ "a", IN_ALL, read_algorithm },
	{ "c", IN_MESSAGE, read_canon },
	{ "h", IN_MESSAGE, read_names },
	{ "h", IN(ARC_SEAL), read_no_names },
	{ "bh", IN_MESSAGE, read_body_hash },
	{ "b", IN_ALL, read_value },
	{ "l", IN_MESSAGE, read_length },
	{ "q", IN_MESSAGE, read_query },
	{ "t", IN_ALL, read_signed_at },
	{ "x", IN_MESSAGE, read_expires_at },
	{ "cv", IN(ARC_SEAL), read_chain },
};

/* For reports: the first octets of b=, whatever else is wrong. */
static struct slice value_start(struct arena *a, struct slice v)
{
	struct str start = STR_IN(a);

	for (size_t i = 0; i < v.n && start.n < START_OCTETS; i++)
		if ((unsigned char)v.p[i] > ' ')
			str_addc(&start, v.p[i]);
	return str_slice(&start);
}

bool dkim_signature_parse(struct dkim_signature *out, struct arena *a, const struct field *f,
	enum signature_kind kind, const char **why)
{
	struct dkim_signature s = { .field = f };
	struct reading r = { &s, a, kind };
	const char *wrong = NULL;
	struct taglist list;

	*out = (struct dkim_signature){ .field = f };
	if (!taglist_parse(&list, a, f->value, why))
		return false;
	s.start = value_start(a, taglist_value(&list, SLICE("b")));
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		const char *said;
		if (!(tags[i].kinds & 1u << kind))
			continue;
		said = tags[i].read(&r, taglist_value(&list, slice_of(tags[i].name)));
		wrong = wrong ? wrong : said;
	}
	if (wrong) {
		*out = (struct dkim_signature){ .field = f, .domain = s.domain, .selector = s.selector,
			.identity = s.identity, .start = s.start, .algorithm_name = s.algorithm_name };
		*why = wrong;
		return false;
	}
	s.emptied = taglist_find(&list, SLICE("b"))->raw;
	*out = s;
	return true;
}

/* ---- verifying ---- */

void dkim_signed_header(struct str *out, const struct dkim_signature *s, const struct canon_index *index,
	struct arena *a)
{
	canon_signed_fields(out, s->header_canon, index, s->names, a);
	canon_field_unsigned(out, s->header_canon, s->field, s->emptied);
}

const char *dkim_key_mismatch(const struct dkim_signature *s, const struct dkim_key *k)
{
	bool ed25519 = s->algorithm == ALGORITHM_ED25519_SHA256;

	if (k->error)
		return k->error;
	if (ed25519 != (k->type == DKIM_KEY_ED25519))
		return "the key is of another type than the signature";
	if (!(signature_digest(s->algorithm) == DIGEST_SHA1 ? k->sha1 : k->sha256))
		return "the key is not for the digest of the signature";
	/* Section 3.6.1, t=s: "Any DKIM-Signature header fields using the "i=" tag MUST have the same domain value on
	 * the right-hand side of the "@" in the "i=" tag and the value of the "d=" tag." */
	if (k->strict && s->identity_domain.n > 0 && !slice_eq(s->identity_domain, s->domain))
		return "the key is not for subdomains (t=s), and i= is of one";
	if (k->type == DKIM_KEY_RSA && k->bits < DKIM_MIN_BITS)
		return "the RSA key has less than 1024 bits (RFC 8301 section 3.2)";
	return NULL;
}

static bool verify_rsa(EVP_PKEY_CTX *context, struct slice signature, const uint8_t *hash, size_t n)
{
	return EVP_PKEY_verify(context, (const uint8_t *)signature.p, signature.n, hash, n) == 1;
}

/* The kept context is for SHA-256; that rsa-sha1 is looked at all is for the sake of the reason given. */
static bool verify_rsa_sha1(EVP_PKEY *pkey, struct slice signature, const uint8_t *hash, size_t n)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
	bool good = c && EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
		EVP_PKEY_CTX_set_signature_md(c, EVP_sha1()) == 1 && verify_rsa(c, signature, hash, n);

	EVP_PKEY_CTX_free(c);
	return good;
}

/* RFC 8463 section 3: "The Ed25519-SHA256 signing algorithm computes a message hash [...] using SHA-256 as the hash-alg [...]
 * It signs the hash with the PureEdDSA variant Ed25519". */
static bool verify_ed25519(EVP_PKEY *pkey, struct slice signature, const uint8_t *hash, size_t n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, pkey) == 1 &&
		EVP_DigestVerify(c, (const uint8_t *)signature.p, signature.n, hash, n) == 1;

	EVP_MD_CTX_free(c);
	return good;
}

bool dkim_signature_verify(const struct dkim_signature *s, const struct dkim_key *k, struct slice signed_octets)
{
	uint8_t hash[DIGEST_MAX_OCTETS];
	unsigned n = 0;
	bool good = false;

	if (EVP_Digest(signed_octets.p, signed_octets.n, hash, &n, digest_md(signature_digest(s->algorithm)), NULL) == 1)
		good = k->type == DKIM_KEY_ED25519 ? verify_ed25519(k->pkey, s->value, hash, n) :
			s->algorithm == ALGORITHM_RSA_SHA1 ? verify_rsa_sha1(k->pkey, s->value, hash, n) :
			verify_rsa(k->rsa, s->value, hash, n);
	ERR_clear_error();
	return good;
}
