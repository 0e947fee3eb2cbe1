/*
 * The scripted server. It answers like a plain, well-behaved server unless a
 * rule says otherwise, remembers every line and message it got, and never
 * waits: it is polled between turns of the loop.
 */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 32
#define LINES 4096

struct rule {
	struct rule *next;
	struct slice glob, action;
	unsigned times;
	bool limited;
};

static struct connection {
	int fd;
	unsigned host;
	char in[65536];
	size_t used;
	bool data, stalled, prdr;
	unsigned recipients;
	struct str message;
} connections[CONNECTIONS];

static struct arena arena;
/* The server has two hosts with the same words; only CONNECT tells the second one ("CONNECT 2"). */
static int listening[2] = { -1, -1 };
static char path[2][108];
static bool lmtp;
static struct rule *rules;
static struct slice capabilities;
static struct slice lines[LINES], messages[256];
static size_t line_count, line_asked, message_count, connection_count;

void backend_open(const char *at, bool speak_lmtp)
{
	snprintf(path[0], sizeof(path[0]), "%s", at);
	snprintf(path[1], sizeof(path[1]), "%s.2", at);
	lmtp = speak_lmtp;
	capabilities = SLICE("PIPELINING 8BITMIME SMTPUTF8 ENHANCEDSTATUSCODES SIZE");
	for (size_t i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;
	backend_up(0, true);
}

static void host_down(unsigned host)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fd < 0 || connections[i].host != host)
			continue;
		close(connections[i].fd);
		connections[i].fd = -1;
	}
	if (listening[host] >= 0) {
		close(listening[host]);
		unlink(path[host]);
	}
	listening[host] = -1;
}

void backend_up(unsigned host, bool up)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	host_down(host);
	if (!up)
		return;
	listening[host] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path[host]);
	unlink(path[host]);
	if (bind(listening[host], (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(listening[host], 64) != 0) {
		fprintf(stderr, "talk: backend: %s: %s\n", path[host], strerror(errno));
		exit(2);
	}
}

void backend_hang_up(void)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fd >= 0)
			close(connections[i].fd);
		connections[i].fd = -1;
	}
}

void backend_close(void)
{
	backend_up(0, false);
	backend_up(1, false);
}

void backend_capabilities(struct slice words)
{
	capabilities = slice_copy(&arena, words);
}

bool backend_rule(struct slice glob, struct slice action, unsigned times, struct arena *a)
{
	struct rule *r = arena_new(a, struct rule);

	r->glob = slice_copy(a, glob);
	r->action = slice_copy(a, action);
	r->times = times;
	r->limited = times > 0;
	/* The latest rule speaks first. */
	r->next = rules;
	rules = r;
	return slice_starts(action, SLICE("reply ")) || slice_starts(action, SLICE("raw ")) ||
		slice_starts(action, SLICE("drip ")) || slice_eq(action, SLICE("close")) ||
		slice_eq(action, SLICE("stall"));
}

static void send_text(struct connection *c, struct slice text)
{
	if (send(c->fd, text.p, text.n, MSG_NOSIGNAL) < 0)
		return;
}

static void hang_up(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
}

static void send_reply(struct connection *c, struct slice text)
{
	struct str out = STR_IN(&arena);

	str_add(&out, text);
	str_puts(&out, "\r\n");
	send_text(c, str_slice(&out));
}

static bool act(struct connection *c, struct slice action)
{
	if (slice_starts(action, SLICE("reply "))) {
		send_reply(c, slice_from(action, 6));
	} else if (slice_starts(action, SLICE("raw "))) {
		send_text(c, unescape(&arena, slice_from(action, 4)));
	} else if (slice_starts(action, SLICE("drip "))) {
		struct slice text = unescape(&arena, slice_from(action, 5));

		for (size_t i = 0; i < text.n && c->fd >= 0; i++) {
			send_text(c, slice_make(text.p + i, 1));
			loop_turn(clock_now());
		}
	} else if (slice_eq(action, SLICE("close"))) {
		hang_up(c);
	} else {
		c->stalled = true;
	}
	return true;
}

/* A line of a message, as rules name it. */
#define BODY SLICE("body ")

/* The first digit of the code that a rule answers with; 0: none. */
static char action_class(struct slice action)
{
	slice_word(&action);
	action = slice_trim(action);
	return action.n > 0 ? action.p[0] : 0;
}

/* True: a rule has answered. *class: the first digit of its code. */
static bool follow_rule(struct connection *c, struct slice line, char *class)
{
	for (struct rule *r = rules; r; r = r->next) {
		if (!glob_match(r->glob, line) || (r->limited && r->times == 0))
			continue;
		if (slice_starts(line, BODY) && !slice_starts(r->glob, BODY))
			continue;	/* a rule about commands */
		if (r->limited)
			r->times--;
		*class = action_class(r->action);
		return act(c, r->action);
	}
	return false;
}

static void greet(struct connection *c, struct slice verb)
{
	struct slice words = capabilities, word;
	struct str out = STR_IN(&arena);

	if (slice_eq(verb, SLICE("HELO"))) {
		send_reply(c, SLICE("250 backend.example"));
		return;
	}
	str_puts(&out, "250-backend.example\r\n");
	while ((word = slice_word(&words)).n > 0) {
		bool last = slice_trim(words).n == 0;

		str_printf(&out, "250%c", last ? ' ' : '-');
		for (size_t i = 0; i < word.n; i++)
			str_addc(&out, word.p[i] == '=' ? ' ' : word.p[i]);
		str_puts(&out, "\r\n");
	}
	if (capabilities.n == 0) {
		send_reply(c, SLICE("250 backend.example"));
		return;
	}
	send_text(c, str_slice(&out));
}

