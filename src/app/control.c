/*
 * The control socket: one request line in, one JSON object a line out, closed.
 */
#include "app/worker.h"

#include <unistd.h>

#define PATIENCE (10 * NS_PER_SECOND)

struct request {
	struct stream stream;
};

static void answer(struct request *r, struct slice line)
{
	if (slice_eq(line, SLICE("observe show")))
		stream_printf(&r->stream, "{\"observe\":%s}\n", worker.shared->observe_all ? "true" : "false");
	else
		stream_printf(&r->stream, "{\"error\":\"unknown request\"}\n");
}

static ASYNC void serve(void *arg)
{
	struct request *r = arg;
	struct slice line;
	deadline until = deadline_in(PATIENCE);

	if (stream_read_line(&r->stream, &line, 1024, "control request", until) == WAIT_READY && line.p) {
		answer(r, line);
		stream_drain(&r->stream, "control answer", until);
	}
	stream_close(&r->stream);
	free(r);
}

void control_accept(int fd)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		close(fd);
		return;
	}
	if (stream_open(&r->stream, fd, NULL, r))
		fiber_detach("control", serve, r);
	else
		free(r);
}
