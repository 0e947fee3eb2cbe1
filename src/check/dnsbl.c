/*
 * DNS lists (RFC 5782): questions in parallel, and the health of each zone.
 *
 * A list is somebody else's database about strangers, read through a channel that was made
 * for something else, so four things are never believed. An answer outside the ranges configured is
 * no listing. An answer of 127.255.255.0/24, or outside 127/8, is the list (or a resolver that
 * sells NXDOMAIN) talking about us, not about the client: the zone is off until it passes its
 * self-test again. A list that does not know its own test entry is dead, and one that lists everything is
 * dead too: both found by the self-test. And before a zone has passed its first test, its hits wait
 * for it: a worker that has just started refuses nobody on the word of a list that died over night.
 *
 * Self-tests are timers that start a fiber: an idle zone owns no stack. A healthy zone is tested every
 * hour, one that is off, or whose test met DNS trouble, every ten minutes, one that has never been tested (the
 * network may come up after us) every half minute. Answers are cached by the
 * resolver by their TTL; a cache of our own was rejected, since it could only be older. Also
 * rejected: switching a zone off after so many timeouts. Trouble proves nothing, and
 * costs no mail: the questions of one moment share one deadline.
 *
 * The name of a zone may hold a paid key. What is logged, recorded and told is the label.
 */
#include "check/dnsbl.h"
#include "check/finding.h"

#include "base/log.h"
#include "base/table.h"

#define TEST_EVERY (3600 * NS_PER_SECOND)
#define TEST_SOON (600 * NS_PER_SECOND)
#define TEST_AGAIN (30 * NS_PER_SECOND)
#define TEST_BUDGET (20 * NS_PER_SECOND)
#define KEY_LABEL_MIN 20	/* a first label of so many letters and digits is taken for a key */
#define REASON_MAX 200

struct zone {
	struct table_link link;
	struct dnsbl *owner;
	const char *name;
	struct arena conf_arena;	/* of conf: dropped when the configuration changes */
	struct dnsbl_zone_conf conf;
	const char *label;		/* in conf_arena */
	bool in_use;			/* named by the newest configuration */
	bool on, tested;
	char reason[REASON_MAX];	/* empty: nothing to say */
	uint64_t asked, listed, errors, trouble;
	struct timer timer;
	struct fiber_job test;
	bool rerun;			/* the configuration or the resolver changed while a test ran */
	struct event first_test;	/* set when the first test has ended, however */
};

struct dnsbl {
	struct arena arena;		/* this struct and all zones lie in it */
	struct table zones;		/* by name */
	struct dns *dns;
	size_t tests;			/* under way */
	bool closing;
};

/* ---- labels ---- */

const char *dnsbl_default_label(struct arena *a, const char *zone)
{
	size_t n = 0;

	while (ascii_alpha(zone[n]) || ascii_digit(zone[n]))
		n++;
	if (n < KEY_LABEL_MIN || zone[n] != '.')
		return arena_copy(a, zone, strlen(zone));
	return arena_printf(a, "[key]%s", zone + n);
}

/* ---- what an answer means ---- */

enum meaning {
	MEANS_NOTHING,	/* inside 127/8, but not in a range that counts */
	MEANS_LISTED,
	MEANS_ERROR,	/* the list, or a resolver, speaks about us */
};

static bool in_network(const struct ip *ip, int first, int second, int third)
{
	const uint8_t *v4 = ip->bytes + 12;

	return ip_is_v4(ip) && v4[0] == first && (second < 0 || v4[1] == second) && (third < 0 || v4[2] == third);
}

static bool answer_is_error(const struct dnsbl_zone_conf *conf, const struct ip *ip)
{
	if (!in_network(ip, 127, -1, -1) || in_network(ip, 127, 255, 255))
		return true;
	/* DNSWL's "you ask too much": read as an entry, it would let everybody in. */
	return conf->weight < 0 && in_network(ip, 127, 0, 0) && ip->bytes[15] == 255;
}

