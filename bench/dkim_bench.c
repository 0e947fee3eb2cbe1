/*
 * DKIM, measured on a fake clock's loop with answers in memory: hashing and canonicalising of bodies, and the whole verification of a
 * message of 10 KiB.
 *
 *   dkim_bench BODY-FILE...                    each body: SHA-256, canonicalisation, both; MB/s, medians
 *   dkim_bench message MESSAGE KEY-RECORD      a signed message (CRLF): bare hashing and EVP_PKEY_verify, and the whole; us
 *
 * JSON, a row a line.
 */
#include "check/dkim.h"
#include "run/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE 65536u
#define RUNS 9
#define OCTETS (256u << 20)	/* of one run over a body, at least */
#define VERIFICATIONS 500

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *times)
{
	qsort(times, RUNS, sizeof(*times), order);
	return times[RUNS / 2];
}

static struct slice read_file(struct arena *a, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	char *p;

	if (fd < 0 || fstat(fd, &st) != 0)
		exit(1);
	p = arena_alloc(a, (size_t)st.st_size + 1);
	if (read(fd, p, (size_t)st.st_size) != st.st_size)
		exit(1);
	close(fd);
	return slice_make(p, (size_t)st.st_size);
}

/* ---- bodies ---- */

static void push_sha256(void *sink, struct slice piece)
{
	EVP_DigestUpdate(sink, piece.p, piece.n);
}

static void sha256(struct arena *a, struct slice body)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t out[32];

	EVP_DigestInit_ex(c, EVP_sha256(), NULL);
	for (struct slice rest = body; rest.n > 0; rest = slice_from(rest, PIECE))
		push_sha256(c, slice_head(rest, PIECE));
	EVP_DigestFinal_ex(c, out, NULL);
	EVP_MD_CTX_free(c);
}

static void forget(void *sum, struct slice piece)
{
	*(size_t *)sum += piece.n;
}

static void canonicalise(struct arena *a, struct slice body)
{
	struct canon_body *b = arena_alloc(a, sizeof(*b));
	static size_t sum;

	canon_body_init(b, CANON_RELAXED, forget, &sum);
	for (struct slice rest = body; rest.n > 0; rest = slice_from(rest, PIECE))
		canon_body_push(b, slice_head(rest, PIECE));
	canon_body_finish(b);
}

