/*
 * The parser of MIME over whole messages in memory.
 *
 *   mime_bench SECONDS FILE...     MB/s of all files in turn, every body decoded
 *   mime_bench --show FILE...      what it sees: a line for each entity, "depth type/subtype octets"
 *
 * The second form is what a test compares with GMime's view (bench/gmime_peer.c).
 */
#include "base/clock.h"
#include "wire/mime.h"

#include <stdio.h>
#include <stdlib.h>

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

static struct slice read_file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct str s = STR_IN(a);
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((n = fread(str_room(&s, 65536), 1, 65536, f)) > 0)
		s.n += n;
	fclose(f);
	return str_slice(&s);
}

static void parse(struct slice message, struct seen *seen)
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

int main(int argc, char **argv)
{
	struct arena a = ARENA_INIT;
	struct seen seen = { .show = argc > 1 && strcmp(argv[1], "--show") == 0, .out = STR_IN(&a) };
	struct slice *files = arena_array(&a, struct slice, argc);
	double seconds = argc > 1 ? atof(argv[1]) : 0, octets = 0;
	nanoseconds began, spent;

	for (int i = 2; i < argc; i++)
		files[i] = read_file(&a, argv[i]);
	for (int i = 2; i < argc && seen.show; i++) {
		seen.out.n = 0;
		parse(files[i], &seen);
		printf("file %s\n%.*s", argv[i], (int)seen.out.n, seen.out.p);
	}
	if (seen.show || argc < 3) {
		arena_drop(&a);
		return 0;
	}
	began = clock_precise();
	do {
		for (int i = 2; i < argc; i++) {
			parse(files[i], &seen);
			octets += (double)files[i].n;
		}
		spent = clock_precise() - began;
	} while ((double)spent < seconds * 1e9);
	printf("%.1f\n", octets * 1e3 / (double)spent);
	arena_drop(&a);
	return 0;
}