static bool answer_counts(const struct dnsbl_zone_conf *conf, const struct ip *ip)
{
	if (conf->answer_count == 0)
		return in_network(ip, 127, 0, 0) && ip->bytes[15] >= 2;
	for (size_t i = 0; i < conf->answer_count; i++)
		if (memcmp(ip->bytes, conf->answers[i].first.bytes, 16) >= 0 &&
			memcmp(ip->bytes, conf->answers[i].last.bytes, 16) <= 0)
			return true;
	return false;
}

/* One error among the records spoils them all. *which: the record that decided. */
static enum meaning answer_meaning(const struct dnsbl_zone_conf *conf, const struct dns_answer *answer,
	const struct ip **which)
{
	enum meaning m = MEANS_NOTHING;

	for (size_t i = 0; i < answer->count; i++) {
		const struct ip *ip = &answer->records[i].ip;

		if (answer_is_error(conf, ip)) {
			*which = ip;
			return MEANS_ERROR;
		}
		if (m == MEANS_NOTHING && answer_counts(conf, ip)) {
			*which = ip;
			m = MEANS_LISTED;
		}
	}
	return m;
}

static const char *error_text(const struct ip *ip)
{
	static const char *const refusals[] = {
		[252] = "a mistake in the zone name", [254] = "asked through a public resolver",
		[255] = "too many questions",
	};
	const char *text = NULL;

	if (!in_network(ip, 127, -1, -1))
		return "no answer of a list: is it dead, or does the resolver rewrite answers?";
	if (in_network(ip, 127, 255, 255))
		text = refusals[ip->bytes[15]];
	return text ? text : "the list refuses our questions";
}

/* ---- health ---- */

static void zone_on(struct zone *z)
{
	bool was_off = z->tested && !z->on;

	z->on = z->tested = true;
	z->reason[0] = '\0';
	if (was_off)
		log_alert("dnsbl %s: passed its self-test, on again", z->label);
}

static void zone_off(struct zone *z, const char *reason)
{
	bool was_on = z->on || !z->tested;

	z->on = false;
	z->tested = true;
	snprintf(z->reason, sizeof(z->reason), "%s", reason);
	if (was_on)
		log_alert("dnsbl %s: off until it passes its self-test: %s", z->label, reason);
	if (!fiber_job_active(&z->test) && z->in_use && z->timer.when > deadline_in(TEST_SOON))
		timer_set(&z->timer, deadline_in(TEST_SOON));
}

/* A question was answered with an error: counted, said, and the zone rests. */
static void zone_error(struct zone *z, const struct ip *answer, struct arena *a)
{
	char text[IP_TEXT];
	const char *reason = arena_printf(a, "it answers %s: %s", ip_text(answer, text), error_text(answer));

	z->errors++;
	log_limited(LOG_WARNING, z->label, "dnsbl %s: %s; not a listing", z->label, reason);
	zone_off(z, reason);
}

/* ---- the self-test (RFC 5782 section 5) ---- */

enum outcome {
	TEST_HEALTHY,
	TEST_SICK,
	TEST_TROUBLE,	/* proves nothing */
};

/* Must this name be listed? NULL: the answer is as it must be. */
static const char *test_doubt(struct arena *a, const struct dnsbl_zone_conf *zone, const struct dns_question *q,
	const char *entry, bool must)
{
	char text[IP_TEXT];

	if (q->answer.status == DNS_TROUBLE)
		return NULL;
	for (size_t i = 0; i < q->answer.count; i++) {
		const struct ip *ip = &q->answer.records[i].ip;

		if (answer_is_error(zone, ip))
			return arena_printf(a, "asked for %s it answers %s: %s", entry, ip_text(ip, text),
				error_text(ip));
	}
	if (must && q->answer.count == 0)
		return arena_printf(a, "it does not list its test entry %s: dead?", entry);
	if (!must && q->answer.count > 0)
		return arena_printf(a, "it lists %s, which no list may: it lists the whole world", entry);
	return NULL;
}

static struct slice name_in(struct arena *a, const char *label, const char *zone)
{
	struct str name = STR_IN(a);

	str_printf(&name, "%s.%s", label, zone);
	return str_slice(&name);
}

static bool any_listed(const struct dnsbl_zone_conf *zone, const struct dns_question *q, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; q[i].answer.status == DNS_FOUND && k < q[i].answer.count; k++)
			if (!answer_is_error(zone, &q[i].answer.records[k].ip))
				return true;
	return false;
}

