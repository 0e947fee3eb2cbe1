/*
 * What the sent ledger costs at scale: as the outbound side writes it and the inbound side asks it.
 *
 *   sent_bench [MESSAGES [DIRECTORY]]      default 1000000, a directory in /tmp
 *
 * Ten thousand senders with twenty correspondent domains each; a message has one recipient. Puts are as fast as the writer
 * commits them, each commit synced to the disk; then look-ups of random messages, present and absent.
 */
#include "base/clock.h"
#include "check/sent.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SENDERS 10000u
#define DOMAINS 20u
#define LIFE (14u * 86400u)
#define ASKED 500000u

static struct store *store;

struct sample {
	char id[48], sender[48], recipient[64];
};

static uint64_t mixed(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n ^= n >> 29;
	return n * UINT64_C(0xbf58476d1ce4e5b9) >> 8;
}

static void sample_at(struct sample *s, uint64_t n)
{
	uint64_t m = mixed(n);
	unsigned sender = (unsigned)(m % SENDERS);

	snprintf(s->id, sizeof(s->id), "<%016llx@mx.example.org>", (unsigned long long)m);
	snprintf(s->sender, sizeof(s->sender), "user%u@example.org", sender);
	snprintf(s->recipient, sizeof(s->recipient), "r%u@d%u.example.net", (unsigned)(m >> 20) % 1000000,
		sender * DOMAINS + (unsigned)(m >> 40) % DOMAINS);
}

static void report(const char *what, uint64_t count, nanoseconds spent)
{
	printf("%-46s %8.2f us   %9.0f /s\n", what, (double)spent / 1e3 / (double)count, (double)count * 1e9 / (double)spent);
}

static void bench_puts(uint64_t count)
{
	nanoseconds begin = clock_precise();
	struct sample s;

	for (uint64_t i = 0; i < count; i++) {
		struct slice to;

		sample_at(&s, i);
		to = slice_of(s.recipient);
		while (sent_put(store, slice_of(s.id), slice_of(s.sender), &to, 1, time(NULL), LIFE) != STORE_OK)
			usleep(1000);
	}
	store_flush(store);
	report("messages put, committed and synced", count, clock_precise() - begin);
}

/* first: where the numbers begin; those from `count` on were never put. */
static void bench_look(const char *what, uint64_t first, uint64_t count, bool there)
{
	nanoseconds spent = 0;
	uint64_t found = 0;
	struct sample s;

	for (uint64_t i = 0; i < ASKED; i++) {
		struct sent_entry e;
		nanoseconds begin;

		sample_at(&s, first + mixed(i) % count);
		begin = clock_precise();
		found += sent_find(store, slice_of(s.id), slice_of(s.sender), &e) == STORE_OK &&
			sent_has_recipient(store, &e, slice_of(s.id), slice_of(s.sender), slice_of(s.recipient)) == STORE_OK;
		spent += clock_precise() - begin;
	}
	report(what, ASKED, spent);
	if (found != (there ? ASKED : 0))
		printf("found %llu of %u\n", (unsigned long long)found, ASKED);
}

int main(int argc, char **argv)
{
	struct arena a = ARENA_INIT;
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	char place[] = "/tmp/sent_bench.XXXXXX";
	struct store_conf conf = { .directory = argc > 2 ? argv[2] : mkdtemp(place) };
	struct store_stats st;
	const char *why = NULL;

	clock_turn();
	store = store_open(&a, &conf, &why);
	if (!store) {
		fprintf(stderr, "sent_bench: %s\n", why);
		return 1;
	}
	bench_puts(count);
	store_stats(store, &st);
	printf("%-46s %8.1f octets each, %llu entries\n", "", (double)st.map_used / (double)st.entries[STORE_SENT],
		(unsigned long long)st.entries[STORE_SENT]);
	bench_look("message and recipient, present", 0, count, true);
	bench_look("message, absent", count + 1000000, count, false);
	store_close(store);
	arena_drop(&a);
	return 0;
}
