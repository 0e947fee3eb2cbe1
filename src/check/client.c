/*
 * The client: who it is by our lists, by its reverse name, and by what it calls itself.
 *
 * Lists are looked up in the order trust, allow, deny, and the first hit holds: an exception
 * is written into allow, whatever the prefix in deny. Longest prefix first was
 * rejected, because the answer to "why is this client allowed" would then depend on entries
 * of another list, possibly in a file that changed a second ago.
 *
 * Reverse names are forward-confirmed (RFC 8601 section 2.7.3), at most four of them, asked
 * for in parallel and only in the client's own address family. A name that is no
 * host name is never used: it would be written into trace fields.
 *
 * HELO is judged by its form alone. RFC 5321 section 4.1.4 forbids refusing
 * mail because the name does not resolve, and postmasters report that such rules hit honest
 * servers first; so there is no DNS here and nobody is refused by this finding alone.
 */
#include "check/client.h"
#include "check/finding.h"

#define POINTERS_MAX 4	/* PTR names looked at; RFC 7208 section 4.6.4 allows ten, honest hosts have one */

static const char *address_text(struct arena *a, const struct ip *ip)
{
	char text[IP_TEXT];

	return slice_cstr(a, slice_of(ip_text(ip, text)));
}

/* ---- lists ---- */

void client_check_lists(const struct client_conf *conf, struct client_facts *client,
	struct findings *findings, struct arena *a)
{
	const struct {
		const struct client_list *list;
		enum client_class class;
		enum result result;
		const char *name;
	} lists[] = {
		{ &conf->trust, CLIENT_TRUSTED, RESULT_TRUSTED, "trust" },
		{ &conf->allow, CLIENT_ALLOWED, RESULT_ALLOWED, "allow" },
		{ &conf->deny, CLIENT_DENIED, RESULT_DENIED, "deny" },
	};
	nanoseconds began = clock_precise();
	const char *where;

	client->class = CLIENT_STRANGER;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (!client_list_contains(lists[i].list, &client->ip, &where))
			continue;
		client->class = (uint8_t)lists[i].class;

		struct finding *f = finding_timed(findings, a, CHECK_CLIENT, lists[i].result, began,
			arena_printf(a, "The client is on the %s list (%s).", lists[i].name, where));

		f->evidence = address_text(a, &client->ip);
		if (client->class == CLIENT_DENIED)
			f->detail = f->evidence;
		return;
	}
}

/* ---- reverse name ---- */

/* The names of a PTR answer that can be host names; returns how many. */
static size_t pointer_names(const struct dns_answer *ptr, enum dns_type type,
	struct dns_question questions[POINTERS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < ptr->count && count < POINTERS_MAX; i++) {
		struct slice name = ptr->records[i].text;

		if (slice_empty(name) || name.n > 253 || !domain_valid(name, false))
			continue;
		questions[count++] = (struct dns_question){ .name = name, .type = type };
	}
	return count;
}

static bool answer_names(const struct dns_answer *answer, const struct ip *ip)
{
	for (size_t i = 0; i < answer->count; i++)
		if (ip_eq(&answer->records[i].ip, ip))
			return true;
	return false;
}

/* What the names of the PTR answer to. */
static void reverse_confirm(struct dns *dns, struct client_facts *client, const struct dns_answer *ptr,
	nanoseconds began, struct findings *findings, struct arena *a, deadline until)
{
	struct dns_question questions[POINTERS_MAX];
	size_t count = pointer_names(ptr, ip_is_v4(&client->ip) ? DNS_A : DNS_AAAA, questions);
	const char *trouble = NULL;
	struct finding *f;

	if (count == 0) {
		f = finding_timed(findings, a, CHECK_RDNS, RESULT_FAIL, began,
			"The reverse name of the client is no host name.");
		if (ptr->count > 0)
			f->evidence = finding_escaped(a, ptr->records[0].text, 255);
		return;
	}
	client->reverse_name = slice_cstr(a, questions[0].name);
	dns_ask_all(dns, a, questions, count, until);
	for (size_t i = 0; i < count; i++) {
		const struct dns_answer *answer = &questions[i].answer;

		if (answer->status == DNS_FOUND && answer_names(answer, &client->ip)) {
			client->reverse_name = client->name = slice_cstr(a, questions[i].name);
			f = finding_timed(findings, a, CHECK_RDNS, RESULT_PASS, began,
				"The reverse name of the client is confirmed by its address.");
			f->evidence = client->name;
			return;
		}
		if (answer->status == DNS_TROUBLE)
			trouble = answer->why ? answer->why : "DNS trouble";
	}
	if (trouble)
		f = finding_timed(findings, a, CHECK_RDNS, RESULT_TEMPERROR, began,
			arena_printf(a, "The reverse name of the client could not be confirmed: %s.", trouble));
	else
		f = finding_timed(findings, a, CHECK_RDNS, RESULT_FAIL, began,
			"The reverse name of the client does not lead back to its address.");
	f->evidence = client->reverse_name;
}

