/*
 * Driver of run_spf.py: check_host() against a zone in memory.
 *
 *   in   {"zone": {NAME: [["A", "192.0.2.1"], ["MX", 10, NAME], ["TXT", TEXT], ["TIMEOUT"], ...]},
 *         "tests": [{"ip": "192.0.2.1", "helo": TEXT, "local": TEXT, "domain": TEXT}, ...], "seed": 0,
 *         "receiver": "mx.example.org"}
 *   out  [{"result": ..., "explanation": ..., "mechanism": ..., "record": ..., "reason": ..., "lookups": 1, "voids": 0}, ...]
 *
 * NAME and TEXT are octets in hex. "TIMEOUT": whatever the name has no records for times out;
 * "TROUBLE", TYPE: this type of it does. With a seed other than 0 each answer
 * comes late by chance, and its records in an order by chance. Time is fake and passes as the waits need it.
 */
#include "check/spf.h"
#include "run/loop.h"
#include "wire/dns_name.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define LATE (300 * NS_PER_MS)
#define ALIASES 10

static struct arena arena;	/* of a line */
static struct dns *dns;
static json_t *zone;
static const char *receiver;
static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static struct slice octets(const json_t *hex)
{
	const char *p = json_string_value(hex);
	struct str out = STR_IN(&arena);
	unsigned octet;

	for (; p && p[0] && sscanf(p, "%2x", &octet) == 1; p += 2)
		str_addc(&out, (char)octet);
	str_cstr(&out);
	return str_slice(&out);
}

/* ---- the zone ---- */

static const json_t *records_of(struct slice name)
{
	const char *key;
	json_t *records;

	json_object_foreach(zone, key, records) {
		json_t *hex = json_string(key);
		struct slice text = octets(hex);
		char shown[DNS_TEXT_MAX];
		struct dns_name n;
		bool same = dns_name_parse(&n, text) && slice_eq_nocase(slice_make(shown, dns_name_text(&n, shown)), name);

		json_decref(hex);
		if (same)
			return records;
	}
	return NULL;
}

static struct dns_record record_read(const json_t *row, enum dns_type type)
{
	struct dns_record r = { .preference = 0 };
	struct slice text;

	if (type == DNS_A || type == DNS_AAAA) {
		ip_parse(&r.ip, slice_of(json_string_value(json_array_get(row, 1))));
		return r;
	}
	if (type == DNS_MX)
		r.preference = (uint16_t)json_integer_value(json_array_get(row, 1));
	text = octets(json_array_get(row, type == DNS_MX ? 2 : 1));
	if (type != DNS_TXT && text.n > 0 && text.p[text.n - 1] == '.')
		text.n--;
	r.text = text;
	return r;
}

static void shuffle(struct dns_record *records, size_t count)
{
	for (size_t i = count; seed != 0 && i > 1; i--) {
		size_t other = chance(i);
		struct dns_record r = records[other];

		records[other] = records[i - 1];
		records[i - 1] = r;
	}
}

static bool find(struct slice name, enum dns_type type, struct dns_answer *out, int aliases)
{
	const json_t *records = records_of(name), *row;
	bool timeout = false;
	struct slice alias = SLICE_NULL;
	size_t i;

	out->status = records ? DNS_NODATA : DNS_NXDOMAIN;
	if (!records)
		return true;
	out->records = arena_array(&arena, struct dns_record, json_array_size(records) + 1);
	json_array_foreach(records, i, row) {
		const char *is = json_string_value(json_array_get(row, 0));

		if (strcmp(is, dns_type_name(type)) == 0)
			out->records[out->count++] = record_read(row, type);
		else if (strcmp(is, "TIMEOUT") == 0 || (strcmp(is, "TROUBLE") == 0 &&
			 strcmp(json_string_value(json_array_get(row, 1)), dns_type_name(type)) == 0))
			timeout = true;
		else if (strcmp(is, "CNAME") == 0)
			alias = record_read(row, DNS_CNAME).text;
	}
	if (out->count > 0) {
		out->status = DNS_FOUND;
		shuffle(out->records, out->count);
		return true;
	}
	if (alias.n > 0 && aliases < ALIASES)
		return find(alias, type, out, aliases + 1);
	return !timeout && alias.n == 0;
}

static bool source(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	*delay = seed != 0 ? (nanoseconds)chance((uint64_t)LATE) : 0;
	*out = (struct dns_answer){ .ttl = 60 };
	if (find(name, type, out, 0))
		return true;
	*out = (struct dns_answer){ .status = DNS_TROUBLE, .why = "timeout" };
	if (seed != 0)
		*delay = 60 * NS_PER_SECOND;
	return true;
}

/* ---- one test ---- */

struct asked {
	struct spf_question question;
	struct spf_answer answer;
};

static ASYNC void run(void *arg)
{
	struct asked *asked = arg;

	spf_check_host(dns, &arena, &asked->question, &asked->answer, deadline_in(20 * NS_PER_SECOND));
}

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *test(const json_t *t)
{
	struct ip ip;
	struct asked asked = { .question = { .ip = &ip, .helo = octets(json_object_get(t, "helo")),
		.local = octets(json_object_get(t, "local")), .domain = octets(json_object_get(t, "domain")),
		.receiver = receiver, .now = 1600000000 } };
	struct fiber_job fiber = { 0 };

	if (!ip_parse(&ip, slice_of(json_string_value(json_object_get(t, "ip")))))
		return json_pack("{s:s}", "result", "no address");
	fiber_start(&fiber, "spf", run, &asked);
	while (fiber_job_active(&fiber))
		if (!loop_turn(DEADLINE_NONE))
			abort();
	while (loop_turn(DEADLINE_NONE))	/* what was asked ahead in vain */
		;
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:i, s:i, s:b}", "result", result_name(asked.answer.result),
		"explanation", text_or_null(asked.answer.explanation), "mechanism", text_or_null(asked.answer.mechanism),
		"record", text_or_null(asked.answer.record), "reason", asked.answer.reason,
		"lookups", (int)asked.answer.lookups, "voids", (int)asked.answer.voids, "never_sends", asked.answer.never_sends);
}

int main(void)
{
	static const struct dns_conf conf = { .recurse = true, .trust_anchor_file = "" };
	const char *why = "";
	char *line = NULL;
	size_t size = 0;

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1600000000) * NS_PER_SECOND);
	loop_init();
	fiber_init(8, 64 * 1024);
	dns = dns_open(&arena, &conf, &why);
	if (!dns) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	dns_set_source(dns, source, NULL);
	while (getline(&line, &size, stdin) > 0) {
		json_t *in = json_loads(line, 0, NULL), *out = json_array(), *t;
		size_t i;

		zone = json_object_get(in, "zone");
		seed = (uint64_t)json_integer_value(json_object_get(in, "seed"));
		receiver = json_string_value(json_object_get(in, "receiver"));
		json_array_foreach(json_object_get(in, "tests"), i, t)
			json_array_append_new(out, test(t));
		json_dumpf(out, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(out);
		json_decref(in);
		arena_drop(&arena);
	}
	free(line);
	dns_close(dns);
	fiber_drop();
	loop_drop();
	return 0;
}
