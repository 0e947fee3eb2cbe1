/*
 * TLS as a layer of a stream: contexts, handshakes, records.
 *
 * OpenSSL reads and writes through a BIO of ours over stream_recv() and stream_transmit(),
 * so it keeps the same readiness flags as plain reading: reads ahead, and makes
 * no system call that would give EAGAIN. Each entry into OpenSSL is hoisted to the scheduler's stack
 * (its frames reach 20 KiB) and handles as many records as there are.
 *
 * Memory is what an idle session costs: buffers are released between records, there are no session
 * tickets and no session cache (a border relay sees few peers twice within a
 * minute, and a P-256 handshake costs a third of a millisecond).
 *
 * TLS 1.2 is the least. Opportunistic encryption with a weak but authentic peer is better
 * than cleartext (RFC 7435), hence security level 1. Renegotiation and compression
 * are off. An end without close_notify is an end: SMTP frames its data itself, so nothing can be
 * truncated unseen.
 *
 * Rejected: SSL_set_fd() (two reads a record without read-ahead, and readiness unknown to us),
 * memory BIOs (one more copy), kTLS (needs a module, and sendfile gains little for mail).
 */
#include "run/tls.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>

#define CIPHERS "DEFAULT:!aNULL:!eNULL:!PSK:!SRP:!RC4:!3DES:!SEED:!IDEA:!CAMELLIA:!ARIA:@SECLEVEL=1"
#define EXPIRES_SOON (7 * 24 * 3600)

struct tls_context {
	SSL_CTX *ssl;
	unsigned refs;
	bool verify;
};

struct tls {
	SSL *ssl;
	struct tls_context *context;
	bool more;		/* the last read may have left something decrypted */
	bool wants_write;	/* the last read waits for the socket to take something */
};

/* ---- the BIO: the stream's socket as OpenSSL sees it ---- */

static int bio_read(BIO *bio, char *buffer, int n)
{
	struct stream *s = BIO_get_data(bio);
	ssize_t got = stream_recv(s, buffer, (size_t)n);

	BIO_clear_retry_flags(bio);
	if (got < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)got;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
	struct stream *s = BIO_get_data(bio);
	ssize_t sent = stream_transmit(s, bytes, (size_t)n);

	BIO_clear_retry_flags(bio);
	if (sent < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)sent;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static BIO *bio_new(struct stream *s)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
		BUG_ON(!method);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_control);
	}
	bio = BIO_new(method);
	BUG_ON(!bio);
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- contexts ---- */

/* What went wrong first; what the callers above made of it says less. */
static const char *reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	if (!text && ERR_SYSTEM_ERROR(code))
		text = strerrordesc_np(ERR_GET_REASON(code));
	return text ? text : "unknown TLS error";
}

static struct tls_context *context_new(const SSL_METHOD *method)
{
	struct tls_context *c = calloc(1, sizeof(*c));

	BUG_ON(!c);
	c->ssl = SSL_CTX_new(method);
	BUG_ON(!c->ssl);
	c->refs = 1;
	SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(c->ssl, 0);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(c->ssl, 1);
	SSL_CTX_set_dh_auto(c->ssl, 1);
	SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION);
	BUG_ON(!SSL_CTX_set_cipher_list(c->ssl, CIPHERS));
	return c;
}

void tls_context_ref(struct tls_context *c) { c->refs++; }

void tls_context_unref(struct tls_context *c)
{
	if (!c || --c->refs > 0)
		return;
	SSL_CTX_free(c->ssl);
	free(c);
}

/* Expired, or soon: what to say of it, or NULL. */
static const char *expiry(struct arena *a, SSL_CTX *ssl, const char *file, bool *fatal)
{
	const ASN1_TIME *end = X509_get0_notAfter(SSL_CTX_get0_certificate(ssl));
	time_t now = clock_wall_seconds(), soon = now + EXPIRES_SOON;

	*fatal = X509_cmp_time(end, &now) < 0;
	if (*fatal)
		return arena_printf(a, "%s: the certificate has expired", file);
	if (X509_cmp_time(end, &soon) < 0)
		return arena_printf(a, "warning: %s: the certificate expires within 7 days", file);
	return NULL;
}

static struct tls_context *context_fail(struct tls_context *c, struct arena *a, const char *file,
	const char *what, const char **why)
{
	*why = arena_printf(a, "%s: %s: %s", file, what, reason());
	ERR_clear_error();
	tls_context_unref(c);
	return NULL;
}

