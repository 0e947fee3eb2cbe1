/*
 * From statements to a tree.
 *
 * Plain values go through the option table: found by name, parsed by type,
 * checked against the range, stored at their offset. What is more than a value
 * (lists, urls, sources) has a reader here. Reading goes on behind every
 * mistake; a tree is returned only if there was none.
 *
 * Blocks of checks that a later version brings are known by name, so that one
 * configuration can serve both: they are warned about, not obeyed.
 */
#include "policy/config.h"
#include "policy/option.h"
#include "policy/syntax.h"
#include "policy/value.h"

#include <stdlib.h>
#include <unistd.h>

struct loader {
	struct report report;
	struct config *c;
	struct arena *a;
	struct recipient_conf recipient_times;
	size_t listeners, domains, zones;
};

/* A domain while it is read: sources wait until the separators are known. */
struct domain_draft {
	struct domain_conf *conf;
	struct backend backend;
	const struct statement *sources[16];
	size_t source_count;
	int64_t shrink_guard;
	const struct word *backend_word;
};

static const char *const later_blocks[] = { "console", "scanner", "directory", "keys", "sign", "bounces", NULL };

static bool is_among(const char *const *names, struct slice name)
{
	for (; *names; names++)
		if (slice_eq(name, slice_of(*names)))
			return true;
	return false;
}

/* ---- plain values ---- */

static int64_t choice_index(const char *choices, struct slice text)
{
	struct slice rest = slice_of(choices);

	for (int64_t i = 0; rest.n > 0; i++)
		if (slice_eq(slice_split(&rest, '|'), text))
			return i;
	return -1;
}

static bool parse_number(const struct option *o, struct slice text, int64_t *out, const char **why)
{
	switch (o->type) {
	case OPTION_COUNT_NUMBER:
		return value_count(text, out, why);
	case OPTION_SIZE:
		return value_size(text, out, why);
	case OPTION_DURATION:
		return value_duration(text, out, why);
	case OPTION_INTEGER:
		return value_integer(text, out, why);
	case OPTION_BOOL:
		*why = "yes or no is wanted";
		*out = choice_index("no|yes", text);
		return *out >= 0;
	case OPTION_CHOICE:
		*why = o->choices;
		*out = choice_index(o->choices, text);
		return *out >= 0;
	default:
		*why = "takes no number";
		return false;
	}
}

static void store_number(const struct option *o, char *at, int64_t value)
{
	switch (o->width) {
	case 1:
		*(uint8_t *)at = (uint8_t)value;
		break;
	case 4:
		memcpy(at, &(uint32_t){ (uint32_t)value }, 4);
		break;
	case 8:
		memcpy(at, &value, 8);
		break;
	default:
		break;
	}
}

/* Puts a value where its option says. *why: what is wrong with it. */
static bool set_value(struct arena *a, const struct option *o, void *base, struct slice text, const char **why)
{
	char *at = (char *)base + o->offset;
	struct rate_limit rate;
	int64_t number;

	if (o->type == OPTION_WORD || o->type == OPTION_PATH) {
		const char *copy = slice_cstr(a, text);

		memcpy(at, &copy, sizeof(copy));
		return true;
	}
	if (o->type == OPTION_RATE) {
		if (!value_rate(text, &rate, why))
			return false;
		memcpy(at, &rate, sizeof(rate));
		return true;
	}
	if (!parse_number(o, text, &number, why))
		return false;
	if ((o->least || o->most) && (number < o->least || number > o->most)) {
		*why = number < o->least ? "too small" : "too large";
		return false;
	}
	store_number(o, at, number);
	return true;
}

static void set_defaults(struct loader *l, const char *block, void *base)
{
	const char *why;

	for (size_t i = 0; i < option_count; i++)
		if (strcmp(options[i].block, block) == 0 && options[i].fallback && options[i].width > 0)
			set_value(l->a, &options[i], base, slice_of(options[i].fallback), &why);
}

