/*
 * The domain block, its backend and its checks. Domains that name the same hosts
 * with the same settings share one backend object, so that their recipients may
 * share a transaction.
 */
#include "policy/loader.h"
#include "policy/value.h"

/* A domain while it is read: sources wait until the separators are known. */
struct domain_draft {
	struct domain_conf *conf;
	struct backend *backend;
	const struct statement *sources[16];
	size_t source_count;
	int64_t shrink_guard;
	const struct word *backend_word;
	const struct statement *bounces;
	const struct statement *routes[256], *aliases[64];
	size_t route_count, alias_count;
};

/* ---- backends ---- */

static bool read_tls_word(struct loader *l, const struct word *w, struct backend *b)
{
	static const enum backend_tls modes[] = { BACKEND_TLS_NONE, BACKEND_TLS_OPPORTUNISTIC, BACKEND_TLS_VERIFY };
	int64_t i;

	if (!slice_starts(w->text, SLICE("tls=")))
		return false;
	i = loader_choice("none|opportunistic|verify", slice_from(w->text, 4));
	if (i < 0 || i >= (int64_t)(sizeof(modes) / sizeof(modes[0])))
		report_error(&l->report, w, "tls is verify, opportunistic or none");
	else
		b->tls = modes[i];
	return true;
}

void loader_backend_urls(struct loader *l, const struct statement *st, struct backend *b)
{
	struct backend_host *hosts = arena_array(l->a, struct backend_host, st->count);
	struct str name = STR_IN(l->a);
	const char *why;

	if (!loader_has_arguments(l, st))
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
		a->questions == b->questions &&
		a->keep_idle == b->keep_idle && a->forward_client == b->forward_client &&
		strcmp(a->ca_file ? a->ca_file : "", b->ca_file ? b->ca_file : "") == 0;
}

/* One object for what is one backend, so that recipients of several domains may share a transaction. */
const struct backend *loader_share_backend(struct loader *l, const struct backend *draft)
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
void loader_backend_defaults(struct loader *l, struct backend *b)
{
	*b = (struct backend){ .name = "" };
	loader_defaults(l, "domain", b);
}

/* ---- checks ---- */

static int check_of(struct slice name)
{
	for (int i = 0; i < CHECK_COUNT; i++)
		if (slice_eq(name, slice_of(check_name(i))))
			return i;
	return -1;
}

bool loader_knows_check(int check)
{
	return check <= CHECK_DMARC || check == CHECK_BOUNCE || check == CHECK_NOTICE || check == CHECK_CONTENT;
}

/* The block of options that a check has for itself, and where they go; NULL: none. */
static const char *own_block(struct loader *l, int check, void **base)
{
	switch (check) {
	case CHECK_RECIPIENT:
		*base = &l->recipient_times;
		return "check recipient";
	case CHECK_BOUNCE:
		*base = &l->c->bounces;
		return "check bounce";
	case CHECK_RATE:
		*base = &l->c->rate;
		return "check rate";
	case CHECK_GREYLIST:
		*base = &l->c->greylist;
		return "check greylist";
	case CHECK_SPF:
		*base = &l->c->spf;
		return "check spf";
	case CHECK_DKIM:
		*base = &l->c->dkim;
		return "check dkim";
	case CHECK_DMARC:
		*base = &l->c->dmarc;
		return "check dmarc";
	case CHECK_ARC:
		*base = &l->c->arc;
		return "check arc";
	case CHECK_NOTICE:
		*base = &l->c->guard;
		return "check notice";
	default:
		return NULL;
	}
}

void loader_check_defaults(struct loader *l)
{
	for (int i = 0; i < CHECK_COUNT; i++) {
		void *base;
		const char *block = own_block(l, i, &base);

		if (block)
			loader_defaults(l, block, base);
	}
}

/* A directive that is not the mode. */
static bool read_own_option(struct loader *l, int check, const struct statement *st)
{
	const char *near, *name = slice_cstr(l->a, st->words[0].text);
	void *base;
	const char *block = own_block(l, check, &base);
	const struct option *o;

	if (!block || (!option_find(block, name, &near) && (!near || option_find("check", name, &near))))
		return false;
	o = loader_option(l, block, st, base);
	if (o)
		loader_read_arc(l, o, st);	/* alone in having more than values */
	return true;
}

