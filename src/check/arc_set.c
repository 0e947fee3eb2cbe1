/*
 * Sets are told apart by their instance, read strictly: section 5.2 lets no chain pass of which a single field is
 * missing, doubled, out of range or unreadable, since then nobody knows what was sealed.
 *
 * At most fifty instances, each of three fields: more fields than that are not looked at, the chain fails.
 */
#include "check/arc_set.h"

#include "wire/taglist.h"

#define FIELDS_MAX (3u * ARC_MAX_INSTANCE)

static bool fail(const char **why, struct arena *a, uint32_t instance, const char *what)
{
	*why = arena_printf(a, "set %u: %s", instance, what);
	return false;
}

/* "arc-authres-header = "ARC-Authentication-Results:" [CFWS] arc-info; arc-info = instance [CFWS] ";" authres-payload" */
static uint32_t results_instance(const struct field *f, struct slice *said)
{
	struct slice rest = f->value, tag = slice_trim(slice_split(&rest, ';')), value = tag, name;
	uint64_t n;

	name = slice_trim(slice_split(&value, '='));
	if (rest.n == 0 || !slice_eq(name, SLICE("i")) || !slice_number(slice_trim(value), ARC_MAX_INSTANCE, &n))
		return 0;
	*said = rest;
	return (uint32_t)n;
}

/* i= of a signature field, before all the rest of it is read. 0: there is none that could be. */
static uint32_t tag_instance(struct arena *a, const struct field *f)
{
	struct taglist tags;
	const char *why;
	uint64_t n;

	if (!taglist_parse(&tags, a, f->value, &why) ||
	    !slice_number(taglist_value(&tags, SLICE("i")), ARC_MAX_INSTANCE, &n))
		return 0;
	return (uint32_t)n;
}

enum part { PART_NONE, PART_RESULTS, PART_MESSAGE, PART_SEAL };

static enum part part_of(struct slice name)
{
	if (!slice_starts_nocase(name, SLICE("ARC-")))
		return PART_NONE;
	return slice_eq_nocase(name, SLICE("ARC-Authentication-Results")) ? PART_RESULTS :
		slice_eq_nocase(name, SLICE("ARC-Message-Signature")) ? PART_MESSAGE :
		slice_eq_nocase(name, SLICE("ARC-Seal")) ? PART_SEAL : PART_NONE;
}

uint32_t arc_field_instance(struct arena *a, const struct field *f)
{
	struct slice said;
	enum part part = part_of(f->name);

	return part == PART_NONE ? 0 : part == PART_RESULTS ? results_instance(f, &said) : tag_instance(a, f);
}

static bool place(struct arc_sets *sets, struct arena *a, enum part part, const struct field *f, const char **why)
{
	struct slice said = SLICE_NULL;
	uint32_t n = part == PART_RESULTS ? results_instance(f, &said) : tag_instance(a, f);
	const struct field **slot;

	if (n == 0) {
		*why = part == PART_RESULTS ? "ARC-Authentication-Results without an instance" :
			part == PART_SEAL ? "ARC-Seal without an instance" : "ARC-Message-Signature without an instance";
		return false;
	}
	slot = part == PART_RESULTS ? &sets->set[n - 1].results : part == PART_SEAL ? &sets->set[n - 1].seal_field :
		&sets->set[n - 1].message_field;
	if (*slot)
		return fail(why, a, n, "one of its fields is there twice");
	*slot = f;
	if (part == PART_RESULTS)
		sets->set[n - 1].said = said;
	if (n > sets->count)
		sets->count = n;
	return true;
}

/* Section 5.2: cv= is none in the first set and pass in all others; if the newest says fail, that is the result. */
static bool read_set(struct arc_sets *sets, struct arena *a, uint32_t n, const char **why)
{
	struct arc_set *s = &sets->set[n - 1];
	const char *wrong;

	if (!s->results || !s->message_field || !s->seal_field)
		return fail(why, a, n, "one of its three fields is missing");
	if (!dkim_signature_parse(&s->seal, a, s->seal_field, SIGNATURE_ARC_SEAL, &wrong))
		return fail(why, a, n, arena_printf(a, "ARC-Seal: %s", wrong));
	if (slice_eq_nocase(s->seal.chain, SLICE("fail"))) {
		sets->failed_before = true;
		return fail(why, a, n, "its sealer found the chain broken (cv=fail)");
	}
	if (!slice_eq_nocase(s->seal.chain, n == 1 ? SLICE("none") : SLICE("pass")))
		return fail(why, a, n, "cv= is not what it has to be there");
	if (!dkim_signature_parse(&s->message, a, s->message_field, SIGNATURE_ARC_MESSAGE, &wrong))
		return fail(why, a, n, arena_printf(a, "ARC-Message-Signature: %s", wrong));
	return true;
}

bool arc_sets_read(struct arc_sets *out, struct arena *a, const struct header *h, const char **why)
{
	uint32_t fields = 0;

	*out = (struct arc_sets){ .set = NULL };
	for (uint32_t i = 0; i < h->count; i++) {
		enum part part = part_of(h->fields[i].name);
		if (part == PART_NONE)
			continue;
		if (!out->set)
			out->set = arena_array(a, struct arc_set, ARC_MAX_INSTANCE);
		if (++fields > FIELDS_MAX) {
			*why = "more ARC fields than fifty sets have";
			return false;
		}
		if (!place(out, a, part, &h->fields[i], why))
			return false;
	}
	/* From the newest on, as section 5.2 wants it: a chain that it calls failed is not looked at any further. */
	for (uint32_t n = out->count; n > 0; n--)
		if (!read_set(out, a, n, why))
			return false;
	return true;
}

/* Set by set, in each ARC-Authentication-Results, ARC-Message-Signature, ARC-Seal; relaxed. */
void arc_sealed_octets(struct str *out, const struct arc_sets *sets, uint32_t from, uint32_t n,
	const struct field *seal, struct slice emptied)
{
	for (uint32_t i = from; i <= n; i++) {
		canon_field(out, CANON_RELAXED, sets->set[i - 1].results);
		canon_field(out, CANON_RELAXED, sets->set[i - 1].message_field);
		if (i < n)
			canon_field(out, CANON_RELAXED, sets->set[i - 1].seal_field);
	}
	canon_field_unsigned(out, CANON_RELAXED, seal, emptied);
}
