/*
 * The sender: our lists, and the question whether mail to it could be answered.
 *
 * A domain can be answered when it has a mail host with a public address: an MX target, or
 * itself, when it has no MX (RFC 5321 section 5.1). The best two hosts are asked first, which
 * settles nearly every sender with four questions; only when these say no, or are in
 * trouble, the next eight are asked, all at once. Half of the time left belongs to the first
 * round, so that two dead servers cannot spend it all.
 *
 * Rule 6 stands above the order of results: as long as any question failed whose answer could
 * have been a public address, the result is temperror, whatever else was learnt. Rejected:
 * connecting to the mail host, or asking it for the address (sender callouts), which
 * speaks to hosts that did not speak to us and gets the asker listed.
 */
#include "check/sender.h"
#include "check/finding.h"

#define TARGETS_MAX 10		/* mail hosts looked at: the record is the sender's, the work ours */
#define TARGETS_FIRST 2

struct target {
	struct slice name;
	uint16_t preference;
};

/* What asking about mail hosts has shown so far. */
struct search {
	struct arena *arena;
	bool public, special;	/* an address of this kind was seen */
	const char *trouble;	/* NULL: every question was answered */
	struct str evidence;
};

/* ---- lists ---- */

void sender_check_lists(const struct sender_conf *conf, struct slice canonical,
	struct findings *findings, struct arena *a)
{
	nanoseconds began = clock_precise();
	const char *where;
	bool allowed;

	if (slice_empty(canonical))
		return;
	/* As with clients: an exception is written into allow. */
	allowed = address_list_contains(&conf->allow, canonical, &where);
	if (!allowed && !address_list_contains(&conf->deny, canonical, &where))
		return;

	struct finding *f = finding_timed(findings, a, CHECK_SENDER, allowed ? RESULT_ALLOWED : RESULT_DENIED,
		began, arena_printf(a, "The sender is on the %s list (%s).", allowed ? "allow" : "deny", where));

	f->evidence = finding_escaped(a, canonical, 320);
}

/* ---- mail hosts ---- */

static void search_address(struct search *s, struct slice host, const struct ip *ip)
{
	char text[IP_TEXT];

	if (ip_is_special(ip))
		s->special = true;
	else
		s->public = true;
	if (s->evidence.n < 256) {
		if (s->evidence.n > 0)
			str_puts(&s->evidence, ", ");
		str_escaped(&s->evidence, host, 100);
		str_addc(&s->evidence, ' ');
		str_puts(&s->evidence, ip_text(ip, text));
	}
}

/* Asks for the addresses of these hosts, all at once. An address in the place of a host name breaks RFC 5321
 * section 5.1 and is met in the wild: read as what it says, since mail does reach it. */
static void search_hosts(struct search *s, struct dns *dns, const struct target *targets, size_t count,
	deadline until)
{
	struct dns_question questions[2 * TARGETS_MAX];
	size_t asked = 0;
	struct ip ip;

	for (size_t i = 0; i < count; i++) {
		if (ip_parse(&ip, targets[i].name)) {
			search_address(s, targets[i].name, &ip);
			continue;
		}
		questions[asked++] = (struct dns_question){ .name = targets[i].name, .type = DNS_A };
		questions[asked++] = (struct dns_question){ .name = targets[i].name, .type = DNS_AAAA };
	}
	if (asked == 0 || s->public)
		return;
	dns_ask_all(dns, s->arena, questions, asked, until);
	for (size_t i = 0; i < asked; i++) {
		const struct dns_answer *answer = &questions[i].answer;

		for (size_t k = 0; answer->status == DNS_FOUND && k < answer->count; k++)
			search_address(s, questions[i].name, &answer->records[k].ip);
		if (answer->status == DNS_TROUBLE && !s->trouble)
			s->trouble = arena_printf(s->arena, "%s of %s: %s", dns_type_name(questions[i].type),
				finding_escaped(s->arena, questions[i].name, 320), answer->why ? answer->why : "DNS trouble");
	}
}

/* The best hosts first, the others if these did not settle it. */
static void search_targets(struct search *s, struct dns *dns, const struct target *targets, size_t count,
	deadline until)
{
	size_t first = count < TARGETS_FIRST ? count : TARGETS_FIRST;

	if (count == first) {
		search_hosts(s, dns, targets, count, until);
		return;
	}
	search_hosts(s, dns, targets, first,
		until == DEADLINE_NONE ? until : deadline_in(deadline_left(until) / 2));
	if (!s->public)
		search_hosts(s, dns, targets + first, count - first, until);
}

