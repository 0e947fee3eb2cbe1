/*
 * `spurn auth`: what SPF, DKIM, DMARC and ARC say of a message, without a daemon; by the records of a zone file and as of a
 * time, if wanted, so that a message can be judged again when its keys are long gone.
 *
 * With -c the configuration's own options hold (trusted sealers, the tree walk, its resolver and name), else the defaults.
 */
#include "app/tool_mail.h"

#include "check/spf.h"
#include "wire/authres.h"
#include "wire/dmarc_record.h"

#include <unistd.h>

#define PATIENCE (30 * NS_PER_SECOND)
#define HEADER_MAX (16u * 1024u * 1024u)
#define FIELDS_MAX 100000u
#define KEYS 64u

struct auth_run {
	struct tool *tool;
	struct dns *dns;
	struct dkim_keys *keys;
	const char *hostname;
	struct dkim_conf dkim_conf;
	struct dmarc_conf dmarc_conf;
	struct arc_conf arc_conf;
	struct client_facts client;
	struct envelope envelope;
	struct header header;
	struct body_hashes *hashes;
	struct dkim_check *dkim;
	struct arc_check *arc;
	size_t messages;
	bool told;		/* the checks have the header section */
	int64_t now;
};

/* ---- the message ---- */

static void begin(void *arg, const char *name)
{
	struct auth_run *r = arg;

	r->messages++;
}

static void header_told(struct auth_run *r)
{
	r->told = true;
	dkim_header(r->dkim, &r->header, r->hashes);
	arc_header(r->arc, &r->header, r->hashes);
	body_hashes_push(r->hashes, r->header.body_lead);
}

static void take(void *arg, struct slice piece)
{
	struct auth_run *r = arg;
	size_t taken;

	if (r->messages > 1)
		return;
	taken = r->told ? 0 : header_push(&r->header, piece);
	if (!r->told && r->header.done)
		header_told(r);
	if (r->told)
		body_hashes_push(r->hashes, slice_from(piece, taken));
}

static void end(void *arg)
{
	struct auth_run *r = arg;

	if (r->told)
		return;
	header_finish(&r->header);
	header_told(r);
}

static ASYNC void evaluate(void *arg)
{
	struct auth_run *r = arg;
	struct envelope *e = &r->envelope;
	deadline until = deadline_in(PATIENCE);

	spf_check(r->dns, e, r->hostname, &e->auth.spf, &e->findings, until);
	dkim_finish(r->dkim, r->dns, r->keys, r->now, &e->auth, &e->findings, until);
	arc_finish(r->arc, r->dns, r->keys, &e->auth, &e->findings, until);
	dmarc_evaluate(r->dns, e->arena, &r->dmarc_conf, &r->header, false, &e->auth, &e->findings, until);
}

/* ---- what is printed ---- */

/* What strangers wrote may be no UTF-8, which jansson does not take. */
static json_t *text_of(struct auth_run *r, struct slice s)
{
	return s.n > 0 ? json_string(tool_safe(r->tool, s)) : json_null();
}

static json_t *json_dkim(struct auth_run *r)
{
	json_t *list = json_array();

	for (const struct dkim_facts *f = r->envelope.auth.dkim; f; f = f->next)
		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:s}", "result", result_name(f->result), "domain",
			text_of(r, f->domain), "selector", text_of(r, f->selector), "reason", f->reason));
	return list;
}

static void print_json(struct auth_run *r, const char *field)
{
	const struct auth_facts *auth = &r->envelope.auth;
	const struct dmarc_facts *d = &auth->dmarc;
	json_t *out = json_pack("{s:{s:s, s:o, s:s}, s:o, s:{s:s, s:s?, s:o, s:s, s:s?}, s:{s:s, s:i, s:o, s:s}, s:s}",
		"spf", "result", result_name(auth->spf.result), "domain", text_of(r, auth->spf.domain), "reason",
		auth->spf.reason,
		"dkim", json_dkim(r),
		"dmarc", "result", result_name(d->result), "policy", d->policy ? dmarc_policy_name(d->policy) : NULL, "domain",
		text_of(r, d->policy_domain.n > 0 ? d->policy_domain : d->from_domain), "reason", d->reason, "defect", d->defect,
		"arc", "result", result_name(auth->arc.result), "sets", (int)auth->arc.sets, "sealer",
		text_of(r, auth->arc.sealer), "reason", auth->arc.reason,
		"authentication_results", field);
	char *text = json_dumps(out, JSON_COMPACT);

	tool_print(r->tool, "%s\n", text);
	free(text);
	json_decref(out);
}

static void print_text(struct auth_run *r, const char *field)
{
	for (const struct finding *f = r->envelope.findings.first; f; f = f->next)
		tool_print(r->tool, "%-5s %-9s %s%s%s%s\n", check_name(f->check), result_name(f->result), f->reason,
			f->evidence ? " [" : "", f->evidence ? f->evidence : "", f->evidence ? "]" : "");
	tool_print(r->tool, "Authentication-Results: %s\n", field);
}

