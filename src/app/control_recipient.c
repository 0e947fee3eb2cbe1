/*
 * What `spurn recipient` asks: what each source says about an address, what the
 * cache remembers, and, on demand, what the backend says now.
 *
 * A probe is the live RCPT with a null sender on a pooled connection, reset
 * afterwards: the backend sees what it sees of any sender. It teaches the cache
 * nothing: the postmaster looks at the sources side by side, and `forget` is the
 * command that changes something.
 */
#include "app/control.h"

#include <time.h>

#define PROBE_BUDGET (30 * NS_PER_SECOND)

struct subject {
	struct path path;
	struct slice canonical;
	const struct domain_conf *domain;
};

static const char *answer_name(enum recipient_answer answer)
{
	switch (answer) {
	case RECIPIENT_EXISTS:
		return "exists";
	case RECIPIENT_NO_SUCH_USER:
		return "no-such-user";
	case RECIPIENT_ASK:
		return "ask";
	case RECIPIENT_CANNOT_TELL:
		break;
	}
	return "unknown";
}

/* false: *why. */
static bool subject_parse(struct subject *s, struct arena *a, struct slice text, const char **why)
{
	const struct config *c = worker.edge.config;
	struct address_form form;
	struct slice rest = slice_of(arena_printf(a, "<%.*s>", SLICE_ARG(text)));

	if (text.n > 0 && text.p[0] == '<')
		rest = text;
	*why = "not an address";
	if (slice_find(text, '\0') >= 0 || !path_parse_forward(&s->path, &rest, true, why))
		return false;
	if (slice_trim(rest).n > 0 || s->path.domain.n == 0)
		return false;
	*why = "the domain is not one of this configuration";
	struct slice domain = domain_canonical(a, s->path.domain);

	s->domain = slice_empty(domain) ? NULL : config_domain(c, domain);
	if (!s->domain)
		return false;
	*why = "the address has no canonical form";
	if (!address_form(a, &s->path, s->domain->separators, &form))
		return false;
	/* An address under an alias is one of the domain, as at RCPT. */
	s->canonical = slice_of(arena_printf(a, "%.*s@%s", (int)slice_rfind(form.canonical, '@'), form.canonical.p,
		s->domain->name));
	return true;
}

static void add_source(struct str *out, const char *source, const char *answer, struct slice detail)
{
	json_open(out, NULL, '{');
	json_cstr(out, "source", source);
	json_cstr(out, "answer", answer);
	json_text(out, "detail", detail);
	str_addc(out, '}');
}

static void say_time(struct str *out, const char *label, time_t t)
{
	char text[25];

	clock_rfc3339((nanoseconds)t * NS_PER_SECOND, text);
	str_printf(out, "%s%s %.19sZ", out->n > 0 ? ", " : "", label, text);
}

/* false: it knows nothing that holds. */
static bool add_cache(struct str *out, const struct subject *s, enum recipient_answer *answer)
{
	struct recipient_cache_entry entry;
	struct str detail = STR_IN(out->arena);
	struct store *store = worker.edge.services.store;

	if (!store || !recipient_show(store, s->canonical, &entry)) {
		add_source(out, "cache", "none", store ? SLICE_NULL : SLICE("the store is not open"));
		return false;
	}
	*answer = entry.answer;
	say_time(&detail, "first", entry.first);
	say_time(&detail, "last", entry.last);
	say_time(&detail, "until", entry.expires);
	str_puts(&detail, ", said: ");
	str_escaped(&detail, slice_make(entry.reply, strnlen(entry.reply, sizeof(entry.reply))), sizeof(entry.reply));
	add_source(out, "cache", entry.answer == RECIPIENT_CANNOT_TELL ? "unconfirmed" : answer_name(entry.answer),
		str_slice(&detail));
	return true;
}