/* A directive with one value from the table. false: it is none of them (custom or unknown). */
static bool read_plain(struct loader *l, const struct option *o, const struct statement *st, void *base)
{
	const char *why = NULL;

	if (o->width == 0)
		return false;
	if (st->is_block)
		report_error(&l->report, &st->words[0], "'%s' is a directive, not a block%s", o->name,
			st->count > 2 ? "; is a ';' missing behind it?" : "");
	else if (st->count != 2)
		report_error(&l->report, &st->words[0], "'%s' takes one value: %s", o->name,
			o->argument ? o->argument : "VALUE");
	else if (!set_value(l->a, o, base, st->words[1].text, &why))
		report_error(&l->report, &st->words[1], "%s: %s", o->name, why);
	return true;
}

static void report_unknown(struct loader *l, const struct word *w, const char *block, const char *near)
{
	if (near)
		report_error(&l->report, w, "unknown directive '%.*s'%s%s; did you mean '%s'?", SLICE_ARG(w->text),
			block[0] ? " in " : "", block, near);
	else
		report_error(&l->report, w, "unknown directive '%.*s'%s%s", SLICE_ARG(w->text),
			block[0] ? " in " : "", block);
}

/* The option of a statement, after plain values have been taken care of. NULL: done, or a mistake was reported. */
static const struct option *custom_option(struct loader *l, const char *block, const struct statement *st, void *base)
{
	const char *near;
	const struct option *o = option_find(block, slice_cstr(l->a, st->words[0].text), &near);

	if (!o) {
		if (is_among(later_blocks, st->words[0].text))
			report_warning(&l->report, &st->words[0], "'%.*s' is not part of this version: ignored",
				SLICE_ARG(st->words[0].text));
		else
			report_unknown(l, &st->words[0], block, near);
		return NULL;
	}
	return read_plain(l, o, st, base) ? NULL : o;
}

static bool has_arguments(struct loader *l, const struct statement *st)
{
	if (st->count > 1)
		return true;
	report_error(&l->report, &st->words[0], "'%.*s' takes at least one value", SLICE_ARG(st->words[0].text));
	return false;
}

/* ---- prefixes and lists ---- */

static void add_prefixes(struct loader *l, const struct statement *st, struct ip_set **set)
{
	const char *why;

	if (!has_arguments(l, st))
		return;
	if (!*set)
		*set = ip_set_new(l->a);
	for (size_t i = 1; i < st->count; i++) {
		struct ip_prefix prefix;

		if (ip_prefix_parse(&prefix, st->words[i].text, &why))
			ip_set_add(*set, &prefix);
		else
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
	}
}

static struct list_file *open_list(struct loader *l, const struct statement *st, size_t at, enum list_kind kind,
	struct slice separators, unsigned guard)
{
	const char *why = NULL;
	struct list_file *f;

	if (st->count != at + 1) {
		report_error(&l->report, &st->words[0], "'file' takes one file name");
		return NULL;
	}
	f = list_file_open(slice_cstr(l->a, st->words[at].text), kind, separators, guard, l->a, &why);
	if (!f)
		report_error(&l->report, &st->words[at], "%s", why);
	return f;
}

static bool names_file(const struct statement *st)
{
	return st->count > 1 && slice_eq(st->words[1].text, SLICE("file"));
}

static void append_file(struct loader *l, struct list_file ***files, size_t *count, struct list_file *f)
{
	struct list_file **more;

	if (!f)
		return;
	more = arena_array(l->a, struct list_file *, *count + 1);
	if (*count)
		memcpy(more, *files, *count * sizeof(*more));
	more[(*count)++] = f;
	*files = more;
}

static void read_clients(struct loader *l, const struct statement *block)
{
	struct client_conf *clients = &l->c->clients;

	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "clients", st, NULL);
		struct client_list *list;

		if (!o)
			continue;
		list = strcmp(o->name, "allow") == 0 ? &clients->allow :
			strcmp(o->name, "deny") == 0 ? &clients->deny : &clients->trust;
		if (names_file(st))
			append_file(l, &list->files, &list->file_count,
				open_list(l, st, 2, LIST_CLIENTS, SLICE_NULL, 0));
		else
			add_prefixes(l, st, &list->prefixes);
	}
}

