/*
 * Verifying, spread over the arrival of a message: the header says which hashes of the body are needed, the body is
 * hashed as it flows, the end asks for all keys at once and does the arithmetic.
 *
 * A signature is worth what RFC 6376 section 6.1 says: whatever is wrong with it, the message is as if it
 * had none. So nothing here speaks of refusal. The steps are taken in the order of that section, the key before the
 * body: where both are wrong, the key is what is told. That DNS could not have made it a pass is told, too.
 *
 * rsa-sha1 is never a pass (RFC 8301 section 3.1: "rsa-sha1 MUST NOT be used for signing or verifying", and such
 * signatures "have permanently failed evaluation"); it is computed all the same, so that the postmaster is told
 * whether a message was altered or only signed as of 2007.
 *
 * Rejected: stopping at the first good signature. DMARC may need another one's domain.
 */
#include "check/dkim.h"

#include "check/finding.h"

#define MAX_SIGNATURES 50u	/* whatever the configuration says */
#define MAX_KEY_RECORDS 4u	/* of one name; RFC 6376 section 6.1.2 lets us choose */

struct dkim_work {
	struct dkim_signature signature;
	const struct body_hash *body;	/* NULL: too many kinds */
	struct dkim_facts *facts;
	struct dns_question *question;	/* NULL: no key is needed */
	bool decided;
};

struct dkim_check {
	struct arena *arena;
	const struct dkim_conf *conf;
	const struct header *header;
	struct body_hashes *hashes;
	struct dkim_work *works;
	uint32_t count, left_out;
	bool (*wanted)(void *arg, struct slice domain);	/* NULL: all are */
	void *wanted_arg;
};

/* What dkim_finish() takes to the scheduler's stack. */
struct evaluation {
	struct dkim_check *check;
	struct dkim_keys *keys;
	struct arena scratch;
	struct canon_index index;
};

static void decide(struct dkim_work *w, enum result result, const char *reason)
{
	w->facts->result = result;
	w->facts->reason = reason;
	w->decided = true;
}

/* ---- the header is there ---- */

struct dkim_check *dkim_begin(struct arena *a, const struct dkim_conf *conf)
{
	struct dkim_check *d = arena_new(a, struct dkim_check);

	d->arena = a;
	d->conf = conf;
	return d;
}

static void read_signature(struct dkim_check *d, struct dkim_work *w, const struct field *f)
{
	struct dkim_signature *s = &w->signature;
	const char *why;
	bool good = dkim_signature_parse(s, d->arena, f, SIGNATURE_DKIM, &why);

	w->facts = arena_new(d->arena, struct dkim_facts);
	w->facts->domain = s->domain;
	w->facts->selector = s->selector;
	w->facts->identity = s->identity;
	w->facts->signature_start = s->start;
	w->facts->algorithm = s->algorithm_name;
	if (!good) {
		decide(w, RESULT_PERMERROR, why);
		return;
	}
	w->facts->signed_at = s->signed_at == DKIM_TIME_NONE ? 0 : s->signed_at;
	if (d->wanted && !d->wanted(d->wanted_arg, s->domain)) {
		decide(w, RESULT_NONE, "not looked at: of another domain");
		return;
	}
	if (!d->hashes)
		return;
	w->body = body_hashes_want(d->hashes, s->body_canon, signature_digest(s->algorithm), s->body_length);
	if (!w->body)
		decide(w, RESULT_POLICY, "the signatures of this message want too many different hashes of its body");
}

void dkim_only(struct dkim_check *d, bool (*wanted)(void *arg, struct slice domain), void *arg)
{
	d->wanted = wanted;
	d->wanted_arg = arg;
}

void dkim_header(struct dkim_check *d, const struct header *h, struct body_hashes *hashes)
{
	uint32_t most = d->conf->max_signatures < MAX_SIGNATURES ? d->conf->max_signatures : MAX_SIGNATURES;
	uint32_t all = header_count(h, SLICE("DKIM-Signature"));

	d->header = h;
	d->hashes = hashes;
	d->count = all < most ? all : most;
	d->left_out = all - d->count;
	d->works = arena_array(d->arena, struct dkim_work, d->count + 1);
	for (uint32_t i = 0, n = 0; n < d->count; i++)
		if (slice_eq_nocase(h->fields[i].name, SLICE("DKIM-Signature")))
			read_signature(d, &d->works[n++], &h->fields[i]);
}