/* A directory and its copy. It is asked only by a probe. */
static ASYNC enum recipient_answer add_directory(struct str *out, const struct subject *s,
	const struct recipient_source *source, bool probe, deadline d)
{
	const char *name = arena_printf(out->arena, "directory %s", source->directory->name), *why = "not asked";
	enum recipient_answer answer = RECIPIENT_CANNOT_TELL;

	if (probe)
		answer = recipient_ask_directory(source->directory, s->canonical, out->arena, &why, d);
	add_source(out, name, answer_name(answer), answer == RECIPIENT_CANNOT_TELL ? slice_of(why) : SLICE_NULL);
	if (source->file) {
		bool has = list_file_contains_address(source->file, s->canonical);

		add_source(out, arena_printf(out->arena, "copy %s", list_file_path(source->file)),
			answer_name(has ? RECIPIENT_EXISTS : RECIPIENT_NO_SUCH_USER), slice_of(list_file_trouble(source->file)));
		if (has && answer == RECIPIENT_CANNOT_TELL)
			answer = RECIPIENT_EXISTS;
	}
	return answer;
}

/* What is known before the backend is asked: the answer that RCPT would begin with. */
static ASYNC enum recipient_answer add_known(struct str *out, const struct subject *s, bool probe, deadline d)
{
	const struct recipient_conf *conf = &s->domain->recipients;
	enum recipient_answer answer = RECIPIENT_CANNOT_TELL, cached = RECIPIENT_ASK;
	bool settled = false, unsure = false;

	for (size_t i = 0; i < conf->source_count; i++) {
		const struct recipient_source *source = &conf->sources[i];
		enum recipient_answer said = RECIPIENT_ASK;

		if (source->kind == SOURCE_FILE) {
			bool has = list_file_contains_address(source->file, s->canonical);

			said = has ? RECIPIENT_EXISTS : RECIPIENT_NO_SUCH_USER;
			add_source(out, arena_printf(out->arena, "file %s", list_file_path(source->file)),
				answer_name(said), slice_of(list_file_trouble(source->file)));
		} else if (source->kind == SOURCE_DIRECTORY) {
			said = add_directory(out, s, source, probe, d);
			unsure = unsure || said == RECIPIENT_CANNOT_TELL;
		} else if (add_cache(out, s, &cached) && cached != RECIPIENT_CANNOT_TELL) {
			said = cached;
		}
		/* A list's "no" is final only if no source follows. */
		if (!settled)
			answer = said;
		settled = settled || said == RECIPIENT_EXISTS || source->kind == SOURCE_CALLFORWARD;
	}
	/* Nor is another's "no", where one could not tell: it might have known him. */
	if (answer == RECIPIENT_NO_SUCH_USER && unsure && !conf->callforward)
		answer = RECIPIENT_CANNOT_TELL;
	return answer;
}

/* MAIL and RCPT on one connection. false: the question about the mailbox was not answered; *why. */
static ASYNC bool ask(struct smtp_client *c, struct arena *a, const struct subject *s, struct reply *out,
	const char **why, deadline d)
{
	const struct envelope null_sender = { .reverse_path = { .null = true }, .smtputf8 = s->path.utf8 };
	const struct recipient recipient = { .path = s->path, .for_backend = s->path.text };
	struct reply mail;

	/* Not smtp_client_queue(): the pool would not know that there is a transaction to reset. */
	smtp_client_queue_mail(c, &null_sender, 0);
	smtp_client_queue_rcpt(c, &recipient);
	if (!smtp_client_reply(c, a, &mail, why, "backend MAIL", d))
		return false;
	if (c->broken || !reply_is_positive(&mail)) {
		*out = mail;
		*why = "the backend refuses the null sender";
		return false;
	}
	return smtp_client_reply(c, a, out, why, "backend RCPT", d);
}

/* A backend's words, on one line. */
static struct slice said_of(struct arena *a, const struct reply *r)
{
	struct str text = STR_IN(a);

