/*
 * Which checks run at which moment. Each stage is a short ordered list; checks
 * from memory come first, those that ask the network run in parallel in a
 * group, under one deadline. Findings of parallel checks are kept apart and
 * joined in the order of the table, so that a record does not depend on which
 * answer came first.
 */
#include "policy/stage.h"

#include "check/spf.h"
#include "policy/stage_bounce.h"

#define STAGE_CHECKS 4

/* One check of a stage, on a fiber of its own. */
struct stage_check {
	struct group_member member;
	void (*run)(struct stage_check *c);
	const struct services *services;
	const struct config *config;
	struct client_facts *client;
	struct envelope *envelope;	/* MAIL only */
	struct findings found;
	struct arena *arena;
	deadline until;
};

static bool wanted(const struct config *c, enum check check)
{
	return c->check_mode[check] != MODE_OFF;
}

static ASYNC void run_member(void *arg)
{
	struct stage_check *c = arg;

	c->run(c);
}

/* One check alone needs no group. */
static ASYNC void run_all(struct stage_check *checks, size_t count, struct findings *to, deadline until)
{
	struct group g;

	if (count == 1) {
		checks[0].run(&checks[0]);
	} else if (count > 1) {
		group_init(&g);
		for (size_t i = 0; i < count; i++)
			group_start(&g, &checks[i].member, "check", run_member, &checks[i]);
		group_wait(&g, "checks", until);
	}
	for (size_t i = 0; i < count; i++)
		findings_join(to, &checks[i].found);
}

/* ---- CONNECT ---- */

static ASYNC void run_reverse(struct stage_check *c)
{
	client_check_reverse(c->services->dns, c->client, &c->found, c->arena, c->until);
}

static ASYNC void run_dnsbl_client(struct stage_check *c)
{
	dnsbl_check(c->services->dnsbl, &c->config->dnsbl, c->services->dns, DNSBL_CLIENT, c->client,
		SLICE_NULL, &c->found, c->arena, c->until);
}

static bool asks_reverse(const struct config *c)
{
	return wanted(c, CHECK_RDNS);
}

static bool asks_dnsbl(const struct config *c, const struct client_facts *client, unsigned keys)
{
	return wanted(c, CHECK_DNSBL) && client->class == CLIENT_STRANGER && dnsbl_wanted(&c->dnsbl, keys);
}

bool stage_connect_waits(const struct config *c, const struct client_facts *client)
{
	return asks_reverse(c) || asks_dnsbl(c, client, DNSBL_CLIENT);
}

ASYNC void stage_connect(const struct services *s, const struct config *c, struct client_facts *client,
	struct findings *findings, struct arena *a, deadline until)
{
	struct stage_check checks[STAGE_CHECKS];
	struct stage_check blank = { .services = s, .config = c, .client = client, .arena = a, .until = until };
	size_t n = 0;

	if (asks_reverse(c)) {
		checks[n] = blank;
		checks[n++].run = run_reverse;
	}
	if (asks_dnsbl(c, client, DNSBL_CLIENT)) {
		checks[n] = blank;
		checks[n++].run = run_dnsbl_client;
	}
	run_all(checks, n, findings, until);
}

/* ---- HELO ---- */

void stage_helo(const struct config *c, const struct client_facts *client, const struct ip *our_ip,
	struct findings *findings, struct arena *a)
{
	if (wanted(c, CHECK_HELO))
		client_check_helo(client, c->hostname, our_ip, findings, a);
}

/* ---- MAIL ---- */

static ASYNC void run_sender_domain(struct stage_check *c)
{
	sender_check_domain(c->services->dns, &c->envelope->reverse_path, &c->found, c->arena, c->until);
}

static ASYNC void run_dnsbl_names(struct stage_check *c)
{
	const struct path *p = &c->envelope->reverse_path;

	dnsbl_check(c->services->dnsbl, &c->config->dnsbl, c->services->dns, DNSBL_SENDER_DOMAIN | DNSBL_HELO,
		c->client, p->null || p->literal ? SLICE_NULL : p->domain, &c->found, c->arena, c->until);
}

/* Our own domains exist, whatever a split DNS says of their mail hosts. */
static bool is_ours(const struct config *c, const struct envelope *e)
{
	ptrdiff_t at = slice_rfind(e->reverse_canonical, '@');

	return at >= 0 && config_domain(c, slice_from(e->reverse_canonical, (size_t)at + 1));
}

static ASYNC void run_spf(struct stage_check *c)
{
	spf_check(c->services->dns, c->envelope, c->config->hostname, &c->envelope->auth.spf, &c->found, c->until);
}

ASYNC void stage_mail(const struct services *s, const struct config *c, struct envelope *e, deadline until)
{
	struct stage_check checks[STAGE_CHECKS];
	struct stage_check blank = { .services = s, .config = c, .client = e->client, .envelope = e,
		.arena = e->arena, .until = until };
	size_t n = 0;

	if (wanted(c, CHECK_BOUNCE))
		bounce_stage_client(s, c, e);
	if (wanted(c, CHECK_SENDER))
		sender_check_lists(&c->senders, e->reverse_canonical, &e->findings, e->arena);
	if (wanted(c, CHECK_SENDER_DOMAIN) && !path_is_null(&e->reverse_path) && !is_ours(c, e)) {
		checks[n] = blank;
		checks[n++].run = run_sender_domain;
	}
	if (asks_dnsbl(c, e->client, DNSBL_SENDER_DOMAIN | DNSBL_HELO)) {
		checks[n] = blank;
		checks[n++].run = run_dnsbl_names;
	}
	/* Of a forwarder that is trusted the record would say only that it is a forwarder. */
	if (wanted(c, CHECK_SPF) && e->client->class != CLIENT_TRUSTED) {
		checks[n] = blank;
		checks[n++].run = run_spf;
	}
	run_all(checks, n, &e->findings, until);
}
