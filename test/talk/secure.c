/*
 * What STARTTLS needs on the client's side of a talk: a certificate that is
 * made on the spot, and a plain OpenSSL client that never waits.
 */
#include "talk.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

struct secure {
	SSL_CTX *context;
	SSL *ssl;
};

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "talk: %s: %s\n", what, ERR_error_string(ERR_get_error(), NULL));
	exit(2);
}

static X509 *sign(EVP_PKEY *pair)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	X509_gmtime_adj(X509_getm_notAfter(x), 400 * 86400);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"mx.example.org", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, pair);
	if (!X509_sign(x, pair, EVP_sha256()))
		give_up("certificate");
	return x;
}

void secure_make(const char *certificate, const char *key)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	FILE *c = fopen(certificate, "w"), *k = fopen(key, "w");
	X509 *x;

	if (!pair || !c || !k)
		give_up(certificate);
	x = sign(pair);
	PEM_write_X509(c, x);
	PEM_write_PrivateKey(k, pair, NULL, NULL, 0, NULL, NULL);
	fclose(c);
	fclose(k);
	X509_free(x);
	EVP_PKEY_free(pair);
}

struct secure *secure_new(int fd)
{
	struct secure *s = calloc(1, sizeof(*s));

	if (!s)
		give_up("memory");
	s->context = SSL_CTX_new(TLS_client_method());
	s->ssl = s->context ? SSL_new(s->context) : NULL;
	if (!s->ssl || !SSL_set_fd(s->ssl, fd))
		give_up("TLS client");
	return s;
}

void secure_drop(struct secure *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
	free(s);
}

/* Turns OpenSSL's way of saying "not now" into errno's. */
static ssize_t result(struct secure *s, int n)
{
	int why = SSL_get_error(s->ssl, n);

	ERR_clear_error();
	if (n > 0)
		return n;
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
	return -1;
}

int secure_shake(struct secure *s)
{
	ssize_t n = result(s, SSL_connect(s->ssl));

	return n > 0 ? 1 : n < 0 && errno == EAGAIN ? 0 : -1;
}

ssize_t secure_read(struct secure *s, char *buffer, size_t n)
{
	return result(s, SSL_read(s->ssl, buffer, (int)n));
}

ssize_t secure_write(struct secure *s, const char *bytes, size_t n)
{
	return result(s, SSL_write(s->ssl, bytes, (int)n));
}
