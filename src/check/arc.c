/*
 * Validating a chain: the newest ARC-Message-Signature and all seals (RFC 8617 section 5.2). Older message signatures need
 * not hold any more; that they held is what the seal after them says.
 *
 * Whether a chain that passes may overrule DMARC is a question of trust, and narrow: the newest sealer must be one
 * that the configuration names, and what it saw must speak for the message. If it saw DMARC fail, it has to have seen
 * a chain that passes, and then the sealer before it is asked the same. Otherwise whoever lets a trusted
 * provider forward forged mail to us had a way in.
 */
#include "check/arc.h"

#include "check/arc_set.h"
#include "check/finding.h"
#include "wire/authres.h"
#include "wire/taglist.h"

#define MAX_KEY_RECORDS 4u

struct arc_check {
	struct arena *arena;
	const struct arc_conf *conf;
	const struct header *header;
	struct body_hashes *hashes;
	const struct body_hash *body;	/* of the newest message signature */
	struct arc_sets sets;
	const char *wrong;		/* the chain cannot be valid, and why */
};

struct arc_check *arc_begin(struct arena *a, const struct arc_conf *conf)
{
	struct arc_check *c = arena_new(a, struct arc_check);

	c->arena = a;
	c->conf = conf;
	return c;
}

/* Section 4.1.2: ARC-Seal must not be among the fields that h= of ARC-Message-Signature names. */
void arc_header(struct arc_check *c, const struct header *h, struct body_hashes *hashes)
{
	const struct dkim_signature *newest;

	c->header = h;
	c->hashes = hashes;
	if (!arc_sets_read(&c->sets, c->arena, h, &c->wrong) || c->sets.count == 0)
		return;
	newest = &c->sets.set[c->sets.count - 1].message;
	if (taglist_has_item(newest->names, SLICE("ARC-Seal")))
		c->wrong = "the newest ARC-Message-Signature covers an ARC-Seal";
	else if (newest->algorithm == ALGORITHM_RSA_SHA1)
		c->wrong = "rsa-sha1 is not accepted (RFC 8301 section 3.1)";
	else
		c->body = body_hashes_want(hashes, newest->body_canon, signature_digest(newest->algorithm), newest->body_length);
	if (!c->wrong && !c->body)
		c->wrong = "the signatures of this message want too many different hashes of its body";
}

/* ---- validating ---- */

struct validation {
	struct arc_check *check;
	struct dkim_keys *keys;
	struct dns_question *questions;	/* [0] of the newest message signature, [n] of seal n */
	struct arena scratch;
	enum result result;
	const char *reason;
};

static void decide(struct validation *v, enum result result, const char *reason)
{
	/* A broken link is an answer, whatever else could not be asked. */
	if (v->result == RESULT_PASS || (v->result == RESULT_TEMPERROR && result == RESULT_FAIL)) {
		v->result = result;
		v->reason = reason;
	}
}

static void verify(struct validation *v, const char *what, uint32_t n, const struct dkim_signature *s, struct slice octets,
	const struct dns_answer *answer)
{
	struct arena *a = v->check->arena;
	const char *why = "there is no key of this name in DNS";

	if (answer->status == DNS_TROUBLE) {
		decide(v, RESULT_TEMPERROR, arena_printf(a, "set %u: the key of %s cannot be asked for: %s", n, what,
			answer->why ? answer->why : "DNS trouble"));
		return;
	}
	for (size_t i = 0; answer->status == DNS_FOUND && i < answer->count && i < MAX_KEY_RECORDS; i++) {
		const struct dkim_key *k = dkim_keys_read(v->keys, answer->records[i].text);
		const char *mismatch = dkim_key_mismatch(s, k);
		if (!mismatch && s->algorithm == ALGORITHM_RSA_SHA1)
			mismatch = "rsa-sha1 is not accepted (RFC 8301 section 3.1)";
		if (!mismatch && dkim_signature_verify(s, k, octets))
			return;
		why = mismatch ? mismatch : "it does not go with its key and what it covers";
	}
	decide(v, RESULT_FAIL, arena_printf(a, "set %u: %s: %s", n, what, why));
}

static void verify_message(struct validation *v)
{
	struct arc_check *c = v->check;
	const struct dkim_signature *s = &c->sets.set[c->sets.count - 1].message;
	struct str octets = STR_IN(&v->scratch);
	struct canon_index index = { .header = NULL };

	if (c->body->value.n == 0) {
		decide(v, RESULT_TEMPERROR, "the body could not be hashed");
		return;
	}
	if ((s->body_length != BODY_LENGTH_ALL && c->body->hashed < s->body_length) ||
	    !slice_eq(c->body->value, s->body_hash)) {
		decide(v, RESULT_FAIL, "the body was altered behind the last sealer: bh= is not its hash");
		return;
	}
	canon_index_build(&index, c->arena, c->header);
	dkim_signed_header(&octets, s, &index, &v->scratch);
	verify(v, "ARC-Message-Signature", c->sets.count, s, str_slice(&octets), &v->questions[0].answer);
}

