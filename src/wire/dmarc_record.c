/*
 * Read leniently, as the standard wants it: "Syntax errors in the remainder of the record SHOULD be discarded in favor of
 * default values (if any) or ignored outright" (RFC 7489 section 6.3). So it is not read as the strict tag list of DKIM,
 * where one mistake makes the whole worth nothing: a domain that asks for protection and mistypes a tag for reports is still protected.
 * Of a tag given twice the first counts.
 */
#include "wire/dmarc_record.h"

/* The next "name = value" between semicolons. false: no more. */
static bool next_tag(struct slice *rest, struct slice *name, struct slice *value)
{
	while (rest->n > 0) {
		struct slice tag = slice_split(rest, ';');
		ptrdiff_t equals = slice_find(tag, '=');

		if (equals < 0)
			continue;
		*name = slice_trim(slice_head(tag, (size_t)equals));
		*value = slice_trim(slice_from(tag, (size_t)equals + 1));
		return true;
	}
	return false;
}

/* dmarc-version = "v" *WSP "=" *WSP %x44 %x4d %x41 %x52 %x43 %x31; it "MUST be the first tag" and is case-sensitive. */
bool dmarc_record_is(struct slice text)
{
	struct slice rest = text, first = slice_split(&rest, ';'), value;
	ptrdiff_t equals = slice_find(first, '=');

	if (equals < 0 || !slice_starts(first, SLICE("v")))
		return false;
	value = slice_trim(slice_from(first, (size_t)equals + 1));
	return slice_eq(slice_trim(slice_head(first, (size_t)equals)), SLICE("v")) && slice_eq(value, SLICE("DMARC1"));
}

static char read_policy(struct slice value)
{
	static const struct { struct slice word; char policy; } words[] = {
		{ { "none", 4 }, DMARC_NONE }, { { "quarantine", 10 }, DMARC_QUARANTINE }, { { "reject", 6 }, DMARC_REJECT },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_eq_nocase(value, words[i].word))
			return words[i].policy;
	return 0;
}

const char *dmarc_policy_name(char policy)
{
	return policy == DMARC_REJECT ? "reject" : policy == DMARC_QUARANTINE ? "quarantine" : "none";
}

/* "at least one syntactically valid reporting URI" (section 6.6.3): a scheme is enough for us, who report to nobody. */
static bool has_uri(struct slice value)
{
	while (value.n > 0) {
		struct slice uri = slice_trim(slice_split(&value, ','));
		ptrdiff_t colon = slice_find(uri, ':');

		if (colon > 0 && (size_t)colon + 1 < uri.n && ascii_alpha(uri.p[0]))
			return true;
	}
	return false;
}

/* The values of the tags, unread. p == NULL: not given. */
struct tag_values {
	struct slice p, sp, np, adkim, aspf, pct, t, psd, rua;
};

static void collect(struct tag_values *v, struct slice text)
{
	struct { const char *name; struct slice *value; } tags[] = {
		{ "p", &v->p }, { "sp", &v->sp }, { "np", &v->np }, { "adkim", &v->adkim }, { "aspf", &v->aspf },
		{ "pct", &v->pct }, { "t", &v->t }, { "psd", &v->psd }, { "rua", &v->rua },
	};
	struct slice name, value;

	while (next_tag(&text, &name, &value))
		for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
			if (!tags[i].value->p && slice_eq_nocase(name, slice_of(tags[i].name)))
				*tags[i].value = value;
}

bool dmarc_record_parse(struct dmarc_record *out, struct slice text, const char **why)
{
	struct tag_values v = { .p = SLICE_NULL };
	struct dmarc_record r = { .percent = 100, .public_suffix = 'u' };
	uint64_t percent;

	if (!dmarc_record_is(text)) {
		*why = "it does not begin with v=DMARC1";
		return false;
	}
	collect(&v, text);
	r.policy = read_policy(v.p);
	r.sub_policy = read_policy(v.sp);
	/* Section 6.6.3, step 6: without a valid p=, or with an invalid sp=, the record is one of p=none if it has a
	 * reporting URI, and otherwise none. */
	if (!r.policy || (v.sp.p && !r.sub_policy)) {
		if (!has_uri(v.rua)) {
			*why = r.policy ? "sp= is no policy" : v.p.p ? "p= is no policy" : "p= is missing";
			return false;
		}
		r.policy = r.sub_policy = DMARC_NONE;
	}
	r.sub_policy = r.sub_policy ? r.sub_policy : r.policy;
	r.absent_policy = read_policy(v.np);
	r.absent_policy = r.absent_policy ? r.absent_policy : r.sub_policy;
	r.strict_dkim = slice_eq_nocase(v.adkim, SLICE("s"));
	r.strict_spf = slice_eq_nocase(v.aspf, SLICE("s"));
	r.testing = slice_eq_nocase(v.t, SLICE("y"));
	if (v.psd.n == 1 && strchr("yn", ascii_lower(v.psd.p[0])))
		r.public_suffix = ascii_lower(v.psd.p[0]);
	if (slice_number(v.pct, 100, &percent))
		r.percent = (unsigned)percent;
	*out = r;
	return true;
}
