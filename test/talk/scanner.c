/*
 * Scripted scanners: a clamd, a spamd and a milter, each at a socket of its own. They are content with everything
 * unless a rule says otherwise, remember what they were told, and are polled between turns like the server behind.
 *
 * What they are told, as rules and `got` name it: "clamd CONNECT", "clamd DATA" (octets came), "clamd SCAN" (the message is
 * whole), "spamd CONNECT", "spamd CHECK", "milter CONNECT", and for each packet "milter C host", "milter L Subject: x",
 * "milter E" and so on, the command and its strings.
 */
#include "talk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 16
#define EVENTS 4096
#define HOLD (1u << 20)

enum kind { CLAMD, SPAMD, MILTER, KINDS };
static const char *const kind_names[KINDS] = { "clamd", "spamd", "milter" };

static struct connection {
	int fd;
	enum kind kind;
	char *in;
	size_t used;
	bool stalled, fed;
} connections[CONNECTIONS];

struct rule {
	struct rule *next;
	struct slice glob, action;
	unsigned times;
	bool limited;
};

static struct arena arena;
static int listening[KINDS] = { -1, -1, -1 };
static char path[KINDS][108];
static struct rule *rules;
static struct slice events[EVENTS];
static size_t event_count, event_asked;

const char *scanner_path(struct slice name)
{
	for (int kind = 0; kind < KINDS; kind++)
		if (slice_eq_nocase(name, slice_of(kind_names[kind]))) {
			snprintf(path[kind], sizeof(path[kind]), "/tmp/spurn-talk-%s.%d", kind_names[kind], (int)getpid());
			return path[kind];
		}
	return NULL;
}

void scanner_up(struct slice name, bool up)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	for (int kind = 0; kind < KINDS; kind++) {
		if (!slice_eq(name, slice_of(kind_names[kind])) || up == (listening[kind] >= 0))
			continue;
		scanner_path(name);
		if (!up) {
			close(listening[kind]);
			unlink(path[kind]);
			listening[kind] = -1;
			continue;
		}
		listening[kind] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		memcpy(sun.sun_path, path[kind], sizeof(sun.sun_path));
		unlink(path[kind]);	/* of one that failed, and had this process id */
		if (bind(listening[kind], (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(listening[kind], 16) != 0) {
			fprintf(stderr, "talk: scanner: %s: %s\n", path[kind], strerror(errno));
			exit(2);
		}
	}
}

static void hang_up(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
	free(c->in);
	c->in = NULL;
}

void scanner_open(void)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;
	for (int kind = 0; kind < KINDS; kind++)
		scanner_up(slice_of(kind_names[kind]), true);
}

void scanner_close(void)
{
	for (int kind = 0; kind < KINDS; kind++)
		scanner_up(slice_of(kind_names[kind]), false);
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd >= 0)
			hang_up(&connections[i]);
}

bool scanner_rule(struct slice glob, struct slice action, unsigned times, struct arena *a)
{
	struct rule *r = arena_new(a, struct rule);

	*r = (struct rule){ .next = rules, .glob = slice_copy(a, glob), .action = slice_copy(a, action), .times = times,
		.limited = times > 0 };
	rules = r;	/* the latest speaks first */
	return slice_starts(action, SLICE("raw ")) || slice_starts(action, SLICE("packet ")) ||
		slice_eq(action, SLICE("close")) || slice_eq(action, SLICE("stall")) || slice_eq(action, SLICE("nothing"));
}

