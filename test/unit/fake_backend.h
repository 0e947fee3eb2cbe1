/*
 * A backend that plays a script: for the tests of net/. It lives in the same loop as
 * the client, on a loopback port or a Unix socket, a fiber per connection.
 *
 * A script is an array of lines, the first character says what to do:
 *
 *   >text   send text as it stands, with what the C string holds of CR and LF
 *   <text   the next bytes that arrive must be text
 *   l       a line is taken, whatever it says
 *   .       nothing more must have arrived
 *   =       wait for the end of the connection: no further byte must arrive
 *   c       close in order        r       close with a reset
 *   t       take the TLS handshake
 *   w       stay and say nothing until the client closes, whatever it sends
 *   +       fake time passes: 3 s
 *   m       be an MTA that takes everything, until the client leaves; MAIL, RSET, QUIT are counted
 */
#ifndef SPURN_TEST_FAKE_BACKEND_H
#define SPURN_TEST_FAKE_BACKEND_H

#include "turns.h"

#include "net/smtp_client.h"
#include "run/listen.h"
#include "run/tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#define FAKE_PEERS 256
#define FAKE_SCRIPTS 8

struct fake {
	struct acceptor acceptor;
	int fd;
	uint16_t port;
	char path[100];
	char url[120];
	const char *const *scripts[FAKE_SCRIPTS];	/* of the first, second... connection; the last one repeats */
	struct tls_context *tls;
	int connections, open;
	int mails, rsets, quits;
};

struct fake_peer {
	struct stream stream;
	struct fiber_job job;
	struct fake *fake;
	const char *const *script;
	int number;
};

static struct fake_peer fake_peers[FAKE_PEERS];
static int fake_peer_count;
static int fake_failures;	/* assertions must not jump off a fiber's stack: they are counted, and looked at in main */

static inline void fake_fail(const char *file, int line, const char *what)
{
	print_error("%s:%d: %s\n", file, line, what);
	fake_failures++;
}
#define CHECK(condition) \
	do { \
		if (!(condition)) \
			fake_fail(__FILE__, __LINE__, #condition); \
	} while (0)
#define CHECK_TEXT(got, text) \
	do { \
		struct slice check_slice = (got); \
		if (!slice_eq(check_slice, slice_of(text))) { \
			print_error("got \"%.*s\"\n", SLICE_ARG(check_slice)); \
			fake_fail(__FILE__, __LINE__, "expected " text); \
		} \
	} while (0)

static inline void fake_complain(struct fake_peer *p, const char *step, const char *what)
{
	struct slice got = stream_input(&p->stream);
	struct arena a = ARENA_INIT;
	struct str shown = STR_IN(&a);

	str_escaped(&shown, got, 300);
	print_error("backend, connection %d, step \"%s\": %s; there is \"%s\"\n", p->number, step, what, str_cstr(&shown));
	arena_drop(&a);
	fake_failures++;
}

/* False: the script ends here. */
ASYNC static inline bool fake_expect(struct fake_peer *p, const char *step, struct slice text)
{
	while (stream_input(&p->stream).n < text.n && p->stream.state == STREAM_OPEN)
		if (stream_read(&p->stream, "fake backend", DEADLINE_NONE) != WAIT_READY)
			return false;
	if (!slice_starts(stream_input(&p->stream), text)) {
		fake_complain(p, step, "something else was expected");
		return false;
	}
	stream_consume(&p->stream, text.n);
	return true;
}

ASYNC static inline void fake_until_end(struct fake_peer *p, const char *step)
{
	while (p->stream.state == STREAM_OPEN) {
		if (stream_read(&p->stream, "fake backend", DEADLINE_NONE) != WAIT_READY)
			return;
		if (step[0] == 'w' && stream_input(&p->stream).n > 0)
			stream_consume(&p->stream, stream_input(&p->stream).n);
		else if (stream_input(&p->stream).n > 0) {
			fake_complain(p, step, "more than was expected");
			return;
		}
	}
}

/* The answer to a command of an MTA that takes everything. */
static inline struct slice fake_answer(struct fake *f, struct slice line)
{
	f->mails += slice_starts(line, SLICE("MAIL"));
	f->rsets += slice_starts(line, SLICE("RSET"));
	f->quits += slice_starts(line, SLICE("QUIT"));
	if (slice_starts(line, SLICE("EHLO")) || slice_starts(line, SLICE("LHLO")))
		return SLICE("250-mx.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n");
	if (slice_starts(line, SLICE("DATA")))
		return SLICE("354 go\r\n");
	if (slice_starts(line, SLICE("RCPT TO:<unknown")))
		return SLICE("550 5.1.1 unknown\r\n");
	return SLICE("250 2.0.0 ok\r\n");
}

ASYNC static inline void fake_serve(struct fake_peer *p)
{
	struct slice line;

	stream_write(&p->stream, SLICE("220 mx.example.net\r\n"));
	for (;;) {
		if (!stream_flush(&p->stream) ||
		    stream_read_line(&p->stream, &line, 1000, "fake backend", DEADLINE_NONE) != WAIT_READY || !line.p)
			return;
		stream_write(&p->stream, fake_answer(p->fake, line));
	}
}

ASYNC static inline bool fake_step(struct fake_peer *p, const char *step)
{
	struct linger reset = { 1, 0 };
	const char *why = "";
	struct slice line;

	switch (step[0]) {
	case '>':
		stream_write(&p->stream, slice_of(step + 1));
		return stream_drain(&p->stream, "fake backend", DEADLINE_NONE) == WAIT_READY;
	case '<':
		return fake_expect(p, step, slice_of(step + 1));
	case 'l':
		return stream_read_line(&p->stream, &line, 1000, "fake backend", DEADLINE_NONE) == WAIT_READY && line.p;
	case '.':
		wait_until("fake backend", deadline_in(NS_PER_MS));	/* what is under way arrives */
		stream_fill(&p->stream);
		if (stream_input(&p->stream).n > 0)
			fake_complain(p, step, "nothing was expected");
		return true;
	case '+':
		wait_until("fake backend", deadline_in(3 * NS_PER_SECOND));
		return true;
	case 't':
		return tls_accept(&p->stream, p->fake->tls, &why, DEADLINE_NONE);
	case 'r':
		setsockopt(p->stream.watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		stream_abort(&p->stream);
		return false;
	case 'm':
		fake_serve(p);
		return false;
	case 'w':
	case '=':
		fake_until_end(p, step);
		return false;
	}
	return false;
}

static inline void fake_play(void *arg)
{
	struct fake_peer *p = arg;

	for (const char *const *step = p->script; step && *step && fake_step(p, *step); step++)
		;
	stream_close(&p->stream);
	p->fake->open--;
}

static inline void fake_accept(struct acceptor *a, int fd, const struct ip *peer, uint16_t port)
{
	struct fake *f = a->owner;
	struct fake_peer *p = &fake_peers[fake_peer_count++ % FAKE_PEERS];
	int nth = f->connections++;

	(void)peer;
	(void)port;
	memset(p, 0, sizeof(*p));
	p->fake = f;
	p->number = nth + 1;
	for (int i = 0; i <= nth && i < FAKE_SCRIPTS && f->scripts[i]; i++)
		p->script = f->scripts[i];
	f->open++;
	if (stream_open(&p->stream, fd, NULL, NULL))
		fiber_start(&p->job, "fake backend", fake_play, p);
}

static inline void fake_listen(struct fake *f, const struct sockaddr *sa, socklen_t length)
{
	const char *why = "";

	f->fd = listen_open(sa, length, false, &why);
	if (f->fd < 0)
		print_error("listen: %s\n", why);
	assert_true(f->fd >= 0);
	f->acceptor.owner = f;
	f->acceptor.on_accept = fake_accept;
	assert_true(acceptor_start(&f->acceptor, f->fd));
}

/* On a loopback port: the same one if it was open before. */
static inline void fake_open(struct fake *f)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(f->port) };
	socklen_t length = sizeof(sa);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fake_listen(f, (struct sockaddr *)&sa, sizeof(sa));
	assert_int_equal(getsockname(f->fd, (struct sockaddr *)&sa, &length), 0);
	f->port = ntohs(sa.sin_port);
	snprintf(f->url, sizeof(f->url), "smtp://127.0.0.1:%u", f->port);
}