/* A key with a passphrase must not make us ask the terminal for it. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
	return -1;
}

struct tls_context *tls_server_context(struct arena *a, const char *certificate_file,
	const char *key_file, const char **why)
{
	struct tls_context *c = context_new(TLS_server_method());
	const char *said;
	bool fatal;

	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(c->ssl, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(c->ssl, certificate_file) != 1)
		return context_fail(c, a, certificate_file, "cannot read the certificate", why);
	if (SSL_CTX_use_PrivateKey_file(c->ssl, key_file, SSL_FILETYPE_PEM) != 1)
		return context_fail(c, a, key_file, "cannot use the key", why);
	if (SSL_CTX_check_private_key(c->ssl) != 1)
		return context_fail(c, a, key_file, "the key does not belong to the certificate", why);
	said = expiry(a, c->ssl, certificate_file, &fatal);
	if (said)
		*why = said;
	if (said && fatal) {
		tls_context_unref(c);
		return NULL;
	}
	return c;
}

struct tls_context *tls_client_context(struct arena *a, bool verify, const char *ca_file,
	const char **why)
{
	struct tls_context *c = context_new(TLS_client_method());

	ERR_clear_error();
	c->verify = verify;
	if (!verify)
		return c;
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
	if (ca_file ? SSL_CTX_load_verify_file(c->ssl, ca_file) != 1 : SSL_CTX_set_default_verify_paths(c->ssl) != 1)
		return context_fail(c, a, ca_file ? ca_file : "system", "cannot read the CA certificates", why);
	return c;
}

/* ---- handshakes ---- */

struct shake {
	struct stream *stream;
	struct tls_context *context;
	const char *host;
	const char *why;
	bool accepting;
	int error;		/* SSL_ERROR_... of the last step */
};

/* The name that the certificate must carry: RFC 6125, or an address literal. */
static bool expect_host(SSL *ssl, const char *host, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char address[16];
	bool literal = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;

	if (!literal && SSL_set_tlsext_host_name(ssl, host) != 1)
		return false;
	if (!verify)
		return true;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return (literal ? X509_VERIFY_PARAM_set1_ip_asc(param, host) : X509_VERIFY_PARAM_set1_host(param, host, 0)) == 1;
}

/* Hoisted. */
static void shake_begin(void *arg)
{
	struct shake *h = arg;
	struct tls *t = calloc(1, sizeof(*t));
	BIO *bio = bio_new(h->stream);

	BUG_ON(!t);
	ERR_clear_error();
	t->ssl = SSL_new(h->context->ssl);
	BUG_ON(!t->ssl);
	t->context = h->context;
	tls_context_ref(h->context);
	SSL_set_bio(t->ssl, bio, bio);
	h->stream->tls = t;
	if (h->accepting)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	if (h->host && !expect_host(t->ssl, h->host, h->context->verify))
		h->why = "not a host name";
}

/* Hoisted. */
static void shake_step(void *arg)
{
	struct shake *h = arg;
	SSL *ssl = h->stream->tls->ssl;
	int done;

	ERR_clear_error();
	errno = 0;
	done = SSL_do_handshake(ssl);
	h->error = SSL_get_error(ssl, done);
	if (h->error == SSL_ERROR_SSL)
		h->why = SSL_get_verify_result(ssl) != X509_V_OK && h->context->verify ?
			X509_verify_cert_error_string(SSL_get_verify_result(ssl)) : reason();
	else if (h->error == SSL_ERROR_SYSCALL)
		h->why = errno ? strerrordesc_np(errno) : "the peer hung up";
	else if (h->error == SSL_ERROR_ZERO_RETURN)
		h->why = "the peer hung up";
	ERR_clear_error();
	h->stream->tls->more = true;	/* read-ahead may hold the first record already */
}

ASYNC static bool shake_hands(struct shake *h, const char **why, deadline d)
{
	struct stream *s = h->stream;

	/* CVE-2011-0411: what came in plaintext behind STARTTLS must never be taken for part of the TLS session. */
	BUG_ON(s->tls || s->in_end > s->in_start);
	stream_park(s);
	if (stream_drain(s, "before TLS", d) != WAIT_READY || s->state != STREAM_OPEN) {
		h->why = "the peer did not take our last reply";
		h->error = SSL_ERROR_SYSCALL;
	} else {
		fiber_hoist(shake_begin, h);
		h->error = SSL_ERROR_WANT_READ;
	}
	while (!h->why) {
		enum wait_result r;

		fiber_hoist(shake_step, h);
		if (h->error == SSL_ERROR_NONE)
			return true;
		if (h->why)
			break;
		r = wait_watch(&s->watch, h->error == SSL_ERROR_WANT_WRITE ? WATCH_WRITE : WATCH_READ, "TLS handshake", d);
		if (r != WAIT_READY)
			h->why = r == WAIT_TIMEOUT ? "the handshake took too long" : "cancelled";
		else if (s->watch.fd < 0)
			h->why = "closed";
	}
	*why = h->why;
	stream_fail(s, EPROTO);
	return false;
}

/* TLS 1.3 ends with the client's word, and without tickets we have nothing to say to it. A client with Nagle's algorithm
 * holds back its first command until that word is acknowledged, which the kernel would put off for 40 ms. */
static void acknowledge(const struct stream *s)
{
	int one = 1;

	setsockopt(s->watch.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));	/* fails on a Unix socket */
}

