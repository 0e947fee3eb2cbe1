/*
 * The parser of MIME over whole messages in memory.
 *
 *   mime_bench SECONDS FILE...     MB per second of CPU, all files in turn, every body decoded
 *   mime_bench --show FILE...      what it sees: a line for each entity, "depth type/subtype octets"
 *
 * The second form is what a test compares with GMime's view (bench/gmime_peer.c).
 */
#include "wire/mime.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct seen {
	size_t octets[MIME_DEPTH_MAX + 1];
	bool show;
	struct str out;
};

static enum mime_want begin(void *arg, struct mime_part *p)
{
	struct seen *s = arg;

	s->octets[p->depth] = 0;
	if (s->show)
		str_printf(&s->out, "%u %s/%s\n", p->depth, p->type, p->subtype);
	return p->shape == MIME_LEAF ? MIME_DECODED : MIME_SKIP;
}

static void body(void *arg, struct mime_part *p, struct slice piece)
{
	struct seen *s = arg;

	s->octets[p->depth] += piece.n;
}

static void end(void *arg, struct mime_part *p)
{
	struct seen *s = arg;

	if (s->show && p->shape == MIME_LEAF)
		str_printf(&s->out, "%u = %zu\n", p->depth, s->octets[p->depth]);
}

static const struct mime_events events = { begin, body, end };

/* crlf: lines end in CRLF, as they come by SMTP. */
static struct slice read_file(struct arena *a, const char *path, bool crlf)
{
	FILE *f = fopen(path, "rb");
	struct str s = STR_IN(a);
	int c, before = 0;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((c = getc(f)) != EOF) {
		if (crlf && c == '\n' && before != '\r')
			str_addc(&s, '\r');
		str_addc(&s, (char)c);
		before = c;
	}
	fclose(f);
	return str_slice(&s);
}

/* A frame of its own, for profilers. */
__attribute__((noinline)) static void parse(struct slice message, struct seen *seen)
{
	struct arena a = ARENA_INIT;
	struct mime *m = mime_begin(&a, &events, seen);

	while (message.n > 0) {
		mime_push(m, slice_head(message, 65536));
		message = slice_from(message, 65536);
	}
	mime_finish(m);
	arena_drop(&a);
}

/* Seconds of CPU, since others may use the machine. */
static double cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct arena a = ARENA_INIT;
	struct seen seen = { .show = argc > 1 && strcmp(argv[1], "--show") == 0, .out = STR_IN(&a) };
	struct slice *files = arena_array(&a, struct slice, argc);
	double seconds = argc > 1 ? atof(argv[1]) : 0, octets = 0;
	double began, spent;

	for (int i = 2; i < argc; i++)
		files[i] = read_file(&a, argv[i], !seen.show);
	for (int i = 2; i < argc && seen.show; i++) {
		seen.out.n = 0;
		parse(files[i], &seen);
		printf("file %s\n%.*s", argv[i], (int)seen.out.n, seen.out.p);
	}
	if (seen.show || argc < 3) {
		arena_drop(&a);
		return 0;
	}
	began = cpu_time();
	do {
		for (int i = 2; i < argc; i++) {
			parse(files[i], &seen);
			octets += (double)files[i].n;
		}
		spent = cpu_time() - began;
	} while (spent < seconds);
	printf("%.1f\n", octets / spent / 1e6);
	arena_drop(&a);
	return 0;
}
