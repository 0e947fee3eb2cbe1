/*
 * GMime beside our parser of MIME: its speed, and its view of a message as an oracle.
 *
 *   gmime_peer SECONDS FILE...           MB per second of CPU, all files in turn, parsed
 *   gmime_peer --decode SECONDS FILE...  and every body decoded
 *   gmime_peer --show FILE...            as mime_bench --show
 */
#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct file {
	char *bytes;
	size_t n;
};

/* crlf: lines end in CRLF, as they come by SMTP. */
static struct file read_file(const char *path, int crlf)
{
	char *bytes, *out;
	gsize n;
	struct file f = { NULL, 0 };

	if (!g_file_get_contents(path, &bytes, &n, NULL))
		exit(1);
	out = g_malloc(n * 2 + 1);
	for (gsize i = 0; i < n; i++) {
		if (crlf && bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r'))
			out[f.n++] = '\r';
		out[f.n++] = bytes[i];
	}
	g_free(bytes);
	f.bytes = out;
	return f;
}

static long decoded(GMimePart *part)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GMimeStream *null = g_mime_stream_null_new();
	long n = 0;

	if (content)
		n = (long)g_mime_data_wrapper_write_to_stream(content, null);
	g_object_unref(null);
	return n;
}

static void walk(GMimeObject *o, unsigned depth, int show)
{
	GMimeContentType *type = g_mime_object_get_content_type(o);

	if (show) {
		char *media = g_ascii_strdown(g_mime_content_type_get_media_type(type), -1);
		char *sub = g_ascii_strdown(g_mime_content_type_get_media_subtype(type), -1);
		printf("%u %s/%s\n", depth, media, sub);
		g_free(media);
		g_free(sub);
	}
	if (GMIME_IS_MULTIPART(o)) {
		for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(o)); i++)
			walk(g_mime_multipart_get_part(GMIME_MULTIPART(o), i), depth + 1, show);
	} else if (GMIME_IS_MESSAGE_PART(o)) {
		GMimeMessage *m = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));
		if (m && g_mime_message_get_mime_part(m))
			walk(g_mime_message_get_mime_part(m), depth + 1, show);
	} else if (GMIME_IS_PART(o)) {
		long n = decoded(GMIME_PART(o));
		if (show)
			printf("%u = %ld\n", depth, n);
	}
}

static void parse(struct file f, int decode, int show)
{
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(f.bytes, f.n);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);

	if (message) {
		if (decode)
			walk(g_mime_message_get_mime_part(message), 0, show);
		g_object_unref(message);
	}
	g_object_unref(parser);
	g_object_unref(stream);
}

static struct file *files;	/* as long as the process */

/* Seconds of CPU, since others may use the machine. */
static double cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int show = argc > 1 && strcmp(argv[1], "--show") == 0, decode = argc > 1 && strcmp(argv[1], "--decode") == 0;
	int first = decode ? 3 : 2;
	double seconds = argc > first - 1 ? atof(argv[first - 1]) : 0, octets = 0;
	double began, spent;

	files = calloc((size_t)argc, sizeof(*files));
	g_mime_init();
	for (int i = first; i < argc; i++)
		files[i] = read_file(argv[i], !show);
	for (int i = first; i < argc && show; i++) {
		printf("file %s\n", argv[i]);
		parse(files[i], 1, 1);
	}
	if (show || argc <= first)
		return 0;
	began = cpu_time();
	do {
		for (int i = first; i < argc; i++) {
			parse(files[i], decode, 0);
			octets += (double)files[i].n;
		}
		spent = cpu_time() - began;
	} while (spent < seconds);
	printf("%.1f\n", octets / spent / 1e6);
	return 0;
}
