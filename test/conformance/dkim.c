/*
 * Driver of run_dkim.py and of test/system/test_dkim.py: a message is verified, or made canonical.
 *
 *   in   {"message": BASE64, "dns": {"txt": {NAME: [TEXT, ...]}, "status": {NAME: "TIMEOUT"|"SERVFAIL"|"NXDOMAIN"}},
 *         "time": SECONDS, "cut": OCTETS}
 *   out  {"result": ..., "signatures": [{"result": ..., "domain": ..., "selector": ..., "identity": ..., "algorithm": ...,
 *         "bits": 1024, "partial": false, "reason": ...}, ...]}
 *   in   {"message": BASE64, "canon": "simple"|"relaxed", "cut": OCTETS}
 *   out  {"canonical": BASE64}
 *
 * TEXT may be {"hex": OCTETS}. The body is pushed in pieces of `cut` octets (0 or absent: whole). Without "dns" that of the line
 * before holds. Time is fake.
 */
#include "check/dkim.h"
#include "run/loop.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena arena;	/* of a line */
static struct dns *dns;
static struct dkim_keys *keys;
static json_t *zone;
static const struct dkim_conf conf = { .max_signatures = 20 };

static struct slice text_of(const json_t *value)
{
	const char *p = json_string_value(json_object_get(value, "hex"));
	struct str out = STR_IN(&arena);
	unsigned octet;

	if (!p)
		return slice_make(json_string_value(value), json_string_length(value));
	for (; p[0] && sscanf(p, "%2x", &octet) == 1; p += 2)
		str_addc(&out, (char)octet);
	return str_slice(&out);
}

static const json_t *under_name(const char *table, struct slice name)
{
	json_t *value;
	const char *key;

	json_object_foreach(json_object_get(zone, table), key, value)
		if (slice_eq_nocase(slice_of(key), name))
			return value;
	return NULL;
}

static bool source(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	const json_t *texts = under_name("txt", name), *text;
	const char *status = json_string_value(under_name("status", name));
	size_t i;

	*delay = 0;
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN, .ttl = 60 };
	if (status && strcmp(status, "NXDOMAIN") != 0) {
		out->status = DNS_TROUBLE;
		out->why = status;
	} else if (texts && type == DNS_TXT) {
		out->status = DNS_FOUND;
		out->records = arena_array(a, struct dns_record, json_array_size(texts) + 1);
		json_array_foreach(texts, i, text)
			out->records[out->count++].text = text_of(text);
	}
	return true;
}

/* ---- a message ---- */

struct parts {
	struct header header;
	struct slice body;
	size_t cut;
};

static void split(struct parts *p, const json_t *in)
{
	const json_t *text = json_object_get(in, "message");
	struct str octets = STR_IN(&arena);
	size_t taken;

	if (!str_base64_decode(&octets, slice_make(json_string_value(text), json_string_length(text))))
		abort();
	header_init(&p->header, &arena, UINT32_MAX, 100000);
	taken = header_push(&p->header, str_slice(&octets));
	header_finish(&p->header);
	p->body = slice_from(str_slice(&octets), taken);
	p->cut = (size_t)json_integer_value(json_object_get(in, "cut"));
}

static struct slice next_piece(struct parts *p)
{
	struct slice piece = p->cut ? slice_head(p->body, p->cut) : p->body;

	p->body = slice_from(p->body, piece.n);
	return piece;
}

struct verifying {
	struct dkim_check *check;
	struct auth_facts auth;
	struct findings found;
	int64_t now;
};

static ASYNC void run(void *arg)
{
	struct verifying *v = arg;

	dkim_finish(v->check, dns, keys, v->now, &v->auth, &v->found, deadline_in(20 * NS_PER_SECOND));
}

static json_t *text_or_null(struct slice s)
{
	return s.n ? json_stringn_nocheck(s.p, s.n) : json_null();
}

static json_t *verify(const json_t *in)
{
	struct verifying v = { .now = json_integer_value(json_object_get(in, "time")) };
	struct body_hashes *hashes = body_hashes_new(&arena);
	struct fiber_job fiber = { 0 };
	json_t *signatures = json_array();
	struct parts p = { .cut = 0 };

	split(&p, in);
	v.check = dkim_begin(&arena, &conf);
	dkim_header(v.check, &p.header, hashes);
	while (p.body.n > 0)
		body_hashes_push(hashes, next_piece(&p));
	fiber_start(&fiber, "dkim", run, &v);
	while (fiber_job_active(&fiber))
		if (!loop_turn(DEADLINE_NONE))
			abort();
	for (const struct dkim_facts *f = v.auth.dkim; f; f = f->next)
		json_array_append_new(signatures, json_pack("{s:s, s:o, s:o, s:o, s:o, s:i, s:b, s:s}",
			"result", result_name(f->result), "domain", text_or_null(f->domain),
			"selector", text_or_null(f->selector), "identity", text_or_null(f->identity),
			"algorithm", text_or_null(slice_of(f->algorithm)), "bits", (int)f->key_bits,
			"partial", f->partial, "reason", f->reason));
	body_hashes_drop(hashes);
	return json_pack("{s:s, s:o}", "result", result_name(dkim_best(&v.auth)), "signatures", signatures);
}

static void collect(void *arg, struct slice piece)
{
	str_add(arg, piece);
}

static json_t *canonical(const json_t *in, const char *word)
{
	struct canon_body *body = arena_alloc(&arena, sizeof(*body));
	struct str out = STR_IN(&arena), shown = STR_IN(&arena);
	struct parts p = { .cut = 0 };
	enum canon kind;

	split(&p, in);
	if (!canon_parse(slice_of(word), &kind))
		abort();
	for (uint32_t i = 0; i < p.header.count; i++)
		canon_field(&out, kind, &p.header.fields[i]);
	str_puts(&out, "\r\n");
	canon_body_init(body, kind, collect, &out);
	while (p.body.n > 0)
		canon_body_push(body, next_piece(&p));
	canon_body_finish(body);
	str_base64(&shown, str_slice(&out));
	return json_pack("{s:s}", "canonical", str_cstr(&shown));
}

int main(void)
{
	static const struct dns_conf resolver = { .recurse = true, .trust_anchor_file = "" };
	const char *why = "", *word;
	char *line = NULL;
	size_t size = 0;

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1600000000) * NS_PER_SECOND);
	loop_init();
	fiber_init(8, 64 * 1024);
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
		word = json_string_value(json_object_get(in, "canon"));
		out = word ? canonical(in, word) : verify(in);
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