/* Large lists of names that are older than RFC 5782 have test entries of their own instead of TEST. *trouble is
 * set when none was found and that proves nothing. */
static bool name_entries_found(const struct dnsbl_zone_conf *zone, struct dns *dns, struct arena *a,
	bool *trouble, deadline until)
{
	static const char *const entries[] = { "dbltest.com", "2.0.0.127", "test.uribl.com",
		"surbl-org-permanent-test-point.com" };
	struct dns_question q[sizeof(entries) / sizeof(entries[0])];
	const size_t count = sizeof(entries) / sizeof(entries[0]);

	for (size_t i = 0; i < count; i++)
		q[i] = (struct dns_question){ .name = name_in(a, entries[i], zone->zone), .type = DNS_A };
	dns_ask_all(dns, a, q, count, until);
	if (any_listed(zone, q, count))
		return true;
	for (size_t i = 0; i < count; i++)
		*trouble = *trouble || q[i].answer.status == DNS_TROUBLE;
	return false;
}

/* One entry that must be listed and one that must not. */
static enum outcome test_pair(const struct dnsbl_zone_conf *zone, bool names, struct dns *dns, struct arena *a,
	const char **why, deadline until)
{
	const char *entries[2] = { names ? "TEST" : "127.0.0.2", names ? "INVALID" : "127.0.0.1" };
	const char *labels[2] = { names ? "test" : "2.0.0.127", names ? "invalid" : "1.0.0.127" };
	struct dns_question q[2];
	bool trouble = false;

	for (size_t i = 0; i < 2; i++)
		q[i] = (struct dns_question){ .name = name_in(a, labels[i], zone->zone), .type = DNS_A };
	dns_ask_all(dns, a, q, 2, until);

	const char *lists_all = test_doubt(a, zone, &q[1], entries[1], false);
	const char *dead = test_doubt(a, zone, &q[0], entries[0], true);

	if (lists_all) {
		*why = lists_all;
		return TEST_SICK;
	}
	if (dead && names && q[0].answer.count == 0 && name_entries_found(zone, dns, a, &trouble, until))
		dead = NULL;
	if (dead && !trouble) {
		*why = dead;
		return TEST_SICK;
	}
	for (size_t i = 0; i < 2 && !trouble; i++)
		trouble = q[i].answer.status == DNS_TROUBLE;
	if (trouble)
		*why = arena_printf(a, "its self-test met DNS trouble");
	return trouble ? TEST_TROUBLE : TEST_HEALTHY;
}

static enum outcome zone_test(const struct dnsbl_zone_conf *zone, struct dns *dns, struct arena *a,
	const char **why, deadline until)
{
	enum outcome addresses = TEST_HEALTHY, names = TEST_HEALTHY;

	if (zone->keys & DNSBL_CLIENT || zone->keys == 0)
		addresses = test_pair(zone, false, dns, a, why, until);
	if (addresses != TEST_SICK && zone->keys & (DNSBL_SENDER_DOMAIN | DNSBL_HELO))
		names = test_pair(zone, true, dns, a, why, until);
	if (addresses == TEST_SICK || names == TEST_SICK)
		return TEST_SICK;
	return addresses == TEST_TROUBLE || names == TEST_TROUBLE ? TEST_TROUBLE : TEST_HEALTHY;
}

ASYNC bool dnsbl_self_test(const struct dnsbl_zone_conf *zone, struct dns *dns, struct arena *a,
	const char **why, deadline until)
{
	return zone_test(zone, dns, a, why, until) == TEST_HEALTHY;
}

static void zone_conf_copy(struct arena *a, struct dnsbl_zone_conf *to, const struct dnsbl_zone_conf *from)
{
	*to = *from;
	to->zone = arena_copy(a, from->zone, strlen(from->zone));
	to->label = from->label ? arena_copy(a, from->label, strlen(from->label))
		: dnsbl_default_label(a, from->zone);
	to->answers = arena_array(a, struct dnsbl_range, from->answer_count);
	if (from->answer_count)
		memcpy(to->answers, from->answers, from->answer_count * sizeof(*to->answers));
}

