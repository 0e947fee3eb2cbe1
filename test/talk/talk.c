/*
 * Reads a .talk file and plays it: each step in order, in a child process of
 * its own, and then once more with one byte per read and write.
 */
#include "talk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS 64

static struct client {
	char name[32];
	int fd;		/* -1: closed */
	struct secure *tls;	/* NULL: plain */
	bool ended;	/* the server closed */
	bool deaf;	/* does not read: what it is told is lost when it hangs up */
	char in[65536];
	size_t used;
} clients[CLIENTS], *current;

static struct script {
	const char *path;
	struct slice rest;
	unsigned line;
	struct arena arena;
	struct str config;
	bool own_config, opened, byte_by_byte, lmtp;
} script;

static const char default_head[] =
	"hostname mx.example.org;\n"
	"state-dir /nonexistent;\n"
	"workers 1;\n"
	"listener inbound { address 127.0.0.1:2525; greet-wait 0s; error-delay 0s; }\n"
	"check rdns { mode off; }\n"
	"check sender-domain { mode off; }\n";

/* ---- failing ---- */

static _Noreturn void fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%u: ", script.path, script.line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "%s\n", script.byte_by_byte ? " (byte by byte)" : "");
	exit(1);
}

/* ---- text ---- */

bool glob_match(struct slice pattern, struct slice text)
{
	while (pattern.n > 0) {
		if (pattern.p[0] == '*') {
			pattern = slice_from(pattern, 1);
			for (size_t i = 0; i <= text.n; i++)
				if (glob_match(pattern, slice_from(text, i)))
					return true;
			return false;
		}
		if (text.n == 0 || (pattern.p[0] != '?' && pattern.p[0] != text.p[0]))
			return false;
		pattern = slice_from(pattern, 1);
		text = slice_from(text, 1);
	}
	return text.n == 0;
}

struct slice unescape(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] != '\\' || i + 1 == text.n) {
			str_addc(&out, text.p[i]);
			continue;
		}
		switch (text.p[++i]) {
		case 'r': str_addc(&out, '\r'); break;
		case 'n': str_addc(&out, '\n'); break;
		case 't': str_addc(&out, '\t'); break;
		case '0': str_addc(&out, '\0'); break;
		case 'x':
			if (i + 2 < text.n) {
				str_addc(&out, (char)(ascii_hex(text.p[i + 1]) << 4 | ascii_hex(text.p[i + 2])));
				i += 2;
			}
			break;
		default: str_addc(&out, text.p[i]);
		}
	}
	return str_slice(&out);
}

static struct slice next_line(void)
{
	script.line++;
	return slice_split(&script.rest, '\n');
}

/* The lines up to END. */
static struct slice heredoc(const char *ending)
{
	struct str out = STR_IN(&script.arena);

	for (;;) {
		if (script.rest.n == 0)
			fail("END is missing");
		struct slice line = next_line();

		if (slice_eq(slice_trim(line), SLICE("END")))
			return str_slice(&out);
		str_add(&out, line);
		str_puts(&out, ending);
	}
}

static bool duration(struct slice text, nanoseconds *out)
{
	static const struct { const char *unit; int64_t factor; } units[] = {
		{ "ms", NS_PER_MS }, { "s", NS_PER_SECOND }, { "m", 60 * NS_PER_SECOND },
		{ "h", 3600 * NS_PER_SECOND }, { "d", 86400 * NS_PER_SECOND },
	};
	uint64_t number;
	size_t n = 0;

	while (n < text.n && ascii_digit(text.p[n]))
		n++;
	if (!slice_number(slice_head(text, n), 1000000, &number))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (slice_eq(slice_from(text, n), slice_of(units[i].unit))) {
			*out = (nanoseconds)number * units[i].factor;
			return true;
		}
	return false;
}

/* ---- the site, opened at the first step that needs it ---- */

