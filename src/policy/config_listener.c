/*
 * The listener block.
 */
#include "policy/loader.h"
#include "policy/value.h"

/* ---- listeners ---- */

static void add_listen_addresses(struct loader *l, const struct statement *st, struct listener_conf *listener)
{
	const char *why;

	if (!loader_has_arguments(l, st))
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

	loader_backend_defaults(l, &draft);
	loader_backend_urls(l, st, &draft);
	if (draft.host_count > 0)
		listener->next_hop = loader_share_backend(l, &draft);
}

static void read_listener_option(struct loader *l, const struct option *o, const struct statement *st,
	struct listener_conf *listener)
{
	if (strcmp(o->name, "address") == 0)
		add_listen_addresses(l, st, listener);
	else if (strcmp(o->name, "proxy-from") == 0)
		loader_prefixes(l, st, &listener->proxy_from);
	else if (strcmp(o->name, "broken-peers") == 0)
		loader_prefixes(l, st, &listener->broken_peers);
	else if (strcmp(o->name, "allow") == 0)
		loader_prefixes(l, st, &listener->allow);
	else if (strcmp(o->name, "content") == 0)
		loader_read_content(l, st, &listener->content);
	else if (strcmp(o->name, "no-tag-to") == 0)
		loader_addresses(l, st, &listener->no_tag, SLICE_NULL);
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

/* Of two sockets at one place the kernel would give each a share of the clients, whatever their listeners are for. */
static void check_place(struct loader *l, const struct word *at, const struct listener_conf *mine, const struct listen_address *place)
{
	for (const struct listener_conf *other = l->c->listeners; other <= mine; other++)
		for (size_t i = 0; i < other->address_count; i++) {
			const struct listen_address *p = &other->addresses[i];

			if (p == place)
				return;
			if (p->length == place->length && memcmp(&p->address, &place->address, p->length) == 0) {
				report_error(&l->report, at, "%s: a listener has this address already", place->text);
				return;
			}
		}
}

static void check_listener(struct loader *l, const struct word *at, const struct listener_conf *listener)
{
	if (!listener->addresses)
		report_error(&l->report, at, "listener without an address");
	if (!listener->tls_certificate != !listener->tls_key)
		report_error(&l->report, at, "tls-certificate and tls-key go together");
	if (listener->outbound && !listener->next_hop)
		report_error(&l->report, at, "outbound listener without next-hop");
	if (listener->outbound && !listener->allow)
		report_error(&l->report, at, "outbound listener without allow: it would relay for everybody");
	if (!listener->outbound && listener->next_hop)
		report_error(&l->report, at, "next-hop belongs to an outbound listener; a domain has its backend");
	for (const struct content_choice *c = l->choices; c && !listener->outbound; c = c->next)
		if (c->wanted == &listener->content)
			report_error(&l->report, at, "content belongs to an outbound listener; a domain has its own");
	if (!listener->outbound && (listener->no_tag.entries || listener->no_tag.file_count))
		report_error(&l->report, at, "no-tag-to belongs to an outbound listener");
	for (size_t i = 0; &l->c->listeners[i] != listener; i++)
		if (strcmp(l->c->listeners[i].name, listener->name) == 0)
			report_error(&l->report, at, "a second listener '%s': give it a name of its own, "
				"listener inbound NAME", listener->name);
	for (size_t i = 0; i < listener->address_count; i++)
		check_place(l, at, listener, &listener->addresses[i]);
}

void loader_read_listener(struct loader *l, const struct statement *block)
{
	struct listener_conf *listener = &l->c->listeners[l->c->listener_count];
	int64_t kind = block->count > 1 ? loader_choice("inbound|outbound", block->words[1].text) : -1;

	if (kind < 0 || block->count > 3 || !block->is_block) {
		if (block->count > 1 && kind < 0)
			loader_bad_choice(l, &block->words[1], "listener", "inbound|outbound");
		else
			report_error(&l->report, &block->words[0], "listener inbound|outbound [NAME] { ... }");
		return;
	}
	loader_defaults(l, "listener", listener);
	listener->outbound = kind == 1;
	listener->name = slice_cstr(l->a, block->words[block->count - 1].text);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "listener", st, listener);

		if (o)
			read_listener_option(l, o, st, listener);
	}
	finish_sets(listener);
	check_listener(l, &block->words[0], listener);
	l->c->listener_count++;
}
