/*
 * Directory blocks. They are read before all others, so that a domain may name
 * one that stands further down.
 *
 * Templates fill what was not given. In both, an address is asked for in every attribute that may hold one, and
 * a group or a contact is a mailbox as much as a person is: who delivers decides, not who logs in.
 * Active Directory marks a disabled account with bit 2 of userAccountControl; shared mailboxes, rooms and equipment
 * are disabled accounts by nature (msExchRecipientTypeDetails 4, 16, 32) and do get mail.
 */
#include "policy/loader.h"
#include "policy/value.h"

#define AD_ENABLED "(|(!(userAccountControl:1.2.840.113556.1.4.803:=2))(msExchRecipientTypeDetails=4)" \
	"(msExchRecipientTypeDetails=16)(msExchRecipientTypeDetails=32))"

static const struct template {
	const char *filter, *list_filter;
	const char *attributes[4];
} templates[] = {
	[TEMPLATE_OPENLDAP] = {
		"(|(mail=%s)(mailLocalAddress=%s)(mailAlternateAddress=%s))",
		"(|(mail=*)(mailLocalAddress=*)(mailAlternateAddress=*))",
		{ "mail", "mailLocalAddress", "mailAlternateAddress" },
	},
	[TEMPLATE_ACTIVE_DIRECTORY] = {
		"(&(|(proxyAddresses=smtp:%s)(proxyAddresses=SMTP:%s)(mail=%s))" AD_ENABLED ")",
		"(&(|(proxyAddresses=*)(mail=*))" AD_ENABLED ")",
		{ "proxyAddresses", "mail" },
	},
};

const char *directory_kind_name(enum directory_kind kind)
{
	static const char *const names[] = { "none", "ldap", "sql", "socketmap" };

	return names[kind];
}

/* A directory while it is read: the places of what is checked when all is known. */
struct directory_draft {
	struct directory_conf *conf;
	const struct statement *kind, *query, *list_query, *filter, *list_filter, *copy;
};

/* ---- kinds ---- */

static bool url_is_ldap(struct slice url)
{
	return (slice_starts(url, SLICE("ldap://")) || slice_starts(url, SLICE("ldaps://")) ||
		slice_starts(url, SLICE("ldapi://"))) && slice_find(url, ' ') < 0 && slice_find(url, '?') < 0;
}

static void read_ldap(struct loader *l, const struct statement *st, struct directory_conf *d)
{
	struct str urls = STR_IN(l->a);

	if (!loader_has_arguments(l, st))
		return;
	for (size_t i = 1; i < st->count; i++) {
		if (!url_is_ldap(st->words[i].text))
			report_error(&l->report, &st->words[i], "an LDAP server is ldap://HOST[:PORT], ldaps://HOST[:PORT] "
				"or ldapi://PATH, without base or filter");
		if (i > 1)
			str_addc(&urls, ' ');
		str_add(&urls, st->words[i].text);
	}
	d->kind = DIRECTORY_LDAP;
	d->urls = str_cstr(&urls);
}

static void read_sql(struct loader *l, const struct statement *st, struct directory_conf *d)
{
	int64_t engine = st->count == 3 ? loader_choice("postgresql|mysql|sqlite", st->words[1].text) : -1;
	struct sql_connection unused;
	const char *why;

	if (st->count == 3 && slice_eq(st->words[1].text, SLICE("mariadb")))
		engine = SQL_MARIADB;
	if (engine < 0) {
		report_error(&l->report, &st->words[st->count > 1],
			"sql postgresql \"CONNECTION\", sql mysql \"CONNECTION\", or sql sqlite FILE");
		return;
	}
	d->kind = DIRECTORY_SQL;
	d->engine = (enum sql_engine)engine;
	d->connection = slice_cstr(l->a, st->words[2].text);
	if (strlen(d->connection) != st->words[2].text.n)
		report_error(&l->report, &st->words[2], "a connection without NUL is wanted");
	if (d->engine != SQL_SQLITE && slice_search_nocase(st->words[2].text, SLICE("password")) >= 0)
		report_error(&l->report, &st->words[2], "the password belongs into a file of its own: password-file FILE");
	if (d->engine == SQL_MARIADB && !sql_connection_parse(l->a, st->words[2].text, &unused, &why))
		report_error(&l->report, &st->words[2], "%s", why);
	if (d->engine == SQL_SQLITE && d->connection[0] != '/')
		report_error(&l->report, &st->words[2], "sql sqlite takes an absolute path");
}

static void read_socketmap(struct loader *l, const struct statement *st, struct directory_conf *d)
{
	if (st->count != 3) {
		report_error(&l->report, &st->words[0], "socketmap unix:/path NAME, or socketmap inet:ADDRESS:PORT NAME");
		return;
	}
	if (slice_find(st->words[2].text, ' ') >= 0 || st->words[2].text.n == 0)
		report_error(&l->report, &st->words[2], "the name of a map has no blanks");
	d->kind = DIRECTORY_SOCKETMAP;
	d->map_address = slice_cstr(l->a, st->words[1].text);
	d->map_name = slice_cstr(l->a, st->words[2].text);
}