static void answer_command(struct connection *c, struct slice line)
{
	struct slice rest = line, verb = slice_word(&rest);
	char class = 0;
	bool ruled = follow_rule(c, line, &class);

	if (slice_eq_nocase(verb, SLICE("MAIL"))) {
		c->recipients = 0;
		c->prdr = slice_search(line, SLICE(" PRDR")) >= 0;
	}
	if (slice_eq_nocase(verb, SLICE("RCPT")) && class != '4' && class != '5')
		c->recipients++;
	if (slice_eq_nocase(verb, SLICE("DATA")) && (!ruled || class == '3')) {
		c->data = true;
		c->message = STR_IN(&arena);
		if (!ruled)
			send_reply(c, SLICE("354 go on"));
	}
	if (ruled || c->data)
		return;
	if (slice_eq_nocase(verb, SLICE("EHLO")) || slice_eq_nocase(verb, SLICE("HELO")) ||
	    slice_eq_nocase(verb, SLICE("LHLO")))
		greet(c, verb);
	else if (slice_eq_nocase(verb, SLICE("QUIT")))
		hang_up(c);
	else
		send_reply(c, slice_eq_nocase(verb, SLICE("MAIL")) ? SLICE("250 2.1.0 sender fine") :
			slice_eq_nocase(verb, SLICE("RCPT")) ? SLICE("250 2.1.5 recipient fine") :
			SLICE("250 2.0.0 fine"));
}

static void end_of_message(struct connection *c)
{
	char class;

	c->data = false;
	messages[message_count++ % 256] = str_slice(&c->message);
	if (follow_rule(c, SLICE("."), &class) && !lmtp)
		return;
	if (!lmtp && !c->prdr) {
		send_reply(c, SLICE("250 2.0.0 queued"));
		return;
	}
	if (c->prdr)
		send_reply(c, SLICE("353 one by one"));
	/* One reply a recipient; rules name them ".0", ".1" ... */
	for (unsigned i = 0; i < c->recipients && c->fd >= 0 && !c->stalled; i++) {
		char name[16];

		snprintf(name, sizeof(name), ".%u", i);
		if (!follow_rule(c, slice_of(name), &class))
			send_reply(c, SLICE("250 2.0.0 stored"));
	}
	if (c->prdr && c->fd >= 0 && !c->stalled && !follow_rule(c, SLICE(".last"), &class))
		send_reply(c, SLICE("250 2.0.0 done"));
}

/* As a rule names a line of a message. */
static struct slice named_body(struct slice line)
{
	struct str out = STR_IN(&arena);

	str_add(&out, BODY);
	str_add(&out, line);
	return str_slice(&out);
}

static void take_line(struct connection *c, struct slice line)
{
	char class;

	if (!c->data) {
		if (line_count < LINES)
			lines[line_count++] = slice_copy(&arena, line);
		answer_command(c, line);
		return;
	}
	if (slice_eq(line, SLICE("."))) {
		if (line_count < LINES)
			lines[line_count++] = SLICE(".");
		end_of_message(c);
		return;
	}
	follow_rule(c, named_body(line), &class);
	str_add(&c->message, line.n > 0 && line.p[0] == '.' ? slice_from(line, 1) : line);
	str_puts(&c->message, "\r\n");
}

static bool read_connection(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->used, sizeof(c->in) - c->used, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		hang_up(c);
		return true;
	}
	if (n > 0)
		c->used += (size_t)n;
	while (c->fd >= 0 && !c->stalled) {
		struct slice in = slice_make(c->in, c->used);
		ptrdiff_t end = slice_search(in, SLICE("\r\n"));

		if (end < 0)
			break;
		take_line(c, slice_copy(&arena, slice_head(in, (size_t)end)));
		c->used -= (size_t)end + 2;
		memmove(c->in, c->in + end + 2, c->used);
	}
	return n > 0;
}

static bool accept_one(unsigned host)
{
	int fd = accept_waiting(listening[host]);
	struct slice event = host ? SLICE("CONNECT 2") : SLICE("CONNECT");
	char class;

	if (fd < 0)
		return false;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fd >= 0)
			continue;
		connections[i] = (struct connection){ .fd = fd, .host = host };
		connection_count++;
		if (line_count < LINES)
			lines[line_count++] = event;
		if (!follow_rule(&connections[i], event, &class))
			send_reply(&connections[i], SLICE("220 backend.example ready"));
		return true;
	}
	close(fd);
	return false;
}

bool backend_poll(void)
{
	bool busy = false;

	while (accept_one(0) || accept_one(1))
		busy = true;
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd >= 0 && !connections[i].stalled && read_connection(&connections[i]))
			busy = true;
	return busy;
}

bool backend_got(struct slice glob, struct str *seen)
{
	for (size_t i = line_asked; i < line_count; i++) {
		if (glob_match(glob, lines[i])) {
			line_asked = i + 1;
			return true;
		}
		str_puts(seen, "\n    backend got: ");
		str_escaped(seen, lines[i], 200);
	}
	return false;
}

size_t backend_got_count(struct slice glob)
{
	size_t n = 0;

	for (size_t i = 0; i < line_count; i++)
		n += glob_match(glob, lines[i]);
	return n;
}

bool backend_ever_got(struct slice glob)
{
	return backend_got_count(glob) > 0;
}

size_t backend_message_count(void)
{
	return message_count;
}

struct slice backend_message(size_t i)
{
	return messages[i % 256];
}

size_t backend_connections(void)
{
	return connection_count;
}

void backend_say(struct slice text)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd >= 0)
			send_text(&connections[i], text);
}
