/*
 * check_host() against a DNS that the input writes: its first octets say how questions are answered, each further line
 * is a TXT record of some name. The answer is a function of name and type, so the same evaluation with answers late and
 * shuffled must come to the same.
 */
#include "base/log.h"
#include "check/spf.h"
#include "run/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define LINES 16

static struct slice lines[LINES];
static size_t line_count;
static uint32_t seed;
static bool late;
static unsigned questions;

static struct dns *dns;
static struct arena arena;

static uint32_t mix(uint32_t h, uint32_t octet)
{
	return (h ^ octet) * 16777619u;
}

static uint32_t hash_of(struct slice name, enum dns_type type)
{
	uint32_t h = mix(2166136261u ^ seed, (uint32_t)type);

	for (size_t i = 0; i < name.n; i++)
		h = mix(h, (uint8_t)name.p[i]);
	return h ^ h >> 15;
}

static void record_make(struct dns_record *r, enum dns_type type, uint32_t h)
{
	static const char *const hosts[] = { "a.example", "mx.b.example", "", "x.a.example", "c", "..", "b.example" };

	if (type == DNS_A)
		ip_parse(&r->ip, h % 3 ? SLICE("198.51.100.1") : SLICE("192.0.2.1"));
	else if (type == DNS_AAAA)
		ip_parse(&r->ip, h % 3 ? SLICE("2001:db8:f::1") : SLICE("2001:db8::1"));
	else if (type == DNS_TXT)
		r->text = line_count > 0 ? lines[h % line_count] : SLICE("");
	else
		r->text = slice_of(hosts[h % 7]);
}

static bool source(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	uint32_t h = hash_of(name, type);
	size_t count = h % 16 == 15 ? 11 : h % 16 < 11 ? 1 : h % 4;

	(void)arg;
	questions++;
	*delay = late ? (nanoseconds)(h % 977) * NS_PER_MS : 0;
	*out = (struct dns_answer){ .status = h % 8 == 7 ? DNS_TROUBLE : h % 8 == 6 ? DNS_NXDOMAIN :
		h % 32 == 5 ? DNS_NODATA : DNS_FOUND };
	if (out->status != DNS_FOUND || count == 0) {
		if (out->status == DNS_FOUND)
			out->status = DNS_NODATA;
		return true;
	}
	out->records = arena_array(a, struct dns_record, count);
	for (; out->count < count; out->count++)
		record_make(&out->records[late ? count - 1 - out->count : out->count], type,
			mix(h, (uint32_t)out->count));
	return true;
}

struct evaluation {
	struct spf_question question;
	struct spf_answer answer;
};

static ASYNC void run(void *arg)
{
	struct evaluation *e = arg;

	spf_check_host(dns, &arena, &e->question, &e->answer, deadline_in(1000 * NS_PER_SECOND));
}

static void check_answer(const struct spf_answer *a)
{
	BUG_ON(a->result > RESULT_PERMERROR || !a->reason || !a->domain);
	BUG_ON(a->lookups > SPF_LOOKUPS_MAX + 1 || a->voids > SPF_VOIDS_MAX + 1);
	BUG_ON((a->lookups > SPF_LOOKUPS_MAX || a->voids > SPF_VOIDS_MAX) && a->result != RESULT_PERMERROR);
	BUG_ON(a->never_sends && a->result != RESULT_FAIL);
	BUG_ON(a->explanation && a->result != RESULT_FAIL);
	BUG_ON(a->explanation && (!ascii_only(slice_of(a->explanation)) || strlen(a->explanation) > 4 * SPF_EXPLANATION_MAX + 3));
	BUG_ON((a->result == RESULT_PASS || a->result == RESULT_FAIL) && (!a->mechanism || !a->record));
	BUG_ON(!ascii_only(slice_of(a->reason)));
	/* Eleven records, each with ten terms ahead, and ten hosts for each term. */
	BUG_ON(questions > 11 * 10 + 10 * 11 + 30);
}

static struct spf_answer evaluate(const struct spf_question *q)
{
	struct evaluation e = { .question = *q };
	struct fiber_job job = { 0 };

	questions = 0;
	fiber_start(&job, "spf", run, &e);
	while (fiber_job_active(&job))
		BUG_ON(!loop_turn(DEADLINE_NONE));
	while (loop_turn(DEADLINE_NONE))
		;
	check_answer(&e.answer);
	return e.answer;
}

static void begin(void)
{
	static const struct dns_conf conf = { .recurse = false, .timeout = 500 * NS_PER_SECOND };
	const char *why;

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1600000000) * NS_PER_SECOND);
	loop_init();
	fiber_init(4, 64 * 1024);
	dns = dns_open(&arena, &conf, &why);
	BUG_ON(!dns);
	dns_set_source(dns, source, NULL);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct spf_question q = { .helo = SLICE("mx.h.example"), .local = SLICE("user"), .domain = SLICE("d.example"),
		.now = 1600000000 };
	struct slice rest = slice_make((const char *)bytes, n);
	struct spf_answer first, second;
	struct ip ip;

	if (!dns)
		begin();
	if (n < 5)
		return 0;
	memcpy(&seed, bytes, 4);
	ip_parse(&ip, bytes[4] & 1 ? SLICE("2001:db8::1") : SLICE("192.0.2.1"));
	q.ip = &ip;
	rest = slice_from(rest, 5);
	if (bytes[4] & 2)
		q.domain = SLICE_NULL;
	if (bytes[4] & 4)
		q.local = slice_head(rest, 20);
	if (bytes[4] & 8)
		q.helo = slice_head(rest, 60);
	if (bytes[4] & 16)
		q.domain = slice_head(rest, 60);
	for (line_count = 0; rest.n > 0 && line_count < LINES; line_count++)
		lines[line_count] = slice_split(&rest, '\n');
	late = false;
	first = evaluate(&q);
	late = true;
	second = evaluate(&q);
	BUG_ON(first.result != second.result || first.lookups != second.lookups || first.voids != second.voids);
	BUG_ON(!same(first.mechanism, second.mechanism) || !same(first.record, second.record));
	arena_drop(&arena);
	return 0;
}
