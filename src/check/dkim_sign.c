/*
 * Signing, relaxed/relaxed: what a next hop may still do to white space does not matter then.
 *
 * Which fields are signed is a table: those that a reader sees or a program obeys (RFC 6376 section 5.4.1), never trace
 * fields. Some are named once more than they occur ("oversigned", section 8.15), so that nobody can put a second one
 * on top of a signed message: always for those whose mere presence deceives, else only where the message has one, since mailing
 * lists add theirs rightfully.
 *
 * The body is hashed as it is. RFC 6376 section 5.3 would have 8-bit content re-encoded first, for relays that
 * downgrade; we alter no body, and next hops offer 8BITMIME.
 */
#include "check/dkim_sign.h"

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
#define LINE_WIDTH 76u
#define SIGNATURE_MAX (DKIM_KEY_MAX_BITS / 8)

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

enum oversign { OVERSIGN_NEVER, OVERSIGN_PRESENT, OVERSIGN_ALWAYS };

static const struct {
	const char *name;
	enum oversign oversign;
} signed_names[] = {
	{ "From", OVERSIGN_ALWAYS },
	{ "Reply-To", OVERSIGN_ALWAYS },
	{ "Subject", OVERSIGN_ALWAYS },
	{ "To", OVERSIGN_ALWAYS },
	{ "Cc", OVERSIGN_ALWAYS },
	{ "Sender", OVERSIGN_PRESENT },
	{ "Date", OVERSIGN_PRESENT },
	{ "Message-ID", OVERSIGN_PRESENT },
	{ "In-Reply-To", OVERSIGN_PRESENT },
	{ "References", OVERSIGN_PRESENT },
	{ "MIME-Version", OVERSIGN_PRESENT },
	{ "Content-Type", OVERSIGN_PRESENT },
	{ "Content-Transfer-Encoding", OVERSIGN_PRESENT },
	{ "Content-Disposition", OVERSIGN_PRESENT },
	{ "Content-Language", OVERSIGN_PRESENT },
	{ "Auto-Submitted", OVERSIGN_PRESENT },
	{ "Resent-From", OVERSIGN_NEVER },
	{ "Resent-Sender", OVERSIGN_NEVER },
	{ "Resent-To", OVERSIGN_NEVER },
	{ "Resent-Cc", OVERSIGN_NEVER },
	{ "Resent-Date", OVERSIGN_NEVER },
	{ "Resent-Message-ID", OVERSIGN_NEVER },
	{ "List-Id", OVERSIGN_PRESENT },
	{ "List-Help", OVERSIGN_PRESENT },
	{ "List-Unsubscribe", OVERSIGN_PRESENT },
	{ "List-Unsubscribe-Post", OVERSIGN_PRESENT },
	{ "List-Subscribe", OVERSIGN_PRESENT },
	{ "List-Post", OVERSIGN_PRESENT },
	{ "List-Owner", OVERSIGN_PRESENT },
	{ "List-Archive", OVERSIGN_PRESENT },
};

/* A line that grows and is folded where it may be. */
struct folding {
	struct str *out;
	size_t line;		/* where it began */
};

/* A piece that is not torn apart; `space` before it unless it begins a line. */
static void fold_add(struct folding *f, const char *space, struct slice piece)
{
	if (f->out->n - f->line + strlen(space) + piece.n > LINE_WIDTH) {
		str_puts(f->out, "\r\n\t");
		f->line = f->out->n - 1;
	} else {
		str_puts(f->out, space);
	}
	str_add(f->out, piece);
}

static void fold_base64(struct folding *f, struct slice octets, struct arena *a)
{
	struct str digits = STR_IN(a);
	struct slice rest;

	str_base64(&digits, octets);
	rest = str_slice(&digits);
	while (rest.n > 0) {
		size_t used = f->out->n - f->line;
		size_t n = used < LINE_WIDTH ? LINE_WIDTH - used : 0;

		if (n == 0) {
			str_puts(f->out, "\r\n\t");
			f->line = f->out->n - 1;
			continue;
		}
		str_add(f->out, slice_head(rest, n));
		rest = slice_from(rest, n);
	}
}

static void add_names(struct folding *f, const struct header *h)
{
	const char *separator = "";

	for (size_t i = 0; i < sizeof(signed_names) / sizeof(signed_names[0]); i++) {
		uint32_t count = header_count(h, slice_of(signed_names[i].name));
		uint32_t more = signed_names[i].oversign == OVERSIGN_ALWAYS ||
			(signed_names[i].oversign == OVERSIGN_PRESENT && count > 0);
		for (uint32_t n = 0; n < count + more; n++) {
			/* The colon stays with the name before it. */
			str_puts(f->out, separator);
			fold_add(f, "", slice_of(signed_names[i].name));
			separator = ":";
		}
	}
	str_puts(f->out, ";");
}

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
	add_names(&f, h);
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

static bool make_signature(const struct dkim_signer *s, struct slice octets, uint8_t *out, size_t *n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t hash[DIGEST_MAX_OCTETS];
	unsigned length = 0;
	bool good;

	if (s->algorithm == ALGORITHM_ED25519_SHA256)
		good = EVP_Digest(octets.p, octets.n, hash, &length, EVP_sha256(), NULL) == 1 && c &&
			EVP_DigestSignInit(c, NULL, NULL, NULL, s->pkey) == 1 &&
			EVP_DigestSign(c, out, n, hash, length) == 1;
	else
		good = c && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, s->pkey) == 1 &&
			EVP_DigestSign(c, out, n, (const uint8_t *)octets.p, octets.n) == 1;
	EVP_MD_CTX_free(c);
	ERR_clear_error();
	return good;
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
		make_signature(s, str_slice(&octets), signature, &n);
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