static void add_addresses(struct loader *l, const struct statement *st, struct address_list *list)
{
	const char *why;

	if (!has_arguments(l, st))
		return;
	if (!list->entries)
		list->entries = address_set_new(l->a);
	for (size_t i = 1; i < st->count; i++)
		if (!address_set_add(list->entries, st->words[i].text, SLICE_NULL, &why))
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
}

static void read_senders(struct loader *l, const struct statement *block)
{
	struct sender_conf *senders = &l->c->senders;

	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "senders", st, NULL);
		struct address_list *list;

		if (!o)
			continue;
		list = strcmp(o->name, "allow") == 0 ? &senders->allow : &senders->deny;
		if (names_file(st))
			append_file(l, &list->files, &list->file_count,
				open_list(l, st, 2, LIST_SENDERS, SLICE_NULL, 0));
		else
			add_addresses(l, st, list);
	}
}

/* ---- resolver ---- */

static void append_text(struct loader *l, const char *const **list, size_t *count, const char *text)
{
	const char **more = arena_array(l->a, const char *, *count + 1);

	if (*count)
		memcpy(more, *list, *count * sizeof(*more));
	more[(*count)++] = text;
	*list = more;
}

/* libunbound's form ADDRESS@PORT. */
static const char *resolver_address(struct loader *l, const struct word *w, uint16_t *port, const char **bare)
{
	struct listen_address address;
	const char *why;
	char text[IP_TEXT];
	struct ip ip;

	if (ip_parse(&ip, w->text)) {
		*port = 53;
	} else if (!value_listen_address(l->a, w->text, &address, &why) ||
		   !ip_from_sockaddr(&ip, port, (struct sockaddr *)&address.address)) {
		report_error(&l->report, w, "%.*s: an address, or ADDRESS:PORT, is wanted", SLICE_ARG(w->text));
		return NULL;
	}
	*bare = arena_printf(l->a, "%s", ip_text(&ip, text));
	return arena_printf(l->a, "%s@%u", *bare, *port);
}

static void add_stub(struct loader *l, const struct statement *st)
{
	struct dns_conf *dns = &l->c->dns;
	struct dns_stub *more;
	const char *bare;
	uint16_t port;

	if (st->count != 3) {
		report_error(&l->report, &st->words[0], "stub takes a zone and an address");
		return;
	}
	if (!resolver_address(l, &st->words[2], &port, &bare))
		return;
	more = arena_array(l->a, struct dns_stub, dns->stub_count + 1);
	if (dns->stub_count)
		memcpy(more, dns->stubs, dns->stub_count * sizeof(*more));
	more[dns->stub_count++] = (struct dns_stub){ slice_cstr(l->a, st->words[1].text), bare, port };
	dns->stubs = more;
}

static void read_resolver(struct loader *l, const struct statement *block)
{
	struct dns_conf *dns = &l->c->dns;
	const char *bare;
	uint16_t port;

	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "resolver", st, l->c);

		if (!o)
			continue;
		if (strcmp(o->name, "recurse") == 0) {
			dns->recurse = true;
		} else if (strcmp(o->name, "stub") == 0) {
			add_stub(l, st);
		} else if (has_arguments(l, st)) {
			for (size_t i = 1; i < st->count; i++) {
				const char *text = strcmp(o->name, "zone-file") == 0 ?
					slice_cstr(l->a, st->words[i].text) :
					resolver_address(l, &st->words[i], &port, &bare);

				if (!text)
					continue;
				if (strcmp(o->name, "zone-file") == 0)
					append_text(l, &dns->zone_files, &dns->zone_file_count, text);
				else
					append_text(l, &dns->forward, &dns->forward_count, text);
			}
		}
	}
	if (dns->forward_count > 0 && dns->recurse)
		report_error(&l->report, &block->words[0], "resolver: recurse and forward exclude each other");
}

