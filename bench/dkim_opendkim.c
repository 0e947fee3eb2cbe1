/*
 * libopendkim beside Spurn, for bench/dkim_peers.py.
 *
 *   dkim_opendkim body BODY-FILE               its relaxed body hash, MB/s
 *   dkim_opendkim message MESSAGE KEY-FILE     the whole verification, us; KEY-FILE: "NAME RECORD" lines of its test keys
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include <opendkim/dkim.h>

#define RUNS 9
#define COUNT 200
#define PIECE 65536

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

static char *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *p;

	if (!f)
		exit(1);
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	p = malloc(*n + 1);
	if (fread(p, 1, *n, f) != *n)
		exit(1);
	p[*n] = '\0';
	fclose(f);
	return p;
}

static void give_body(DKIM *d, char *p, size_t n)
{
	for (size_t at = 0; at < n; at += PIECE)
		dkim_body(d, (unsigned char *)p + at, n - at < PIECE ? n - at : PIECE);
}

/* Fields one by one, as a milter gets them. */
static DKIM_STAT verify(DKIM_LIB *lib, char *p, size_t n)
{
	DKIM_STAT status = 0;
	DKIM *d = dkim_verify(lib, (unsigned char *)"bench", NULL, &status);
	char *body = strstr(p, "\r\n\r\n") + 4, *field = p;

	while (field < body - 2) {
		char *end = field;

		do
			end = strstr(end, "\r\n") + 2;
		while (*end == ' ' || *end == '\t');
		dkim_header(d, (unsigned char *)field, (size_t)(end - 2 - field));
		field = end;
	}
	dkim_eoh(d);
	give_body(d, body, n - (size_t)(body - p));
	status = dkim_eom(d, NULL);
	dkim_free(d);
	return status;
}

static void measure_message(DKIM_LIB *lib, const char *path, const char *keys)
{
	dkim_query_t query = DKIM_QUERY_FILE;
	double times[RUNS];
	size_t n;
	char *p = read_file(path, &n);

	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &query, sizeof(query));
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, (void *)keys, strlen(keys));
	for (int run = 0; run < RUNS; run++) {
		double began = now_us();

		for (int i = 0; i < COUNT; i++)
			if (verify(lib, p, n) != DKIM_STAT_OK)
				exit(1);
		times[run] = (now_us() - began) / COUNT;
	}
	qsort(times, RUNS, sizeof(*times), order);
	printf("{\"name\": \"libopendkim\", \"us\": %.1f}\n", times[RUNS / 2]);
}

/* The body of a message that is to be signed: nothing but its hash is computed before the end. */
static void measure_body(DKIM_LIB *lib, const char *path)
{
	static unsigned char field[] = "From: a@example.net";
	double times[RUNS];
	size_t n;
	char *p = read_file(path, &n), key[8192];
	FILE *f = popen("openssl genrsa -traditional 2048 2>/dev/null", "r");
	size_t length = fread(key, 1, sizeof(key) - 1, f);

	pclose(f);
	key[length] = '\0';
	for (int run = 0; run < RUNS; run++) {
		DKIM_STAT status = 0;
		DKIM *d = dkim_sign(lib, (unsigned char *)"bench", NULL, (unsigned char *)key, (unsigned char *)"s",
			(unsigned char *)"example.net", DKIM_CANON_RELAXED, DKIM_CANON_RELAXED, DKIM_SIGN_RSASHA256, -1, &status);
		double began;

		if (!d || dkim_header(d, field, sizeof(field) - 1) != DKIM_STAT_OK || dkim_eoh(d) != DKIM_STAT_OK)
			exit(1);
		began = now_us();
		give_body(d, p, n);
		times[run] = now_us() - began;
		dkim_free(d);
	}
	qsort(times, RUNS, sizeof(*times), order);
	printf("{\"name\": \"%s\", \"libopendkim\": %.0f}\n", strrchr(path, '/') ? strrchr(path, '/') + 1 : path,
		(double)n / times[RUNS / 2]);
}

int main(int argc, char **argv)
{
	DKIM_LIB *lib = dkim_init(NULL, NULL);

	if (argc == 4 && strcmp(argv[1], "message") == 0)
		measure_message(lib, argv[2], argv[3]);
	else if (argc == 3)
		measure_body(lib, argv[2]);
	return 0;
}
