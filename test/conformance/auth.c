/*
 * Driver of run_auth.py, by "op":
 *
 *   organization  "domain" -> {"domain": ... or null}
 *   aligned       "one", "other", "strict" -> {"aligned": true}
 *   dmarc         "from" (value of the field), "spf" [DOMAIN that passes], "dkim" [DOMAIN that passes], "tree", "dns"
 *                 -> {"result": ..., "policy": ..., "domain": ..., "reason": ...}
 *   message       "message" BASE64, "ip", "helo", "mail_from", "time", "dns"
 *                 -> {"spf": ..., "dkim": [...], "dmarc": ..., "policy": ..., "arc": ..., "reasons": [...]}
 *   seal          "message" BASE64, "domain", "selector", "key" PATH, "names" (h=), "results" (what we found), "time", "dns"
 *                 -> {"chain": ..., "fields": "ARC-Seal: ..." or ""}
 *   authres       "value" -> {"parses": true, "known": true, "server": ..., "version": 1, "results": [...]}
 *
 * dns: {NAME: {TYPE: [TEXT, ...] or "NXDOMAIN"|"NODATA"|"SERVFAIL"|"TIMEOUT"}}, names in lower case; CNAME is followed. Time
 * is fake.
 */
#include "check/arc.h"
#include "check/arc_seal.h"
#include "check/dkim.h"
#include "check/dmarc.h"
#include "check/organization.h"
#include "check/spf.h"
#include "run/loop.h"
#include "wire/authres.h"
#include "wire/dmarc_record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIASES 8
#define PATIENCE (20 * NS_PER_SECOND)

static struct arena arena;	/* of a line */
static struct dns *dns;
static struct dkim_keys *keys;
static json_t *zone;
static const struct dkim_conf dkim_conf = { .max_signatures = 20 };
static const struct arc_conf arc_conf = { .trusted = NULL };

static struct slice text_at(const json_t *in, const char *name)
{
	const json_t *value = json_object_get(in, name);

	return slice_make(json_string_value(value), json_string_length(value));
}

/* ---- DNS ---- */

static struct dns_record record_read(enum dns_type type, struct slice text)
{
	struct dns_record r = { .preference = 0 };
	uint64_t preference = 0;

	if (type == DNS_A || type == DNS_AAAA) {
		ip_parse(&r.ip, text);
		return r;
	}
	if (type == DNS_MX && slice_number(slice_word(&text), 65535, &preference))
		r.preference = (uint16_t)preference;
	text = type == DNS_TXT ? text : slice_trim(text);
	if (type != DNS_TXT && text.n > 0 && text.p[text.n - 1] == '.')
		text.n--;
	r.text = slice_copy(&arena, text);
	return r;
}

static void find(struct slice name, enum dns_type type, struct dns_answer *out, int aliases)
{
	const json_t *types = json_object_get(zone, slice_cstr(&arena, slice_lower(&arena, name))), *records, *text;
	const char *status;
	size_t i;

	records = json_object_get(types, dns_type_name(type));
	status = json_string_value(records);
	out->status = !types || (status && strcmp(status, "NXDOMAIN") == 0) ? DNS_NXDOMAIN : DNS_NODATA;
	if (status && (strcmp(status, "SERVFAIL") == 0 || strcmp(status, "TIMEOUT") == 0)) {
		out->status = DNS_TROUBLE;
		out->why = status;
	}
	if (!records && json_object_get(types, "CNAME") && aliases < ALIASES) {
		text = json_array_get(json_object_get(types, "CNAME"), 0);
		find(record_read(DNS_CNAME, slice_of(json_string_value(text))).text, type, out, aliases + 1);
	}
	if (!json_is_array(records) || json_array_size(records) == 0)
		return;
	out->status = DNS_FOUND;
	out->records = arena_array(&arena, struct dns_record, json_array_size(records));
	json_array_foreach(records, i, text)
		out->records[out->count++] = record_read(type, slice_make(json_string_value(text), json_string_length(text)));
}

static bool source(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	*delay = 0;
	*out = (struct dns_answer){ .ttl = 60 };
	find(name, type, out, 0);
	return true;
}

static json_t *text_or_null(struct slice s)
{
	json_t *text = s.n ? json_stringn(s.p, s.n) : NULL;

	return text ? text : json_null();
}

/* ---- a message, or as much of one as there is ---- */

struct work {
	struct envelope envelope;
	struct client_facts client;
	struct header header;
	struct dmarc_conf conf;
	struct dkim_check *dkim;	/* NULL: DMARC alone */
	struct arc_check *arc;
	struct slice body;
	int64_t now;
};

static ASYNC void run(void *arg)
{
	struct work *w = arg;
	struct envelope *e = &w->envelope;
	deadline until = deadline_in(PATIENCE);

	if (w->dkim) {
		spf_check(dns, e, "mx.example.org", &e->auth.spf, &e->findings, until);
		dkim_finish(w->dkim, dns, keys, w->now, &e->auth, &e->findings, until);
		arc_finish(w->arc, dns, keys, &e->auth, &e->findings, until);
	}
	dmarc_evaluate(dns, &arena, &w->conf, &w->header, false, &e->auth, &e->findings, until);
}

