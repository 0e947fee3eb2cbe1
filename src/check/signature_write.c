/*
 * Signing, relaxed/relaxed: what a next hop may still do to white space does not matter then.
 *
 * Which fields are signed is a table: those that a reader sees or a program obeys (RFC 6376 section 5.4.1), never trace
 * fields. Some are named once more than they occur ("oversigned", section 8.15), so that nobody can put a second one
 * on top of a signed message: always for those whose mere presence deceives, else only where the message has one, since mailing
 * lists add theirs rightfully.
 */
#include "check/signature_write.h"

#include <openssl/err.h>
#include <string.h>

#define LINE_WIDTH 76u

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

void fold_add(struct folding *f, const char *space, struct slice piece)
{
	if (f->out->n - f->line + strlen(space) + piece.n > LINE_WIDTH) {
		str_puts(f->out, "\r\n\t");
		f->line = f->out->n - 1;
	} else {
		str_puts(f->out, space);
	}
	str_add(f->out, piece);
}

void fold_base64(struct folding *f, struct slice octets, struct arena *a)
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

static void name_add(struct str *out, const char *name)
{
	str_printf(out, "%s%s", out->n > 0 ? ":" : "", name);
}

struct slice signature_names(struct arena *a, const struct header *h, const char *also)
{
	struct str out = STR_IN(a);

	for (size_t i = 0; i < sizeof(signed_names) / sizeof(signed_names[0]); i++) {
		uint32_t count = header_count(h, slice_of(signed_names[i].name));
		uint32_t more = signed_names[i].oversign == OVERSIGN_ALWAYS ||
			(signed_names[i].oversign == OVERSIGN_PRESENT && count > 0);
		for (uint32_t n = 0; n < count + more; n++)
			name_add(&out, signed_names[i].name);
	}
	for (uint32_t n = also ? header_count(h, slice_of(also)) : 0; n > 0; n--)
		name_add(&out, also);
	return str_slice(&out);
}

void fold_names(struct folding *f, struct slice names)
{
	while (names.n > 0) {
		size_t had = names.n;
		struct slice name = slice_split(&names, ':');

		/* The colon stays with the name before it. */
		fold_add(f, "", slice_make(name.p, name.n + (had > name.n)));
	}
}

bool signature_make(const struct dkim_signer *s, struct slice octets, uint8_t *out, size_t *n)
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
