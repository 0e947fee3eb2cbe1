/*
 * From statements to a tree: each block has a reader, the site is checked as a
 * whole, and a tree is returned only if there was no mistake. Its life is
 * counted in references.
 */
#include "policy/loader.h"

#include <stdlib.h>
#include <unistd.h>

static void read_store(struct loader *l, const struct statement *st)
{
	if (st->count == 2 && slice_eq(st->words[1].text, SLICE("lmdb"))) {
		for (const struct statement *child = st->children; child; child = child->next)
			loader_option(l, "store", child, l->c);
		return;
	}
	if (st->count > 1 && slice_eq(st->words[1].text, SLICE("redis")))
		report_error(&l->report, &st->words[1], "store redis is not part of this version");
	else
		report_error(&l->report, &st->words[0], "store lmdb;");
}

static void check_addresses(struct loader *l)
{
	size_t count = 0;

	for (size_t i = 0; i < l->c->listener_count; i++)
		count += l->c->listeners[i].address_count;
	if (count > LISTEN_ADDRESSES_MOST)
		report_error(&l->report, l->nowhere, "%zu addresses to listen on: at most %d", count, LISTEN_ADDRESSES_MOST);
	else if (count * l->c->workers > LISTEN_SOCKETS_MOST)
		report_error(&l->report, l->nowhere, "%zu addresses to listen on, for %u workers each: at most %d sockets", count,
			l->c->workers, LISTEN_SOCKETS_MOST);
}

static void check_site(struct loader *l)
{
	struct config *c = l->c;

	if (!c->hostname)
		report_error(&l->report, l->nowhere, "hostname is missing");
	else if (!domain_valid(slice_of(c->hostname), false) || !strchr(c->hostname, '.'))
		report_error(&l->report, loader_given(l, c, "", "hostname"), "hostname '%s' is no full domain name", c->hostname);
	check_addresses(l);
	if (c->listener_count == 0)
		report_error(&l->report, l->nowhere, "no listener");
	for (size_t i = 0; i < c->listener_count; i++)
		if (!c->listeners[i].outbound && c->domain_count == 0) {
			report_error(&l->report, l->nowhere, "no domain: the inbound listener would refuse everybody");
			break;
		}
}

static void finish_lists(struct config *c)
{
	struct ip_set *sets[] = { c->clients.allow.prefixes, c->clients.deny.prefixes, c->clients.trust.prefixes };

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (sets[i])
			ip_set_finish(sets[i]);
}

static void finish_site(struct loader *l)
{
	struct config *c = l->c;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	finish_lists(c);
	if (c->workers == 0)
		c->workers = cores < 1 ? 1 : cores > 64 ? 64 : (uint32_t)cores;
	if (c->dns.forward_count == 0)
		c->dns.recurse = true;
	c->help = slice_of(c->help_url);
	c->bounces.life = (uint32_t)(c->proof_life / (86400 * NS_PER_SECOND));
	for (size_t i = 0; i < c->domain_count; i++) {
		struct recipient_conf *r = &c->domains[i].recipients;

		r->positive_ttl = l->recipient_times.positive_ttl;
		r->refresh_after = l->recipient_times.refresh_after;
		r->negative_ttl = l->recipient_times.negative_ttl;
		r->confirm_after = l->recipient_times.confirm_after;
		r->fresh = l->recipient_times.fresh;
		r->stale_for = l->recipient_times.stale_for;
		r->accept_all_test = l->recipient_times.accept_all_test;
	}
}

static void read_statement(struct loader *l, const struct statement *st)
{
	static const struct {
		const char *name;
		void (*read)(struct loader *l, const struct statement *st);
	} readers[] = {
		{ "listener", loader_read_listener }, { "resolver", loader_read_resolver }, { "clients", loader_read_clients },
		{ "senders", loader_read_senders }, { "dnsbl", loader_read_dnsbl }, { "domain", loader_read_domain },
		{ "check", loader_read_check }, { "sign", loader_read_sign }, { "store", read_store }, { "scanner", loader_read_scanner }, { "content-rules", loader_read_rules },
		{ "keys", loader_read_keys }, { "srs-secret", loader_read_srs },
		{ "directory", NULL }, { "directory-serve", loader_read_directory_serve },
	};

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
		if (slice_eq(st->words[0].text, slice_of(readers[i].name))) {
			if (readers[i].read)
				readers[i].read(l, st);
			return;
		}
	loader_option(l, "", st, l->c);
}

static size_t count_blocks(const struct statement *st, struct slice name)
{
	size_t n = 0;

	for (; st; st = st->next)
		n += slice_eq(st->words[0].text, name);
	return n;
}