/* ---- the body has ended ---- */

/* Section 3.5, x=: "Signatures MAY be considered invalid if the verification time at the Verifier is past the expiration
 * date." */
static void look_at_time(struct dkim_work *w, int64_t now)
{
	if (!w->decided && w->signature.expires_at != DKIM_TIME_NONE && w->signature.expires_at < now)
		decide(w, RESULT_PERMERROR, "the signature has expired");
}

/* Section 6.1.3. NULL: the body is as it was signed, or is not there. l=: "This value MUST NOT be larger than the actual number of octets in the
 * canonicalized message body." */
static const char *body_wrong(const struct dkim_work *w)
{
	const struct dkim_signature *s = &w->signature;

	if (!w->body)
		return NULL;
	if (s->body_length != BODY_LENGTH_ALL && w->body->hashed < s->body_length)
		return "the body is shorter than l= says";
	if (!slice_eq(w->body->value, s->body_hash))
		return "the body was altered: bh= is not its hash";
	return NULL;
}

static ASYNC void ask_keys(struct dkim_check *d, struct dns *dns, deadline until)
{
	struct dns_question *questions = arena_array(d->arena, struct dns_question, d->count + 1);
	size_t n = 0;

	for (struct dkim_work *w = d->works; w < d->works + d->count; w++) {
		struct slice name;
		if (w->decided)
			continue;
		name = dkim_key_name(d->arena, w->signature.selector, w->signature.domain);
		if (name.n == 0) {
			decide(w, RESULT_PERMERROR, "s= and d= are no name that DNS can have");
			continue;
		}
		w->question = &questions[n++];
		w->question->name = name;
		w->question->type = DNS_TXT;
	}
	if (n > 0)
		dns_ask_all(dns, d->arena, questions, n, until);
}

/* A pass with what there is to be said about it. */
static void decide_pass(struct dkim_check *d, struct dkim_work *w, const struct dkim_key *k)
{
	struct str reason = STR_IN(d->arena);
	bool policy = w->facts->partial && d->conf->partial_is_policy;

	str_puts(&reason, "the signature is good");
	if (w->facts->partial && w->body)
		str_printf(&reason, "; %llu octets behind l= are not signed: anybody may have added them",
			(unsigned long long)w->body->beyond);
	if (k->type == DKIM_KEY_RSA && k->bits < DKIM_GOOD_BITS)
		str_printf(&reason, "; the RSA key of %u bits is weak (RFC 8301 section 3.2)", k->bits);
	if (k->testing)
		str_puts(&reason, "; the domain says that it is testing (t=y)");
	decide(w, policy ? RESULT_POLICY : RESULT_PASS, str_cstr(&reason));
}

/* One key of those that the name has. false: try the next one. */
static bool try_key(struct evaluation *e, struct dkim_work *w, const struct dkim_key *k, struct slice signed_octets)
{
	const char *mismatch = dkim_key_mismatch(&w->signature, k);

	w->facts->key_bits = k->bits;
	if (mismatch) {
		if (w->facts->result != RESULT_FAIL)
			decide(w, RESULT_PERMERROR, mismatch);
		return false;
	}
	if (body_wrong(w)) {
		decide(w, RESULT_FAIL, body_wrong(w));
		return true;
	}
	if (!dkim_signature_verify(&w->signature, k, signed_octets)) {
		decide(w, RESULT_FAIL, "the signature does not go with its key and the signed header fields");
		return false;
	}
	if (w->signature.algorithm == ALGORITHM_RSA_SHA1)
		decide(w, RESULT_PERMERROR, "rsa-sha1 is not accepted (RFC 8301 section 3.1)");
	else
		decide_pass(e->check, w, k);
	return true;
}

/* RFC 6376 section 6.1.2, step 4: "If the query for the public key returns multiple key records, the Verifier can choose one
 * of the key records or may cycle through the key records". */