static void say(struct connection *c, struct slice octets)
{
	while (octets.n > 0) {
		ssize_t n = send(c->fd, octets.p, octets.n, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		octets = slice_from(octets, (size_t)n);
	}
}

static void say_packet(struct connection *c, struct slice octets)
{
	struct str out = STR_IN(&arena);

	for (int shift = 24; shift >= 0; shift -= 8)
		str_addc(&out, (char)(octets.n >> shift & 0xff));
	str_add(&out, octets);
	say(c, str_slice(&out));
}

/* "packet TEXT && packet TEXT && close": what a rule does, one after the other. */
static void act(struct connection *c, struct slice action)
{
	while (action.n > 0 && c->fd >= 0) {
		ptrdiff_t end = slice_search(action, SLICE(" && "));
		struct slice one = end < 0 ? action : slice_head(action, (size_t)end);

		action = slice_from(action, end < 0 ? action.n : (size_t)end + 4);
		if (slice_starts(one, SLICE("raw ")))
			say(c, unescape(&arena, slice_from(one, 4)));
		else if (slice_starts(one, SLICE("packet ")))
			say_packet(c, unescape(&arena, slice_from(one, 7)));
		else if (slice_eq(one, SLICE("close")))
			hang_up(c);
		else if (slice_eq(one, SLICE("stall")))
			c->stalled = true;
	}
}

/* Notes it; true: a rule has answered. */
static bool tell(struct connection *c, struct slice what)
{
	struct slice event = slice_of(arena_printf(&arena, "%s %.*s", kind_names[c->kind], SLICE_ARG(what)));

	if (event_count < EVENTS)
		events[event_count++] = event;
	for (struct rule *r = rules; r; r = r->next) {
		if ((r->limited && r->times == 0) || !glob_match(r->glob, event))
			continue;
		if (r->limited)
			r->times--;
		act(c, r->action);
		return true;
	}
	return false;
}

static uint32_t u32_at(const char *p)
{
	const uint8_t *o = (const uint8_t *)p;

	return (uint32_t)o[0] << 24 | (uint32_t)o[1] << 16 | (uint32_t)o[2] << 8 | o[3];
}

/* Octets used up by one thing that was told; 0: more is wanted. */
static size_t take_clamd(struct connection *c, struct slice in)
{
	size_t at = 10;

	if (in.n < at || !slice_starts(in, slice_make("zINSTREAM", 10)))
		return 0;
	if (!c->fed && in.n > at + 4) {
		c->fed = true;
		tell(c, SLICE("DATA"));
	}
	while (c->fd >= 0 && in.n >= at + 4) {
		uint32_t n = u32_at(in.p + at);

		if (n == 0) {
			if (!tell(c, SLICE("SCAN")))
				say(c, slice_make("stream: OK", 11));
			return at + 4;
		}
		at += 4 + n;
	}
	return 0;
}

static size_t take_spamd(struct connection *c, struct slice in)
{
	ptrdiff_t end = slice_search(in, SLICE("\r\n\r\n")), length = slice_search(in, SLICE("Content-length: "));
	size_t n;

	if (end < 0 || length < 0)
		return 0;
	n = (size_t)end + 4 + strtoul(in.p + length + 16, NULL, 10);
	if (in.n < n)
		return 0;
	if (!tell(c, SLICE("CHECK")))
		act(c, SLICE("raw SPAMD/1.1 0 EX_OK\\r\\nContent-length: 2\\r\\nSpam: False ; 0.1 / 5.0\\r\\n\\r\\n\\r\\n && close"));
	return n;
}

static size_t take_milter(struct connection *c, struct slice in)
{
	struct str text = STR_IN(&arena);
	uint32_t n;
	char word;

	if (in.n < 5 || in.n < (n = u32_at(in.p)) + 4)
		return 0;
	word = in.p[4];
	str_addc(&text, word);
	for (uint32_t i = 1; word != 'B' && word != 'D' && word != 'O' && i < n; i++)
		str_addc(&text, i == 1 ? ' ' : in.p[3 + i] ? in.p[3 + i] : ' ');
	if (word != 'B' && word != 'D' && word != 'O' && n > 1 && in.p[3 + n])
		str_addc(&text, in.p[3 + n]);
	if (tell(c, str_slice(&text)) || strchr("DAKQ", word))
		return n + 4;
	if (word == 'O')
		say_packet(c, slice_make("O\0\0\0\6\0\0\0\x33\0\0\0\0", 13));
	else
		say_packet(c, SLICE("c"));
	return n + 4;
}

static bool read_connection(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->used, HOLD - c->used, MSG_DONTWAIT);
	bool closed = n == 0 || (n < 0 && errno != EAGAIN);

	if (n > 0)
		c->used += (size_t)n;
	while (c->fd >= 0 && !c->stalled && c->used > 0) {
		struct slice in = slice_make(c->in, c->used);
		size_t used = c->kind == CLAMD ? take_clamd(c, in) : c->kind == SPAMD ? take_spamd(c, in) :
			take_milter(c, in);

		if (c->fd < 0 || used == 0)
			break;
		c->used -= used;
		memmove(c->in, c->in + used, c->used);
	}
	if (closed && c->fd >= 0) {
		tell(c, SLICE("GONE"));
		if (c->fd >= 0)
			hang_up(c);
	}
	return n > 0 || closed;
}

static bool accept_one(enum kind kind)
{
	int fd = accept_waiting(listening[kind]);

	if (fd < 0)
		return false;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fd >= 0)
			continue;
		connections[i] = (struct connection){ .fd = fd, .kind = kind, .in = malloc(HOLD) };
		if (!connections[i].in)
			exit(2);
		tell(&connections[i], SLICE("CONNECT"));
		return true;
	}
	close(fd);
	return false;
}

bool scanner_poll(void)
{
	bool busy = false;

	for (int kind = 0; kind < KINDS; kind++)
		while (accept_one((enum kind)kind))
			busy = true;
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd >= 0 && !connections[i].stalled && read_connection(&connections[i]))
			busy = true;
	return busy;
}

bool scanner_got(struct slice glob, struct str *seen)
{
	for (size_t i = event_asked; i < event_count; i++) {
		if (glob_match(glob, events[i])) {
			event_asked = i + 1;
			return true;
		}
		str_puts(seen, "\n    scanner got: ");
		str_escaped(seen, events[i], 200);
	}
	return false;
}

size_t scanner_got_count(struct slice glob)
{
	size_t n = 0;

	for (size_t i = 0; i < event_count; i++)
		n += glob_match(glob, events[i]);
	return n;
}
