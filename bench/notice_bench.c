/*
 * The recogniser of notices over whole messages in memory: MB per second of CPU, all files in turn.
 *
 *   notice_bench SECONDS FILE...
 */
#include "check/notice.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Lines end in CRLF, as they come by SMTP. */
static struct slice read_file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct str s = STR_IN(a);
	int c, before = 0;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((c = getc(f)) != EOF) {
		if (c == '\n' && before != '\r')
			str_addc(&s, '\r');
		str_addc(&s, (char)c);
		before = c;
	}
	fclose(f);
	return str_slice(&s);
}

/* A frame of its own, for profilers. */
__attribute__((noinline)) static unsigned judge(struct slice message)
{
	struct arena a = ARENA_INIT;
	struct notice_reader *r = notice_begin(&a, NULL, NULL);
	struct header h;
	size_t taken;
	unsigned kind;

	header_init(&h, &a, 1 << 20, 10000);
	taken = header_push(&h, message);
	header_finish(&h);
	notice_header(r, &h);
	notice_body(r, h.body_lead);
	for (message = slice_from(message, taken); message.n > 0; message = slice_from(message, 65536))
		notice_body(r, slice_head(message, 65536));
	kind = notice_finish(r)->kind;
	arena_drop(&a);
	return kind;
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
	struct slice *files = arena_array(&a, struct slice, argc);
	double seconds = argc > 1 ? atof(argv[1]) : 0, octets = 0;
	unsigned kinds = 0;
	double began, spent;

	for (int i = 2; i < argc; i++)
		files[i] = read_file(&a, argv[i]);
	if (argc < 3)
		return 64;
	began = cpu_time();
	do {
		for (int i = 2; i < argc; i++) {
			kinds += judge(files[i]);
			octets += (double)files[i].n;
		}
		spent = cpu_time() - began;
	} while (spent < seconds);
	printf("%.1f\n", octets / spent / 1e6);
	return kinds == UINT32_MAX;
}