/* The value of the field on one line. */
static const char *field_value(struct auth_run *r)
{
	struct str value = STR_IN(&r->tool->arena), line = STR_IN(&r->tool->arena);

	authres_write_value(&value, r->hostname, &r->envelope.auth, &r->client);
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] != '\r' && value.p[i] != '\n')
			str_addc(&line, value.p[i] == '\t' ? ' ' : value.p[i]);
	return str_cstr(&line);
}

/* ---- arguments ---- */

static bool set_sender(struct auth_run *r, const char *text)
{
	struct path *path = &r->envelope.reverse_path;
	struct slice s = slice_of(text);
	ptrdiff_t at;

	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = slice_make(s.p + 1, s.n - 2);
	at = slice_rfind(s, '@');
	*path = (struct path){ .text = s, .null = s.n == 0 };
	if (s.n == 0)
		return true;
	if (at <= 0 || (size_t)at + 1 == s.n)
		return false;
	path->local = slice_head(s, (size_t)at);
	path->domain = slice_from(s, (size_t)at + 1);
	return true;
}

static bool set_options(struct auth_run *r)
{
	static char name[256] = "localhost";
	struct config *c;

	r->dkim_conf.max_signatures = 10;
	if (strcmp(r->tool->config, TOOL_CONFIG) == 0) {
		if (gethostname(name, sizeof(name) - 1) != 0 || !domain_valid(slice_of(name), false))
			strcpy(name, "localhost");
		r->hostname = name;
		return true;
	}
	c = tool_config(r->tool);
	if (!c)
		return false;
	r->hostname = c->hostname;
	r->dkim_conf = c->dkim;
	r->dmarc_conf = c->dmarc;
	r->arc_conf = c->arc;
	return true;
}

static int run(struct auth_run *r, const char *path, bool json)
{
	struct mail_sink sink = { r, begin, take, end };
	struct arena *a = &r->tool->arena;
	const enum result *spf = &r->envelope.auth.spf.result, *dmarc = &r->envelope.auth.dmarc.result;
	const char *field;

	r->envelope.arena = a;
	r->envelope.client = &r->client;
	r->hashes = body_hashes_new(a);
	r->dkim = dkim_begin(a, &r->dkim_conf);
	r->arc = arc_begin(a, &r->arc_conf);
	header_init(&r->header, a, HEADER_MAX, FIELDS_MAX);
	if (!tool_mail_each(r->tool, path, &sink))
		return EX_NOINPUT;
	if (r->messages != 1)
		return tool_fail(EX_DATAERR, "%s: %s message", path, r->messages == 0 ? "no" : "more than one");
	r->keys = dkim_keys_open(KEYS);
	tool_run_fiber("auth", evaluate, r);
	dkim_keys_close(r->keys);
	body_hashes_drop(r->hashes);
	field = field_value(r);
	if (json)
		print_json(r, field);
	else
		print_text(r, field);
	return *spf == RESULT_TEMPERROR || *dmarc == RESULT_TEMPERROR ? EX_TEMPFAIL : 0;
}

int tool_auth(struct tool *t, int argc, char **argv)
{
	const char *ip = NULL, *helo = "", *from = NULL, *zone = NULL, *time = NULL;
	struct auth_run r = { .tool = t };
	bool json = false;
	const struct tool_option wanted[] = { { "ip", &ip, NULL, NULL }, { "helo", &helo, NULL, NULL },
		{ "from", &from, NULL, NULL }, { "zone", &zone, NULL, NULL }, { "time", &time, NULL, NULL },
		{ "json", NULL, &json, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted), status;
	uint64_t when = 0;

	if (words < 0)
		return EX_USAGE;
	if (words > 1)
		return tool_misused(t, "%s is too much", tool_safe(t, slice_of(argv[1])));
	if (!ip || !from)
		return tool_misused(t, "%s is missing", !ip ? "--ip" : "--from");
	if (!ip_parse(&r.client.ip, slice_of(ip)))
		return tool_misused(t, "--ip %s: not an IP address", tool_safe(t, slice_of(ip)));
	if (!set_sender(&r, from))
		return tool_misused(t, "--from %s: not an address", tool_safe(t, slice_of(from)));
	if (time && !slice_number(slice_of(time), INT64_MAX, &when))
		return tool_misused(t, "--time %s: not seconds since 1970", tool_safe(t, slice_of(time)));
	r.client.helo = slice_of(helo);
	if (!set_options(&r))
		return EX_CONFIG;
	r.dns = tool_resolver(t, zone, &status);
	if (!r.dns)
		return status;
	r.now = time ? (int64_t)when : clock_wall_seconds();
	status = run(&r, words > 0 ? argv[0] : "-", json);
	dns_close(r.dns);
	return status;
}
