/*
 * Signature fields: what a good one says fits the RFC's rules, what a bad one says is no more than may be told; the
 * emptied extent lies in the field, and a signature never verifies by chance.
 *
 * First octet: the kind of field. The rest is a header section; its first field is read.
 */
#include "check/dkim_signature.h"

#include "base/log.h"
#include "wire/taglist.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char key_record[] = "k=ed25519; p=sPs07Vu29FpHT/80UXUcYHFOHifD4o2ZlP2+XUh9g6E=";

static void check_good(struct arena *a, const struct dkim_signature *s, enum signature_kind kind, const struct header *h)
{
	struct canon_index index;
	struct str octets = STR_IN(a);
	struct dkim_key k;

	BUG_ON(s->domain.n == 0 || s->domain.n > 253 || s->selector.n == 0 || s->value.n == 0 || !s->algorithm_name);
	BUG_ON(s->emptied.p < s->field->value.p ||
		s->emptied.p + s->emptied.n > s->field->value.p + s->field->value.n);
	if (kind == SIGNATURE_DKIM)	/* of ARC, h= may be empty */
		BUG_ON(!taglist_has_item(s->names, SLICE("from")) || !slice_ends_nocase(s->identity_domain, s->domain));
	else
		BUG_ON(s->instance == 0 || s->instance > ARC_MAX_INSTANCE);
	if (kind == SIGNATURE_ARC_SEAL)
		return;
	BUG_ON(s->body_hash.n == 0 || !s->names.p);
	canon_index_build(&index, a, h);
	dkim_signed_header(&octets, s, &index, a);
	BUG_ON(octets.n == 0);
	dkim_key_parse(&k, slice_of(key_record));
	if (!dkim_key_mismatch(s, &k))
		BUG_ON(dkim_signature_verify(s, &k, str_slice(&octets)));
	dkim_key_drop(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	enum signature_kind kind;
	struct dkim_signature s;
	struct header h;
	const char *why = NULL;

	if (n < 1)
		return 0;
	kind = bytes[0] % 3;
	header_init(&h, &a, 1 << 20, 1000);
	header_push(&h, slice_make((const char *)bytes + 1, n - 1));
	header_finish(&h);
	if (h.count == 0)
		;
	else if (dkim_signature_parse(&s, &a, &h.fields[0], kind, &why))
		check_good(&a, &s, kind, &h);
	else
		BUG_ON(!why || s.value.n || s.body_hash.n || s.names.n || s.domain.n > 253);
	arena_drop(&a);
	return 0;
}