static void run_fiber(struct work *w)
{
	struct fiber_job fiber = { 0 };

	fiber_start(&fiber, "auth", run, w);
	while (fiber_job_active(&fiber))
		if (!loop_turn(DEADLINE_NONE))
			abort();
}

static struct work *work_new(const json_t *in)
{
	struct work *w = arena_new(&arena, struct work);

	w->conf.organization = json_is_true(json_object_get(in, "tree")) ? ORGANIZATION_TREE_WALK : ORGANIZATION_SUFFIX_LIST;
	w->envelope.arena = &arena;
	w->envelope.client = &w->client;
	header_init(&w->header, &arena, UINT32_MAX, 100000);
	return w;
}

static json_t *answer_dmarc(const json_t *in)
{
	struct work *w = work_new(in);
	struct auth_facts *auth = &w->envelope.auth;
	struct dkim_facts **last = &auth->dkim;
	struct str from = STR_IN(&arena);
	const json_t *domain;
	size_t i;

	str_puts(&from, "From: ");
	str_add(&from, text_at(in, "from"));
	str_puts(&from, "\r\n\r\n");
	header_push(&w->header, str_slice(&from));
	header_finish(&w->header);
	json_array_foreach(json_object_get(in, "spf"), i, domain)
		auth->spf = (struct spf_facts){ .asked = true, .result = RESULT_PASS,
			.domain = slice_of(json_string_value(domain)) };
	json_array_foreach(json_object_get(in, "dkim"), i, domain) {
		*last = arena_new(&arena, struct dkim_facts);
		**last = (struct dkim_facts){ .result = RESULT_PASS, .domain = slice_of(json_string_value(domain)) };
		last = &(*last)->next;
	}
	run_fiber(w);
	return json_pack("{s:s, s:o, s:o, s:s}", "result", result_name(auth->dmarc.result), "policy",
		auth->dmarc.policy ? json_string(dmarc_policy_name(auth->dmarc.policy)) : json_null(), "domain",
		text_or_null(auth->dmarc.policy_domain), "reason", auth->dmarc.reason);
}

static void read_message(struct work *w, const json_t *in, struct body_hashes *hashes)
{
	struct str octets = STR_IN(&arena);
	size_t taken;

	if (!str_base64_decode(&octets, text_at(in, "message")))
		abort();
	taken = header_push(&w->header, str_slice(&octets));
	header_finish(&w->header);
	w->dkim = dkim_begin(&arena, &dkim_conf);
	w->arc = arc_begin(&arena, &arc_conf);
	dkim_header(w->dkim, &w->header, hashes);
	arc_header(w->arc, &w->header, hashes);
	w->body = slice_from(str_slice(&octets), taken);
}

static json_t *answer_message(const json_t *in)
{
	struct work *w = work_new(in);
	struct auth_facts *auth = &w->envelope.auth;
	struct body_hashes *hashes = body_hashes_new(&arena);
	struct slice from = text_at(in, "mail_from");
	ptrdiff_t at = slice_rfind(from, '@');
	json_t *dkim = json_array(), *reasons = json_array();

	w->now = json_integer_value(json_object_get(in, "time"));
	w->envelope.reverse_path = (struct path){ .text = from, .null = from.n == 0 };
	if (at >= 0) {
		w->envelope.reverse_path.local = slice_head(from, (size_t)at);
		w->envelope.reverse_path.domain = slice_from(from, (size_t)at + 1);
	}
	w->client.helo = text_at(in, "helo");
	ip_parse(&w->client.ip, text_at(in, "ip"));
	read_message(w, in, hashes);
	body_hashes_push(hashes, w->body);
	run_fiber(w);
	body_hashes_drop(hashes);
	for (const struct dkim_facts *f = auth->dkim; f; f = f->next)
		json_array_append_new(dkim, json_string(result_name(f->result)));
	for (const struct finding *f = w->envelope.findings.first; f; f = f->next)
		json_array_append_new(reasons, json_sprintf("%s=%s: %s", check_name(f->check), result_name(f->result), f->reason));
	return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o}", "spf", result_name(auth->spf.result), "dkim", dkim, "dmarc",
		result_name(auth->dmarc.result), "policy", auth->dmarc.policy ?
		json_string(dmarc_policy_name(auth->dmarc.policy)) : json_null(), "arc", result_name(auth->arc.result),
		"reasons", reasons);
}

/* ---- sealing ---- */

static ASYNC void validate(void *arg)
{
	struct work *w = arg;

	arc_finish(w->arc, dns, keys, &w->envelope.auth, &w->envelope.findings, deadline_in(PATIENCE));
}

