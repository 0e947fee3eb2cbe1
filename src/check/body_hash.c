/*
 * One canonicaliser per canonicalisation feeds all hashes of that kind.
 *
 * A limit (l=) counts octets of the canonical body; what lies behind it is not signed, and is counted, since
 * anybody may have written it. Rejected: keeping the body and hashing it at the end (a second walk through
 * what may be in a file by then).
 */
#include "check/body_hash.h"

#include "run/fiber.h"

struct body_hashes {
	struct arena *arena;
	struct canon_body *canonical[2];	/* by enum canon; NULL: nobody asked */
	struct body_hash kinds[BODY_HASH_MAX_KINDS];
	uint32_t count;
	bool finished;
};

const EVP_MD *digest_md(enum digest d)
{
	return d == DIGEST_SHA256 ? EVP_sha256() : EVP_sha1();
}

struct body_hashes *body_hashes_new(struct arena *a)
{
	struct body_hashes *h = arena_new(a, struct body_hashes);

	h->arena = a;
	return h;
}

static void take(struct body_hash *k, struct slice piece)
{
	uint64_t left = k->limit - k->hashed;
	size_t n = piece.n < left ? piece.n : (size_t)left;

	if (n > 0 && k->context && EVP_DigestUpdate(k->context, piece.p, n) != 1) {
		EVP_MD_CTX_free(k->context);
		k->context = NULL;
	}
	k->hashed += n;
	k->beyond += piece.n - n;
}

static void take_all(struct body_hashes *h, enum canon canon, struct slice piece)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->kinds[i].canon == canon)
			take(&h->kinds[i], piece);
}

static void take_simple(void *arg, struct slice piece)
{
	take_all(arg, CANON_SIMPLE, piece);
}

static void take_relaxed(void *arg, struct slice piece)
{
	take_all(arg, CANON_RELAXED, piece);
}

const struct body_hash *body_hashes_want(struct body_hashes *h, enum canon canon, enum digest digest, uint64_t limit)
{
	struct body_hash *k = h->kinds;

	for (; k < h->kinds + h->count; k++)
		if (k->canon == canon && k->digest == digest && k->limit == limit)
			return k;
	if (h->count == BODY_HASH_MAX_KINDS)
		return NULL;
	h->count++;
	k->canon = canon;
	k->digest = digest;
	k->limit = limit;
	k->context = EVP_MD_CTX_new();
	if (k->context && EVP_DigestInit_ex(k->context, digest_md(digest), NULL) != 1) {
		EVP_MD_CTX_free(k->context);
		k->context = NULL;
	}
	if (!h->canonical[canon]) {
		h->canonical[canon] = arena_alloc(h->arena, sizeof(struct canon_body));
		canon_body_init(h->canonical[canon], canon, canon == CANON_RELAXED ? take_relaxed : take_simple, h);
	}
	return k;
}

void body_hashes_push(struct body_hashes *h, struct slice content)
{
	for (unsigned i = 0; i < 2; i++)
		if (h->canonical[i])
			canon_body_push(h->canonical[i], content);
}

static void finish_on_stack(void *arg)
{
	struct body_hashes *h = arg;

	for (unsigned i = 0; i < 2; i++)
		if (h->canonical[i])
			canon_body_finish(h->canonical[i]);
	for (struct body_hash *k = h->kinds; k < h->kinds + h->count; k++) {
		unsigned n = 0;
		if (k->context && EVP_DigestFinal_ex(k->context, k->octets, &n) == 1)
			k->value = slice_make((const char *)k->octets, n);
	}
}

void body_hashes_finish(struct body_hashes *h)
{
	if (!h->finished)
		fiber_hoist(finish_on_stack, h);
	h->finished = true;
}

void body_hashes_drop(struct body_hashes *h)
{
	if (!h)
		return;
	for (struct body_hash *k = h->kinds; k < h->kinds + h->count; k++) {
		EVP_MD_CTX_free(k->context);
		k->context = NULL;
	}
}
