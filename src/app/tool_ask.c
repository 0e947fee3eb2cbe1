/*
 * Asking the running daemon: one line to its control socket, the answer is all
 * that comes until it closes.
 *
 * Plain blocking calls with a time-out: the tool has nothing else to do. That
 * nobody listens is the commonest answer, so its message says which socket was
 * tried and what it means.
 */
#include "app/tool.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_PATIENCE 70	/* seconds; the daemon's own is 60 */
#define ANSWER_MAX (64u * 1024u * 1024u)

static int connect_to(const char *path, const char **why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ANSWER_PATIENCE };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		*why = "the path is too long for a socket";
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
	}
	*why = errno == ENOENT || errno == ECONNREFUSED ? "nobody answers: spurnd does not run with this configuration" :
		errno == EACCES ? "permission denied: root and the daemon's group may ask" : strerror(errno);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* An empty answer is one, too: a list without entries. */
static bool receive_all(int fd, struct str *out, const char **why)
{
	ssize_t n;

	do {
		n = recv(fd, str_room(out, 65536), 65536, 0);
		if (n > 0)
			out->n += (size_t)n;
	} while ((n > 0 && out->n < ANSWER_MAX) || (n < 0 && errno == EINTR));
	*why = n > 0 ? "an answer without end" : errno == EAGAIN ? "no answer in time" : strerror(errno);
	return n == 0;
}

/* {"error":"..."} as the only line. */
static bool is_error(struct tool *t, const char *answer, size_t n)
{
	json_t *value;
	bool error;

	if (n < 9 || memcmp(answer, "{\"error\":", 9) != 0)
		return false;
	value = tool_parse(answer, n);
	error = json_is_string(json_object_get(value, "error"));
	if (error)
		tool_fail(1, "%s", tool_text(t, value, "error"));
	json_decref(value);
	return error;
}

const char *tool_ask(struct tool *t, const char *request, int *status)
{
	const char *path = tool_state(t, "control"), *why = NULL;
	struct str out = STR_IN(&t->arena);
	bool done;
	int fd;

	*status = EX_CONFIG;
	if (!path)
		return NULL;
	*status = EX_UNAVAILABLE;
	fd = connect_to(path, &why);
	if (fd < 0) {
		tool_fail(*status, "%s: %s", path, why);
		return NULL;
	}
	why = "the question could not be sent";
	done = send_all(fd, request, strlen(request)) && send_all(fd, "\n", 1) && receive_all(fd, &out, &why);
	close(fd);
	if (!done) {
		tool_fail(*status, "%s: %s", path, why);
		return NULL;
	}
	*status = 1;
	if (is_error(t, out.p, out.n))
		return NULL;
	*status = 0;
	return str_cstr(&out);
}
