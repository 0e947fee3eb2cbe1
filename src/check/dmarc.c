/*
 * One author domain after the other: its record, what is aligned with it, and what follows. There should be one author
 * domain; a message that has several is as good as its worst (section 6.6.1 leaves that to us, and whoever forges adds a domain of
 * his own), and its From is a defect besides.
 *
 * An identifier that could not be checked, for trouble of DNS, and would be aligned, makes a temperror of what would be a fail:
 * a good answer could have been a pass. Where a fail would lead to nothing, that is a word in the record.
 *
 * pct= is answered by a keyed hash of the message's own fields instead of chance, so that a retry fares like the first try.
 */
#include "check/dmarc.h"

#include "check/dmarc_discovery.h"
#include "check/finding.h"
#include "check/organization.h"
#include "base/table.h"
#include "wire/mailbox.h"

#define AUTHORS_MAX 16u		/* addresses that are read */
#define DOMAINS_MAX 6u		/* domains that are asked about */

struct author {
	struct slice domain;
	struct dmarc_discovery found;
	enum result result;
	char policy;		/* what applies; 0: no record */
	bool by_spf, by_dkim;
	const char *reason;
};

struct evaluation {
	struct dns *dns;
	struct arena *arena;
	const struct dmarc_conf *conf;
	const struct header *header;
	struct auth_facts *auth;
	deadline until;
	struct author authors[DOMAINS_MAX];
	size_t count;
	const char *defect;	/* of From */
	bool no_from;
};

/* ---- alignment ---- */

enum alignment { ALIGNED_NOT, ALIGNED_PERHAPS, ALIGNED };

bool dmarc_aligned(struct slice one, struct slice other, bool strict)
{
	return slice_eq_nocase(one, other) ||
		(!strict && slice_eq_nocase(organization_of(one), organization_of(other)));
}

/* Section 3.1: strict is the same name, relaxed the same organizational domain. */
static ASYNC enum alignment alignment_of(struct evaluation *e, const struct author *author, struct slice domain, bool strict)
{
	struct slice name = domain.n > 0 ? domain_canonical(e->arena, domain) : SLICE_NULL;
	struct dmarc_discovery its;

	if (name.n == 0)
		return ALIGNED_NOT;
	if (slice_eq(name, author->domain))
		return ALIGNED;
	if (strict)
		return ALIGNED_NOT;
	if (e->conf->organization == ORGANIZATION_SUFFIX_LIST)
		return dmarc_aligned(name, author->domain, false) ? ALIGNED : ALIGNED_NOT;
	if (author->found.organization.n == 0)
		return dmarc_is_below(name, dmarc_last_labels(author->domain, 2)) ? ALIGNED_PERHAPS : ALIGNED_NOT;
	/* Whose organizational domain that is stands at or below it. */
	if (!dmarc_is_below(name, author->found.organization))
		return ALIGNED_NOT;
	dmarc_discover(e->dns, e->arena, e->conf->organization, name, &its, e->until);
	if (its.organization.n == 0)
		return ALIGNED_PERHAPS;
	return slice_eq(its.organization, author->found.organization) ? ALIGNED : ALIGNED_NOT;
}

/* What SPF and DKIM say for this author. *perhaps: something aligned, or what may be, could not be checked. */
static ASYNC void align(struct evaluation *e, struct author *author, bool *perhaps)
{
	const struct dmarc_record *record = &author->found.record;
	const struct spf_facts *spf = &e->auth->spf;
	enum alignment aligned;

	if (spf->asked && (spf->result == RESULT_PASS || spf->result == RESULT_TEMPERROR)) {
		aligned = alignment_of(e, author, spf->domain, record->strict_spf);
		author->by_spf = aligned == ALIGNED && spf->result == RESULT_PASS;
		*perhaps = aligned != ALIGNED_NOT && !author->by_spf;
	}
	for (const struct dkim_facts *s = e->auth->dkim; s && !author->by_dkim; s = s->next) {
		if (s->result != RESULT_PASS && (s->result != RESULT_TEMPERROR || s->hopeless))
			continue;
		aligned = alignment_of(e, author, s->domain, record->strict_dkim);
		author->by_dkim = aligned == ALIGNED && s->result == RESULT_PASS;
		*perhaps = *perhaps || (aligned != ALIGNED_NOT && !author->by_dkim);
	}
}

/* ---- what the domain asks for ---- */

enum existence { EXISTS_NOT, EXISTS_PERHAPS, EXISTS };