/* ---- DNS lists ---- */

static void read_answers(struct loader *l, const struct statement *st, struct dnsbl_zone_conf *zone)
{
	const char *why;

	if (!has_arguments(l, st))
		return;
	struct dnsbl_range *ranges = arena_array(l->a, struct dnsbl_range, zone->answer_count + st->count - 1);
	if (zone->answer_count)
		memcpy(ranges, zone->answers, zone->answer_count * sizeof(*ranges));
	for (size_t i = 1; i < st->count; i++) {
		if (value_ip_range(st->words[i].text, &ranges[zone->answer_count], &why))
			zone->answer_count++;
		else
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
	}
	zone->answers = ranges;
}

static void read_keys(struct loader *l, const struct statement *st, struct dnsbl_zone_conf *zone)
{
	for (size_t i = 1; i < st->count; i++) {
		int64_t key = choice_index("client|sender-domain|helo", st->words[i].text);

		if (key < 0)
			report_error(&l->report, &st->words[i], "key is client, sender-domain or helo");
		else
			zone->keys |= 1u << key;
	}
}

static void read_dnsbl(struct loader *l, const struct statement *block)
{
	struct dnsbl_zone_conf *zone = (struct dnsbl_zone_conf *)&l->c->dnsbl.zones[l->c->dnsbl.zone_count];

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "dnsbl takes a zone and a block: dnsbl ZONE { ... }");
		return;
	}
	set_defaults(l, "dnsbl", zone);
	zone->zone = slice_cstr(l->a, slice_lower(l->a, block->words[1].text));
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "dnsbl", st, zone);

		if (o && strcmp(o->name, "answers") == 0)
			read_answers(l, st, zone);
		else if (o)
			read_keys(l, st, zone);
	}
	if (!domain_valid(slice_of(zone->zone), false))
		report_error(&l->report, &block->words[1], "a zone is a domain name");
	if (!zone->keys)
		zone->keys = DNSBL_CLIENT;
	l->c->dnsbl.zone_count++;
}

/* ---- backends ---- */

static bool read_tls_word(struct loader *l, const struct word *w, struct backend *b)
{
	static const enum backend_tls modes[] = { BACKEND_TLS_NONE, BACKEND_TLS_OPPORTUNISTIC, BACKEND_TLS_VERIFY };
	int64_t i;

	if (!slice_starts(w->text, SLICE("tls=")))
		return false;
	i = choice_index("none|opportunistic|verify", slice_from(w->text, 4));
	if (i < 0 || i >= (int64_t)(sizeof(modes) / sizeof(modes[0])))
		report_error(&l->report, w, "tls is verify, opportunistic or none");
	else
		b->tls = modes[i];
	return true;
}

static void read_backend_urls(struct loader *l, const struct statement *st, struct backend *b)
{
	struct backend_host *hosts = arena_array(l->a, struct backend_host, st->count);
	struct str name = STR_IN(l->a);
	const char *why;

	if (!has_arguments(l, st))
		return;
	b->tls = BACKEND_TLS_OPPORTUNISTIC;
	b->host_count = 0;	/* a second directive is a mistake, already reported */
	for (size_t i = 1; i < st->count; i++) {
		if (read_tls_word(l, &st->words[i], b))
			continue;
		if (!value_backend_host(l->a, st->words[i].text, &hosts[b->host_count], &why)) {
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
			continue;
		}
		if (b->host_count > 0 && hosts[b->host_count].protocol != hosts[0].protocol)
			report_error(&l->report, &st->words[i], "the hosts of a backend speak one protocol");
		if (name.n > 0)
			str_addc(&name, ' ');
		str_add(&name, st->words[i].text);
		b->host_count++;
	}
	b->hosts = hosts;
	b->name = str_cstr(&name);
}

static bool same_backend(const struct backend *a, const struct backend *b)
{
	return strcmp(a->name, b->name) == 0 && a->tls == b->tls && a->max_connections == b->max_connections &&
		a->keep_idle == b->keep_idle && a->forward_client == b->forward_client &&
		strcmp(a->ca_file ? a->ca_file : "", b->ca_file ? b->ca_file : "") == 0;
}

