/*
 * The questions of SPF.
 *
 * What makes SPF slow is one look-up behind the other, so those that are known are asked at once: the addresses of all mail
 * hosts, of all reverse names, and, as soon as one question had to wait, what the rest of the record will ask. Those
 * answers go into the resolver's cache and nowhere else; the evaluation then takes term after term and finds them
 * there. So its result, its counts and its errors are those of asking in turn. "exists" is not asked ahead: such names are
 * made to be counted by their owner, who should not see what was never reached. With a warm cache nothing is
 * asked ahead, since it would be asked twice.
 *
 * Where the standard leaves an order open, the result does not depend on it: any address of any mail host that matches
 * is a match, though another host may be in trouble; reverse names beyond ten are left out in the order of
 * their names, not of the answer, which servers shuffle.
 *
 * Void look-ups are counted as section 4.6.4 words it, as terms "for which DNS queries return" nothing: an mx of
 * three hosts without addresses counts once. Rejected: a fiber for each question, and evaluating branches in parallel,
 * which would have to take back what they counted.
 */
#include "check/spf_ask.h"

#include "check/finding.h"
#include "wire/dns_name.h"

#include <stdlib.h>

#define PATIENCE (1 * NS_PER_SECOND)	/* for all hosts of an mx, before those that answered are looked at */

/* ---- limits and errors ---- */

bool spf_count_lookup(struct spf_run *run)
{
	if (++run->answer->lookups <= SPF_LOOKUPS_MAX)
		return true;
	run->answer->reason = "more than ten terms that ask DNS";
	return false;
}

static enum spf_match count_void(struct spf_run *run)
{
	if (++run->answer->voids <= SPF_VOIDS_MAX)
		return SPF_NO_MATCH;
	run->answer->reason = "more than two terms that find nothing in DNS";
	return SPF_PERMERROR;
}

enum spf_match spf_trouble(struct spf_run *run, enum dns_type type, struct slice name, const struct dns_answer *answer)
{
	run->answer->reason = arena_printf(run->arena, "%s of %s could not be looked up (%s)", dns_type_name(type),
		finding_escaped(run->arena, name, 253), answer->why ? answer->why : "DNS trouble");
	return SPF_TEMPERROR;
}

static ASYNC void ask(struct spf_run *run, struct slice name, enum dns_type type, struct dns_answer *out)
{
	dns_ask(run->dns, run->arena, name, type, out, run->until);
	run->waited |= !out->cached;
}

static bool is_void(const struct dns_answer *answer)
{
	return answer->status == DNS_NODATA || answer->status == DNS_NXDOMAIN;
}

/* ---- addresses ---- */

static enum dns_type address_type(const struct spf_run *run)
{
	return spf_is_v4(run) ? DNS_A : DNS_AAAA;
}