	if (r->code == 0)
		return SLICE_NULL;
	str_printf(&text, "%u ", r->code);
	if (r->enhanced.class)
		str_printf(&text, "%u.%u.%u ", r->enhanced.class, r->enhanced.subject, r->enhanced.detail);
	str_escaped(&text, r->text, 512);
	return str_slice(&text);
}

static ASYNC enum recipient_answer add_probe(struct str *out, const struct subject *s, deadline d)
{
	struct arena *a = out->arena;
	const struct backend *b = config_backend(s->domain, s->canonical);
	const char *why = NULL, *url = b->name;
	enum recipient_answer answer = RECIPIENT_CANNOT_TELL;
	struct str detail = STR_IN(a);
	struct reply reply = { 0 };

	for (int attempt = 0; attempt < 2; attempt++) {
		struct smtp_client *c = pool_take(worker.edge.services.pool, a, b, attempt > 0, &reply, &why, d);
		bool warm = c && !c->fresh, done;

		if (!c)
			break;
		url = arena_copy(a, c->host->url, strlen(c->host->url));
		why = NULL;
		done = ask(c, a, s, &reply, &why, d);
		if (why)
			why = arena_copy(a, why, strlen(why));
		if (done)
			answer = recipient_answer_of(&reply, c->capabilities & CAP_ENHANCED);
		if (!c->broken) {
			pool_reset_and_give(worker.edge.services.pool, c);
			break;
		}
		pool_discard(worker.edge.services.pool, c, !warm && !done);
		if (done || !warm || reply.code)
			break;
	}
	str_add(&detail, said_of(a, &reply));
	if (why)
		str_printf(&detail, "%s%s", detail.n ? "; " : "", why);
	add_source(out, arena_printf(a, "callforward %s", url), answer_name(answer), str_slice(&detail));
	return answer;
}

/* Files and directories that say no, or cannot tell, have the last word where the backend is not a source. */
static enum recipient_answer combine(const struct recipient_conf *conf, enum recipient_answer known,
	enum recipient_answer live)
{
	if (!conf->callforward && known != RECIPIENT_EXISTS)
		return known;
	return live;
}

static ASYNC void show(struct str *out, const struct subject *s, bool probe, deadline d)
{
	enum recipient_answer answer;

	str_addc(out, '{');
	json_text(out, "address", s->canonical);
	json_cstr(out, "domain", s->domain->name);
	json_open(out, "sources", '[');
	answer = add_known(out, s, probe, deadline_min(d, deadline_in(PROBE_BUDGET)));
	if (probe)
		answer = combine(&s->domain->recipients, answer, add_probe(out, s, deadline_min(d,
			deadline_in(PROBE_BUDGET))));
	str_addc(out, ']');
	json_cstr(out, "answer", answer_name(answer));
	str_puts(out, "}\n");
}

static void forget(struct str *out, const struct subject *s)
{
	struct store *store = worker.edge.services.store;

	if (!store) {
		control_error(out, "the store is not open");
		return;
	}
	str_addc(out, '{');
	json_text(out, "address", s->canonical);
	json_bool(out, "forgotten", recipient_forget(&s->domain->recipients, store, s->canonical));
	str_puts(out, "}\n");
}

void control_recipient(struct str *out, struct slice arguments, deadline d)
{
	struct slice verb = slice_word(&arguments);
	bool probe = slice_eq(verb, SLICE("probe"));
	struct config *c = worker.edge.config;
	struct subject s = { 0 };
	const char *why;

	if (!probe && !slice_eq(verb, SLICE("show")) && !slice_eq(verb, SLICE("forget"))) {
		control_error(out, "recipient show, probe or forget, and an address");
		return;
	}
	/* A reload during the probe must not take the domain away from under it. */
	config_ref(c);
	if (!subject_parse(&s, out->arena, slice_trim(arguments), &why))
		control_error(out, "%s", why);
	else if (slice_eq(verb, SLICE("forget")))
		forget(out, &s);
	else
		show(out, &s, probe, d);
	config_unref(c);
}