static inline void fake_open_unix(struct fake *f)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(f->path, sizeof(f->path), "/tmp/spurn-test-%d.sock", (int)getpid());
	memcpy(sa.sun_path, f->path, strlen(f->path) + 1);
	fake_listen(f, (struct sockaddr *)&sa, sizeof(sa));
	snprintf(f->url, sizeof(f->url), "lmtp+unix:%s", f->path);
}

static inline void fake_close(struct fake *f)
{
	if (f->fd <= 0)
		return;
	acceptor_stop(&f->acceptor);
	close(f->fd);
	if (f->path[0])
		unlink(f->path);
	f->fd = -1;
}

static inline struct endpoint fake_endpoint(const struct fake *f)
{
	struct endpoint e = { .length = 0 };

	if (f->path[0]) {
		struct sockaddr_un *un = (struct sockaddr_un *)&e.address;

		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, f->path, strlen(f->path) + 1);
		e.length = sizeof(*un);
	} else {
		struct ip ip;

		ip_parse(&ip, SLICE("127.0.0.1"));
		e.length = ip_to_sockaddr(&ip, f->port, &e.address);
	}
	return e;
}

static inline struct backend_host fake_host(const struct fake *f, enum backend_protocol protocol)
{
	return (struct backend_host){ .protocol = protocol, .url = f->url,
		.name = f->path[0] ? NULL : "127.0.0.1", .path = f->path[0] ? f->path : NULL, .port = f->port };
}

/* ---- a certificate of our own ---- */

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* Self-signed, for mx.example.net and 127.0.0.1; both in one file, path in out. */
static inline void fake_certificate(char *out, size_t size)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
		"DNS:mx.example.net,IP:127.0.0.1");
	FILE *f;

	snprintf(out, size, "/tmp/spurn-test-%d.pem", (int)getpid());
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400 * 3650L);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
		(const unsigned char *)"mx.example.net", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_add_ext(cert, names, -1);
	X509_set_pubkey(cert, key);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	f = fopen(out, "w");
	assert_non_null(f);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	PEM_write_X509(f, cert);
	fclose(f);
	X509_EXTENSION_free(names);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* For setup and teardown of a test that has one fake. */
static inline void fake_begin(void **state, struct fake *f)
{
	turns_setup(state);
	loop_patience(1);
	memset(f, 0, sizeof(*f));
	fake_peer_count = fake_failures = 0;
}

static inline int fake_end(void **state, struct fake *f)
{
	stream_limit_io(0);
	for (int i = 0; i < fake_peer_count && i < FAKE_PEERS; i++)
		stream_abort(&fake_peers[i].stream);
	fake_close(f);
	loop_patience(0);
	return turns_teardown(state);
}

/* A row of a table of tests: f with its file's setup(), and once more with every octet on its own. */
#define both(f) \
	{ #f, f, setup, teardown, NULL }, { #f " byte by byte", f, setup_bytes, teardown, NULL }

static int setup(void **state);

static inline int setup_bytes(void **state)
{
	setup(state);
	stream_limit_io(1);
	return 0;
}

#endif