static void dnsbl_free(void *p)
{
	struct dnsbl *b = p;
	struct arena a = b->arena;
	struct table_link *link = NULL;

	for (size_t at = 0; (link = table_each(&b->zones, &at, link));)
		arena_drop(&container_of(link, struct zone, link)->conf_arena);
	table_drop(&b->zones);
	arena_drop(&a);
}

/* Spread over a quarter of the interval, so that neither zones nor workers keep step. */
static nanoseconds jittered(nanoseconds span)
{
	uint32_t r;

	random_bytes(&r, sizeof(r));
	return span - (nanoseconds)(r % 1024) * (span / 4 / 1024);
}

/* When to test next. */
static deadline zone_next_test(const struct zone *z, enum outcome outcome)
{
	if (z->rerun)
		return clock_now();
	if (!z->tested)
		return deadline_in(TEST_AGAIN);
	return deadline_in(jittered(outcome == TEST_HEALTHY ? TEST_EVERY : TEST_SOON));
}

/* Fiber: one test of one zone. The configuration may change meanwhile: works on a copy. */
static void zone_test_run(void *arg)
{
	struct zone *z = arg;
	struct dnsbl *b = z->owner;
	struct arena a = ARENA_INIT;
	struct dnsbl_zone_conf conf;
	const char *why = "";

	zone_conf_copy(&a, &conf, &z->conf);
	z->rerun = false;

	enum outcome outcome = zone_test(&conf, b->dns, &a, &why, deadline_in(TEST_BUDGET));

	if (!b->closing && !fiber_cancelled()) {
		if (outcome == TEST_HEALTHY)
			zone_on(z);
		else if (outcome == TEST_SICK)
			zone_off(z, why);
		else if (!z->tested || z->on)
			snprintf(z->reason, sizeof(z->reason), "%s", why);
		event_set(&z->first_test);
		if (z->in_use)
			timer_set(&z->timer, zone_next_test(z, outcome));
	}
	arena_drop(&a);
	if (--b->tests == 0 && b->closing)
		loop_bury(dnsbl_free, b);
}

static void zone_test_due(struct timer *t)
{
	struct zone *z = container_of(t, struct zone, timer);

	if (fiber_job_active(&z->test))
		return;	/* its end sets the timer */
	z->owner->tests++;
	fiber_start(&z->test, "dnsbl self-test", zone_test_run, z);
}

/* ---- the set of zones ---- */

struct dnsbl *dnsbl_open(void)
{
	struct arena a = ARENA_INIT;
	struct dnsbl *b = arena_new(&a, struct dnsbl);

	b->arena = a;
	return b;
}

static bool zone_match(const struct table_link *link, const void *key)
{
	return slice_eq_nocase(slice_of(container_of(link, const struct zone, link)->name), slice_of(key));
}

static struct zone *zone_find(const struct dnsbl *b, const char *name)
{
	struct table_link *link = table_find(&b->zones, hash_nocase(slice_of(name)), zone_match, name);

	return link ? container_of(link, struct zone, link) : NULL;
}

static struct zone *zone_add(struct dnsbl *b, const char *name)
{
	struct zone *z = arena_new(&b->arena, struct zone);

	z->owner = b;
	z->name = arena_copy(&b->arena, name, strlen(name));
	z->timer.fn = zone_test_due;
	event_init(&z->first_test);
	table_add(&b->zones, &z->link, hash_nocase(slice_of(name)));
	return z;
}

/* A test that began under other keys or ranges is run again. */
static bool zone_conf_differs(const struct dnsbl_zone_conf *a, const struct dnsbl_zone_conf *b)
{
	return a->keys != b->keys || (a->weight < 0) != (b->weight < 0);
}