/* One object for what is one backend, so that recipients of several domains may share a transaction. */
static const struct backend *share_backend(struct loader *l, const struct backend *draft)
{
	struct config *c = l->c;
	const struct backend **more;

	for (size_t i = 0; i < c->backend_count; i++)
		if (same_backend(c->backends[i], draft))
			return c->backends[i];
	struct backend *b = arena_new(l->a, struct backend);
	*b = *draft;
	more = arena_array(l->a, const struct backend *, c->backend_count + 1);
	if (c->backend_count)
		memcpy(more, c->backends, c->backend_count * sizeof(*more));
	more[c->backend_count++] = b;
	c->backends = more;
	return b;
}

/* The defaults of backends stand with the domain's options. */
static void backend_defaults(struct loader *l, struct backend *b)
{
	*b = (struct backend){ .name = "" };
	set_defaults(l, "domain", b);
}

/* ---- listeners ---- */

static void add_listen_addresses(struct loader *l, const struct statement *st, struct listener_conf *listener)
{
	const char *why;

	if (!has_arguments(l, st))
		return;
	struct listen_address *all = arena_array(l->a, struct listen_address, listener->address_count + st->count - 1);
	if (listener->address_count)
		memcpy(all, listener->addresses, listener->address_count * sizeof(*all));
	for (size_t i = 1; i < st->count; i++) {
		if (value_listen_address(l->a, st->words[i].text, &all[listener->address_count], &why))
			listener->address_count++;
		else
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
	}
	listener->addresses = all;
}

static void read_next_hop(struct loader *l, const struct statement *st, struct listener_conf *listener)
{
	struct backend draft;

	backend_defaults(l, &draft);
	read_backend_urls(l, st, &draft);
	if (draft.host_count > 0)
		listener->next_hop = share_backend(l, &draft);
}

static void read_listener_option(struct loader *l, const struct option *o, const struct statement *st,
	struct listener_conf *listener)
{
	if (strcmp(o->name, "address") == 0)
		add_listen_addresses(l, st, listener);
	else if (strcmp(o->name, "proxy-from") == 0)
		add_prefixes(l, st, &listener->proxy_from);
	else if (strcmp(o->name, "broken-peers") == 0)
		add_prefixes(l, st, &listener->broken_peers);
	else if (strcmp(o->name, "allow") == 0)
		add_prefixes(l, st, &listener->allow);
	else
		read_next_hop(l, st, listener);
}

static void finish_sets(struct listener_conf *listener)
{
	struct ip_set *sets[] = { listener->proxy_from, listener->broken_peers, listener->allow };

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (sets[i])
			ip_set_finish(sets[i]);
}

static void check_listener(struct loader *l, const struct word *at, const struct listener_conf *listener)
{
	if (listener->address_count == 0)
		report_error(&l->report, at, "listener without an address");
	if (!listener->tls_certificate != !listener->tls_key)
		report_error(&l->report, at, "tls-certificate and tls-key go together");
	if (listener->outbound && !listener->next_hop)
		report_error(&l->report, at, "outbound listener without next-hop");
	if (listener->outbound && !listener->allow)
		report_error(&l->report, at, "outbound listener without allow: it would relay for everybody");
	if (!listener->outbound && listener->next_hop)
		report_error(&l->report, at, "next-hop belongs to an outbound listener; a domain has its backend");
	for (size_t i = 0; &l->c->listeners[i] != listener; i++)
		if (strcmp(l->c->listeners[i].name, listener->name) == 0)
			report_error(&l->report, at, "a second listener '%s': give it a name of its own, "
				"listener inbound NAME", listener->name);
}

