/*
 * What SPF costs when DNS is warm: the evaluation of bench/spf_peers.py's record, from libunbound's cache, from a zone
 * file, and from answers in memory, which is the evaluation alone.
 *
 *   spf_bench ADDRESS@PORT ZONE-FILE CLIENT DOMAIN [EVALUATIONS]
 *
 * Prints JSON: microseconds of the median of ten runs, and what the result was.
 */
#include "check/spf.h"
#include "run/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define RUNS 10
#define KEPT 64

static struct dns *dns;
static struct spf_question question;
static struct spf_answer answer;
static unsigned evaluations = 20000;
static double best_of[RUNS];

static ASYNC void run(void *arg)
{
	struct arena a = ARENA_INIT;

	(void)arg;
	for (int i = 0; i < RUNS; i++) {
		nanoseconds began = clock_precise();

		for (unsigned n = 0; n < evaluations; n++) {
			arena_drop(&a);
			spf_check_host(dns, &a, &question, &answer, deadline_in(NS_PER_SECOND * 20));
		}
		best_of[i] = (double)(clock_precise() - began) / NS_PER_US / evaluations;
		clock_turn();
	}
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "spf", run, NULL);
	while (fiber_job_active(&job))
		loop_turn(deadline_in(NS_PER_SECOND));
	qsort(best_of, RUNS, sizeof(*best_of), order);
	printf("{\"name\":\"%s\",\"us\":%.2f,\"least\":%.2f,\"result\":\"%s\",\"lookups\":%u}\n", name,
		best_of[RUNS / 2], best_of[0], result_name(answer.result), answer.lookups);
}

/* ---- answers in memory ---- */

static struct kept {
	struct slice name;
	enum dns_type type;
	struct dns_answer answer;
} kept[KEPT];
static size_t kept_count;
static struct dns *origin;
static struct arena keeper;

static ASYNC void fetch(void *arg)
{
	struct kept *k = arg;

	dns_ask(origin, &keeper, k->name, k->type, &k->answer, deadline_in(NS_PER_SECOND * 20));
}

static bool memory(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	(void)arg, (void)a;
	*delay = 0;
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i].type == type && slice_eq(kept[i].name, name)) {
			*out = kept[i].answer;
			return true;
		}
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN };
	return true;
}

/* The record and what it includes, as text after "include:". */
static void keep_all(struct slice domain)
{
	struct fiber_job job = { 0 };
	struct kept *k = &kept[kept_count++];
	struct slice text;
	ptrdiff_t at;

	*k = (struct kept){ .name = domain, .type = DNS_TXT };
	fiber_start(&job, "fetch", fetch, k);
	while (fiber_job_active(&job))
		loop_turn(deadline_in(NS_PER_SECOND));
	if (k->answer.count == 0)
		return;
	text = k->answer.records[0].text;
	while (kept_count < KEPT && (at = slice_search(text, SLICE("include:"))) >= 0) {
		text = slice_from(text, (size_t)at + 8);
		keep_all(slice_split(&text, ' '));
	}
}

static struct dns *open_or_exit(const struct dns_conf *conf)
{
	const char *why = "";
	struct dns *d = dns_open(&keeper, conf, &why);

	if (d)
		return d;
	fprintf(stderr, "spf_bench: %s\n", why);
	exit(1);
}

int main(int argc, char **argv)
{
	struct dns_conf network = { .forward_count = 1, .trust_anchor_file = "" }, none = { .recurse = false };
	struct dns_conf file = { .zone_file_count = 1 };
	const char *forward, *zone;
	struct ip ip;

	if (argc < 5 || !ip_parse(&ip, slice_of(argv[3]))) {
		fprintf(stderr, "usage: spf_bench ADDRESS@PORT ZONE-FILE CLIENT DOMAIN [EVALUATIONS]\n");
		return 2;
	}
	forward = argv[1];
	zone = argv[2];
	network.forward = &forward;
	file.zone_files = &zone;
	question = (struct spf_question){ .ip = &ip, .helo = SLICE("mx.client.example"), .local = SLICE("user"),
		.domain = slice_of(argv[4]) };
	if (argc > 5)
		evaluations = (unsigned)atoi(argv[5]);
	clock_turn();
	loop_init();
	fiber_init(8, 64 * 1024);
	dns = open_or_exit(&network);
	measure("spurn, libunbound's cache");
	origin = dns;
	keep_all(question.domain);
	dns = open_or_exit(&none);
	dns_set_source(dns, memory, NULL);
	measure("spurn, answers in memory");
	dns_close(dns);
	dns = open_or_exit(&file);
	measure("spurn, zone file");
	dns_close(dns);
	dns_close(origin);
	return 0;
}