static void verify(struct evaluation *e, struct dkim_work *w)
{
	const struct dns_answer *answer = &w->question->answer;
	struct str octets = STR_IN(&e->scratch);

	if (w->body && w->body->value.n == 0) {
		decide(w, RESULT_TEMPERROR, "the body could not be hashed");
		return;
	}
	if (answer->status == DNS_TROUBLE) {
		w->facts->hopeless = body_wrong(w) != NULL;
		decide(w, RESULT_TEMPERROR, arena_printf(e->check->arena, "the key cannot be asked for: %s",
			answer->why ? answer->why : "DNS trouble"));
		return;
	}
	if (answer->status != DNS_FOUND || answer->count == 0) {
		decide(w, RESULT_PERMERROR, "there is no key of this name in DNS");
		return;
	}
	dkim_signed_header(&octets, &w->signature, &e->index, &e->scratch);
	for (size_t i = 0; i < answer->count && i < MAX_KEY_RECORDS; i++)
		if (try_key(e, w, dkim_keys_read(e->keys, answer->records[i].text), str_slice(&octets)))
			break;
	arena_drop(&e->scratch);
}

static void evaluate(void *arg)
{
	struct evaluation *e = arg;
	struct dkim_check *d = e->check;

	for (struct dkim_work *w = d->works; w < d->works + d->count; w++) {
		if (!w->question)
			continue;
		if (!e->index.header)
			canon_index_build(&e->index, d->arena, d->header);
		verify(e, w);
	}
}

/* ---- what is said ---- */

static const char *evidence_of(struct arena *a, const struct dkim_facts *f)
{
	struct str text = STR_IN(a);

	str_puts(&text, "d=");
	str_escaped(&text, f->domain, 253);
	str_puts(&text, " s=");
	str_escaped(&text, f->selector, 253);
	if (f->algorithm)
		str_printf(&text, " a=%s", f->algorithm);
	if (f->key_bits)
		str_printf(&text, " bits=%u", f->key_bits);
	str_puts(&text, " b=");
	str_escaped(&text, f->signature_start, 8);
	return str_cstr(&text);
}

static void report(struct dkim_check *d, struct auth_facts *auth, struct findings *found, nanoseconds began)
{
	struct dkim_facts **last = &auth->dkim;
	struct finding *f;

	auth->dkim_asked = true;
	if (d->count == 0)
		finding_timed(found, d->arena, CHECK_DKIM, RESULT_NONE, began, "the message is not signed");
	for (struct dkim_work *w = d->works; w < d->works + d->count; w++) {
		*last = w->facts;
		last = &w->facts->next;
		f = finding_timed(found, d->arena, CHECK_DKIM, w->facts->result, began, w->facts->reason);
		f->evidence = evidence_of(d->arena, w->facts);
		began = clock_precise();
	}
	if (d->left_out > 0)
		finding_timed(found, d->arena, CHECK_DKIM, RESULT_POLICY, clock_precise(), arena_printf(d->arena,
			"%u more signatures were not looked at (max-signatures)", d->left_out));
}

ASYNC void dkim_finish(struct dkim_check *d, struct dns *dns, struct dkim_keys *keys, int64_t now,
	struct auth_facts *auth, struct findings *found, deadline until)
{
	nanoseconds began = clock_precise();
	struct evaluation e = { .check = d, .keys = keys, .scratch = ARENA_INIT };

	if (d->hashes)
		body_hashes_finish(d->hashes);
	for (struct dkim_work *w = d->works; w < d->works + d->count; w++) {
		look_at_time(w, now);
		w->facts->partial = w->body && w->body->beyond > 0;
	}
	ask_keys(d, dns, until);
	fiber_hoist(evaluate, &e);
	report(d, auth, found, began);
}

enum result dkim_best(const struct auth_facts *auth)
{
	static const enum result order[] = { RESULT_PASS, RESULT_TEMPERROR, RESULT_FAIL, RESULT_POLICY,
		RESULT_PERMERROR };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		for (const struct dkim_facts *f = auth->dkim; f; f = f->next)
			if (f->result == order[i])
				return order[i];
	return RESULT_NONE;
}