static void validate(void *arg)
{
	struct validation *v = arg;
	const struct arc_sets *sets = &v->check->sets;

	verify_message(v);
	for (uint32_t n = sets->count; n > 0 && v->result != RESULT_FAIL; n--) {
		const struct dkim_signature *seal = &sets->set[n - 1].seal;
		struct str octets = STR_IN(&v->scratch);

		arc_sealed_octets(&octets, sets, 1, n, seal->field, seal->emptied);
		verify(v, "ARC-Seal", n, seal, str_slice(&octets), &v->questions[n].answer);
		arena_drop(&v->scratch);
	}
	arena_drop(&v->scratch);
}

/* false: a name cannot be asked for. */
static ASYNC bool ask_keys(struct validation *v, struct dns *dns, deadline until)
{
	struct arc_check *c = v->check;
	uint32_t count = c->sets.count + 1;

	v->questions = arena_array(c->arena, struct dns_question, count);
	for (uint32_t i = 0; i < count; i++) {
		const struct dkim_signature *s = i == 0 ? &c->sets.set[c->sets.count - 1].message : &c->sets.set[i - 1].seal;

		v->questions[i].name = dkim_key_name(c->arena, s->selector, s->domain);
		v->questions[i].type = DNS_TXT;
		if (v->questions[i].name.n == 0)
			return false;
	}
	dns_ask_all(dns, c->arena, v->questions, count, until);
	return true;
}

/* ---- trust ---- */

static bool is_trusted(const struct arc_conf *conf, struct slice domain)
{
	for (size_t i = 0; i < conf->trusted_count; i++)
		if (slice_eq(conf->trusted[i], domain))
			return true;
	return false;
}

/* The first result of a method, as said. */
static struct slice said_of(const struct authres *said, struct slice method)
{
	for (const struct authres_result *r = said->results; r; r = r->next)
		if (slice_eq_nocase(r->method, method))
			return r->result;
	return SLICE_NULL;
}

/* Whether trusted sealers vouch for the message. *why: a phrase; *found: what the one that vouches has found. */
static bool is_vouched_for(const struct arc_check *c, const char **why, const struct authres_result **found)
{
	for (uint32_t n = c->sets.count; n > 0; n--) {
		const struct arc_set *s = &c->sets.set[n - 1];
		struct authres said;

		*why = "its sealer is not trusted";
		if (!is_trusted(c->conf, s->seal.domain))
			return false;
		*why = "what its trusted sealer found cannot be read";
		if (!authres_parse(&said, c->arena, s->said, why))
			return false;
		*why = "its trusted sealer vouches for it";
		*found = said.results;
		if (!slice_eq_nocase(said_of(&said, SLICE("dmarc")), SLICE("fail")))
			return true;
		*why = "its trusted sealer saw DMARC fail";
		*found = NULL;
		if (!slice_eq_nocase(said_of(&said, SLICE("arc")), SLICE("pass")))
			return false;
	}
	return false;
}

static void report(struct arc_check *c, const struct validation *v, struct auth_facts *auth, struct findings *found,
	nanoseconds began)
{
	struct arc_facts *facts = &auth->arc;
	const char *trust = NULL;
	struct finding *f;

	*facts = (struct arc_facts){ .asked = true, .result = v->result, .sets = c->sets.count, .reason = v->reason };
	facts->ended = c->sets.failed_before;
	if (v->result == RESULT_PASS || v->result == RESULT_TEMPERROR) {
		facts->sealer = c->sets.set[c->sets.count - 1].seal.domain;
		facts->trusted = is_vouched_for(c, &trust, &facts->vouched);
	}
	if (v->result == RESULT_PASS)
		facts->reason = arena_printf(c->arena, "the chain is whole; %s", trust);
	f = finding_timed(found, c->arena, CHECK_ARC, facts->result, began, facts->reason);
	if (c->sets.count > 0)
		f->evidence = facts->sealer.n > 0 ? arena_printf(c->arena, "sets=%u sealer=%s", facts->sets,
			finding_escaped(c->arena, facts->sealer, 253)) : arena_printf(c->arena, "sets=%u", facts->sets);
}

ASYNC void arc_finish(struct arc_check *c, struct dns *dns, struct dkim_keys *keys, struct auth_facts *auth,
	struct findings *found, deadline until)
{
	struct validation v = { .check = c, .keys = keys, .scratch = ARENA_INIT, .result = RESULT_PASS };
	nanoseconds began = clock_precise();

	body_hashes_finish(c->hashes);
	if (c->wrong) {
		decide(&v, RESULT_FAIL, c->wrong);
	} else if (c->sets.count == 0) {
		decide(&v, RESULT_NONE, "the message has no ARC set");
	} else if (!ask_keys(&v, dns, until)) {
		decide(&v, RESULT_FAIL, "s= and d= of a set are no name that DNS can have");
	} else {
		fiber_hoist(validate, &v);
	}
	report(c, &v, auth, found, began);
}
