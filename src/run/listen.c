/*
 * Listening sockets, accepting, and the PROXY protocol header.
 *
 * Out of descriptors (EMFILE, ENFILE) or memory, a level-triggered listener would wake
 * us for ever: accepting pauses for 100 ms and the kernel's backlog holds the
 * connections. Other errors of accept() belong to one connection that is
 * already dead (accept(2)) and are counted.
 *
 * The PROXY header comes from a declared peer, but it decides who the client is, so it is
 * parsed to the letter: version 1 is one line of at most 107 bytes with single spaces, canonical numbers and
 * addresses of the family it names; version 2 is binary. Whatever deviates is
 * PROXY_BAD, also where a guess would be easy. proxy_parse() is pure: it is called again with more
 * bytes until it has an opinion.
 *
 * Rejected: one shared socket with EPOLLEXCLUSIVE (uneven between workers, and a wake-up
 * for nothing at each burst), TCP_DEFER_ACCEPT (in SMTP the server speaks first).
 */
#include "run/listen.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BURST_MOST 64
#define PAUSE (100 * NS_PER_MS)
#define PROXY_V1_MOST 107	/* proxy-protocol.txt section 2.1, CRLF included */
#define PROXY_V2_HEADER 16
#define PROXY_MOST 536

/* ---- listeners ---- */

/* A socket in the file system to which nobody listens any more is in our way. */
static void unix_sweep(const struct sockaddr *sa, socklen_t length)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
	struct stat st;
	int fd;

	if (un->sun_path[0] == '\0' || lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, sa, length) < 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

int listen_open(const struct sockaddr *sa, socklen_t length, bool reuse_port, const char **why)
{
	int one = 1, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		*why = strerrordesc_np(errno);
		return -1;
	}
	if (sa->sa_family == AF_UNIX) {
		unix_sweep(sa, length);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (sa->sa_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	}
	if ((reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) ||
	    bind(fd, sa, length) < 0 || listen(fd, INT32_MAX) < 0) {	/* the kernel caps it at somaxconn */
		int error = errno;

		*why = strerrordesc_np(error);
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* ---- accepting ---- */

static void acceptor_resume(struct timer *t)
{
	struct acceptor *a = container_of(t, struct acceptor, pause);

	if (a->watch.fd >= 0)
		watch_change(&a->watch, WATCH_READ);
}

/* One connection. False: no more for now. */
static bool accept_one(struct acceptor *a)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof(peer);
	struct ip ip = { { 0 } };
	uint16_t port = 0;
	int fd = accept4(a->watch.fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		a->accepted++;
		if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)
			ip_from_sockaddr(&ip, &port, (struct sockaddr *)&peer);
		a->on_accept(a, fd, &ip, port);
		return true;
	}
	if (errno == EAGAIN)
		return false;
	a->failed++;
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return true;
	watch_change(&a->watch, 0);
	timer_set(&a->pause, deadline_in(PAUSE));
	return false;
}

static void acceptor_event(struct watch *w, unsigned events)
{
	struct acceptor *a = container_of(w, struct acceptor, watch);

	for (unsigned i = 0; i < a->burst; i++)
		if (a->watch.fd < 0 || !accept_one(a)) {
			a->burst = 1;
			return;
		}
	a->burst = a->burst < BURST_MOST ? a->burst * 2 : BURST_MOST;
}

bool acceptor_start(struct acceptor *a, int listening_fd)
{
	int one = 1;

	setsockopt(listening_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));	/* fails on a Unix socket */
	a->pause = (struct timer){ .fn = acceptor_resume };
	a->accepted = a->failed = 0;
	a->burst = 1;
	return watch_add(&a->watch, listening_fd, WATCH_READ | WATCH_LEVEL, acceptor_event);
}

void acceptor_stop(struct acceptor *a)
{
	timer_clear(&a->pause);
	watch_remove(&a->watch);
}

/* ---- PROXY protocol ---- */