static void read_listener(struct loader *l, const struct statement *block)
{
	struct listener_conf *listener = &l->c->listeners[l->c->listener_count];
	int64_t kind = block->count > 1 ? choice_index("inbound|outbound", block->words[1].text) : -1;

	if (kind < 0 || block->count > 3 || !block->is_block) {
		report_error(&l->report, &block->words[0], "listener inbound|outbound [NAME] { ... }");
		return;
	}
	set_defaults(l, "listener", listener);
	listener->outbound = kind == 1;
	listener->name = slice_cstr(l->a, block->words[block->count - 1].text);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "listener", st, listener);

		if (o)
			read_listener_option(l, o, st, listener);
	}
	finish_sets(listener);
	check_listener(l, &block->words[0], listener);
	l->c->listener_count++;
}

/* ---- checks ---- */

static int check_of(struct slice name)
{
	for (int i = 0; i < CHECK_COUNT; i++)
		if (slice_eq(name, slice_of(check_name(i))))
			return i;
	return -1;
}

static bool in_this_version(int check)
{
	return check < CHECK_DKIM && check != CHECK_SPF;
}

/* "check NAME { mode MODE; }": the mode, or -1. */
static int read_check(struct loader *l, const struct statement *block, int *check)
{
	int mode = -1;

	*check = block->count == 2 && block->is_block ? check_of(block->words[1].text) : -1;
	if (*check < 0) {
		report_error(&l->report, &block->words[block->count > 1],
			block->count == 2 && block->is_block ? "no such check" : "check NAME { ... }");
		return -1;
	}
	if (!in_this_version(*check)) {
		report_warning(&l->report, &block->words[1], "check %s is not part of this version: ignored",
			check_name(*check));
		return -1;
	}
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "check", st, &l->recipient_times);

		if (!o)
			continue;
		mode = st->count == 2 ? (int)choice_index(o->choices, st->words[1].text) : -1;
		if (mode < 0)
			report_error(&l->report, &st->words[st->count > 1], "mode is one of %s", o->choices);
	}
	return mode;
}

static void read_site_check(struct loader *l, const struct statement *block)
{
	int check, mode = read_check(l, block, &check);

	if (mode >= 0)
		l->c->check_mode[check] = (uint8_t)mode;
}

/* ---- domains ---- */

static void read_domain_option(struct loader *l, const struct option *o, const struct statement *st,
	struct domain_draft *draft)
{
	const char *why;
	int check, mode;

	if (strcmp(o->name, "backend") == 0) {
		if (draft->backend_word)
			report_error(&l->report, &st->words[0], "a second backend; name all hosts in one directive");
		draft->backend_word = &st->words[0];
		read_backend_urls(l, st, &draft->backend);
	} else if (strcmp(o->name, "recipients") == 0) {
		if (draft->source_count < sizeof(draft->sources) / sizeof(draft->sources[0]))
			draft->sources[draft->source_count++] = st;
	} else if (strcmp(o->name, "sub-address") == 0) {
		if (has_arguments(l, st))
			draft->conf->separators = st->words[1].text;
	} else if (strcmp(o->name, "shrink-guard") == 0) {
		if (!has_arguments(l, st))
			return;
		if (!value_count(st->words[1].text, &draft->shrink_guard, &why) || draft->shrink_guard > 100)
			report_error(&l->report, &st->words[1], "shrink-guard is a percentage, 0 to 100");
	} else if (strcmp(o->name, "check") == 0) {
		mode = read_check(l, st, &check);
		if (mode >= 0)
			draft->conf->mode[check] = (uint8_t)(mode + 1);
	}
}

static void read_sources(struct loader *l, struct domain_draft *draft)
{
	struct recipient_conf *conf = &draft->conf->recipients;
	struct recipient_source *sources = arena_array(l->a, struct recipient_source, draft->source_count + 1);

	for (size_t i = 0; i < draft->source_count; i++) {
		const struct statement *st = draft->sources[i];
		struct recipient_source *source = &sources[conf->source_count];

		if (names_file(st)) {
			source->kind = SOURCE_FILE;
			source->file = open_list(l, st, 2, LIST_RECIPIENTS, draft->conf->separators,
				(unsigned)draft->shrink_guard);
			conf->source_count += source->file != NULL;
		} else if (st->count == 2 && slice_eq(st->words[1].text, SLICE("callforward"))) {
			source->kind = SOURCE_CALLFORWARD;
			conf->callforward = true;
			conf->source_count++;
		} else {
			report_error(&l->report, &st->words[st->count > 1],
				"recipients file FILE, or recipients callforward");
		}
	}
	conf->sources = sources;
}