static void hash_body(struct arena *a, struct slice body)
{
	struct body_hashes *h = body_hashes_new(a);

	body_hashes_want(h, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	for (struct slice rest = body; rest.n > 0; rest = slice_from(rest, PIECE))
		body_hashes_push(h, slice_head(rest, PIECE));
	body_hashes_finish(h);
	body_hashes_drop(h);
}

/* MB/s of one kind of work. */
static double speed(void (*work)(struct arena *a, struct slice body), struct slice body)
{
	struct arena a = ARENA_INIT;
	double times[RUNS];
	unsigned count = (unsigned)(OCTETS / body.n / RUNS + 1);

	for (int run = 0; run < RUNS; run++) {
		double began = now_us();

		for (unsigned i = 0; i < count; i++) {
			work(&a, body);
			arena_drop(&a);
		}
		times[run] = (now_us() - began) / count;
	}
	return (double)body.n / median(times);
}

static void measure_body(const char *path)
{
	struct arena a = ARENA_INIT;
	struct slice body = read_file(&a, path);
	double plain = speed(sha256, body), canon = speed(canonicalise, body), both = speed(hash_body, body);

	printf("{\"name\": \"%s\", \"sha256\": %.0f, \"canon\": %.0f, \"relaxed hash\": %.0f, \"ratio\": %.3f}\n",
		strrchr(path, '/') ? strrchr(path, '/') + 1 : path, plain, canon, both, both * (1 / plain + 1 / canon));
	arena_drop(&a);
}

/* ---- a message ---- */

static struct dns *dns;
static struct dkim_keys *keys;
static struct slice record;

static bool source(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	*delay = 0;
	*out = (struct dns_answer){ .status = DNS_FOUND, .ttl = 60, .count = 1 };
	out->records = arena_array(a, struct dns_record, 1);
	out->records[0].text = record;
	return true;
}

struct verifying {
	struct slice message;
	struct auth_facts auth;
};

static ASYNC void verify(void *arg)
{
	static const struct dkim_conf conf = { .max_signatures = 10 };
	struct verifying *v = arg;
	struct arena a = ARENA_INIT;
	struct body_hashes *hashes = body_hashes_new(&a);
	struct findings found = { 0 };
	struct dkim_check *check = dkim_begin(&a, &conf);
	struct header h;
	size_t taken;

	header_init(&h, &a, 1 << 20, 1000);
	taken = header_push(&h, v->message);
	header_finish(&h);
	v->auth = (struct auth_facts){ .dkim_asked = false };
	dkim_header(check, &h, hashes);
	body_hashes_push(hashes, slice_from(v->message, taken));
	dkim_finish(check, dns, keys, 1500000000, &v->auth, &found, deadline_in(NS_PER_SECOND));
	if (dkim_best(&v->auth) != RESULT_PASS)
		exit(1);
	body_hashes_drop(hashes);
	arena_drop(&a);
}

static double whole(struct slice message)
{
	double times[RUNS];
	struct verifying v = { .message = message };

	for (int run = 0; run < RUNS; run++) {
		double began = now_us();

		for (int i = 0; i < VERIFICATIONS; i++) {
			struct fiber_job job = { 0 };

			fiber_start(&job, "dkim", verify, &v);
			while (fiber_job_active(&job))
				if (!loop_turn(DEADLINE_NONE))
					exit(1);
		}
		times[run] = (now_us() - began) / VERIFICATIONS;
	}
	return median(times);
}

/* What nobody can leave out: the message hashed once, and the signature verified. */
static double bare(struct slice message)
{
	struct arena a = ARENA_INIT;
	const struct dkim_key *k = dkim_keys_read(keys, record);
	const char *why;
	struct dkim_signature s;
	uint8_t hash[32];
	struct header h;
	double times[RUNS];

	header_init(&h, &a, 1 << 20, 1000);
	header_push(&h, message);
	header_finish(&h);
	if (!dkim_signature_parse(&s, &a, header_field(&h, SLICE("DKIM-Signature"), 0), SIGNATURE_DKIM, &why))
		exit(1);
	for (int run = 0; run < RUNS; run++) {
		double began = now_us();

		for (int i = 0; i < VERIFICATIONS; i++) {
			EVP_Digest(message.p, message.n, hash, NULL, EVP_sha256(), NULL);
			EVP_PKEY_verify(k->rsa, (const uint8_t *)s.value.p, s.value.n, hash, sizeof(hash));
		}
		times[run] = (now_us() - began) / VERIFICATIONS;
	}
	arena_drop(&a);
	return median(times);
}

static void measure_message(const char *path, const char *key)
{
	static const struct dns_conf conf = { .recurse = true, .trust_anchor_file = "" };
	struct arena a = ARENA_INIT;
	struct slice message = read_file(&a, path);
	const char *why = "";
	double least;

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1500000000) * NS_PER_SECOND);
	loop_init();
	fiber_init(8, 64 * 1024);
	dns = dns_open(&a, &conf, &why);
	if (!dns)
		exit(1);
	dns_set_source(dns, source, NULL);
	keys = dkim_keys_open(16);
	record = slice_of(key);
	least = bare(message);
	printf("{\"name\": \"hashing and EVP_PKEY_verify alone\", \"us\": %.1f}\n", least);
	printf("{\"name\": \"Spurn\", \"us\": %.1f}\n", whole(message));
	dkim_keys_close(keys);
	dns_close(dns);
	arena_drop(&a);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "message") == 0) {
		measure_message(argv[2], argv[3]);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		measure_body(argv[i]);
	return argc > 1 ? 0 : 64;
}
