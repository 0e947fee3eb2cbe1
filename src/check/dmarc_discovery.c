/*
 * Two ways to the record of a domain (RFC 7489 section 6.6.3; RFC 9989 section 4.10).
 *
 * By the public suffix list: the domain itself, then its organizational domain. By the tree walk: the domain
 * and its parents, at most eight questions. Either way all questions are asked at once, since
 * all answers may be needed and most come from the cache; what they say is read in the order of the standard.
 */
#include "check/dmarc_discovery.h"

#include "check/organization.h"

#define WALK_MAX 8u	/* questions that a walk may ask */

bool dmarc_is_below(struct slice name, struct slice domain)
{
	if (!slice_ends_nocase(name, domain) || domain.n == 0)
		return false;
	return name.n == domain.n || name.p[name.n - domain.n - 1] == '.';
}

static unsigned label_count(struct slice name)
{
	unsigned n = name.n > 0;

	for (size_t i = 0; i < name.n; i++)
		n += name.p[i] == '.';
	return n;
}

struct slice dmarc_last_labels(struct slice name, unsigned n)
{
	size_t at = name.n;

	for (; at > 0; at--)
		if (name.p[at - 1] == '.' && n-- <= 1)
			break;
	return slice_from(name, at);
}

/* One name that is asked, and what came of it. */
struct stop {
	struct slice domain;
	enum dmarc_record_state state;
	struct dmarc_record record;
	const char *why;
};

/* RFC 7489 section 6.6.3, step 5: "If the remaining set contains multiple records or no records, policy discovery terminates". */
static void read_answer(struct stop *s, const struct dns_answer *answer)
{
	struct slice text = SLICE_NULL;
	unsigned count = 0;

	s->state = DMARC_RECORD_ABSENT;
	if (answer->status == DNS_TROUBLE) {
		s->state = DMARC_RECORD_TROUBLE;
		s->why = answer->why ? answer->why : "DNS trouble";
		return;
	}
	for (size_t i = 0; answer->status == DNS_FOUND && i < answer->count; i++)
		if (dmarc_record_is(answer->records[i].text)) {
			text = answer->records[i].text;
			count++;
		}
	if (count == 1)
		s->state = dmarc_record_parse(&s->record, text, &s->why) ? DMARC_RECORD_FOUND : DMARC_RECORD_BROKEN;
}

static ASYNC void ask_all(struct dns *dns, struct arena *a, struct stop *stops, size_t count, deadline until)
{
	struct dns_question questions[WALK_MAX] = { 0 };

	for (size_t i = 0; i < count; i++) {
		struct str name = STR_IN(a);

		str_add(&name, SLICE("_dmarc."));
		str_add(&name, stops[i].domain);
		questions[i].name = str_slice(&name);
		questions[i].type = DNS_TXT;
	}
	dns_ask_all(dns, a, questions, count, until);
	for (size_t i = 0; i < count; i++)
		read_answer(&stops[i], &questions[i].answer);
}

static void take(struct dmarc_discovery *out, const struct stop *s)
{
	out->state = s->state;
	out->record = s->record;
	out->at = s->domain;
	out->why = s->why;
}

static ASYNC void by_suffix_list(struct dns *dns, struct arena *a, struct slice domain, struct dmarc_discovery *out,
	deadline until)
{
	struct stop stops[2] = { { .domain = domain }, { .domain = organization_of(domain) } };
	size_t count = slice_eq(stops[0].domain, stops[1].domain) ? 1 : 2;

	ask_all(dns, a, stops, count, until);
	out->organization = stops[1].domain;
	take(out, &stops[0]);
	if (out->state == DMARC_RECORD_ABSENT && count == 2)
		take(out, &stops[1]);
}

/* Section 4.10.2. The place of the record of the organizational domain, or -1; *organization. */
static int walk_organization(const struct stop *stops, size_t count, struct slice *organization)
{
	int fewest = -1;

	*organization = stops[0].domain;
	for (size_t i = 0; i < count; i++) {
		if (stops[i].state != DMARC_RECORD_FOUND)
			continue;
		/* psd=n: this is the organizational domain. */
		if (stops[i].record.public_suffix == 'n') {
			*organization = stops[i].domain;
			return (int)i;
		}
		/* psd=y, but for the domain where the walk started: it is the domain one label below. */
		if (stops[i].record.public_suffix == 'y' && i > 0) {
			*organization = dmarc_last_labels(stops[0].domain, label_count(stops[i].domain) + 1);
			for (size_t below = 0; below < i; below++)
				if (slice_eq(stops[below].domain, *organization) && stops[below].state == DMARC_RECORD_FOUND)
					return (int)below;
			return (int)i;
		}
		/* Else that with the fewest labels. */
		*organization = stops[i].domain;
		fewest = (int)i;
	}
	return fewest;
}

/* How far the walk goes: up to the first record that ends it. */
static size_t walk_length(const struct stop *stops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (stops[i].state == DMARC_RECORD_FOUND && (stops[i].record.public_suffix == 'n' ||
				(stops[i].record.public_suffix == 'y' && i > 0)))
			return i + 1;
	return count;
}

static ASYNC void by_tree_walk(struct dns *dns, struct arena *a, struct slice domain, struct dmarc_discovery *out,
	deadline until)
{
	unsigned labels = label_count(domain);
	struct stop stops[WALK_MAX] = { { .domain = domain } };
	const struct stop *trouble = NULL;
	size_t count = 1;
	int at;

	/* Of more than eight labels the last seven are the second stop. */
	for (unsigned n = labels > WALK_MAX ? WALK_MAX - 1 : labels - 1; n > 0 && count < WALK_MAX; n--)
		stops[count++].domain = dmarc_last_labels(domain, n);
	ask_all(dns, a, stops, count, until);
	count = walk_length(stops, count);
	for (size_t i = 0; i < count && !trouble; i++)
		if (stops[i].state == DMARC_RECORD_TROUBLE)
			trouble = &stops[i];
	at = walk_organization(stops, count, &out->organization);
	if (trouble)
		out->organization = SLICE_NULL;
	/* Policy: of the domain itself, else of its organizational domain, else of the public suffix above. */
	if (stops[0].state != DMARC_RECORD_ABSENT)
		take(out, &stops[0]);
	else if (trouble)
		take(out, trouble);
	else if (at >= 0)
		take(out, &stops[at]);
}

ASYNC void dmarc_discover(struct dns *dns, struct arena *a, enum dmarc_organization by, struct slice domain,
	struct dmarc_discovery *out, deadline until)
{
	*out = (struct dmarc_discovery){ .state = DMARC_RECORD_ABSENT };
	if (by == ORGANIZATION_TREE_WALK)
		by_tree_walk(dns, a, domain, out, until);
	else
		by_suffix_list(dns, a, domain, out, until);
}