static void fill_sealing(struct arc_sealing *g, const struct work *w, struct dkim_signer *signer, const json_t *in)
{
	const char *why;

	signer->domain = text_at(in, "domain");
	signer->selector = text_at(in, "selector");
	if (!dkim_signer_load(signer, &arena, json_string_value(json_object_get(in, "key")), &why)) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	*g = (struct arc_sealing){ .signer = signer, .header = &w->header, .chain = w->envelope.auth.arc.result,
		.instance = arc_next_instance(&arena, &w->header), .results = text_at(in, "results"),
		.names = text_at(in, "names"), .now = json_integer_value(json_object_get(in, "time")) };
}

static json_t *answer_seal(const json_t *in)
{
	struct work *w = work_new(in);
	struct body_hashes *hashes = body_hashes_new(&arena);
	struct dkim_signer signer = { .pkey = NULL };
	struct str fields = STR_IN(&arena);
	struct fiber_job fiber = { 0 };
	const struct body_hash *body;
	struct arc_sealing g;
	struct arc_sets sets;
	const char *why;

	read_message(w, in, hashes);
	body = body_hashes_want(hashes, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	body_hashes_push(hashes, w->body);
	fiber_start(&fiber, "validate", validate, w);
	while (fiber_job_active(&fiber))
		if (!loop_turn(DEADLINE_NONE))
			abort();
	fill_sealing(&g, w, &signer, in);
	g.body_hash = body->value;
	arc_sets_read(&sets, &arena, &w->header, &why);
	g.sets = &sets;
	if (!w->envelope.auth.arc.ended && !arc_seal(&fields, &g))
		abort();
	dkim_signer_drop(&signer);
	body_hashes_drop(hashes);
	return json_pack("{s:s, s:s%}", "chain", result_name(g.chain), "fields", fields.n ? fields.p : "", fields.n);
}

/* ---- the rest ---- */

static json_t *answer_organization(const json_t *in)
{
	struct slice domain = text_at(in, "domain"), canonical = domain_canonical(&arena, domain);

	if (domain.n > 0 && domain.p[0] == '.')
		canonical = SLICE_NULL;
	return json_pack("{s:o}", "domain", text_or_null(organization_registered(canonical)));
}

static json_t *answer_aligned(const json_t *in)
{
	return json_pack("{s:b}", "aligned", dmarc_aligned(domain_canonical(&arena, text_at(in, "one")),
		domain_canonical(&arena, text_at(in, "other")), json_is_true(json_object_get(in, "strict"))));
}

static json_t *answer_authres(const json_t *in)
{
	json_t *results = json_array();
	struct authres said;
	const char *why = NULL;
	bool known = true;

	if (!authres_parse(&said, &arena, text_at(in, "value"), &why)) {
		json_decref(results);
		return json_pack("{s:b, s:s}", "parses", false, "why", why);
	}
	for (const struct authres_result *r = said.results; r; r = r->next) {
		json_t *properties = json_object();
		for (const struct authres_property *p = r->properties; p; p = p->next)
			json_object_set_new(properties, arena_printf(&arena, "%.*s.%.*s", SLICE_ARG(p->type), SLICE_ARG(p->name)),
				json_stringn(p->value.p, p->value.n));
		json_array_append_new(results, json_pack("{s:o, s:o, s:i, s:o}", "method", text_or_null(r->method), "result",
			text_or_null(r->result), "version", (int)r->version, "properties", properties));
		known = known && r->known;
	}
	return json_pack("{s:b, s:b, s:o, s:i, s:o}", "parses", true, "known", known, "server", text_or_null(said.server),
		"version", (int)said.version, "results", results);
}

static json_t *answer(const json_t *in)
{
	static const struct { const char *op; json_t *(*answer)(const json_t *in); } ops[] = {
		{ "organization", answer_organization }, { "aligned", answer_aligned }, { "dmarc", answer_dmarc },
		{ "message", answer_message }, { "seal", answer_seal }, { "authres", answer_authres },
	};
	struct slice op = text_at(in, "op");

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (slice_eq(op, slice_of(ops[i].op)))
			return ops[i].answer(in);
	abort();
}

int main(void)
{
	static const struct dns_conf resolver = { .recurse = true, .trust_anchor_file = "" };
	const char *why = "";
	char *line = NULL;
	size_t size = 0;

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1600000000) * NS_PER_SECOND);
	loop_init();
	fiber_init(64, 64 * 1024);
	dns = dns_open(&arena, &resolver, &why);
	if (!dns) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	dns_set_source(dns, source, NULL);
	keys = dkim_keys_open(64);
	while (getline(&line, &size, stdin) > 0) {
		json_t *in = json_loads(line, 0, NULL), *out;

		if (json_object_get(in, "dns")) {
			json_decref(zone);
			zone = json_incref(json_object_get(in, "dns"));
		}
		out = answer(in);
		json_dumpf(out, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(out);
		json_decref(in);
		arena_drop(&arena);
	}
	free(line);
	json_decref(zone);
	dkim_keys_close(keys);
	dns_close(dns);
	fiber_drop();
	loop_drop();
	return 0;
}