/* Inserts by preference, equal ones in the order received; what does not fit is worse than all that did. */
static size_t target_insert(struct target *targets, size_t count, struct target t)
{
	size_t at = count;

	while (at > 0 && targets[at - 1].preference > t.preference)
		at--;
	if (at == TARGETS_MAX)
		return count;
	if (count == TARGETS_MAX)
		count--;
	memmove(targets + at + 1, targets + at, (count - at) * sizeof(*targets));
	targets[at] = t;
	return count + 1;
}

/* MX targets by preference. The empty name is null MX when it stands alone, whatever its preference (RFC 7505
 * section 3 says 0, the wild says otherwise); amid others it is a mistake and counts for nothing. */
static size_t mx_targets(const struct dns_answer *mx, struct target targets[TARGETS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < mx->count; i++)
		if (!slice_empty(mx->records[i].text))
			count = target_insert(targets, count,
				(struct target){ mx->records[i].text, mx->records[i].preference });
	return count;
}

/* ---- the domain ---- */

/* What the search came to; `implicit`: the domain was its own target. */
static enum result search_result(const struct search *s, bool implicit, const char **reason)
{
	if (s->public) {
		*reason = implicit ? "The sender domain has no MX and a public address."
			: "The sender domain has a mail host with a public address.";
		return RESULT_PASS;
	}
	if (s->trouble) {
		*reason = arena_printf(s->arena, "The mail hosts of the sender domain could not be looked up (%s).",
			s->trouble);
		return RESULT_TEMPERROR;
	}
	if (s->special) {
		*reason = "The mail hosts of the sender domain have no public address.";
		return RESULT_BAD_MX;
	}
	if (implicit) {
		*reason = "The sender domain has neither MX nor address.";
		return RESULT_NXDOMAIN;
	}
	*reason = "The sender domain has an MX, but no mail host has an address.";
	return RESULT_BAD_MX;
}

static enum result domain_result(struct dns *dns, struct slice domain, struct search *s,
	const char **reason, deadline until)
{
	struct target targets[TARGETS_MAX];
	struct dns_answer mx;
	size_t count = 0;

	dns_ask(dns, s->arena, domain, DNS_MX, &mx, until);
	if (mx.status == DNS_TROUBLE) {
		*reason = arena_printf(s->arena, "The MX of the sender domain could not be looked up (%s).",
			mx.why ? mx.why : "DNS trouble");
		return RESULT_TEMPERROR;
	}
	if (mx.status == DNS_NXDOMAIN) {
		*reason = "The sender domain does not exist.";
		return RESULT_NXDOMAIN;
	}
	if (mx.status == DNS_FOUND) {
		count = mx_targets(&mx, targets);
		if (count == 0) {
			*reason = "The sender domain says that it takes no mail (null MX).";
			return RESULT_NULL_MX;
		}
		search_targets(s, dns, targets, count, until);
		return search_result(s, false, reason);
	}
	targets[0] = (struct target){ domain, 0 };
	search_targets(s, dns, targets, 1, until);
	return search_result(s, true, reason);
}

/* "[192.0.2.1]" or "[IPv6:...]" as the domain: answered at that address, if it is public. */
static enum result literal_result(struct slice domain, const char **reason)
{
	struct slice text = slice_make(domain.p + 1, domain.n >= 2 ? domain.n - 2 : 0);
	struct ip ip;

	if (slice_starts_nocase(text, SLICE("IPv6:")))
		text = slice_from(text, 5);
	if (!ip_parse(&ip, text)) {
		*reason = "The sender's address literal names no address.";
		return RESULT_BAD_MX;
	}
	if (ip_is_special(&ip)) {
		*reason = "The sender's address literal is no public address.";
		return RESULT_BAD_MX;
	}
	*reason = "The sender's address literal is a public address.";
	return RESULT_PASS;
}

ASYNC void sender_check_domain(struct dns *dns, const struct path *reverse_path,
	struct findings *findings, struct arena *a, deadline until)
{
	nanoseconds began = clock_precise();
	struct search s = { .arena = a, .evidence = STR_IN(a) };
	const char *reason;
	enum result result;

	if (path_is_null(reverse_path))
		return;
	if (reverse_path->literal) {
		result = literal_result(reverse_path->domain, &reason);
	} else {
		struct slice domain = domain_canonical(a, reverse_path->domain);

		if (slice_empty(domain)) {
			result = RESULT_NXDOMAIN;
			reason = "The sender domain is a name that cannot exist in DNS.";
		} else {
			result = domain_result(dns, domain, &s, &reason, until);
		}
	}

	struct finding *f = finding_timed(findings, a, CHECK_SENDER_DOMAIN, result, began, reason);

	f->detail = slice_cstr(a, reverse_path->domain);
	f->evidence = s.evidence.n > 0 ? str_cstr(&s.evidence) : finding_escaped(a, reverse_path->domain, 320);
}