void dnsbl_configure(struct dnsbl *b, const struct dnsbl_conf *conf, struct dns *dns)
{
	struct table_link *link = NULL;
	bool other_dns = b->dns != dns;

	b->dns = dns;
	for (size_t at = 0; (link = table_each(&b->zones, &at, link));)
		container_of(link, struct zone, link)->in_use = false;
	for (size_t i = 0; i < conf->zone_count; i++) {
		const struct dnsbl_zone_conf *from = &conf->zones[i];
		struct zone *z = zone_find(b, from->zone);

		if (!z)
			z = zone_add(b, from->zone);

		bool test = !z->tested || (z->label && zone_conf_differs(&z->conf, from));

		arena_drop(&z->conf_arena);
		zone_conf_copy(&z->conf_arena, &z->conf, from);
		z->label = z->conf.label;
		z->in_use = true;
		if ((test || other_dns) && fiber_job_active(&z->test))
			z->rerun = true;
		else if (test || !timer_is_set(&z->timer))
			timer_set(&z->timer, clock_now());
	}
	for (size_t at = 0; (link = table_each(&b->zones, &at, link));) {
		struct zone *z = container_of(link, struct zone, link);

		if (!z->in_use)
			timer_clear(&z->timer);
	}
}

void dnsbl_close(struct dnsbl *b)
{
	struct table_link *link = NULL;

	b->closing = true;
	for (size_t at = 0; (link = table_each(&b->zones, &at, link));) {
		struct zone *z = container_of(link, struct zone, link);

		timer_clear(&z->timer);
		event_set(&z->first_test);
		if (!fiber_job_active(&z->test))
			continue;
		bool waits_in_line = z->test.fiber == NULL;

		fiber_job_cancel(&z->test);
		if (waits_in_line)
			b->tests--;
	}
	if (b->tests == 0)
		dnsbl_free(b);	/* else the last test does */
}

void dnsbl_each_zone(struct dnsbl *b, void (*fn)(const struct dnsbl_zone_info *, void *), void *arg)
{
	struct table_link *link = NULL;

	for (size_t at = 0; (link = table_each(&b->zones, &at, link));) {
		const struct zone *z = container_of(link, struct zone, link);
		struct dnsbl_zone_info info = { z->label, z->on, z->tested, z->reason[0] ? z->reason : NULL,
			z->asked, z->listed, z->errors, z->trouble };

		if (z->in_use)
			fn(&info, arg);
	}
}

/* ---- questions ---- */

/* One question about one subject. */
struct inquiry {
	const struct dnsbl_zone_conf *conf;
	struct zone *zone;
	const char *subject;	/* what is asked about: the client's address or a domain */
	const char *noun;
};

struct round {
	struct arena *arena;
	struct dns_question *questions;
	struct inquiry *inquiries;
	size_t count;
};

bool dnsbl_wanted(const struct dnsbl_conf *conf, unsigned keys)
{
	for (size_t i = 0; i < conf->zone_count; i++)
		if (conf->zones[i].keys & keys)
			return true;
	return false;
}

/* A domain that a list of names can know: not an address, not a single label. Folded; SLICE_NULL otherwise. */
static struct slice subject_domain(struct arena *a, struct slice name)
{
	struct ip ip;

	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (slice_empty(name) || name.p[0] == '[' || ip_parse(&ip, name) || !domain_valid(name, true))
		return SLICE_NULL;
	name = domain_canonical(a, name);
	ptrdiff_t dot = slice_rfind(name, '.');
	uint64_t number;

	/* A last label of digits is no top-level domain (RFC 3696 section 2): a shortened address. */
	if (dot < 0 || slice_number(slice_from(name, (size_t)dot + 1), UINT64_MAX, &number))
		return SLICE_NULL;
	return name;
}

static void round_add(struct round *r, const struct dnsbl_zone_conf *conf, struct zone *zone,
	struct slice name, const char *subject, const char *noun)
{
	for (size_t i = 0; i < r->count; i++)
		if (slice_eq(r->questions[i].name, name))
			return;	/* HELO and sender domain are often the same */
	r->questions[r->count] = (struct dns_question){ .name = name, .type = DNS_A };
	r->inquiries[r->count] = (struct inquiry){ conf, zone, subject, noun };
	r->count++;
	zone->asked++;
}

static void round_add_name(struct round *r, const struct dnsbl_zone_conf *conf, struct zone *zone,
	struct slice domain, const char *noun)
{
	if (slice_empty(domain))
		return;

	const char *subject = slice_cstr(r->arena, domain);

	round_add(r, conf, zone, name_in(r->arena, subject, conf->zone), subject, noun);
}