static void report_no_check(struct loader *l, const struct statement *block)
{
	const char *wanted, *near = NULL;

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[block->count > 1], "check NAME { ... }");
		return;
	}
	wanted = slice_cstr(l->a, block->words[1].text);
	for (int i = 0; i < CHECK_COUNT; i++)
		option_near(wanted, check_name(i), &near);
	report_error(&l->report, &block->words[1], near ? "no such check; did you mean '%s'?" : "no such check", near);
}

/* "check NAME { mode MODE; }": the mode, or -1. modes: of the site or the domain. own: with what the check has besides. */
static int read_check(struct loader *l, const struct statement *block, int *check, const uint8_t *modes, bool own)
{
	int mode = -1;

	*check = block->count == 2 && block->is_block ? check_of(block->words[1].text) : -1;
	if (*check < 0) {
		report_no_check(l, block);
		return -1;
	}
	if (!loader_knows_check(*check)) {
		report_warning(&l->report, &block->words[1], "check %s is not part of this version: ignored",
			check_name(*check));
		return -1;
	}
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o;

		if (own && read_own_option(l, *check, st))
			continue;
		o = loader_option(l, "check", st, NULL);
		if (!o)
			continue;
		loader_once(l, &modes[*check], o, st);
		mode = st->count == 2 ? (int)loader_choice(o->choices, st->words[1].text) : -1;
		if (mode < 0)
			loader_bad_choice(l, &st->words[st->count > 1], "mode", o->choices);
	}
	return mode;
}

#define GIVES_UP (5 * 86400 * NS_PER_SECOND)	/* RFC 5321 section 4.5.4.1: "at least 4-5 days" */

/* A server behind may bounce days after it took a message; and the message may be older than the ledger. */
static void warn_of_guard(struct loader *l, const struct statement *block)
{
	const struct guard_conf *g = &l->c->guard;

	if (g->keep < GIVES_UP)
		report_warning(&l->report, &block->words[1], "keep is shorter than mail servers keep trying, five days: later "
			"bounces of theirs are taken for answers to nobody");
	else if (g->warm_after < GIVES_UP)
		report_warning(&l->report, &block->words[1], "warm-after is shorter than mail servers keep trying, five days: "
			"bounces of mail that came in before are taken for answers to nobody");
}

void loader_read_check(struct loader *l, const struct statement *block)
{
	int check, mode = read_check(l, block, &check, l->c->check_mode, true);

	if (check == CHECK_NOTICE)
		warn_of_guard(l, block);
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
		loader_backend_urls(l, st, draft->backend);
	} else if (strcmp(o->name, "route") == 0) {
		if (draft->route_count == sizeof(draft->routes) / sizeof(draft->routes[0]))
			report_error(&l->report, &st->words[0], "more routes than a domain can have: 256");
		else
			draft->routes[draft->route_count++] = st;
	} else if (strcmp(o->name, "alias") == 0) {
		if (draft->alias_count == sizeof(draft->aliases) / sizeof(draft->aliases[0]))
			report_error(&l->report, &st->words[0], "more alias directives than a domain can have: 64; one names many");
		else if (loader_has_arguments(l, st))
			draft->aliases[draft->alias_count++] = st;
	} else if (strcmp(o->name, "recipients") == 0) {
		if (draft->source_count < sizeof(draft->sources) / sizeof(draft->sources[0]))
			draft->sources[draft->source_count++] = st;
		else
			report_error(&l->report, &st->words[0], "more recipients directives than a domain can have: 16");
	} else if (strcmp(o->name, "sub-address") == 0) {
		if (loader_has_arguments(l, st))
			draft->conf->separators = st->words[1].text;
	} else if (strcmp(o->name, "shrink-guard") == 0) {
		if (!loader_has_arguments(l, st))
			return;
		if (!value_count(st->words[1].text, &draft->shrink_guard, &why) || draft->shrink_guard > 100)
			report_error(&l->report, &st->words[1], "shrink-guard is a percentage, 0 to 100");
	} else if (strcmp(o->name, "content") == 0) {
		loader_read_content(l, st, &draft->conf->content);
	} else if (strcmp(o->name, "bounces") == 0) {
		if (draft->bounces)
			report_error(&l->report, &st->words[0], "a second bounces block");
		draft->bounces = st;
	} else if (strcmp(o->name, "check") == 0) {
		mode = read_check(l, st, &check, draft->conf->mode, false);
		if (mode >= 0)
			draft->conf->mode[check] = (uint8_t)(mode + 1);
	}
}

