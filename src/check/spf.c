/*
 * check_host() (RFC 7208 section 4): which record speaks, what its terms say, and why.
 *
 * One function of the standard, one function here: check_domain() is check_host() for one domain and calls itself for
 * "include" and "redirect"; the ten look-ups bound how deep and how often. temperror and permerror end everything at once,
 * wherever they arise. What matched is noted at the innermost record, since "include:_spf.example.net" tells a postmaster
 * less than the network that stands there.
 *
 * Rejected: libspf2 (it blocks, and gets a third of the standard's test suite wrong); a compiled form of records
 * kept in a cache (reading one costs less than a microsecond, and the resolver's cache knows when it ends).
 */
#include "check/spf.h"

#include "check/finding.h"
#include "check/spf_ask.h"
#include "wire/address.h"
#include "wire/dns_name.h"

enum role { ROLE_TOP, ROLE_REDIRECT, ROLE_INCLUDE };

static ASYNC enum result check_domain(struct spf_run *run, struct slice domain, enum role role);

/* ---- words ---- */

static const char *shown(struct spf_run *run, struct slice text)
{
	return finding_escaped(run->arena, text, 255);
}

/* "..., in the record of DOMAIN", for an error whose phrase stands in the answer. */
static enum result error_at(struct spf_run *run, enum result result, const struct spf_term *term)
{
	struct spf_answer *answer = run->answer;

	answer->record = shown(run, run->values.domain);
	if (term)
		answer->mechanism = shown(run, term->text);
	return result;
}

static enum result permerror(struct spf_run *run, const struct spf_term *term, const char *phrase)
{
	run->answer->reason = phrase;
	return error_at(run, RESULT_PERMERROR, term);
}

/* ---- explanation ---- */

/* RFC 7208 section 6.2: one TXT record, US-ASCII, expanded; "if there are any processing errors (any RCODE other than 0),
 * or if no records are returned, or if more than one record is returned, or if there are syntax errors in the
 * explanation string, then proceed as if no "exp" modifier was given." Its look-ups are not among the ten: the result stands. */
static ASYNC void explain(struct spf_run *run, struct slice spec)
{
	unsigned lookups = run->answer->lookups;
	struct str text = STR_IN(run->arena), kept = STR_IN(run->arena);
	const char *reason = run->answer->reason;
	struct dns_answer answer;
	struct slice target;
	const char *why;

	run->answer->lookups = 0;
	if (spec.n == 0 || !spf_target(run, spec, &target) || target.n == 0)
		goto out;
	dns_ask(run->dns, run->arena, target, DNS_TXT, &answer, run->until);
	if (answer.status != DNS_FOUND || answer.count != 1 ||
	    !spf_macro_valid(answer.records[0].text, SPF_MACRO_EXPLANATION, &why))
		goto out;
	if (spf_macro_uses(answer.records[0].text, 'p') && !spf_choose_name(run))
		goto out;
	spf_macro_expand(&text, answer.records[0].text, &run->values);
	str_escaped(&kept, str_slice(&text), SPF_EXPLANATION_MAX);
	if (kept.n > 0)
		run->answer->explanation = str_cstr(&kept);
out:
	run->answer->lookups = lookups;
	run->answer->reason = reason;
}

/* ---- terms ---- */

/* Section 5.2: what the included domain's result means here. */
static ASYNC enum spf_match match_include(struct spf_run *run, struct slice target)
{
	struct slice domain = run->values.domain;
	enum result result = check_domain(run, target, ROLE_INCLUDE);

	run->values.domain = domain;
	switch (result) {
	case RESULT_PASS: return SPF_MATCH;
	case RESULT_TEMPERROR: return SPF_TEMPERROR;
	case RESULT_PERMERROR: return SPF_PERMERROR;
	case RESULT_NONE:
		run->answer->reason = arena_printf(run->arena, "%s, which is included, has no SPF record",
			shown(run, target));
		return SPF_PERMERROR;
	default: return SPF_NO_MATCH;
	}
}

/* The mechanisms that ask. */
static ASYNC enum spf_match match_asking(struct spf_run *run, const struct spf_term *term)
{
	struct slice target;

	if (!spf_count_lookup(run) || !spf_target(run, term->domain, &target))
		return SPF_PERMERROR;
	if (term->mechanism == SPF_INCLUDE)
		return match_include(run, target);
	/* Section 4.8 leaves it open what a name that cannot exist does: it matches nothing. */
	if (target.n == 0)
		return SPF_NO_MATCH;
	switch (term->mechanism) {
	case SPF_A: return spf_match_a(run, term, target);
	case SPF_MX: return spf_match_mx(run, term, target);
	case SPF_PTR: return spf_match_ptr(run, target);
	default: return spf_match_exists(run, target);
	}
}

static ASYNC enum spf_match match(struct spf_run *run, const struct spf_term *term)
{
	switch (term->mechanism) {
	case SPF_ALL:
		return SPF_MATCH;
	case SPF_IP4:
	case SPF_IP6:
		return (term->mechanism == SPF_IP4) == spf_is_v4(run) && spf_network_contains(run, term, &term->ip)
			? SPF_MATCH : SPF_NO_MATCH;
	default:
		return match_asking(run, term);
	}
}