static void check_domain(struct loader *l, const struct statement *block, const struct domain_draft *draft)
{
	if (draft->source_count == 0)
		report_error(&l->report, &block->words[0], "domain %s has no recipients directive: Spurn must be able "
			"to tell who exists (recipients file FILE; or recipients callforward;)", draft->conf->name);
	if (!draft->backend_word)
		report_error(&l->report, &block->words[0], "domain %s has no backend", draft->conf->name);
}

struct domain_entry {
	struct table_link link;
	const struct domain_conf *conf;
};

static bool domain_matches(const struct table_link *link, const void *key)
{
	const struct domain_entry *e = container_of(link, struct domain_entry, link);
	const struct slice *name = key;

	return slice_eq(slice_of(e->conf->name), *name);
}

static void index_domain(struct loader *l, const struct word *at, const struct domain_conf *d)
{
	struct domain_entry *e = arena_new(l->a, struct domain_entry);

	if (config_domain(l->c, slice_of(d->name))) {
		report_error(&l->report, at, "domain %s stands twice", d->name);
		return;
	}
	e->conf = d;
	table_add(&l->c->domain_index, &e->link, hash_bytes(d->name, strlen(d->name)));
}

static void read_domain(struct loader *l, const struct statement *block)
{
	struct domain_draft draft = { .conf = &l->c->domains[l->c->domain_count], .shrink_guard = 20 };
	struct slice name;

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "domain NAME { ... }");
		return;
	}
	name = domain_valid(block->words[1].text, true) ? domain_canonical(l->a, block->words[1].text) : SLICE_NULL;
	if (name.n == 0)
		report_error(&l->report, &block->words[1], "'%.*s' is no domain name", SLICE_ARG(block->words[1].text));
	draft.conf->name = slice_cstr(l->a, name.n ? name : SLICE("invalid"));
	backend_defaults(l, &draft.backend);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = custom_option(l, "domain", st, &draft.backend);

		if (o)
			read_domain_option(l, o, st, &draft);
	}
	check_domain(l, block, &draft);
	read_sources(l, &draft);
	draft.conf->backend = share_backend(l, &draft.backend);
	l->c->domain_count++;
	if (name.n > 0)
		index_domain(l, &block->words[1], draft.conf);
}

/* ---- the site ---- */

static void read_store(struct loader *l, const struct statement *st)
{
	if (st->count == 2 && slice_eq(st->words[1].text, SLICE("lmdb"))) {
		for (const struct statement *child = st->children; child; child = child->next)
			custom_option(l, "store", child, l->c);
		return;
	}
	if (st->count > 1 && slice_eq(st->words[1].text, SLICE("redis")))
		report_error(&l->report, &st->words[1], "store redis is not part of this version");
	else
		report_error(&l->report, &st->words[0], "store lmdb;");
}

