/*
 * A resolver for the tests of checks: a table of answers in the place of the network, a fake
 * clock, and fibers to ask from. What is not in the table does not exist.
 */
#ifndef SPURN_TEST_ANSWERS_H
#define SPURN_TEST_ANSWERS_H

#include "turns.h"

#include "net/dns.h"
#include "wire/envelope.h"

#include <stdio.h>

#define ANSWERS_MAX 400

struct answer {
	char name[300];
	enum dns_type type;
	const char *text;
	nanoseconds delay;
};

static struct answer answers[ANSWERS_MAX];
static size_t answer_count;
static nanoseconds answer_delay;	/* of all that say nothing else */
static char asked[65536];		/* "A name" of every question, a line each */
static struct dns *dns;
static struct arena arena;
static struct findings findings;

/* text: addresses, "10 host 20 ." (MX), names (PTR), a TXT record a line, or NXDOMAIN, NODATA, TROUBLE. Later ones replace. */
static inline void answer_late(const char *name, enum dns_type type, const char *text, nanoseconds delay)
{
	struct answer *a = NULL;

	for (size_t i = 0; i < answer_count; i++)
		if (answers[i].type == type && strcasecmp(answers[i].name, name) == 0)
			a = &answers[i];
	if (!a) {
		assert_true(answer_count < ANSWERS_MAX);
		a = &answers[answer_count++];
	}
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->type = type;
	a->text = text;
	a->delay = delay;
}

static inline void answer(const char *name, enum dns_type type, const char *text)
{
	answer_late(name, type, text, -1);
}

static inline void answer_records(struct arena *a, enum dns_type type, const char *text, struct dns_answer *out)
{
	struct slice rest = slice_of(text), word;

	out->records = arena_array(a, struct dns_record, 64);
	out->status = DNS_FOUND;
	while (type == DNS_TXT && !slice_empty(word = slice_split(&rest, '\n')))
		out->records[out->count++].text = slice_copy(a, word);
	while (!slice_empty(word = slice_word(&rest))) {
		struct dns_record *r = &out->records[out->count++];
		uint64_t preference = 0;

		assert_true(out->count < 64);
		if (type == DNS_A || type == DNS_AAAA) {
			assert_true(ip_parse(&r->ip, word));
			continue;
		}
		if (type == DNS_MX) {
			assert_true(slice_number(word, 65535, &preference));
			r->preference = (uint16_t)preference;
			word = slice_word(&rest);
		}
		r->text = slice_eq(word, SLICE(".")) ? SLICE("") : slice_copy(a, word);
	}
}

static inline bool answer_source(void *arg, struct arena *a, struct slice name, enum dns_type type,
	struct dns_answer *out, nanoseconds *delay)
{
	size_t n = strlen(asked);
	const struct answer *found = NULL;

	(void)arg;
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	snprintf(asked + n, sizeof(asked) - n, "%s %.*s\n", dns_type_name(type), SLICE_ARG(name));
	memset(out, 0, sizeof(*out));
	out->status = DNS_NXDOMAIN;
	for (size_t i = 0; i < answer_count; i++) {
		if (!slice_eq_nocase(slice_of(answers[i].name), name))
			continue;
		if (out->status == DNS_NXDOMAIN && !found)
			out->status = DNS_NODATA;	/* the name exists */
		if (answers[i].type == type)
			found = &answers[i];
	}
	*delay = answer_delay;
	if (!found)
		return true;
	if (found->delay >= 0)
		*delay = found->delay;
	if (strcmp(found->text, "NXDOMAIN") == 0) {
		out->status = DNS_NXDOMAIN;
	} else if (strcmp(found->text, "NODATA") == 0) {
		out->status = DNS_NODATA;
	} else if (strcmp(found->text, "TROUBLE") == 0) {
		out->status = DNS_TROUBLE;
		out->why = "SERVFAIL";
	} else {
		answer_records(a, type, found->text, out);
	}
	return true;
}

static inline bool was_asked(const char *line)
{
	char whole[400];

	snprintf(whole, sizeof(whole), "%s\n", line);

	const char *at = strcasestr(asked, whole);

	return at && (at == asked || at[-1] == '\n');
}

static inline int answers_setup(void **state)
{
	static const struct dns_conf conf = { .recurse = true, .trust_anchor_file = "",
		.timeout = 8 * NS_PER_SECOND };
	const char *why = "";

	turns_setup(state);
	answer_count = 0;
	answer_delay = 0;
	asked[0] = '\0';
	findings = (struct findings){ 0 };
	dns = dns_open(&arena, &conf, &why);
	if (!dns)
		print_error("%s\n", why);
	assert_non_null(dns);
	dns_set_source(dns, answer_source, NULL);
	return 0;
}

static inline int answers_teardown(void **state)
{
	dns_close(dns);
	arena_drop(&arena);
	return turns_teardown(state);
}

/* Runs fn in a fiber to its end. Time passes as its waits need it, and no further. */
static inline void in_fiber(void (*fn)(void *), void *arg)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "test", fn, arg);
	while (fiber_job_active(&job))
		assert_true(loop_turn(DEADLINE_NONE));
}

static inline size_t finding_count(void)
{
	size_t n = 0;

	for (const struct finding *f = findings.first; f; f = f->next)
		n++;
	return n;
}

static inline const struct finding *finding_at(size_t n)
{
	const struct finding *f = findings.first;

	while (n-- > 0 && f)
		f = f->next;
	assert_non_null(f);
	return f;
}

/* The only finding is this one. */
#define assert_finding(check_, result_) \
	do { \
		if (finding_count() != 1 || finding_at(0)->check != (check_) || finding_at(0)->result != (result_)) \
			findings_show(); \
		assert_int_equal(finding_count(), 1); \
		assert_int_equal(finding_at(0)->check, (check_)); \
		assert_int_equal(finding_at(0)->result, (result_)); \
		assert_non_null(finding_at(0)->reason); \
	} while (0)

static inline void findings_show(void)
{
	for (const struct finding *f = findings.first; f; f = f->next)
		print_error("%s %s: %s [%s]\n", check_name(f->check), result_name(f->result), f->reason,
			f->evidence ? f->evidence : "-");
}

#define answers_test(f) cmocka_unit_test_setup_teardown(f, answers_setup, answers_teardown)

#endif