static enum result qualified(char qualifier)
{
	switch (qualifier) {
	case '-': return RESULT_FAIL;
	case '~': return RESULT_SOFTFAIL;
	case '?': return RESULT_NEUTRAL;
	default: return RESULT_PASS;
	}
}

/* A term matched: what is said of it, and the domain's own words if it means a fail that is not an include's. */
static ASYNC enum result matched(struct spf_run *run, const struct spf_record *record, const struct spf_term *term,
	enum role role)
{
	struct spf_answer *answer = run->answer;
	enum result result = qualified(term->qualifier);

	if (term->mechanism != SPF_INCLUDE) {	/* else the innermost has said it */
		answer->mechanism = shown(run, term->text);
		answer->record = shown(run, run->values.domain);
	}
	if (role == ROLE_INCLUDE || result != RESULT_FAIL)
		return result;
	answer->never_sends &= term->mechanism == SPF_ALL && record->count == 1;
	explain(run, record->explanation);
	return result;
}

/* Section 6.1: the redirect is taken if nothing matched; "if no SPF record is found, or if the <target-name> is malformed,
 * the result is a "permerror" rather than "none"". */
static ASYNC enum result redirected(struct spf_run *run, const struct spf_record *record, enum role role)
{
	struct slice target, domain = run->values.domain;
	enum result result;

	run->answer->never_sends &= record->count == 0;
	if (!spf_count_lookup(run) || !spf_target(run, record->redirect, &target))
		return error_at(run, RESULT_PERMERROR, NULL);
	result = check_domain(run, target, role == ROLE_INCLUDE ? role : ROLE_REDIRECT);
	run->values.domain = domain;
	if (result != RESULT_NONE)
		return result;
	return permerror(run, NULL, arena_printf(run->arena, "%s, which it redirects to, has no SPF record",
		shown(run, target)));
}

/* Section 4.6.2: left to right, until one matches; section 4.7: neutral if none does. */
static ASYNC enum result evaluate(struct spf_run *run, const struct spf_record *record, enum role role)
{
	bool ran_ahead = false;

	for (size_t i = 0; i < record->count; i++) {
		const struct spf_term *term = &record->terms[i];

		if (run->waited && !ran_ahead) {
			spf_ask_ahead(run, record, i);
			ran_ahead = true;
		}
		switch (match(run, term)) {
		case SPF_MATCH: return matched(run, record, term, role);
		case SPF_TEMPERROR: return term->mechanism == SPF_INCLUDE && run->answer->record ? RESULT_TEMPERROR :
			error_at(run, RESULT_TEMPERROR, term);
		case SPF_PERMERROR: return term->mechanism == SPF_INCLUDE && run->answer->record ? RESULT_PERMERROR :
			error_at(run, RESULT_PERMERROR, term);
		case SPF_NO_MATCH: break;
		}
		run->answer->mechanism = run->answer->record = NULL;	/* an include's, which did not pass */
	}
	return record->redirect.n > 0 ? redirected(run, record, role) : RESULT_NEUTRAL;
}

/* ---- records ---- */

/* Section 4.5: RESULT_PASS with *text, or what it comes to without. */
static enum result select_record(struct spf_run *run, const struct dns_answer *answer, struct slice *text)
{
	size_t count = 0;

	for (size_t i = 0; answer->status == DNS_FOUND && i < answer->count; i++) {
		if (!spf_record_is(answer->records[i].text))
			continue;
		*text = answer->records[i].text;
		count++;
	}
	if (count > 1)
		return permerror(run, NULL, "more than one SPF record");
	return count == 1 ? RESULT_PASS : RESULT_NONE;
}

static ASYNC enum result check_domain(struct spf_run *run, struct slice domain, enum role role)
{
	struct dns_answer answer;
	struct spf_record record;
	enum result result;
	struct slice text;
	struct dns_name name;
	const char *why;

	/* Section 4.3: malformed, or "not a multi-label domain name". */
	if (slice_find(domain, '.') < 0 || !dns_name_parse(&name, domain))
		return RESULT_NONE;
	run->values.domain = domain;
	dns_ask(run->dns, run->arena, domain, DNS_TXT, &answer, run->until);
	if (answer.status == DNS_TROUBLE) {
		spf_trouble(run, DNS_TXT, domain, &answer);
		return error_at(run, RESULT_TEMPERROR, NULL);
	}
	run->waited = !answer.cached;
	result = select_record(run, &answer, &text);
	if (result != RESULT_PASS)
		return result;
	if (!spf_record_parse(&record, run->arena, text, &why))
		return permerror(run, NULL, why);
	return evaluate(run, &record, role);
}

/* ---- the question ---- */

/* A-labels where there were U-labels; else as said. No final dot. */
static struct slice domain_ascii(struct arena *a, struct slice domain)
{
	if (domain.n > 0 && domain.p[domain.n - 1] == '.')
		domain.n--;
	return ascii_only(domain) ? domain : domain_canonical(a, domain);
}