/* "recipients directory NAME", or the kind of the directory instead of the word. false: it is something else. */
static bool read_directory_source(struct loader *l, const struct statement *st, struct domain_draft *draft,
	struct recipient_source *source)
{
	struct slice word = st->count == 3 ? st->words[1].text : SLICE_NULL;
	const struct directory_conf *d;

	if (!slice_eq(word, SLICE("directory")) && !slice_eq(word, SLICE("ldap")) && !slice_eq(word, SLICE("sql")) &&
		!slice_eq(word, SLICE("socketmap")))
		return false;
	d = loader_directory(l, st->words[2].text);
	if (!d) {
		report_error(&l->report, &st->words[2], "there is no directory %.*s { ... }", SLICE_ARG(st->words[2].text));
		return true;
	}
	if (!slice_eq(word, SLICE("directory")) && !slice_eq(word, slice_of(directory_kind_name(d->kind))))
		report_error(&l->report, &st->words[1], "directory %s is of kind %s", d->name, directory_kind_name(d->kind));
	*source = (struct recipient_source){ .kind = SOURCE_DIRECTORY, .directory = &d->source,
		.file = d->copy ? list_file_expect(d->copy, LIST_RECIPIENTS, draft->conf->separators) : NULL };
	draft->conf->recipients.source_count++;
	return true;
}

