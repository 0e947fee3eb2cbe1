/*
 * TLS as a layer of a stream (OpenSSL 3).
 *
 * OpenSSL runs on the scheduler's stack (fiber_hoist), its buffers are released
 * while idle (SSL_MODE_RELEASE_BUFFERS). A context is made from certificate
 * files, is shared by all sessions of a listener and swapped when the files
 * change; sessions keep the one they began with (reference counted).
 */
#ifndef SPURN_RUN_TLS_H
#define SPURN_RUN_TLS_H

#include "run/stream.h"

struct tls_context;

/* Server side. NULL and *why (allocated in `a`) if a file cannot be read, or key and certificate
 * do not match, or the certificate has expired (*why starts with "warning:" and a context is
 * returned when it merely expires within 7 days). TLS 1.2 at least; no client certificates. */
struct tls_context *tls_server_context(struct arena *a, const char *certificate_file,
	const char *key_file, const char **why);
/* Client side: verify = the certificate must match the host name and a CA of the system (or
 * ca_file); else any certificate will do (opportunistic, RFC 7435). */
struct tls_context *tls_client_context(struct arena *a, bool verify, const char *ca_file,
	const char **why);
void tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

/* The handshake. host: the name to expect (client, verify) and SNI, else NULL. On failure the
 * stream is STREAM_FAILED and *why says what OpenSSL said. Input that was buffered
 * in plaintext must have been refused before (CVE-2011-0411): BUG_ON. */
ASYNC bool tls_accept(struct stream *s, struct tls_context *c, const char **why, deadline d);
ASYNC bool tls_connect(struct stream *s, struct tls_context *c, const char *host,
	const char **why, deadline d);

/* "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256; for the Received field and the record. */
struct tls_facts {
	const char *version, *cipher;
	int bits;
};
bool tls_facts(const struct stream *s, struct tls_facts *out);

/* Used by stream.c alone. */
struct tls;
int tls_read(struct stream *s, char *buffer, size_t n);		/* > 0, 0 would block, -1 end or failure */
int tls_write(struct stream *s, const char *bytes, size_t n);	/* same */
void tls_shutdown(struct stream *s);
void tls_drop(struct stream *s);
void tls_moved(struct stream *s);		/* the struct stream has a new place */
bool tls_pending(const struct stream *s);	/* decrypted bytes wait inside OpenSSL */
bool tls_wants_write(const struct stream *s);	/* reading goes on when writing is possible */

#endif