static void round_add_client(struct round *r, const struct dnsbl_zone_conf *conf, struct zone *zone,
	const struct ip *ip)
{
	static const struct ip nobody;
	struct str name = STR_IN(r->arena);
	char text[IP_TEXT];

	/* No list knows addresses that exist many times over; on a Unix socket there is none. */
	if (ip_is_private(ip) || ip_eq(ip, &nobody))
		return;
	ip_reverse_name(&name, ip, slice_of(conf->zone));
	ip_text(ip, text);
	round_add(r, conf, zone, str_slice(&name), arena_copy(r->arena, text, strlen(text)), "client");
}

/* A hit is believed only of a zone that has passed its self-test and has not been switched off while we waited. */
static void inquiry_listed(const struct inquiry *i, const struct ip *which, struct findings *findings,
	struct arena *a, nanoseconds began, deadline until)
{
	struct zone *z = i->zone;
	char text[IP_TEXT];
	struct finding *f;

	if (!z->tested)
		wait_event(&z->first_test, "dnsbl first self-test", until);
	if (!z->tested) {
		finding_timed(findings, a, CHECK_DNSBL, RESULT_TEMPERROR, began,
			arena_printf(a, "%s has not passed its self-test yet.", z->label));
		return;
	}
	if (!z->on)
		return;
	z->listed++;
	f = finding_timed(findings, a, CHECK_DNSBL, RESULT_LISTED, began, arena_printf(a, "%s lists the %s.", z->label, i->noun));
	f->weight = i->conf->weight;
	f->detail = i->subject;
	f->evidence = arena_printf(a, "%s: %s", i->subject, ip_text(which, text));
}

static void inquiry_judge(const struct inquiry *i, const struct dns_answer *answer, struct findings *findings,
	struct arena *a, nanoseconds began, deadline until)
{
	const struct ip *which = NULL;

	if (answer->status == DNS_TROUBLE) {
		i->zone->trouble++;
		if (i->zone->on)
			snprintf(i->zone->reason, sizeof(i->zone->reason), "last trouble: %s",
				answer->why ? answer->why : "DNS trouble");
		struct finding *f = finding_timed(findings, a, CHECK_DNSBL, RESULT_TEMPERROR, began,
			arena_printf(a, "%s could not be asked: %s.", i->zone->label,
				answer->why ? answer->why : "DNS trouble"));
		f->evidence = i->subject;
		return;
	}
	if (answer->status != DNS_FOUND)
		return;
	switch (answer_meaning(i->conf, answer, &which)) {
	case MEANS_NOTHING:
		break;
	case MEANS_LISTED:
		inquiry_listed(i, which, findings, a, began, until);
		break;
	case MEANS_ERROR:
		zone_error(i->zone, which, a);
		break;
	}
}

ASYNC void dnsbl_check(struct dnsbl *b, const struct dnsbl_conf *conf, struct dns *dns, unsigned keys,
	const struct client_facts *client, struct slice sender_domain,
	struct findings *findings, struct arena *a, deadline until)
{
	nanoseconds began = clock_precise();
	struct slice domain = subject_domain(a, sender_domain), helo = subject_domain(a, client->helo);
	struct round r = { a, arena_array(a, struct dns_question, conf->zone_count * 3 + 1),
		arena_array(a, struct inquiry, conf->zone_count * 3 + 1), 0 };

	if (conf->timeout > 0)
		until = deadline_min(until, deadline_in(conf->timeout));
	for (size_t i = 0; i < conf->zone_count; i++) {
		const struct dnsbl_zone_conf *c = &conf->zones[i];
		struct zone *z = zone_find(b, c->zone);

		if (!z || (z->tested && !z->on))
			continue;
		if (c->keys & keys & DNSBL_CLIENT)
			round_add_client(&r, c, z, &client->ip);
		if (c->keys & keys & DNSBL_SENDER_DOMAIN)
			round_add_name(&r, c, z, domain, "sender domain");
		if (c->keys & keys & DNSBL_HELO)
			round_add_name(&r, c, z, helo, "HELO name");
	}
	if (r.count == 0)
		return;
	dns_ask_all(dns, a, r.questions, r.count, until);
	for (size_t i = 0; i < r.count; i++)
		inquiry_judge(&r.inquiries[i], &r.questions[i].answer, findings, a, began, until);
}