/* RFC 9091 section 2.7 calls a domain non-existent that has neither A, AAAA nor MX records; RFC 9989 means NXDOMAIN alone. */
static ASYNC enum existence existence_of(struct evaluation *e, struct slice domain)
{
	struct dns_question questions[] = { { .name = domain, .type = DNS_MX }, { .name = domain, .type = DNS_A },
		{ .name = domain, .type = DNS_AAAA } };
	bool trouble = false;

	dns_ask_all(e->dns, e->arena, questions, 3, e->until);
	for (size_t i = 0; i < 3; i++) {
		enum dns_status status = questions[i].answer.status;

		if (status == DNS_FOUND || (status == DNS_NODATA && e->conf->organization == ORGANIZATION_TREE_WALK))
			return EXISTS;
		trouble = trouble || status == DNS_TROUBLE;
		if (status == DNS_NXDOMAIN)
			return EXISTS_NOT;
	}
	return trouble ? EXISTS_PERHAPS : EXISTS_NOT;
}

static char milder(char policy)
{
	return policy == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_NONE;
}

/* Section 6.6.4: whether this message is among the pct= that the policy is for. */
static bool is_sampled(const struct evaluation *e, const struct dmarc_record *record)
{
	static const struct slice names[] = { { "From", 4 }, { "Date", 4 }, { "Message-ID", 10 }, { "Subject", 7 } };
	struct str text = STR_IN(e->arena);

	if (record->percent == 100 || e->conf->organization == ORGANIZATION_TREE_WALK)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct field *f = header_field(e->header, names[i], 0);

		if (f)
			str_add(&text, f->raw);
	}
	return hash_bytes(text.p, text.n) % 100 < record->percent;
}

/* The policy for this author. false: it cannot be told, since DNS does not say whether the domain exists. */
static ASYNC bool choose_policy(struct evaluation *e, struct author *author)
{
	const struct dmarc_record *record = &author->found.record;
	enum existence existence = EXISTS;

	author->policy = record->policy;
	if (!slice_eq(author->found.at, author->domain)) {
		author->policy = record->sub_policy;
		if (record->absent_policy != record->sub_policy)
			existence = existence_of(e, author->domain);
		if (existence == EXISTS_NOT)
			author->policy = record->absent_policy;
	}
	if (record->testing || !is_sampled(e, record))
		author->policy = milder(author->policy);
	return existence != EXISTS_PERHAPS;
}

static void decide(struct author *author, enum result result, const char *reason)
{
	author->result = result;
	author->reason = reason;
}

static ASYNC void judge(struct evaluation *e, struct author *author)
{
	const struct dmarc_discovery *found = &author->found;
	bool perhaps = false, known;

	dmarc_discover(e->dns, e->arena, e->conf->organization, author->domain, &author->found, e->until);
	if (found->state == DMARC_RECORD_ABSENT) {
		decide(author, RESULT_NONE, "the author's domain publishes no DMARC record");
	} else if (found->state == DMARC_RECORD_BROKEN) {
		decide(author, RESULT_PERMERROR, arena_printf(e->arena, "the DMARC record of %s cannot be used: %s",
			finding_escaped(e->arena, found->at, 253), found->why));
	} else if (found->state == DMARC_RECORD_TROUBLE) {
		decide(author, RESULT_TEMPERROR, arena_printf(e->arena, "the DMARC record of %s cannot be asked for: %s",
			finding_escaped(e->arena, found->at, 253), found->why));
	} else {
		align(e, author, &perhaps);
		known = choose_policy(e, author);
		if (author->by_spf || author->by_dkim)
			decide(author, RESULT_PASS, author->by_spf ? author->by_dkim ?
				"SPF and a DKIM signature are aligned with the author's domain" :
				"SPF is aligned with the author's domain" : "a DKIM signature is aligned with the author's domain");
		else if (perhaps)
			decide(author, RESULT_TEMPERROR, "what may be aligned with the author's domain cannot be checked now");
		else if (!known)
			decide(author, RESULT_TEMPERROR, "DNS does not say whether the author's domain exists");
		else
			decide(author, RESULT_FAIL, "neither SPF nor a DKIM signature is aligned with the author's domain");
	}
}

/* ---- authors ---- */

static void add_author(struct evaluation *e, const struct mailbox *m)
{
	struct slice domain = m->domain.p[0] == '[' ? SLICE_NULL : m->domain;

	domain = domain.n > 0 && domain_valid(domain, true) ? domain_canonical(e->arena, domain) : SLICE_NULL;
	if (domain.n == 0) {
		e->defect = e->defect ? e->defect : "an author's domain is no domain name";
		return;
	}
	for (size_t i = 0; i < e->count; i++)
		if (slice_eq(e->authors[i].domain, domain))
			return;
	if (e->count < DOMAINS_MAX)
		e->authors[e->count++].domain = domain;
	if (e->count > 1 && !e->defect)
		e->defect = "authors of several domains";
}

