/*
 * Proofs that travel with a message and come back in its bounce: a tag in the reverse-path, a header field, and the hash in an
 * address that a forwarder of ours has rewritten. Pure text under the keys of proof_key.h: nothing is asked or remembered.
 */
#ifndef SPURN_CHECK_PROOF_H
#define SPURN_CHECK_PROOF_H

#include "check/proof_key.h"
#include "wire/address.h"

#define PROOF_LOCAL_MAX 64u	/* RFC 5321 section 4.5.3.1.1: a longer local part gets no tag */
#define PROOF_PATH_MAX 254u	/* section 4.5.3.1.3 */
#define PROOF_LIFE_DAYS 14
#define PROOF_TRACE_NAME "Spurn-Sent"

enum proof_answer {
	PROOF_ABSENT,		/* nothing that claims a key of ours */
	PROOF_VALID,
	PROOF_EXPIRED,		/* of ours, and too old by less than its own life */
	PROOF_OLD,		/* of ours, and far beyond its age, or from the future */
	PROOF_RETIRED,		/* its key is over */
	PROOF_FALSE,		/* claims a key of ours and fails it */
	PROOF_OTHER_SENDER,	/* of ours, and another address has sent it (trace) */
};

/* draft-levine-smtp-batv-01: "prvs=KDDDHHHHHH=local@domain", over canonical (address_form), made to expire in life days: the same
 * for a sender all day long (UTC). SLICE_NULL: this address gets no tag: it would be longer than 64 or 254 octets, or its local
 * part is quoted or not ASCII, or it has a tag or is of SRS already, or there is no key. */
struct slice proof_tag_make(struct arena *a, const struct proof_keys *keys, const struct path *sender, struct slice canonical,
	uint32_t life, time_t now);
/* tag: KDDDHHHHHH in any case of letters; canonical: the address in which it stood. */
enum proof_answer proof_tag_check(const struct proof_keys *keys, struct slice tag, struct slice canonical, uint32_t life,
	time_t now);

/* The day (since 1970, UTC) on which a tag that is good was made; 0: cannot be told. */
uint32_t proof_tag_day(struct slice tag, uint32_t life, time_t now);

/* "v=1; k=3; t=1795420030; s=16 hex; h=32 hex; f=8 hex" (f: the fingerprint of the key): the value of a Spurn-Sent field. message_id: with its angle brackets, may be
 * empty. SLICE_NULL: no key. */
struct slice proof_trace_make(struct arena *a, const struct proof_keys *keys, struct slice canonical, struct slice message_id,
	time_t now);
/* *sent: when it was made, if the field is well formed. canonical: who the bounce is addressed to. */
enum proof_answer proof_trace_check(const struct proof_keys *keys, struct slice value, struct slice canonical,
	struct slice message_id, uint32_t life, time_t now, time_t *sent);

/* The secrets of the site's SRS (libsrs2, Mail::SRS, postsrsd): one a line, the first one is in use. */
struct srs_secrets {
	struct slice secrets[8];
	uint32_t count;
};
#define SRS_FILE_MAX 4096u
void srs_secrets_parse(struct srs_secrets *out, struct slice text);
/* form: of an address with an SRS tag. ABSENT: not of SRS, or no secret is known. */
enum proof_answer srs_check(const struct srs_secrets *s, const struct address_form *form, time_t now);
/* The day (since 1970, UTC) that the stamp of an SRS0 address names; 0: cannot be told. */
uint32_t srs_day(const struct address_form *form, time_t now);

#endif