/* Below a directory of this process alone: a number of a process comes again, and what a failed talk left with it. */
static char own_directory[] = "/tmp/spurn-talk-own-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* However the process ends. */
static void remove_files(void)
{
	nftw(own_directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *own_path(const char *what)
{
	static bool made;

	if (!made && !mkdtemp(own_directory)) {
		perror("talk: /tmp");
		exit(2);
	}
	if (!made)
		atexit(remove_files);
	made = true;
	return arena_printf(&script.arena, "%s/%s", own_directory, what);
}

/* @BACKEND@, @BACKEND2@, @CLAMD@, @SPAMD@, @MILTER@ (sockets), @DIR@ (an empty directory), @CERT@ and @KEY@ (files). */
static const char *path_of(struct slice name)
{
	if (slice_eq(name, SLICE("BACKEND")))
		return own_path("backend");
	if (slice_eq(name, SLICE("BACKEND2")))
		return arena_printf(&script.arena, "%s.2", own_path("backend"));
	if (slice_eq(name, SLICE("DIRECTORY")))
		return own_path("directory");
	if (scanner_path(name))
		return scanner_path(name);
	const char *directory = own_path("files");

	mkdir(directory, 0700);
	if (slice_eq(name, SLICE("DIR")))
		return directory;
	const char *certificate = arena_printf(&script.arena, "%s/certificate", directory);
	const char *key = arena_printf(&script.arena, "%s/key", directory);
	bool wants_key = slice_eq(name, SLICE("KEY"));

	if (!wants_key && !slice_eq(name, SLICE("CERT")))
		return NULL;
	if (access(key, R_OK) != 0)
		secure_make(certificate, key);
	return wants_key ? key : certificate;
}

static struct slice expand(struct slice text)
{
	struct str out = STR_IN(&script.arena);

	while (text.n > 0) {
		ptrdiff_t at = slice_find(text, '@'), end = at < 0 ? -1 : slice_find(slice_from(text, (size_t)at + 1), '@');
		const char *path = end < 0 ? NULL : path_of(slice_make(text.p + at + 1, (size_t)end));

		str_add(&out, slice_head(text, at < 0 ? text.n : (size_t)at + !path));
		if (path)
			str_puts(&out, path);
		text = slice_from(text, at < 0 ? text.n : (size_t)at + 1 + (path ? (size_t)end + 1 : 0));
	}
	return str_slice(&out);
}

static struct slice whole_config(void)
{
	struct str out = STR_IN(&script.arena);

	if (!script.own_config)
		str_puts(&out, default_head);
	str_add(&out, expand(str_slice(&script.config)));
	if (slice_search(str_slice(&out), SLICE("\ndomain ")) < 0)
		str_printf(&out, "domain example.org { backend %s+unix:%s; recipients callforward; }\n",
			script.lmtp ? "lmtp" : "smtp", own_path("backend"));
	return str_slice(&out);
}

static void open_site(void)
{
	if (script.opened)
		return;
	script.opened = true;
	backend_open(own_path("backend"), script.lmtp);
	directory_open(own_path("directory"));
	scanner_open();
	site_open(whole_config());
	if (script.byte_by_byte)
		stream_limit_io(1);
	site_settle();
}

/* ---- the client ---- */

static ssize_t receive(struct client *c, char *buffer, size_t n)
{
	return c->tls ? secure_read(c->tls, buffer, n) : recv(c->fd, buffer, n, MSG_DONTWAIT);
}

static ssize_t transmit(struct client *c, const char *bytes, size_t n)
{
	return c->tls ? secure_write(c->tls, bytes, n) : send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void close_client(struct client *c)
{
	if (c->tls)
		secure_drop(c->tls);
	c->tls = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void read_client(struct client *c)
{
	ssize_t n;

	while (c->fd >= 0 && (n = receive(c, c->in + c->used, sizeof(c->in) - c->used)) != 0) {
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				c->ended = true;
			return;
		}
		c->used += (size_t)n;
	}
	if (c->fd >= 0)
		c->ended = true;
}

static void settle(void)
{
	site_settle();
	for (size_t i = 0; i < CLIENTS; i++)
		if (clients[i].fd >= 0 && !clients[i].deaf)
			read_client(&clients[i]);
}

static struct client *client_called(struct slice name)
{
	for (size_t i = 0; i < CLIENTS; i++)
		if (slice_eq(slice_of(clients[i].name), name))
			return &clients[i];
	return NULL;
}

static const struct listener_conf *listener_called(struct slice name)
{
	const struct config *c = site.edge.config;

	if (name.n == 0)
		return &c->listeners[0];
	for (size_t i = 0; i < c->listener_count; i++)
		if (slice_eq(slice_of(c->listeners[i].name), name))
			return &c->listeners[i];
	fail("no listener %.*s", SLICE_ARG(name));
}

/* connect [as NAME] [ADDRESS] [to LISTENER] */
static void step_connect(struct slice rest)
{
	struct slice word = slice_word(&rest), name = SLICE("client"), address = SLICE("192.0.2.1");
	struct ip ip;
	int pair[2];

	open_site();
	if (slice_eq(word, SLICE("as"))) {
		name = slice_word(&rest);
		word = slice_word(&rest);
	}
	if (word.n > 0 && !slice_eq(word, SLICE("to"))) {
		address = word;
		word = slice_word(&rest);
	}
	if (!ip_parse(&ip, address) || (word.n > 0 && !slice_eq(word, SLICE("to"))))
		fail("connect [as NAME] [ADDRESS] [to LISTENER]");
	current = client_called(name);
	if (!current)
		current = client_called(SLICE(""));
	if (!current)
		fail("too many clients");
	close_client(current);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		fail("socketpair: %s", strerror(errno));
	snprintf(current->name, sizeof(current->name), "%.*s", SLICE_ARG(name));
	current->fd = pair[0];
	current->used = 0;
	current->ended = current->deaf = false;
	session_start(&site.edge, listener_called(slice_word(&rest)), pair[1], &ip, 40000);
	settle();
}

static void need_client(void)
{
	if (!current || current->fd < 0)
		fail("no client is connected");
}

static void client_send(struct slice text)
{
	need_client();
	while (text.n > 0) {
		size_t n = script.byte_by_byte && text.n < 4096 ? 1 : text.n;
		ssize_t sent = transmit(current, text.p, n);

		if (sent < 0 && errno != EAGAIN)
			return;		/* the server hung up: what it said counts */
		text = slice_from(text, sent > 0 ? (size_t)sent : 0);
		settle();
	}
}

static void step_say(struct slice rest)
{
	struct str out = STR_IN(&script.arena);

	str_add(&out, unescape(&script.arena, rest));
	str_puts(&out, "\r\n");
	client_send(str_slice(&out));
}

/* A line of the server, or an empty slice with n == SIZE_MAX if there is none. */
static bool server_line(struct slice *line)
{
	struct slice in = slice_make(current->in, current->used);
	ptrdiff_t end = slice_search(in, SLICE("\r\n"));

	if (end < 0)
		return false;
	*line = slice_copy(&script.arena, slice_head(in, (size_t)end));
	current->used -= (size_t)end + 2;
	memmove(current->in, current->in + end + 2, current->used);
	return true;
}

static void step_expect(struct slice rest)
{
	struct slice line = SLICE_NULL;

	if (!current)
		fail("no client is connected");
	settle();
	/* Earlier lines of a multi-line reply may be passed over. */
	do {
		if (!server_line(&line))
			fail("server said nothing%s, wanted: %.*s", current->ended ? " and closed" : "", SLICE_ARG(rest));
		if (glob_match(rest, line))
			return;
	} while (line.n > 3 && line.p[3] == '-');
	fail("server said: %.*s\n    wanted: %.*s", SLICE_ARG(line), SLICE_ARG(rest));
}

static void step_silence(struct slice rest)
{
	struct slice line;

	(void)rest;
	settle();
	if (server_line(&line))
		fail("server said: %.*s\n    wanted: silence", SLICE_ARG(line));
	if (current->ended)
		fail("server closed the connection");
}

static void step_closed(struct slice rest)
{
	struct slice line;

	(void)rest;
	settle();
	if (server_line(&line))
		fail("server said: %.*s\n    wanted: end of connection", SLICE_ARG(line));
	if (!current->ended)
		fail("server did not close");
	close_client(current);
}

static void step_hangup(struct slice rest)
{
	(void)rest;
	need_client();
	close_client(current);
	settle();
}

static void step_deaf(struct slice rest)
{
	(void)rest;
	need_client();
	current->deaf = true;
}

/* The handshake behind "220 Ready to start TLS"; what is said from then on is encrypted. */
static void step_tls(struct slice rest)
{
	struct secure *tls;
	int done = 0;

	(void)rest;
	need_client();
	tls = secure_new(current->fd);
	for (int turn = 0; turn < 10000 && done == 0; turn++) {
		done = secure_shake(tls);
		site_settle();
	}
	if (done != 1)
		fail("TLS handshake failed");
	current->tls = tls;
}

/* "text COUNT": so many octets, repeated. */
static void step_flood(struct slice rest)
{
	uint64_t count;
	struct slice number = slice_word(&rest);
	struct slice text = unescape(&script.arena, slice_trim(rest));

	if (!slice_number(number, 10000000, &count) || text.n == 0)
		fail("flood COUNT TEXT");
	for (; count > 0; count--)
		client_send(text);
}

/* ---- the rest ---- */

static void step_config(struct slice rest)
{
	bool own = slice_eq(slice_trim(rest), SLICE("whole"));
	struct slice text = heredoc("\n");

	script.own_config |= own;
	if (script.opened)
		script.config.n = 0;
	str_add(&script.config, text);
	if (script.opened)
		site_reload(whole_config());
}

static void step_dns(struct slice rest)
{
	struct slice name = slice_word(&rest), type = slice_word(&rest);

	if (slice_eq(name, SLICE("forget"))) {
		site_dns_forget(type);
		return;
	}
	if (!site_dns(slice_copy(&script.arena, name), type, slice_copy(&script.arena, slice_trim(rest)), &script.arena))
		fail("dns NAME TYPE VALUE");
}

static void backend_on(struct slice rest, unsigned times)
{
	struct slice glob;

	if (rest.n > 0 && rest.p[0] == '"') {
		rest = slice_from(rest, 1);
		glob = slice_split(&rest, '"');
		rest = slice_trim(rest);
	} else {
		glob = slice_word(&rest);
	}
	if (!backend_rule(glob, slice_trim(rest), times, &script.arena))
		fail("backend on GLOB reply|raw|drip TEXT, close or stall");
}

static void check_message(struct slice rest)
{
	struct slice text = backend_message_count() ? backend_message(backend_message_count() - 1) : SLICE_NULL;
	struct slice how = slice_word(&rest);
	struct slice wanted = unescape(&script.arena, slice_trim(rest));
	bool has = slice_search(text, wanted) >= 0;

	if (slice_eq(how, SLICE("ends")))
		has = wanted.n <= text.n && slice_eq(slice_from(text, text.n - wanted.n), wanted);
	if (has == slice_eq(how, SLICE("lacks")))
		fail("message of the backend %.*s %.*s:\n%.*s", SLICE_ARG(how), SLICE_ARG(wanted), SLICE_ARG(text));
}

static void check_count(struct slice rest, size_t has, const char *what)
{
	uint64_t n;

	if (!slice_number(rest, 100000, &n) || n != has)
		fail("backend has %zu %s", has, what);
}

/* What is asked of it. false: something else was said. */
static bool ask_backend(struct slice what, struct slice rest)
{
	struct str seen = STR_IN(&script.arena);

	settle();
	if (slice_eq(what, SLICE("got"))) {
		if (!backend_got(rest, &seen))
			fail("backend did not get: %.*s%.*s", SLICE_ARG(rest), SLICE_ARG(str_slice(&seen)));
	} else if (slice_eq(what, SLICE("never"))) {
		if (backend_ever_got(rest))
			fail("backend got: %.*s", SLICE_ARG(rest));
	} else if (slice_eq(what, SLICE("count"))) {
		struct slice number = slice_word(&rest);

		check_count(number, backend_got_count(slice_trim(rest)), "such lines");
	} else if (slice_eq(what, SLICE("messages"))) {
		check_count(rest, backend_message_count(), "messages");
	} else if (slice_eq(what, SLICE("connections"))) {
		check_count(rest, backend_connections(), "connections");
	} else if (slice_eq(what, SLICE("message"))) {
		check_message(rest);
	} else {
		return false;
	}
	return true;
}

static void step_backend(struct slice rest)
{
	struct slice what = slice_word(&rest);

	rest = slice_trim(rest);
	if (slice_eq(what, SLICE("lmtp"))) {
		script.lmtp = true;
		return;
	}
	open_site();
	if (slice_eq(what, SLICE("offers")))
		backend_capabilities(rest);
	else if (slice_eq(what, SLICE("learn")))
		site_learn();
	else if (slice_eq(what, SLICE("on")))
		backend_on(rest, 0);
	else if (slice_eq(what, SLICE("once")))
		backend_on(rest, 1);
	else if (slice_eq(what, SLICE("down")) || slice_eq(what, SLICE("up")))
		backend_up(slice_eq(rest, SLICE("2")), slice_eq(what, SLICE("up")));
	else if (slice_eq(what, SLICE("hangup")))
		backend_hang_up();
	else if (slice_eq(what, SLICE("says")))
		backend_say(unescape(&script.arena, rest));
	else if (!ask_backend(what, rest))
		fail("backend %.*s?", SLICE_ARG(what));
}

static struct slice quoted_word(struct slice *rest)
{
	struct slice word;

	if (rest->n == 0 || rest->p[0] != '"')
		return slice_word(rest);
	*rest = slice_from(*rest, 1);
	word = slice_split(rest, '"');
	*rest = slice_trim(*rest);
	return word;
}

static void step_directory(struct slice rest)
{
	struct slice what = slice_word(&rest), number = rest;
	uint64_t wanted;

	rest = slice_trim(rest);
	open_site();
	if (slice_eq(what, SLICE("knows")) || slice_eq(what, SLICE("forgets"))) {
		directory_knows(rest, slice_eq(what, SLICE("knows")));
	} else if (slice_eq(what, SLICE("down")) || slice_eq(what, SLICE("up"))) {
		directory_up(slice_eq(what, SLICE("up")));
	} else if (slice_eq(what, SLICE("says"))) {
		directory_says(unescape(&script.arena, rest));
	} else if (slice_eq(what, SLICE("count")) && slice_number(slice_word(&number), 1000, &wanted)) {
		size_t asked = directory_asked(slice_trim(number));

		if (asked != wanted)
			fail("the directory was asked %zu times", asked);
	} else {
		fail("directory %.*s?", SLICE_ARG(what));
	}
}

static void step_scanner(struct slice rest)
{
	struct slice what = slice_word(&rest);
	struct str seen = STR_IN(&script.arena);
	uint64_t n = 0;

	rest = slice_trim(rest);
	open_site();
	settle();
	if (slice_eq(what, SLICE("on")) || slice_eq(what, SLICE("once"))) {
		struct slice glob = quoted_word(&rest);

		if (!scanner_rule(glob, slice_trim(rest), slice_eq(what, SLICE("once")), &script.arena))
			fail("scanner on GLOB raw|packet TEXT, close, stall or nothing");
	} else if (slice_eq(what, SLICE("down")) || slice_eq(what, SLICE("up"))) {
		scanner_up(rest, slice_eq(what, SLICE("up")));
	} else if (slice_eq(what, SLICE("got"))) {
		if (!scanner_got(rest, &seen))
			fail("scanner did not get: %.*s%.*s", SLICE_ARG(rest), SLICE_ARG(str_slice(&seen)));
	} else if (slice_eq(what, SLICE("never"))) {
		if (scanner_got_count(rest) > 0)
			fail("scanner got: %.*s", SLICE_ARG(rest));
	} else if (slice_eq(what, SLICE("count")) && slice_number(slice_word(&rest), 100000, &n)) {
		if (scanner_got_count(slice_trim(rest)) != n)
			fail("scanner has %zu such events", scanner_got_count(slice_trim(rest)));
	} else {
		fail("scanner %.*s?", SLICE_ARG(what));
	}
}

/* The replay octet by octet ends before it has begun. */
static void step_whole(struct slice rest)
{
	(void)rest;
	if (script.opened)
		fail("whole stands before anything else");
	if (script.byte_by_byte)
		exit(0);
}

static void step_journal(struct slice rest)
{
	struct slice how = slice_word(&rest), all = site_journal(&script.arena), line;
	uint64_t wanted, count = 0;

	rest = slice_trim(rest);
	if (slice_eq(how, SLICE("count"))) {
		for (struct slice at = all; at.n > 0; count++)
			slice_split(&at, '\n');
		if (!slice_number(rest, 100000, &wanted) || wanted != count)
			fail("journal has %llu records:\n%.*s", (unsigned long long)count, SLICE_ARG(all));
		return;
	}
	for (struct slice at = all; at.n > 0;) {
		line = slice_split(&at, '\n');
		count += slice_search(line, rest) >= 0;
	}
	if (slice_eq(how, SLICE("lacks")) ? count > 0 : count == 0)
		fail("journal %.*s %.*s:\n%.*s", SLICE_ARG(how), SLICE_ARG(rest), SLICE_ARG(all));
}

struct count {
	uint64_t of_state[4], all;
};

/* The first octet of an entry is its state (edge/commit.c). */
static bool count_entry(void *arg, const struct store_key *key, const struct store_value *value)
{
	struct count *count = arg;

	(void)key;
	count->all++;
	count->of_state[value->bytes[0] & 3]++;
	return true;
}

/* ledger COUNT [open|delivered|lost] */
static void step_ledger(struct slice rest)
{
	struct slice number = slice_word(&rest), state = slice_trim(rest);
	struct count count = { 0 };
	uint64_t wanted, has;

	settle();
	store_each(site.edge.services.store, STORE_COMMIT, count_entry, &count);
	has = state.n == 0 ? count.all : count.of_state[slice_eq(state, SLICE("open")) ? 1 :
		slice_eq(state, SLICE("delivered")) ? 2 : 3];
	if (!slice_number(number, 100000, &wanted) || wanted != has)
		fail("commit ledger has %llu entries: %llu open, %llu delivered, %llu lost",
			(unsigned long long)count.all, (unsigned long long)count.of_state[1],
			(unsigned long long)count.of_state[2], (unsigned long long)count.of_state[3]);
}

/* Sessions of the dead are gone; what they left open in the store stays. */
static void step_worker(struct slice rest)
{
	if (!slice_eq(slice_trim(rest), SLICE("dies")))
		fail("worker dies");
	open_site();
	site_worker_dies();
}

/* store gone|back */
static void step_store(struct slice rest)
{
	rest = slice_trim(rest);
	if (!slice_eq(rest, SLICE("gone")) && !slice_eq(rest, SLICE("back")))
		fail("store gone|back");
	open_site();
	site_store(slice_eq(rest, SLICE("back")));
}

static void step_wait(struct slice rest)
{
	nanoseconds span;

	open_site();
	if (!duration(slice_trim(rest), &span))
		fail("wait DURATION");
	site_wait(span);
	settle();
}

static void step_use(struct slice rest)
{
	current = client_called(slice_trim(rest));
	if (!current)
		fail("no such client");
}

static void step_observe(struct slice rest)
{
	open_site();
	site.observe_all = slice_eq(slice_trim(rest), SLICE("on"));
}

static void step_raw(struct slice rest)
{
	client_send(unescape(&script.arena, rest));
}

/* All at once, and the end behind it: the server sees both together. */
static void step_last(struct slice rest)
{
	struct slice text = unescape(&script.arena, rest);

	need_client();
	if (transmit(current, text.p, text.n) != (ssize_t)text.n || shutdown(current->fd, SHUT_WR) < 0)
		fail("cannot send: %s", strerror(errno));
	settle();
}

static void step_text(struct slice rest)
{
	(void)rest;
	client_send(heredoc("\r\n"));
}

static void step_file(struct slice rest)
{
	const char *path = slice_cstr(&script.arena, expand(slice_trim(rest)));
	struct slice text = heredoc("\n");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		fail("%s: %s", path, strerror(errno));
	/* A stamp of another year: one of this very moment would be waited for, by the real clock (check/list.c). */
	nanoseconds now = script.opened ? clock_now() : 0;
	struct timespec changed = { now / NS_PER_SECOND, now % NS_PER_SECOND };

	futimens(fd, (struct timespec[]){ changed, changed });
	close(fd);
}

static const struct {
	const char *word;
	void (*run)(struct slice rest);
} steps[] = {
	{ "config", step_config }, { "dns", step_dns }, { "backend", step_backend }, { "connect", step_connect },
	{ "scanner", step_scanner }, { "directory", step_directory }, { "whole", step_whole },
	{ "use", step_use }, { "C:", step_say }, { "S:", step_expect }, { "raw", step_raw }, { "last", step_last }, { "text", step_text },
	{ "flood", step_flood }, { "silence", step_silence }, { "closed", step_closed }, { "hangup", step_hangup },
	{ "wait", step_wait }, { "journal", step_journal }, { "ledger", step_ledger }, { "observe", step_observe },
	{ "file", step_file }, { "deaf", step_deaf }, { "tls", step_tls }, { "worker", step_worker }, { "store", step_store },
};

static void play_step(struct slice line)
{
	struct slice rest = line, word = slice_word(&rest);

	if (rest.n > 0 && rest.p[0] == ' ')
		rest = slice_from(rest, 1);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (slice_eq(word, slice_of(steps[i].word))) {
			steps[i].run(rest);
			return;
		}
	fail("unknown step: %.*s", SLICE_ARG(word));
}

/* ---- playing ---- */

static struct slice read_script(const char *path)
{
	struct str text = STR_IN(&script.arena);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0) {
		fprintf(stderr, "talk: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	while ((n = read(fd, str_room(&text, 65536), 65536)) > 0)
		text.n += (size_t)n;
	close(fd);
	return str_slice(&text);
}

static void play(const char *path, bool byte_by_byte)
{
	script = (struct script){ .path = path, .byte_by_byte = byte_by_byte };
	script.config = STR_IN(&script.arena);
	script.rest = read_script(path);
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	while (script.rest.n > 0) {
		struct slice line = next_line();

		if (slice_trim(line).n > 0 && line.p[0] != '#')
			play_step(line);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		close_client(&clients[i]);
	if (!script.opened)
		fail("nothing was played");
	settle();
	site_close();
	backend_close();
	directory_up(false);
	scanner_close();
	arena_drop(&script.arena);
}

static bool passes(const char *path, bool byte_by_byte)
{
	pid_t pid;
	int status = 0;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(300);
		play(path, byte_by_byte);
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d%s\n", path, WTERMSIG(status), byte_by_byte ? " (byte by byte)" : "");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_talks(const char *directory, char **out, size_t room)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	size_t n = 0;

	while (dir && (entry = readdir(dir)) && n < room)
		if (slice_ends_nocase(slice_of(entry->d_name), SLICE(".talk")) &&
		    asprintf(&out[n], "%s/%s", directory, entry->d_name) > 0)
			n++;
	if (dir)
		closedir(dir);
	else
		out[n++] = strdup(directory);
	qsort(out, n, sizeof(*out), by_name);
	return n;
}

int main(int argc, char **argv)
{
	static char *talks[1024];
	unsigned passed = 0, failed = 0;
	unsigned share = 1, shares = 1;
	bool once = false;
	size_t n = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-1") == 0)
			once = true;
		else if (sscanf(argv[i], "--share=%u/%u", &share, &shares) == 2 && share > 0 && share <= shares)
			continue;
		else
			n += list_talks(argv[i], talks + n, 1024 - n);
	}
	if (n == 0) {
		fprintf(stderr, "usage: talk [-1] [--share=I/N] FILE|DIRECTORY...\n"
			"  -1           not byte by byte\n  --share=I/N  every N-th of them, from the I-th on\n");
		return 64;
	}
	for (size_t i = 0; i < n; i++) {
		if (i % shares == share - 1) {
			bool ok = passes(talks[i], false) && (once || passes(talks[i], true));

			printf("%s %s\n", ok ? "ok  " : "FAIL", talks[i]);
			ok ? passed++ : failed++;
		}
		free(talks[i]);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
