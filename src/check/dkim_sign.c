/*
 * Keys that sign, and the DKIM-Signature field that they make. What is covered, and how: check/signature_write.c.
 *
 * The body is hashed as it is. RFC 6376 section 5.3 would have 8-bit content re-encoded first, for relays that
 * downgrade; we alter no body, and next hops offer 8BITMIME.
 */
#include "check/dkim_sign.h"

#include "check/signature_write.h"
#include "wire/address.h"
#include "wire/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX 65536

/* ---- keys ---- */

static const char *file_unsafe(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (st->st_size > KEY_FILE_MAX)
		return "too long for a key";
	if (st->st_mode & (S_IWGRP | S_IRWXO))
		return "others than its owner and its group may read it, or others than its owner may write it: chmod 0640";
	if (st->st_uid != 0 && st->st_uid != geteuid() && geteuid() != 0)
		return "belongs to another user";
	return NULL;
}

/* A key with a passphrase is none: nobody is there to ask. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	return 0;
}

static EVP_PKEY *pem_read(const char *text, size_t n)
{
	BIO *bio = BIO_new_mem_buf(text, (int)n);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return pkey;
}

static EVP_PKEY *file_read(struct arena *a, const char *path, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = OPENSSL_malloc(KEY_FILE_MAX);
	EVP_PKEY *pkey = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0) {
		*why = arena_printf(a, "%s", strerror(errno));
	} else if (!(*why = file_unsafe(&st))) {
		n = text ? read(fd, text, KEY_FILE_MAX) : -1;
		pkey = n > 0 ? pem_read(text, (size_t)n) : NULL;
		if (!pkey)
			*why = "no private key in PEM without a passphrase";
	}
	OPENSSL_clear_free(text, KEY_FILE_MAX);
	if (fd >= 0)
		close(fd);
	return pkey;
}

bool dkim_signer_load(struct dkim_signer *s, struct arena *a, const char *path, const char **why)
{
	EVP_PKEY *pkey = file_read(a, path, why);
	uint32_t bits = pkey ? (uint32_t)EVP_PKEY_get_bits(pkey) : 0;
	bool rsa = pkey && EVP_PKEY_is_a(pkey, "RSA");

	if (!pkey)
		return false;
	/* RFC 8301 section 3.2: "Signers MUST use RSA keys of at least 1024 bits for all keys." */
	if (rsa && (bits < DKIM_MIN_BITS || bits > DKIM_KEY_MAX_BITS)) {
		*why = arena_printf(a, "an RSA key of %u bits; from %u to %u are possible", bits, DKIM_MIN_BITS,
			DKIM_KEY_MAX_BITS);
	} else if (!rsa && !EVP_PKEY_is_a(pkey, "ED25519")) {
		*why = "neither an RSA nor an Ed25519 key";
	} else {
		s->pkey = pkey;
		s->algorithm = rsa ? ALGORITHM_RSA_SHA256 : ALGORITHM_ED25519_SHA256;
		s->bits = rsa ? bits : 256;
		return true;
	}
	EVP_PKEY_free(pkey);
	return false;
}

void dkim_signer_drop(struct dkim_signer *s)
{
	EVP_PKEY_free(s->pkey);
	s->pkey = NULL;
}

struct slice dkim_signer_record(struct arena *a, const struct dkim_signer *s)
{
	bool rsa = s->algorithm == ALGORITHM_RSA_SHA256;
	struct str record = STR_IN(a);
	uint8_t raw[32], *der = NULL;
	size_t n = sizeof(raw);

	str_printf(&record, "v=DKIM1; k=%s; p=", rsa ? "rsa" : "ed25519");
	if (rsa) {
		int length = i2d_PUBKEY(s->pkey, &der);
		if (length <= 0)
			return SLICE_NULL;
		str_base64(&record, slice_make((const char *)der, (size_t)length));
		OPENSSL_free(der);
	} else {
		if (EVP_PKEY_get_raw_public_key(s->pkey, raw, &n) != 1)
			return SLICE_NULL;
		str_base64(&record, slice_make((const char *)raw, n));
	}
	return str_slice(&record);
}

bool dkim_signer_matches(const struct dkim_signer *s, const struct dkim_key *published)
{
	return published->pkey && EVP_PKEY_eq(s->pkey, published->pkey) == 1;
}

/* ---- whose message it is ---- */

struct slice dkim_author_domain(struct arena *a, const struct header *h)
{
	const char *why;
	const struct mailbox *author = header_authors(a, h, 2, &why);

	if (!author || why || author->next || author->in_group || !domain_valid(author->domain, true))
		return SLICE_NULL;
	return domain_canonical(a, author->domain);
}

/* ---- the field ---- */

/* The field up to and with "b=". */
static void add_head(struct str *out, const struct dkim_signer *s, const struct header *h, struct slice body_hash,
	int64_t now, struct arena *a)
{
	struct folding f = { out, out->n };
	struct slice tags[] = {
		slice_of(arena_printf(a, "a=%s;", signature_algorithm_name(s->algorithm))),
		SLICE("c=relaxed/relaxed;"),
		slice_of(arena_printf(a, "d=%.*s;", SLICE_ARG(s->domain))),
		slice_of(arena_printf(a, "s=%.*s;", SLICE_ARG(s->selector))),
		slice_of(arena_printf(a, "t=%lld;", (long long)now)),
		SLICE("h="),
	};

	str_puts(out, "DKIM-Signature: v=1;");
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		fold_add(&f, " ", tags[i]);
	fold_names(&f, signature_names(a, h, NULL));
	str_puts(out, ";");
	fold_add(&f, " ", SLICE("bh="));
	fold_base64(&f, body_hash, a);
	str_puts(out, ";");
	fold_add(&f, " ", SLICE("b="));
}

/* What is signed: the field itself, as a verifier will read it, says which fields. */
static bool signed_octets(struct str *octets, const struct header *h, struct slice field, struct arena *a)
{
	struct canon_index index;
	struct dkim_signature parsed;
	struct header own;
	const char *why;

	header_init(&own, a, UINT32_MAX, 2);
	header_push(&own, field);
	header_finish(&own);
	canon_index_build(&index, a, h);
	if (own.count != 1 || !dkim_signature_parse(&parsed, a, &own.fields[0], SIGNATURE_DKIM, &why))
		return false;
	dkim_signed_header(octets, &parsed, &index, a);
	return true;
}

bool dkim_sign(struct str *out, const struct dkim_signer *s, const struct header *h, struct slice body_hash, int64_t now)
{
	struct arena scratch = ARENA_INIT;
	struct str field = STR_IN(&scratch), draft = STR_IN(&scratch), octets = STR_IN(&scratch);
	uint8_t signature[SIGNATURE_MAX];
	size_t n = sizeof(signature);
	bool good;

	add_head(&field, s, h, body_hash, now, &scratch);
	str_add(&draft, str_slice(&field));
	str_puts(&draft, "AAAA\r\n\r\n");	/* something in the place of what will be emptied */
	good = signed_octets(&octets, h, str_slice(&draft), &scratch) &&
		signature_make(s, str_slice(&octets), signature, &n);
	if (good) {
		struct folding f = { &field, 0 };
		for (size_t i = 0; i < field.n; i++)
			if (field.p[i] == '\n')
				f.line = i + 1;
		fold_base64(&f, slice_make((const char *)signature, n), &scratch);
		str_add(out, str_slice(&field));
		str_puts(out, "\r\n");
	}
	arena_drop(&scratch);
	return good;
}