static void read_kind(struct loader *l, const struct option *o, const struct statement *st, struct directory_draft *draft)
{
	if (draft->kind)
		report_error(&l->report, &st->words[0], "a directory is one of ldap, sql and socketmap, named once");
	draft->kind = st;
	if (strcmp(o->name, "ldap") == 0)
		read_ldap(l, st, draft->conf);
	else if (strcmp(o->name, "sql") == 0)
		read_sql(l, st, draft->conf);
	else
		read_socketmap(l, st, draft->conf);
}

/* ---- the rest ---- */

static void read_attributes(struct loader *l, const struct statement *st, struct directory_conf *d)
{
	if (!loader_has_arguments(l, st))
		return;
	d->attributes = arena_array(l->a, const char *, st->count);
	d->attribute_count = st->count - 1;
	for (size_t i = 1; i < st->count; i++)
		d->attributes[i - 1] = slice_cstr(l->a, st->words[i].text);
}

/* "copy FILE" or "copy FILE every DURATION". */
static void read_copy(struct loader *l, const struct statement *st, struct directory_draft *draft)
{
	const char *why = "copy FILE; or copy FILE every DURATION;";
	int64_t every = 0;

	draft->copy = st;
	if (st->count != 2 && !(st->count == 4 && slice_eq(st->words[2].text, SLICE("every")))) {
		report_error(&l->report, &st->words[0], "%s", why);
		return;
	}
	if (st->count == 4 && !value_duration(st->words[3].text, &every, &why))
		report_error(&l->report, &st->words[3], "%s", why);
	else if (st->count == 4 && every < 10 * NS_PER_SECOND)
		report_error(&l->report, &st->words[3], "a copy is made every 10s at most");
	if (st->words[1].text.n == 0 || st->words[1].text.p[0] != '/')
		report_error(&l->report, &st->words[1], "a copy is named by an absolute path");
	draft->conf->copy = slice_cstr(l->a, st->words[1].text);
	draft->conf->copy_every = every;
}

static void read_canary(struct loader *l, const struct statement *st, struct directory_conf *d)
{
	struct slice canonical;

	if (st->count == 2 && address_canonical(l->a, st->words[1].text, SLICE_NULL, &canonical))
		d->canary = slice_cstr(l->a, canonical);
	else
		report_error(&l->report, &st->words[st->count > 1], "canary takes one address");
}

static void read_directory_option(struct loader *l, const struct option *o, const struct statement *st,
	struct directory_draft *draft)
{
	const struct {
		const char *name;
		const struct statement **place;
		const char **value;
	} texts[] = { { "filter", &draft->filter, &draft->conf->filter },
		{ "list-filter", &draft->list_filter, &draft->conf->list_filter },
		{ "query", &draft->query, &draft->conf->query },
		{ "list-query", &draft->list_query, &draft->conf->list_query } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(o->name, texts[i].name) == 0) {
			*texts[i].place = st;
			if (st->count != 2)
				report_error(&l->report, &st->words[0], "%s takes one value, in quotes", o->name);
			else
				*texts[i].value = slice_cstr(l->a, st->words[1].text);
			return;
		}
	if (strcmp(o->name, "attributes") == 0)
		read_attributes(l, st, draft->conf);
	else if (strcmp(o->name, "copy") == 0)
		read_copy(l, st, draft);
	else if (strcmp(o->name, "canary") == 0)
		read_canary(l, st, draft->conf);
	else
		read_kind(l, o, st, draft);
}

/* ---- checks of the whole ---- */

static void apply_template(struct directory_conf *d)
{
	const struct template *t = &templates[d->template];

	if (!d->filter)
		d->filter = t->filter;
	if (!d->list_filter)
		d->list_filter = t->list_filter;
	if (d->attribute_count > 0)
		return;
	d->attributes = (const char **)t->attributes;
	while (d->attribute_count < 4 && t->attributes[d->attribute_count])
		d->attribute_count++;
}

static void check_ldap(struct loader *l, const struct statement *block, const struct directory_draft *draft)
{
	struct directory_conf *d = draft->conf;
	const char *why;

	apply_template(d);
	if (!d->base)
		report_error(&l->report, &block->words[0], "directory %s has no base", d->name);
	if (!d->filter)
		report_error(&l->report, &block->words[0], "directory %s has neither filter nor template", d->name);
	else if (!ldap_filter_check(slice_of(d->filter), true, &why))
		report_error(&l->report, &draft->filter->words[1], "%s", why);
	if (d->list_filter && !ldap_filter_check(slice_of(d->list_filter), false, &why))
		report_error(&l->report, &draft->list_filter->words[1], "%s", why);
	if (d->copy && (!d->list_filter || d->attribute_count == 0))
		report_error(&l->report, &draft->copy->words[0], "to list everybody for a copy, a list-filter and attributes "
			"are wanted, or a template");
	if (d->starttls && strstr(d->urls ? d->urls : "", "ldaps://"))
		report_error(&l->report, &draft->kind->words[0], "ldaps:// is TLS from the start: no starttls beside it");
	if (d->bind_dn && !d->password_file)
		report_error(&l->report, &block->words[0], "directory %s has a bind-dn and no password-file", d->name);
}