ASYNC void client_check_reverse(struct dns *dns, struct client_facts *client,
	struct findings *findings, struct arena *a, deadline until)
{
	nanoseconds began = clock_precise();
	struct str name = STR_IN(a);
	struct dns_answer ptr;

	client->name = client->reverse_name = NULL;
	ip_ptr_name(&name, &client->ip);
	dns_ask(dns, a, str_slice(&name), DNS_PTR, &ptr, until);
	switch (ptr.status) {
	case DNS_FOUND:
		reverse_confirm(dns, client, &ptr, began, findings, a, until);
		break;
	case DNS_TROUBLE:
		finding_timed(findings, a, CHECK_RDNS, RESULT_TEMPERROR, began,
			arena_printf(a, "The reverse name of the client could not be looked up: %s.",
				ptr.why ? ptr.why : "DNS trouble"));
		break;
	case DNS_NODATA:
	case DNS_NXDOMAIN:
		finding_timed(findings, a, CHECK_RDNS, RESULT_NONE, began, "The client has no reverse name.");
		break;
	}
}

/* ---- HELO ---- */

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3); false: it is something else in brackets. */
static bool literal_parse(struct ip *out, struct slice helo)
{
	struct slice text = slice_make(helo.p + 1, helo.n - 2);

	if (slice_starts_nocase(text, SLICE("IPv6:")))
		return ip_parse(out, slice_from(text, 5));
	return ip_parse(out, text) && ip_is_v4(out);
}

static const char *address_doubt(const struct client_facts *client, const struct ip *named,
	const struct ip *our_ip)
{
	if (ip_eq(named, &client->ip))
		return NULL;
	if (our_ip && ip_eq(named, our_ip))
		return "The client calls itself by our own address.";
	return "The client calls itself by the address of another host.";
}

/* The client is this host itself. */
static bool client_is_us(const struct client_facts *client, const struct ip *our_ip)
{
	return ip_is_loopback(&client->ip) || (our_ip && ip_eq(&client->ip, our_ip));
}

/* NULL: plausible. */
static const char *helo_doubt(const struct client_facts *client, const char *our_name, const struct ip *our_ip)
{
	struct slice helo = client->helo;
	struct ip named;

	if (helo.n >= 2 && helo.p[0] == '[' && helo.p[helo.n - 1] == ']') {
		if (!literal_parse(&named, helo))
			return "The client calls itself by a malformed address literal.";
		return address_doubt(client, &named, our_ip);
	}
	if (ip_parse(&named, helo)) {
		const char *doubt = address_doubt(client, &named, our_ip);

		return doubt ? doubt : "The client calls itself by a bare address, without brackets.";
	}
	if (helo.n > 1 && helo.p[helo.n - 1] == '.')
		helo.n--;	/* the root's own dot is no sign of anything */
	if (!domain_valid(helo, false))
		return "The client calls itself by a name with illegal characters.";
	if (client_is_us(client, our_ip))
		return NULL;
	if (our_name && slice_eq_nocase(helo, slice_of(our_name)))
		return "The client calls itself by our own name.";
	if (slice_find(helo, '.') < 0)
		return "The client calls itself by a name without a domain.";
	if (slice_starts_nocase(helo, SLICE("localhost.")) || slice_ends_nocase(helo, SLICE(".localhost")))
		return "The client calls itself localhost.";
	return NULL;
}

void client_check_helo(const struct client_facts *client, const char *our_name, const struct ip *our_ip,
	struct findings *findings, struct arena *a)
{
	nanoseconds began = clock_precise();

	if (slice_empty(client->helo))
		return;

	const char *doubt = helo_doubt(client, our_name, our_ip);
	struct finding *f = finding_timed(findings, a, CHECK_HELO, doubt ? RESULT_IMPLAUSIBLE : RESULT_PASS,
		began, doubt ? doubt : "The name that the client gives itself is well formed.");

	f->evidence = finding_escaped(a, client->helo, 255);
}