static const char signature_v2[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Decimal without sign or leading zeros, at most 65535. */
static bool proxy_port(struct slice text, uint16_t *port)
{
	uint64_t value;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') || !slice_number(text, 65535, &value))
		return false;
	*port = (uint16_t)value;
	return true;
}

/* "TCP4" SP source SP destination SP port SP port, nothing more. */
static enum proxy_result proxy_addresses_v1(struct slice rest, struct ip *client, uint16_t *port)
{
	bool v4 = slice_starts(rest, SLICE("TCP4 "));
	struct slice word[4];
	struct ip source, target;
	uint16_t from, to;

	if (!v4 && !slice_starts(rest, SLICE("TCP6 ")))
		return PROXY_BAD;
	rest = slice_from(rest, 5);
	for (int i = 0; i < 4; i++) {
		if (i < 3 && slice_find(rest, ' ') < 0)
			return PROXY_BAD;
		word[i] = i < 3 ? slice_split(&rest, ' ') : rest;
	}
	if (!ip_parse(&source, word[0]) || !ip_parse(&target, word[1]) ||
	    (slice_find(word[0], ':') < 0) != v4 || (slice_find(word[1], ':') < 0) != v4 ||
	    !proxy_port(word[2], &from) || !proxy_port(word[3], &to))
		return PROXY_BAD;
	*client = source;
	*port = from;
	return PROXY_OK;
}

/* Section 2.1: human-readable header, known to begin with "PROXY ". */
static enum proxy_result proxy_v1(struct slice input, size_t *used, struct ip *client, uint16_t *port)
{
	struct slice seen = slice_head(input, PROXY_V1_MOST);
	ptrdiff_t lf = slice_find(seen, '\n'), cr = slice_find(seen, '\r');
	enum proxy_result result;
	struct slice line;

	if (lf < 0 && (cr < 0 || (size_t)cr + 1 == seen.n))
		return input.n < PROXY_V1_MOST ? PROXY_MORE : PROXY_BAD;
	if (lf < 1 || cr != lf - 1)
		return PROXY_BAD;
	line = slice_from(slice_head(seen, (size_t)cr), 6);
	if (slice_eq(line, SLICE("UNKNOWN")) || slice_starts(line, SLICE("UNKNOWN ")))
		result = PROXY_LOCAL;	/* "the receiver must ignore anything presented before the CRLF" */
	else
		result = proxy_addresses_v1(line, client, port);
	if (result != PROXY_BAD)
		*used = (size_t)lf + 1;
	return result;
}

static uint16_t big_endian(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

/* The client out of the address block of version 2: AF_INET 12 bytes, AF_INET6 36, sources first. */
static bool proxy_addresses_v2(const uint8_t *p, size_t n, bool v4, struct ip *client, uint16_t *port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (n < (v4 ? 12u : 36u))
		return false;
	if (v4) {
		memcpy(client->bytes, mapped, 12);
		memcpy(client->bytes + 12, p, 4);
	} else {
		memcpy(client->bytes, p, 16);
	}
	*port = big_endian(p + (v4 ? 8 : 32));
	return true;
}

/* Section 2.2: binary header, known to begin with the signature (or what there is of it). */
static enum proxy_result proxy_v2(struct slice input, size_t *used, struct ip *client, uint16_t *port)
{
	const uint8_t *p = (const uint8_t *)input.p;
	enum proxy_result result = PROXY_LOCAL;
	size_t length;

	/* Version and command, family and transport: judged as soon as they are there. */
	if (input.n > 12 && p[12] != 0x20 && p[12] != 0x21)
		return PROXY_BAD;
	if (input.n > 13 && p[12] == 0x21 && p[13] != 0x00 && p[13] != 0x11 && p[13] != 0x21 && p[13] != 0x31)
		return PROXY_BAD;	/* datagrams and unassigned families carry no mail */
	if (input.n < PROXY_V2_HEADER)
		return PROXY_MORE;
	length = big_endian(p + 14);
	if (PROXY_V2_HEADER + length > PROXY_MOST)
		return PROXY_BAD;
	if (input.n < PROXY_V2_HEADER + length)
		return PROXY_MORE;
	if (p[12] == 0x21 && (p[13] == 0x11 || p[13] == 0x21)) {
		if (!proxy_addresses_v2(p + PROXY_V2_HEADER, length, p[13] == 0x11, client, port))
			return PROXY_BAD;
		result = PROXY_OK;
	}
	*used = PROXY_V2_HEADER + length;
	return result;
}

enum proxy_result proxy_parse(struct slice input, size_t *used, struct ip *client, uint16_t *port)
{
	struct slice v1 = SLICE("PROXY "), v2 = slice_make(signature_v2, sizeof(signature_v2));

	if (slice_starts(v1, slice_head(input, v1.n)))
		return input.n < v1.n ? PROXY_MORE : proxy_v1(input, used, client, port);
	if (slice_starts(v2, slice_head(input, v2.n)))
		return input.n < v2.n ? PROXY_MORE : proxy_v2(input, used, client, port);
	return PROXY_BAD;
}