static void check_query(struct loader *l, const struct statement *st, enum sql_engine engine, bool asks,
	struct sql_query *out)
{
	const char *why;

	if (st->count == 2 && !sql_query_parse(l->a, st->words[1].text, engine, asks, out, &why))
		report_error(&l->report, &st->words[1], "%s", why);
}

static void check_sql(struct loader *l, const struct statement *block, const struct directory_draft *draft)
{
	struct directory_conf *d = draft->conf;

	if (draft->query)
		check_query(l, draft->query, d->engine, true, &d->asks);
	else
		report_error(&l->report, &block->words[0], "directory %s has no query", d->name);
	if (draft->list_query)
		check_query(l, draft->list_query, d->engine, false, &d->lists);
	else if (d->copy)
		report_error(&l->report, &draft->copy->words[0], "to list everybody for a copy, a list-query is wanted");
}

static void check_socketmap(struct loader *l, const struct directory_draft *draft)
{
	struct directory_conf *d = draft->conf;
	const char *why;

	if (d->copy)
		report_error(&l->report, &draft->copy->words[0], "a socketmap cannot be listed, so there is no copy of it");
	if (!d->map_address)
		return;
	d->source.map = socketmap_open(slice_of(d->map_address), slice_of(d->map_name), d->connections, d->timeout, &why);
	if (!d->source.map)
		report_error(&l->report, &draft->kind->words[1], "%s", why);
}

static bool name_is_good(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_alpha(name.p[i]) && !ascii_digit(name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
			return false;
	return name.n > 0 && name.n < 32;
}

struct directory_conf *loader_directory(struct loader *l, struct slice name)
{
	for (size_t i = 0; i < l->c->directory_count; i++)
		if (slice_eq(slice_of(l->c->directories[i].name), name))
			return &l->c->directories[i];
	return NULL;
}

void loader_read_directory(struct loader *l, const struct statement *block)
{
	struct directory_conf *d = &l->c->directories[l->c->directory_count];
	struct directory_draft draft = { .conf = d };

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "directory NAME { ... }");
		return;
	}
	if (!name_is_good(block->words[1].text))
		report_error(&l->report, &block->words[1], "a name is letters, digits, - and _, at most 31");
	if (loader_directory(l, block->words[1].text))
		report_error(&l->report, &block->words[1], "a second directory of this name");
	d->name = d->source.name = slice_cstr(l->a, block->words[1].text);
	loader_defaults(l, "directory", d);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "directory", st, d);

		if (o)
			read_directory_option(l, o, st, &draft);
	}
	if (!draft.kind)
		report_error(&l->report, &block->words[0], "directory %s is none of ldap, sql and socketmap", d->name);
	else if (d->kind == DIRECTORY_LDAP)
		check_ldap(l, block, &draft);
	else if (d->kind == DIRECTORY_SQL)
		check_sql(l, block, &draft);
	else if (d->kind == DIRECTORY_SOCKETMAP)
		check_socketmap(l, &draft);
	l->c->directory_count++;
}

/* ---- once the state directory is known ---- */

void loader_finish_directories(struct loader *l, const struct word *nowhere)
{
	struct config *c = l->c;
	const char *address = arena_printf(l->a, "unix:%s/" DIRECTORY_SOCKET, c->state_dir), *why;

	for (size_t i = 0; i < c->directory_count; i++) {
		struct directory_conf *d = &c->directories[i];

		if (!directory_is_ours(d))
			continue;
		/* The directory process keeps the time; a second more for the way there and back. */
		d->source.map = socketmap_open(slice_of(address), slice_of(d->name), d->connections,
			d->timeout + NS_PER_SECOND, &why);
		if (!d->source.map)
			report_error(&l->report, nowhere, "state-dir %s: too long for the directories' socket", c->state_dir);
	}
}

void loader_read_directory_serve(struct loader *l, const struct statement *st)
{
	struct config *c = l->c;
	struct listen_address *all = arena_array(l->a, struct listen_address, c->directory_serve_count + st->count);
	const char *why;

	if (!loader_has_arguments(l, st))
		return;
	if (c->directory_serve_count)
		memcpy(all, c->directory_serve, c->directory_serve_count * sizeof(*all));
	for (size_t i = 1; i < st->count; i++) {
		if (value_listen_address(l->a, st->words[i].text, &all[c->directory_serve_count], &why))
			c->directory_serve_count++;
		else
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
	}
	c->directory_serve = all;
}