static void set_check_defaults(struct config *c)
{
	for (int i = 0; i < CHECK_COUNT; i++)
		c->check_mode[i] = loader_knows_check(i) ? MODE_ENFORCE : MODE_OFF;
	/* Knowledge, not arguments: many honest servers are badly named. */
	c->check_mode[CHECK_GREYLIST] = MODE_OFF;
	c->check_mode[CHECK_RDNS] = MODE_OBSERVE;
	c->check_mode[CHECK_HELO] = MODE_OBSERVE;
	/* Whether all mail of a site leaves marked is its postmaster's word. */
	c->check_mode[CHECK_BOUNCE] = MODE_OBSERVE;
}

static struct config *build(struct loader *l, const char *name, const struct statement *first)
{
	struct config *c = l->c;

	c->path = name;
	loader_defaults(l, "", c);
	loader_defaults(l, "resolver", c);
	loader_defaults(l, "store", c);
	loader_defaults(l, "keys", c);
	loader_check_defaults(l);
	set_check_defaults(c);
	c->listeners = arena_array(l->a, struct listener_conf, count_blocks(first, SLICE("listener")) + 1);
	c->domains = arena_array(l->a, struct domain_conf, count_blocks(first, SLICE("domain")) + 1);
	c->signers = arena_array(l->a, struct dkim_signer, count_blocks(first, SLICE("sign")) + 1);
	c->dnsbl.zones = arena_array(l->a, struct dnsbl_zone_conf, count_blocks(first, SLICE("dnsbl")) + 1);
	c->content.scanners = arena_array(l->a, struct scanner_conf, count_blocks(first, SLICE("scanner")) + 1);
	c->directories = arena_array(l->a, struct directory_conf, count_blocks(first, SLICE("directory")) + 1);
	/* Before the domains that name them. */
	for (const struct statement *st = first; st; st = st->next)
		if (slice_eq(st->words[0].text, SLICE("directory")))
			loader_read_directory(l, st);
	for (const struct statement *st = first; st; st = st->next)
		read_statement(l, st);
	loader_finish_content(l);
	loader_finish_arc(l);
	finish_site(l);
	loader_finish_directories(l, l->nowhere);
	check_site(l);
	if (l->examine)
		loader_examine(l);
	if (l->report.errors == 0)
		return c;
	config_unref(c);
	return NULL;
}

static const struct word *no_place(struct arena *a, const char *path)
{
	struct source *file = arena_new(a, struct source);
	struct word *w = arena_new(a, struct word);

	file->path = path;
	w->source = file;
	return w;
}

static struct config *load(const char *name, const struct slice *text, bool examine,
	void (*say)(void *arg, const char *message), void *arg)
{
	struct config *c = calloc(1, sizeof(*c));
	struct loader l = { .c = c, .examine = examine };

	if (!c)
		return NULL;
	c->references = 1;
	l.a = &c->arena;
	l.report = (struct report){ .arena = l.a, .say = say, .arg = arg };
	name = arena_copy(l.a, name, strlen(name));
	l.nowhere = no_place(l.a, name);
	const struct statement *first = text ? syntax_read_text(&l.report, name, *text) :
		syntax_read_file(&l.report, name);

	if (!first && l.report.errors > 0) {
		config_unref(c);
		return NULL;
	}
	c = build(&l, name, first);
	table_drop(&l.once);
	return c;
}

struct config *config_load(const char *path, void (*report)(void *arg, const char *message), void *arg)
{
	return load(path, NULL, false, report, arg);
}

struct config *config_check(const char *path, void (*report)(void *arg, const char *message), void *arg)
{
	return load(path, NULL, true, report, arg);
}

struct config *config_parse(const char *name, struct slice text,
	void (*report)(void *arg, const char *message), void *arg)
{
	return load(name, &text, false, report, arg);
}

void config_ref(struct config *c)
{
	c->references++;
}

void config_unref(struct config *c)
{
	if (--c->references > 0)
		return;
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].tls)
			tls_context_unref(c->listeners[i].tls);
	for (size_t i = 0; i < c->signer_count; i++)
		dkim_signer_drop(&c->signers[i]);
	table_drop(&c->domain_index);
	struct arena a = c->arena;
	free(c);
	arena_drop(&a);
}

bool bounce_policy_same(const struct bounce_policy *a, const struct bounce_policy *b)
{
	return a->proven == b->proven && a->plausible == b->plausible && a->unproven == b->unproven &&
		a->refuted == b->refuted && a->null_sender == b->null_sender && a->enrolled == b->enrolled &&
		a->wave_tightens == b->wave_tightens;
}

enum check_mode config_mode(const struct config *c, const struct domain_conf *d, enum check check, bool observe_all)
{
	enum check_mode mode = c->check_mode[check];

	if (d && d->mode[check])
		mode = d->mode[check] - 1;
	if (mode > c->mode)
		mode = c->mode;
	return observe_all && mode == MODE_ENFORCE ? MODE_OBSERVE : mode;
}