static void read_authors(struct evaluation *e)
{
	struct mailbox *m = header_authors(e->arena, e->header, AUTHORS_MAX, &e->defect);

	e->no_from = header_count(e->header, SLICE("From")) == 0;
	if (e->no_from)
		e->defect = NULL;
	for (; m; m = m->next)
		add_author(e, m);
}

/* How much an author's result argues against the message: the strictest policy of all holds. */
static int weight_of(const struct author *author)
{
	switch (author->result) {
	case RESULT_FAIL:
		return author->policy == DMARC_REJECT ? 9 : author->policy == DMARC_QUARANTINE ? 7 : 4;
	case RESULT_TEMPERROR:
		return author->policy == DMARC_REJECT ? 8 : author->policy == DMARC_QUARANTINE ? 6 : 5;
	case RESULT_PERMERROR:
		return 3;
	case RESULT_NONE:
		return 2;
	default:
		return 1;
	}
}

static const struct author *worst_author(const struct evaluation *e)
{
	const struct author *worst = NULL;

	for (const struct author *a = e->authors; a < e->authors + e->count; a++)
		if (!worst || weight_of(a) > weight_of(worst))
			worst = a;
	return worst;
}

/* ---- what is said ---- */

static void set_facts(const struct evaluation *e, bool trusted)
{
	const struct author *author = worst_author(e);
	struct dmarc_facts *facts = &e->auth->dmarc;
	const struct arc_facts *arc = &e->auth->arc;

	*facts = (struct dmarc_facts){ .asked = true, .result = e->no_from ? RESULT_NONE : RESULT_PERMERROR,
		.defect = e->defect, .reason = e->no_from ? "there is no From field" : "From names no author" };
	if (!author)
		return;
	facts->result = author->result;
	facts->from_domain = author->domain;
	facts->reason = author->reason;
	if (author->found.state == DMARC_RECORD_FOUND) {
		facts->policy_domain = author->found.at;
		facts->policy = author->policy;
	}
	if (author->by_spf || author->by_dkim)
		facts->aligned_by = author->by_spf ? author->by_dkim ? "spf dkim" : "spf" : "dkim";
	if (facts->result == RESULT_FAIL || facts->result == RESULT_TEMPERROR)
		facts->overridden_by = trusted ? "trusted forwarder" :
			arc->result == RESULT_PASS && arc->trusted ? "arc" : NULL;
}

static const char *evidence_of(struct arena *a, const struct dmarc_facts *facts)
{
	struct str text = STR_IN(a);

	if (facts->from_domain.n == 0)
		return NULL;
	str_puts(&text, "from=");
	str_escaped(&text, facts->from_domain, 253);
	if (facts->policy) {
		str_printf(&text, " policy=%s of=", dmarc_policy_name(facts->policy));
		str_escaped(&text, facts->policy_domain, 253);
	}
	if (facts->overridden_by)
		str_printf(&text, " override=%s", strcmp(facts->overridden_by, "arc") == 0 ? "trusted-sealer" :
			"trusted-forwarder");
	return str_cstr(&text);
}

ASYNC void dmarc_evaluate(struct dns *dns, struct arena *a, const struct dmarc_conf *conf, const struct header *h,
	bool trusted, struct auth_facts *auth, struct findings *found, deadline until)
{
	struct evaluation e = { .dns = dns, .arena = a, .conf = conf, .header = h, .auth = auth, .until = until };
	nanoseconds began = clock_precise();
	struct finding *f;

	read_authors(&e);
	for (struct author *author = e.authors; author < e.authors + e.count; author++)
		judge(&e, author);
	set_facts(&e, trusted);
	f = finding_timed(found, a, CHECK_DMARC, auth->dmarc.result, began, auth->dmarc.reason);
	f->evidence = evidence_of(a, &auth->dmarc);
	f->detail = finding_escaped(a, auth->dmarc.from_domain, 253);
	if (!e.defect && !e.no_from)
		return;
	f = finding_timed(found, a, CHECK_DMARC, e.no_from ? RESULT_NO_FROM : RESULT_BAD_FROM, clock_precise(),
		e.no_from ? "there is no From field" : e.defect);
	f->detail = f->reason;
}