static void check_site(struct loader *l, const struct source *file)
{
	struct word nowhere = { .source = file };
	struct config *c = l->c;

	if (!c->hostname)
		report_error(&l->report, &nowhere, "hostname is missing");
	else if (!domain_valid(slice_of(c->hostname), false) || !strchr(c->hostname, '.'))
		report_error(&l->report, &nowhere, "hostname '%s' is no full domain name", c->hostname);
	if (c->help_url && (strlen(c->help_url) > 200 || !ascii_only(slice_of(c->help_url)) ||
			strpbrk(c->help_url, " \r\n\t")))
		report_error(&l->report, &nowhere, "help-url has to be printable, without blanks, of at most 200 octets");
	if (c->listener_count == 0)
		report_error(&l->report, &nowhere, "no listener");
	for (size_t i = 0; i < c->listener_count; i++)
		if (!c->listeners[i].outbound && c->domain_count == 0) {
			report_error(&l->report, &nowhere, "no domain: the inbound listener would refuse everybody");
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
	for (size_t i = 0; i < c->domain_count; i++) {
		struct recipient_conf *r = &c->domains[i].recipients;

		r->positive_ttl = l->recipient_times.positive_ttl;
		r->refresh_after = l->recipient_times.refresh_after;
		r->negative_ttl = l->recipient_times.negative_ttl;
		r->confirm_after = l->recipient_times.confirm_after;
	}
}

static void read_statement(struct loader *l, const struct statement *st)
{
	static const struct {
		const char *name;
		void (*read)(struct loader *l, const struct statement *st);
	} readers[] = {
		{ "listener", read_listener }, { "resolver", read_resolver }, { "clients", read_clients },
		{ "senders", read_senders }, { "dnsbl", read_dnsbl }, { "domain", read_domain },
		{ "check", read_site_check }, { "store", read_store },
	};

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
		if (slice_eq(st->words[0].text, slice_of(readers[i].name))) {
			readers[i].read(l, st);
			return;
		}
	custom_option(l, "", st, l->c);
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
		c->check_mode[i] = in_this_version(i) ? MODE_ENFORCE : MODE_OFF;
	/* Knowledge, not arguments: many honest servers are badly named. */
	c->check_mode[CHECK_RDNS] = MODE_OBSERVE;
	c->check_mode[CHECK_HELO] = MODE_OBSERVE;
}

static struct config *build(struct loader *l, const char *name, const struct statement *first)
{
	struct config *c = l->c;
	struct source *file = arena_new(l->a, struct source);

	file->path = name;
	c->path = name;
	set_defaults(l, "", c);
	set_defaults(l, "resolver", c);
	set_defaults(l, "store", c);
	set_defaults(l, "check", &l->recipient_times);
	set_check_defaults(c);
	c->listeners = arena_array(l->a, struct listener_conf, count_blocks(first, SLICE("listener")) + 1);
	c->domains = arena_array(l->a, struct domain_conf, count_blocks(first, SLICE("domain")) + 1);
	c->dnsbl.zones = arena_array(l->a, struct dnsbl_zone_conf, count_blocks(first, SLICE("dnsbl")) + 1);
	for (const struct statement *st = first; st; st = st->next)
		read_statement(l, st);
	finish_site(l);
	check_site(l, file);
	if (l->report.errors == 0)
		return c;
	config_unref(c);
	return NULL;
}

static struct config *load(const char *name, const struct slice *text,
	void (*say)(void *arg, const char *message), void *arg)
{
	struct config *c = calloc(1, sizeof(*c));
	struct loader l = { .c = c };

	if (!c)
		return NULL;
	c->references = 1;
	l.a = &c->arena;
	l.report = (struct report){ .arena = l.a, .say = say, .arg = arg };
	name = arena_copy(l.a, name, strlen(name));
	const struct statement *first = text ? syntax_read_text(&l.report, name, *text) :
		syntax_read_file(&l.report, name);

	if (!first && l.report.errors > 0) {
		config_unref(c);
		return NULL;
	}
	return build(&l, name, first);
}

struct config *config_load(const char *path, void (*report)(void *arg, const char *message), void *arg)
{
	return load(path, NULL, report, arg);
}

struct config *config_parse(const char *name, struct slice text,
	void (*report)(void *arg, const char *message), void *arg)
{
	return load(name, &text, report, arg);
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
	table_drop(&c->domain_index);
	struct arena a = c->arena;
	free(c);
	arena_drop(&a);
}

const struct domain_conf *config_domain(const struct config *c, struct slice name)
{
	struct table_link *link = table_find(&c->domain_index, hash_bytes(name.p, name.n), domain_matches, &name);

	return link ? container_of(link, struct domain_entry, link)->conf : NULL;
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
