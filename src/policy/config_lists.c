/*
 * The blocks that say whom to believe: clients, senders, resolver, DNS lists.
 */
#include "policy/loader.h"
#include "policy/value.h"

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

void loader_read_clients(struct loader *l, const struct statement *block)
{
	struct client_conf *clients = &l->c->clients;

	if (!loader_is_block(l, block))
		return;
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "clients", st, NULL);
		struct client_list *list;

		if (!o)
			continue;
		list = strcmp(o->name, "allow") == 0 ? &clients->allow :
			strcmp(o->name, "deny") == 0 ? &clients->deny : &clients->trust;
		if (loader_names_file(st))
			append_file(l, &list->files, &list->file_count,
				loader_list_file(l, st, 2, LIST_CLIENTS, SLICE_NULL, 0));
		else
			loader_prefixes(l, st, &list->prefixes);
	}
}

static void add_addresses(struct loader *l, const struct statement *st, struct address_list *list,
	struct slice separators)
{
	const char *why;

	if (!loader_has_arguments(l, st))
		return;
	if (!list->entries)
		list->entries = address_set_new(l->a);
	for (size_t i = 1; i < st->count; i++)
		if (!address_set_add(list->entries, st->words[i].text, separators, &why))
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
}

void loader_addresses(struct loader *l, const struct statement *st, struct address_list *list, struct slice separators)
{
	if (loader_names_file(st))
		append_file(l, &list->files, &list->file_count,
			loader_list_file(l, st, 2, LIST_SENDERS, separators, 0));
	else
		add_addresses(l, st, list, separators);
}

void loader_read_senders(struct loader *l, const struct statement *block)
{
	struct sender_conf *senders = &l->c->senders;

	if (!loader_is_block(l, block))
		return;
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "senders", st, NULL);
		struct address_list *list;

		if (!o)
			continue;
		list = strcmp(o->name, "allow") == 0 ? &senders->allow : &senders->deny;
		loader_addresses(l, st, list, SLICE_NULL);
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

void loader_read_resolver(struct loader *l, const struct statement *block)
{
	struct dns_conf *dns = &l->c->dns;
	const char *bare;
	uint16_t port;

	if (!loader_is_block(l, block))
		return;
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "resolver", st, l->c);

		if (!o)
			continue;
		if (strcmp(o->name, "recurse") == 0) {
			dns->recurse = true;
		} else if (strcmp(o->name, "stub") == 0) {
			add_stub(l, st);
		} else if (loader_has_arguments(l, st)) {
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
	loader_check_zone_files(l, block);
	loader_check_anchor(l);
	if (dns->forward_count > 0 && dns->recurse)
		report_error(&l->report, &block->words[0], "resolver: recurse and forward exclude each other");
}

/* ---- DNS lists ---- */

static void read_answers(struct loader *l, const struct statement *st, struct dnsbl_zone_conf *zone)
{
	const char *why;

	if (!loader_has_arguments(l, st))
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
		int64_t key = loader_choice("client|sender-domain|helo", st->words[i].text);

		if (key < 0)
			report_error(&l->report, &st->words[i], "key is client, sender-domain or helo");
		else
			zone->keys |= 1u << key;
	}
}

void loader_read_dnsbl(struct loader *l, const struct statement *block)
{
	struct dnsbl_zone_conf *zone = (struct dnsbl_zone_conf *)&l->c->dnsbl.zones[l->c->dnsbl.zone_count];

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "dnsbl takes a zone and a block: dnsbl ZONE { ... }");
		return;
	}
	loader_defaults(l, "dnsbl", zone);
	zone->zone = slice_cstr(l->a, slice_lower(l->a, block->words[1].text));
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "dnsbl", st, zone);

		if (o && strcmp(o->name, "answers") == 0)
			read_answers(l, st, zone);
		else if (o)
			read_keys(l, st, zone);
	}
	for (size_t i = 0; i < l->c->dnsbl.zone_count; i++)
		if (strcmp(l->c->dnsbl.zones[i].zone, zone->zone) == 0)
			report_error(&l->report, &block->words[1], "dnsbl %s stands twice", zone->zone);
	if (!domain_valid(slice_of(zone->zone), false))
		report_error(&l->report, &block->words[1], "a zone is a domain name");
	if (!zone->keys)
		zone->keys = DNSBL_CLIENT;
	l->c->dnsbl.zone_count++;
}
