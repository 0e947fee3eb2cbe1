/*
 * The control socket: where `spurn` asks the running daemon. One request line
 * in, one JSON object a line out, closed.
 *
 * Any worker answers, in a fiber of its own with a deadline, so a tool that
 * stops reading holds nothing but its own connection. What all workers share
 * (counters, the observe switch) is told for all; the rest is that of the
 * worker which happened to accept.
 *
 * Who may ask: the kernel has already held the connection against the mode of
 * the socket file (0660); beside that the peer must be root, our own user or in
 * our group, for the case that somebody loosened the mode.
 *
 * Rejected: signals and files for each command (no answers), an HTTP server here
 * (a parser for peers in the process that holds the mail), and a channel through the master, which
 * would then read what somebody else wrote.
 */
#include "app/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 1024
#define REQUEST_PATIENCE (10 * NS_PER_SECOND)	/* for the request line */
#define ANSWER_PATIENCE (60 * NS_PER_SECOND)	/* for finding and sending the answer */
#define CONNECTIONS 64
#define GROUPS 256

struct request {
	struct stream stream;
	struct arena arena;
};

static unsigned connections;

/* ---- JSON ---- */

void json_key(struct str *out, const char *name)
{
	char last = out->n > 0 ? out->p[out->n - 1] : '\n';

	if (last != '{' && last != '[' && last != '\n')
		str_addc(out, ',');
	if (name) {
		str_json(out, slice_of(name));
		str_addc(out, ':');
	}
}

void json_text(struct str *out, const char *name, struct slice value)
{
	json_key(out, name);
	str_json(out, value);
}

void json_cstr(struct str *out, const char *name, const char *value)
{
	json_key(out, name);
	if (value)
		str_json(out, slice_of(value));
	else
		str_puts(out, "null");
}

void json_number(struct str *out, const char *name, uint64_t value)
{
	json_key(out, name);
	str_number(out, value);
}

void json_signed(struct str *out, const char *name, int64_t value)
{
	json_key(out, name);
	str_printf(out, "%lld", (long long)value);
}

void json_bool(struct str *out, const char *name, bool value)
{
	json_key(out, name);
	str_puts(out, value ? "true" : "false");
}

void json_open(struct str *out, const char *name, char bracket)
{
	json_key(out, name);
	str_addc(out, bracket);
}

void control_error(struct str *out, const char *format, ...)
{
	struct str text = STR_IN(out->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	str_addc(out, '{');
	json_text(out, "error", str_slice(&text));
	str_puts(out, "}\n");
}

/* ---- observe ---- */

/* The file keeps the switch over a restart: the master looks for it at its start. */
static bool observe_keep(bool on, struct arena *a, const char **why)
{
	const char *path = arena_printf(a, "%s/observe", worker.edge.config->state_dir);
	int fd;

	if (!on) {
		if (unlink(path) == 0 || errno == ENOENT)
			return true;
	} else {
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
		if (fd >= 0) {
			close(fd);
			return true;
		}
	}
	*why = arena_printf(a, "%s: %s", path, strerror(errno));
	return false;
}

static void observe(struct str *out, struct slice argument)
{
	bool on = slice_eq(argument, SLICE("on"));
	const char *why = NULL;

	if (!on && !slice_eq(argument, SLICE("off")) && !slice_eq(argument, SLICE("show"))) {
		control_error(out, "observe on, off or show");
		return;
	}
	if (!slice_eq(argument, SLICE("show"))) {
		if (!observe_keep(on, out->arena, &why)) {
			control_error(out, "not switched: %s", why);
			return;
		}
		if (worker.shared->observe_all != on)
			log_warning("observe %s: %s", on ? "on" : "off", on ?
				"refusals of checks are recorded and not given" : "checks are enforced as configured");
		worker.shared->observe_all = on;
	}
	str_addc(out, '{');
	json_bool(out, "observe", worker.shared->observe_all);
	str_puts(out, "}\n");
}

/* ---- the dialogue ---- */

static ASYNC void obey(struct str *out, struct slice line, deadline d)
{
	struct slice rest = line;
	struct slice verb = slice_word(&rest);

	rest = slice_trim(rest);
	if (slice_eq(verb, SLICE("status")) && rest.n == 0)
		control_status(out);
	else if (slice_eq(verb, SLICE("waits")) && rest.n == 0)
		control_waits(out);
	else if (slice_eq(verb, SLICE("observe")))
		observe(out, rest);
	else if (slice_eq(verb, SLICE("recipient")))
		control_recipient(out, rest, d);
	else if (slice_eq(verb, SLICE("sent")))
		control_sent(out, rest);
	else
		control_error(out, "unknown request; there are: status, waits, observe on|off|show, "
			"recipient show|probe|forget ADDRESS, sent SENDER WHAT");
}

/* Root, our user, our group (its first or a further one). */
static bool peer_may(int fd)
{
	struct ucred peer;
	gid_t groups[GROUPS];
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid())
		return true;
	length = sizeof(groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0)
		return false;
	for (size_t i = 0; i < length / sizeof(groups[0]); i++)
		if (groups[i] == getegid())
			return true;
	return false;
}

/* Up to the first LF, whether a CR stands before it or not: people ask with nc, too. */
static ASYNC bool read_request(struct request *r, struct slice *line, deadline d)
{
	struct slice input = stream_input(&r->stream);

	while (slice_find(input, '\n') < 0 && input.n <= REQUEST_MAX) {
		if (stream_read(&r->stream, "control request", d) != WAIT_READY || r->stream.state != STREAM_OPEN)
			break;
		input = stream_input(&r->stream);
	}
	ptrdiff_t end = slice_find(input, '\n');

	if (end < 0 || end > REQUEST_MAX)
		return false;
	*line = slice_trim(slice_copy(&r->arena, slice_head(input, (size_t)end)));
	stream_consume(&r->stream, (size_t)end + 1);
	return true;
}

static ASYNC void serve(void *arg)
{
	struct request *r = arg;
	struct str out = STR_IN(&r->arena);
	struct slice line = SLICE_NULL;
	deadline d = deadline_in(ANSWER_PATIENCE);

	/* Read first, whoever it is: closing over unread input would take the answer from the peer. */
	if (!read_request(r, &line, deadline_in(REQUEST_PATIENCE)))
		control_error(&out, "one request line of at most %d octets", REQUEST_MAX);
	else if (!peer_may(r->stream.watch.fd))
		control_error(&out, "not permitted: root, the daemon's user and its group may ask");
	else
		obey(&out, line, d);
	stream_write(&r->stream, str_slice(&out));
	stream_drain(&r->stream, "control answer", d);
	stream_close(&r->stream);
	arena_drop(&r->arena);
	free(r);
	connections--;
}

void control_accept(int fd)
{
	struct request *r = connections < CONNECTIONS ? calloc(1, sizeof(*r)) : NULL;

	if (!r) {
		close(fd);
		return;
	}
	if (!stream_open(&r->stream, fd, NULL, r)) {
		free(r);
		return;
	}
	connections++;
	fiber_detach("control", serve, r);
}