bool spf_network_contains(const struct spf_run *run, const struct spf_term *term, const struct ip *ip)
{
	unsigned bits = spf_is_v4(run) ? 96u + term->bits4 : term->bits6;
	const uint8_t *client = run->values.ip->bytes;

	if (memcmp(client, ip->bytes, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((client[bits / 8] ^ ip->bytes[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool answer_matches(const struct spf_run *run, const struct spf_term *term, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++)
		if (spf_network_contains(run, term, &answer->records[i].ip))
			return true;
	return false;
}

ASYNC enum spf_match spf_match_a(struct spf_run *run, const struct spf_term *term, struct slice target)
{
	struct dns_answer answer;

	ask(run, target, address_type(run), &answer);
	if (answer.status == DNS_TROUBLE)
		return spf_trouble(run, address_type(run), target, &answer);
	if (is_void(&answer))
		return count_void(run);
	return answer_matches(run, term, &answer) ? SPF_MATCH : SPF_NO_MATCH;
}

/* RFC 7208 section 5.7: "The lookup type is A even when the connection type is IPv6." */
ASYNC enum spf_match spf_match_exists(struct spf_run *run, struct slice target)
{
	struct dns_answer answer;

	ask(run, target, DNS_A, &answer);
	if (answer.status == DNS_TROUBLE)
		return spf_trouble(run, DNS_A, target, &answer);
	return is_void(&answer) ? count_void(run) : SPF_MATCH;
}

/* ---- mx ---- */

/* The addresses of hosts, all at once. */
static ASYNC void ask_hosts(struct spf_run *run, struct dns_question *hosts, size_t count, deadline until)
{
	dns_ask_all(run->dns, run->arena, hosts, count, until);
	for (size_t i = 0; i < count; i++)
		run->waited |= !hosts[i].answer.cached;
}

/* The same for those in trouble: their questions are still under way. */
static ASYNC void ask_hosts_again(struct spf_run *run, struct dns_question *hosts, size_t count)
{
	struct dns_question again[SPF_NAMES_MAX];
	size_t of[SPF_NAMES_MAX], n = 0;

	for (size_t i = 0; i < count; i++) {
		if (hosts[i].answer.status != DNS_TROUBLE)
			continue;
		of[n] = i;
		again[n++] = hosts[i];
	}
	ask_hosts(run, again, n, run->until);
	for (size_t i = 0; i < n; i++)
		hosts[of[i]] = again[i];
}

/* What the hosts come to: SPF_MATCH, SPF_TEMPERROR with *bad, or SPF_NO_MATCH with *none if some had no address. */
static enum spf_match hosts_match(const struct spf_run *run, const struct spf_term *term,
	const struct dns_question *hosts, size_t count, const struct dns_question **bad, bool *none)
{
	*bad = NULL;
	*none = false;
	for (size_t i = 0; i < count; i++) {
		const struct dns_answer *answer = &hosts[i].answer;

		if (answer_matches(run, term, answer))
			return SPF_MATCH;
		if (answer->status == DNS_TROUBLE && !*bad)
			*bad = &hosts[i];
		*none |= is_void(answer);
	}
	return *bad ? SPF_TEMPERROR : SPF_NO_MATCH;
}

/* Section 5.4. There is no implicit MX here: "if the <target-name> has no MX record, check_host() MUST NOT apply the
 * implicit MX rules of [RFC5321]". */
ASYNC enum spf_match spf_match_mx(struct spf_run *run, const struct spf_term *term, struct slice target)
{
	struct dns_question hosts[SPF_NAMES_MAX];
	const struct dns_question *bad;
	struct dns_answer mx;
	enum spf_match match;
	deadline soon;
	size_t count = 0;
	bool none;

	ask(run, target, DNS_MX, &mx);
	if (mx.status == DNS_TROUBLE)
		return spf_trouble(run, DNS_MX, target, &mx);
	if (is_void(&mx))
		return count_void(run);
	if (mx.count > SPF_NAMES_MAX) {		/* section 4.6.4 */
		run->answer->reason = "an mx of more than ten hosts";
		return SPF_PERMERROR;
	}
	for (size_t i = 0; i < mx.count; i++)	/* the empty name is null MX (RFC 7505) */
		if (mx.records[i].text.n > 0)
			hosts[count++] = (struct dns_question){ .name = mx.records[i].text, .type = address_type(run) };
	if (count == 0)
		return SPF_NO_MATCH;
	soon = deadline_min(run->until, deadline_in(PATIENCE));
	ask_hosts(run, hosts, count, soon);
	match = hosts_match(run, term, hosts, count, &bad, &none);
	if (match == SPF_TEMPERROR && deadline_passed(soon) && !deadline_passed(run->until)) {
		ask_hosts_again(run, hosts, count);
		match = hosts_match(run, term, hosts, count, &bad, &none);
	}
	if (match == SPF_TEMPERROR)
		return spf_trouble(run, bad->type, bad->name, &bad->answer);
	return match == SPF_NO_MATCH && none ? count_void(run) : match;
}

/* ---- reverse names ---- */

static int name_order(const void *x, const void *y)
{
	const struct dns_record *a = x, *b = y;
	size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
	int order = n > 0 ? strncasecmp(a->text.p, b->text.p, n) : 0;

	return order != 0 ? order : (a->text.n > b->text.n) - (a->text.n < b->text.n);
}

static bool answer_has_client(const struct spf_run *run, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++)
		if (ip_eq(&answer->records[i].ip, run->values.ip))
			return true;
	return false;
}

/* Section 5.5: "If a DNS error occurs while doing the PTR RR lookup, then this mechanism fails to match. If a DNS error
 * occurs while doing an A RR lookup, then that domain name is skipped and the search continues." Section 4.6.4: "all
 * records other than the first 10 MUST be ignored". */
static ASYNC void validate_names(struct spf_run *run)
{
	struct dns_question hosts[SPF_NAMES_MAX];
	struct str name = STR_IN(run->arena);
	struct dns_answer ptr;
	size_t count;

	if (run->reverse_known)
		return;
	run->reverse_known = true;
	ip_ptr_name(&name, run->values.ip);
	ask(run, str_slice(&name), DNS_PTR, &ptr);
	run->reverse_void = is_void(&ptr);
	if (ptr.count == 0)
		return;
	qsort(ptr.records, ptr.count, sizeof(*ptr.records), name_order);
	count = ptr.count < SPF_NAMES_MAX ? ptr.count : SPF_NAMES_MAX;
	for (size_t i = 0; i < count; i++)
		hosts[i] = (struct dns_question){ .name = ptr.records[i].text, .type = address_type(run) };
	ask_hosts(run, hosts, count, run->until);
	for (size_t i = 0; i < count; i++)
		if (answer_has_client(run, &hosts[i].answer))
			run->validated[run->validated_count++] = hosts[i].name;
}

static bool is_below(struct slice name, struct slice domain)
{
	return name.n > domain.n && name.p[name.n - domain.n - 1] == '.' && slice_ends_nocase(name, domain);
}

ASYNC enum spf_match spf_match_ptr(struct spf_run *run, struct slice target)
{
	validate_names(run);
	for (size_t i = 0; i < run->validated_count; i++)
		if (slice_eq_nocase(run->validated[i], target) || is_below(run->validated[i], target))
			return SPF_MATCH;
	return run->reverse_void ? count_void(run) : SPF_NO_MATCH;
}

/* Section 7.3, %{p}: "If the <domain> is present in the list of validated domains, it SHOULD be used. Otherwise, if a
 * subdomain of the <domain> is present, it SHOULD be used. Otherwise, any name from the list can be used." Its
 * question counts among the ten, once (section 4.6.4). */
ASYNC bool spf_choose_name(struct spf_run *run)
{
	struct slice domain = run->values.domain, best = SLICE_NULL;

	if (!run->reverse_known && !spf_count_lookup(run))
		return false;
	validate_names(run);
	for (size_t i = 0; i < run->validated_count; i++) {
		struct slice name = run->validated[i];

		if (slice_eq_nocase(name, domain)) {
			best = name;
			break;
		}
		if (best.n == 0 || (is_below(name, domain) && !is_below(best, domain)))
			best = name;
	}
	run->values.validated = best;
	return true;
}

/* ---- targets ---- */

/* RFC 8616 section 4: a term that needs a local part which is not ASCII matches nothing. */
static bool is_utf8_local(const struct spf_run *run, struct slice spec)
{
	return !ascii_only(run->values.local) && (spf_macro_uses(spec, 'l') || spf_macro_uses(spec, 's'));
}

ASYNC bool spf_target(struct spf_run *run, struct slice spec, struct slice *target)
{
	*target = run->values.domain;
	if (spec.n == 0)
		return true;
	if (slice_find(spec, '%') >= 0) {
		if (spf_macro_uses(spec, 'p') && !spf_choose_name(run))
			return false;
		if (is_utf8_local(run, spec)) {
			*target = SLICE_NULL;
			return true;
		}
	}
	*target = spf_macro_domain(run->arena, spec, &run->values);
	return true;
}

/* ---- ahead ---- */

static void ahead(struct spf_run *run, struct slice spec, enum dns_type type)
{
	struct slice target = run->values.domain;

	if (spec.n > 0) {
		if (slice_find(spec, '%') >= 0 && (spf_macro_uses(spec, 'p') || is_utf8_local(run, spec)))
			return;
		target = spf_macro_domain(run->arena, spec, &run->values);
	}
	if (target.n > 0)
		dns_prefetch(run->dns, target, type);
}

void spf_ask_ahead(struct spf_run *run, const struct spf_record *record, size_t first)
{
	unsigned left = SPF_LOOKUPS_MAX > run->answer->lookups ? SPF_LOOKUPS_MAX - run->answer->lookups : 0;

	for (size_t i = first; i < record->count && left > 0; i++) {
		const struct spf_term *term = &record->terms[i];

		left -= term->mechanism != SPF_IP4 && term->mechanism != SPF_IP6;
		if (term->mechanism == SPF_ALL)
			return;
		if (term->mechanism == SPF_INCLUDE)
			ahead(run, term->domain, DNS_TXT);
		else if (term->mechanism == SPF_A)
			ahead(run, term->domain, address_type(run));
		else if (term->mechanism == SPF_MX)
			ahead(run, term->domain, DNS_MX);
	}
	if (left > 0 && record->redirect.n > 0)
		ahead(run, record->redirect, DNS_TXT);
}