static struct spf_macro_values values_of(struct arena *a, const struct spf_question *q, struct slice domain)
{
	struct slice none = SLICE_NULL;

	return (struct spf_macro_values){
		.local = slice_empty(q->local) || slice_empty(q->domain) ? SLICE("postmaster") : q->local,	/* section 4.3 */
		.sender_domain = domain, .domain = domain, .ip = q->ip, .helo = domain_ascii(a, q->helo),
		.receiver = q->receiver ? slice_of(q->receiver) : none, .now = q->now };
}

static const char *sentence(struct arena *a, const struct spf_question *q, const struct spf_answer *answer)
{
	const char *domain = answer->domain, *phrase = answer->reason ? answer->reason : "";
	char client[IP_TEXT];

	ip_text(q->ip, client);
	switch (answer->result) {
	case RESULT_PASS:
		return arena_printf(a, "%s says that %s may send for it (%s in the record of %s).", domain, client,
			answer->mechanism, answer->record);
	case RESULT_FAIL:
		if (answer->never_sends)
			return arena_printf(a, "%s says that it never sends mail (%s in the record of %s).", domain,
				answer->mechanism, answer->record);
		return arena_printf(a, "%s says that %s may not send for it (%s in the record of %s).", domain, client,
			answer->mechanism, answer->record);
	case RESULT_SOFTFAIL:
		return arena_printf(a, "%s says that %s probably may not send for it (%s in the record of %s).", domain,
			client, answer->mechanism, answer->record);
	case RESULT_NEUTRAL:
		if (!answer->mechanism)
			return arena_printf(a, "The SPF record of %s says nothing about %s.", domain, client);
		return arena_printf(a, "%s does not say whether %s may send for it (%s in the record of %s).", domain,
			client, answer->mechanism, answer->record);
	case RESULT_TEMPERROR:
		return arena_printf(a, "SPF of %s cannot be evaluated now: %s.", domain, phrase);
	case RESULT_PERMERROR:
		return arena_printf(a, "SPF of %s is broken: %s (record of %s).", domain, phrase,
			answer->record ? answer->record : domain);
	default:
		return arena_printf(a, "%s has no SPF record.", domain);
	}
}

ASYNC void spf_check_host(struct dns *dns, struct arena *a, const struct spf_question *question,
	struct spf_answer *out, deadline until)
{
	bool helo = slice_empty(question->domain);
	struct slice said = helo ? question->helo : question->domain;
	struct slice domain = slice_empty(said) || said.p[0] == '[' ? SLICE_NULL : domain_ascii(a, said);
	struct spf_answer answer = { .helo = helo, .never_sends = true, .domain = finding_escaped(a, said, 255) };
	struct spf_run run = { .dns = dns, .arena = a, .until = until, .answer = &answer,
		.values = values_of(a, question, domain) };

	answer.result = check_domain(&run, domain, ROLE_TOP);
	answer.never_sends &= answer.result == RESULT_FAIL;
	answer.reason = sentence(a, question, &answer);
	*out = answer;
}

/* ---- the check ---- */

/* What a refusal says. Section 8.4: "the explanation string ... is information from the domain's owner" and has to be told
 * apart from our own words. */
static const char *words_for_client(struct arena *a, const struct spf_answer *answer, const struct ip *ip)
{
	char client[IP_TEXT];

	if (answer->result != RESULT_FAIL && answer->result != RESULT_SOFTFAIL)
		return answer->domain;
	if (answer->never_sends)
		return answer->domain;
	return arena_printf(a, "%s may not send for %s%s%s", ip_text(ip, client), answer->domain,
		answer->explanation ? "; its owner explains: " : "", answer->explanation ? answer->explanation : "");
}

ASYNC void spf_check(struct dns *dns, const struct envelope *e, const char *hostname, struct spf_facts *facts,
	struct findings *findings, deadline until)
{
	const struct path *path = &e->reverse_path;
	struct spf_question question = { .ip = &e->client->ip, .helo = e->client->helo, .local = path->local,
		.domain = path_is_null(path) ? SLICE_NULL : path->domain, .receiver = hostname, .now = clock_wall_seconds() };
	nanoseconds began = clock_precise();
	struct spf_answer answer;
	struct finding *f;

	spf_check_host(dns, e->arena, &question, &answer, until);
	*facts = (struct spf_facts){ .asked = true, .helo = answer.helo, .never_sends = answer.never_sends,
		.result = answer.result, .domain = domain_ascii(e->arena, answer.helo ? question.helo : question.domain),
		.reason = answer.reason, .explanation = answer.explanation };
	f = finding_timed(findings, e->arena, CHECK_SPF, answer.result, began, answer.reason);
	f->detail = words_for_client(e->arena, &answer, question.ip);
	f->evidence = answer.explanation ? arena_printf(e->arena, "%s %s; explanation: %s", answer.helo ? "helo" : "mailfrom",
		answer.domain, answer.explanation) : arena_printf(e->arena, "%s %s", answer.helo ? "helo" : "mailfrom", answer.domain);
}