static void read_sources(struct loader *l, struct domain_draft *draft)
{
	struct recipient_conf *conf = &draft->conf->recipients;
	struct recipient_source *sources = arena_array(l->a, struct recipient_source, draft->source_count + 1);

	for (size_t i = 0; i < draft->source_count; i++) {
		const struct statement *st = draft->sources[i];
		struct recipient_source *source = &sources[conf->source_count];

		if (loader_names_file(st)) {
			source->kind = SOURCE_FILE;
			source->file = loader_list_file(l, st, 2, LIST_RECIPIENTS, draft->conf->separators,
				(unsigned)draft->shrink_guard);
			conf->source_count += source->file != NULL;
		} else if (st->count == 2 && slice_eq(st->words[1].text, SLICE("callforward"))) {
			source->kind = SOURCE_CALLFORWARD;
			conf->callforward = true;
			conf->source_count++;
		} else if (!read_directory_source(l, st, draft, source)) {
			report_error(&l->report, &st->words[st->count > 1],
				"recipients file FILE, recipients directory NAME, or recipients callforward");
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
	const char *name;		/* its own, or an alias */
	const struct domain_conf *conf;
};

static bool domain_matches(const struct table_link *link, const void *key)
{
	const struct domain_entry *e = container_of(link, struct domain_entry, link);
	const struct slice *name = key;

	return slice_eq(slice_of(e->name), *name);
}

static void index_domain(struct loader *l, const struct word *at, const char *name, const struct domain_conf *d)
{
	struct domain_entry *e = arena_new(l->a, struct domain_entry);

	if (config_domain(l->c, slice_of(name))) {
		report_error(&l->report, at, "domain %s stands twice", name);
		return;
	}
	e->name = name;
	e->conf = d;
	table_add(&l->c->domain_index, &e->link, hash_bytes(name, strlen(name)));
}

/* "alias NAME ...": the domain under other names. */
static void index_aliases(struct loader *l, const struct domain_draft *draft)
{
	for (size_t i = 0; i < draft->alias_count; i++) {
		const struct statement *st = draft->aliases[i];

		for (size_t k = 1; k < st->count; k++) {
			const struct word *w = &st->words[k];
			struct slice name = domain_valid(w->text, true) ? domain_canonical(l->a, w->text) : SLICE_NULL;

			if (name.n == 0)
				report_error(&l->report, w, "'%.*s' is no domain name", SLICE_ARG(w->text));
			else
				index_domain(l, w, slice_cstr(l->a, name), draft->conf);
		}
	}
}

/* "route ADDRESS URL ...": this address goes elsewhere, with the domain's other settings. */
static void read_routes(struct loader *l, const struct domain_draft *draft)
{
	struct domain_conf *d = draft->conf;
	struct domain_route *routes = arena_array(l->a, struct domain_route, draft->route_count + 1);

	for (size_t i = 0; i < draft->route_count; i++) {
		const struct statement *st = draft->routes[i];
		struct statement urls = *st;
		struct backend b = *draft->backend;
		struct address_form form;
		struct path path;
		struct slice text = st->count > 1 ? slice_of(arena_printf(l->a, "<%.*s>", SLICE_ARG(st->words[1].text))) :
			SLICE_NULL;
		const char *why;

		if (st->count < 3 || !path_parse_forward(&path, &text, true, &why) || path.domain.n == 0 ||
		    !address_form(l->a, &path, d->separators, &form)) {
			report_error(&l->report, &st->words[st->count > 1], "route ADDRESS URL ...");
			continue;
		}
		if (!slice_ends_nocase(form.canonical, slice_of(arena_printf(l->a, "@%s", d->name)))) {
			report_error(&l->report, &st->words[1], "the address is not one of %s", d->name);
			continue;
		}
		urls.words++;
		urls.count--;
		loader_backend_urls(l, &urls, &b);
		routes[d->route_count++] = (struct domain_route){ form.canonical, loader_share_backend(l, &b) };
	}
	d->routes = routes;
}

const struct backend *config_backend(const struct domain_conf *d, struct slice canonical)
{
	for (size_t i = 0; i < d->route_count; i++)
		if (slice_eq(d->routes[i].canonical, canonical))
			return d->routes[i].backend;
	return d->backend;
}

void loader_read_domain(struct loader *l, const struct statement *block)
{
	struct domain_draft draft = { .conf = &l->c->domains[l->c->domain_count], .shrink_guard = 20,
		.backend = arena_new(l->a, struct backend) };
	struct slice name;

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "domain NAME { ... }");
		return;
	}
	name = domain_valid(block->words[1].text, true) ? domain_canonical(l->a, block->words[1].text) : SLICE_NULL;
	if (name.n == 0)
		report_error(&l->report, &block->words[1], "'%.*s' is no domain name", SLICE_ARG(block->words[1].text));
	draft.conf->name = slice_cstr(l->a, name.n ? name : SLICE("invalid"));
	loader_backend_defaults(l, draft.backend);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "domain", st, draft.backend);

		if (o)
			read_domain_option(l, o, st, &draft);
	}
	loader_defaults(l, "bounces", &draft.conf->bounces);
	if (draft.bounces)
		loader_read_bounces(l, draft.bounces, draft.conf);
	check_domain(l, block, &draft);
	read_sources(l, &draft);
	draft.conf->backend = loader_share_backend(l, draft.backend);
	l->c->domain_count++;
	if (name.n > 0)
		index_domain(l, &block->words[1], draft.conf->name, draft.conf);
	read_routes(l, &draft);
	index_aliases(l, &draft);
}

const struct domain_conf *config_domain(const struct config *c, struct slice name)
{
	struct table_link *link = table_find(&c->domain_index, hash_bytes(name.p, name.n), domain_matches, &name);

	return link ? container_of(link, struct domain_entry, link)->conf : NULL;
}

struct slice config_own_name(const struct domain_conf *d, struct arena *a, struct slice canonical)
{
	if (slice_eq(address_domain(canonical), slice_of(d->name)))
		return canonical;
	return slice_of(arena_printf(a, "%.*s@%s", (int)slice_rfind(canonical, '@'), canonical.p, d->name));
}

const struct domain_conf *config_address(const struct config *c, struct arena *a, struct slice address, struct slice *canonical)
{
	const struct domain_conf *d;

	*canonical = SLICE_NULL;
	if (!address_canonical(a, address, SLICE_NULL, canonical))
		return NULL;
	d = config_domain(c, address_domain(*canonical));
	if (!d)
		return NULL;
	address_canonical(a, address, d->separators, canonical);
	*canonical = config_own_name(d, a, *canonical);
	return d;
}