bool tls_accept(struct stream *s, struct tls_context *c, const char **why, deadline d)
{
	struct shake h = { .stream = s, .context = c, .accepting = true };

	if (!shake_hands(&h, why, d))
		return false;
	acknowledge(s);
	return true;
}

bool tls_connect(struct stream *s, struct tls_context *c, const char *host, const char **why, deadline d)
{
	struct shake h = { .stream = s, .context = c, .host = host };

	return shake_hands(&h, why, d);
}

bool tls_facts(const struct stream *s, struct tls_facts *out)
{
	const SSL_CIPHER *cipher = s->tls ? SSL_get_current_cipher(s->tls->ssl) : NULL;

	if (!cipher)
		return false;
	out->version = SSL_get_version(s->tls->ssl);
	out->cipher = SSL_CIPHER_get_name(cipher);
	out->bits = SSL_CIPHER_get_bits(cipher, NULL);
	return true;
}

/* ---- records ---- */

struct passage {
	struct stream *stream;
	char *buffer;		/* for writing: never written to */
	size_t n, passed;
	int error;		/* SSL_ERROR_... that ended it */
	int system;		/* errno of SSL_ERROR_SYSCALL */
};

static void passage_begin(struct passage *p)
{
	ERR_clear_error();
	errno = 0;
	p->error = SSL_ERROR_NONE;
}

static void passage_stop(struct passage *p)
{
	p->error = SSL_get_error(p->stream->tls->ssl, 0);
	p->system = errno;
	ERR_clear_error();
}

/* Hoisted: as many records as there are, at most n bytes. */
static void read_records(void *arg)
{
	struct passage *p = arg;
	struct tls *t = p->stream->tls;

	passage_begin(p);
	while (p->passed < p->n && p->error == SSL_ERROR_NONE) {
		size_t got = 0;

		if (!SSL_read_ex(t->ssl, p->buffer + p->passed, stream_limited(p->n - p->passed), &got))
			passage_stop(p);
		p->passed += got;
		if (got > 0 && stream_limited(p->n) < p->n)
			break;
	}
	t->wants_write = p->error == SSL_ERROR_WANT_WRITE;
	/* An end behind what was read is told by the next read. */
	t->more = p->passed > 0 && p->error != SSL_ERROR_WANT_READ && p->error != SSL_ERROR_WANT_WRITE;
}

/* Hoisted. */
static void write_records(void *arg)
{
	struct passage *p = arg;
	struct tls *t = p->stream->tls;

	passage_begin(p);
	while (p->passed < p->n && p->error == SSL_ERROR_NONE) {
		size_t sent = 0;

		if (!SSL_write_ex(t->ssl, p->buffer + p->passed, p->n - p->passed, &sent))
			passage_stop(p);
		p->passed += sent;
	}
}

/* What a passage says in the manner of read(): > 0, 0 would block, -1 end or failure. */
static int passage_result(const struct passage *p)
{
	if (p->passed > 0)
		return (int)p->passed;
	switch (p->error) {
	case SSL_ERROR_NONE:
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		p->stream->state = STREAM_EOF;
		return -1;
	case SSL_ERROR_SYSCALL:
		stream_fail(p->stream, p->system ? p->system : ECONNRESET);
		return -1;
	default:
		stream_fail(p->stream, EPROTO);
		return -1;
	}
}

int tls_read(struct stream *s, char *buffer, size_t n)
{
	struct passage p = { .stream = s, .n = n };

	p.buffer = buffer;
	fiber_hoist(read_records, &p);
	return passage_result(&p);
}

int tls_write(struct stream *s, const char *bytes, size_t n)
{
	struct passage p = { .stream = s, .buffer = (char *)(uintptr_t)bytes, .n = n };

	if (!(s->watch.ready & WATCH_WRITE))
		return 0;
	fiber_hoist(write_records, &p);
	return passage_result(&p);
}

bool tls_pending(const struct stream *s) { return s->tls->more; }
bool tls_wants_write(const struct stream *s) { return s->tls->wants_write; }

/* Hoisted. */
static void shutdown_once(void *arg)
{
	struct stream *s = arg;

	ERR_clear_error();
	if (s->state != STREAM_FAILED && SSL_is_init_finished(s->tls->ssl))
		SSL_shutdown(s->tls->ssl);
	ERR_clear_error();
}

void tls_shutdown(struct stream *s) { fiber_hoist(shutdown_once, s); }

/* Hoisted. */
static void drop_once(void *arg)
{
	struct stream *s = arg;

	SSL_free(s->tls->ssl);
	tls_context_unref(s->tls->context);
	free(s->tls);
	s->tls = NULL;
}

void tls_drop(struct stream *s) { fiber_hoist(drop_once, s); }

void tls_moved(struct stream *s)
{
	BIO_set_data(SSL_get_rbio(s->tls->ssl), s);
}
