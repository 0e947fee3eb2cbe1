/*
 * The outbound side of the guard: does this notice answer a message that came in here, and does it go to an
 * address that was proven for it?
 *
 * What it answers is taken from the place that says it most plainly: the returned message, else In-Reply-To, else the last of
 * References. The others before that come from the message that is answered, and so from whoever forged it: he may name one
 * there that his victim really wrote. If what it answers is not known here, it may still be an answer of a program that says nothing (old
 * vacation programs): then the address must have written to this very user. Every recipient has to pass, since a notice with several is sent to all or to none.
 *
 * Automatic replies are rationed on top: one per local user and correspondent, and so many per remote domain,
 * so that two responders fall silent after one round, whatever addresses they use.
 */
#include "check/guard_ledger.h"

#include "check/finding.h"
#include "wire/mailbox.h"

#define IDS_MAX 24		/* Message-IDs that a notice may answer */
#define USERS_MAX 4		/* local users whom it may speak for */

struct judging {
	struct guard *guard;
	struct store *store;
	const struct guard_conf *conf;
	const struct guard_site *site;
	const struct envelope *e;
	const struct notice *n;
	struct slice ids[IDS_MAX];
	size_t id_count;
	struct slice users[USERS_MAX];	/* canonical */
	size_t user_count;
	enum result result;
	const char *reason;
};

/* ---- what it answers, and for whom it speaks ---- */

static void add_ids(struct judging *j, struct slice text)
{
	while (text.n > 0 && j->id_count < IDS_MAX) {
		ptrdiff_t from = slice_find(text, '<'), to;

		if (from < 0)
			return;
		text = slice_from(text, (size_t)from);
		to = slice_find(text, '>');
		if (to < 0)
			return;
		j->ids[j->id_count++] = slice_head(text, (size_t)to + 1);
		text = slice_from(text, (size_t)to + 1);
	}
}

/* RFC 5322 section 3.6.4: References ends with the message that is answered. */
static struct slice last_reference(struct slice references)
{
	ptrdiff_t from = slice_rfind(references, '<');

	return from < 0 ? SLICE_NULL : slice_from(references, (size_t)from);
}

static void find_answered(struct judging *j)
{
	add_ids(j, j->n->original.message_id);
	if (j->id_count == 0)
		add_ids(j, j->n->in_reply_to);
	if (j->id_count == 0)
		add_ids(j, last_reference(j->n->references));
}

static void add_user(struct judging *j, struct slice address)
{
	struct slice canonical;

	if (j->user_count == USERS_MAX || address.n == 0)
		return;
	j->site->own(j->site->arg, j->e->arena, address, &canonical);
	if (canonical.n > 0)
		j->users[j->user_count++] = canonical;
}

static void learn(struct judging *j, const struct header *h)
{
	struct mailbox *authors = header_authors(j->e->arena, h, 1, NULL);

	find_answered(j);
	if (authors)
		add_user(j, authors->address);
	for (const struct notice_recipient *r = j->n->recipients; r; r = r->next) {
		add_user(j, r->original);
		add_user(j, r->address);
	}
}

/* ---- one recipient ---- */

static void say(struct judging *j, enum result result, const char *reason)
{
	/* Trouble stays; so does the first "no". */
	if (j->result == RESULT_TEMPERROR || (j->result == RESULT_UNSOLICITED && result != RESULT_TEMPERROR))
		return;
	j->result = result;
	j->reason = reason;
}

/* true: there is such an entry. Trouble is noted. */
static bool is_known(struct judging *j, enum guard_entry kind, struct slice first, struct slice second,
	struct guard_note *note)
{
	struct store_key key = guard_key(j->store, kind, first, second);
	enum store_status status = guard_get(j->store, &key, note);

	if (status == STORE_TROUBLE)
		say(j, RESULT_TEMPERROR, "the received ledger cannot be read");
	return status == STORE_OK;
}

static const char *about(struct judging *j, struct slice address, const char *what)
{
	return arena_printf(j->e->arena, "%s %s", finding_escaped(j->e->arena, address, 120), what);
}

/* RFC 7489 section 7.2.1.1 and RFC 8460 section 5.3: whom a report is about stands in its subject. */
static struct slice reported_domain(struct judging *j)
{
	struct slice subject = j->e->message.subject;
	ptrdiff_t at = slice_search_nocase(subject, SLICE("Report Domain:"));
	struct slice rest;

	if (at < 0)
		return SLICE_NULL;
	rest = slice_from(subject, (size_t)at + 14);
	return domain_canonical(j->e->arena, slice_word(&rest));
}

static bool asks_for_domain(enum notice_kind k)
{
	return k == NOTICE_REPORT || k == NOTICE_FEEDBACK_REPORT || k == NOTICE_COMPLAINT;
}

static bool answers_domain(struct judging *j, struct slice address)
{
	struct slice domain = reported_domain(j);
	struct guard_note note;

	return is_known(j, GUARD_DOMAIN, address_domain(address), SLICE_NULL, &note) ||
		(domain.n > 0 && is_known(j, GUARD_DOMAIN, domain, SLICE_NULL, &note));
}

static void judge_recipient(struct judging *j, struct slice address)
{
	struct guard_note note;
	bool wrote_one = false;

	for (size_t i = 0; i < j->id_count; i++) {
		if (is_known(j, GUARD_ANSWER, j->ids[i], address, &note)) {
			wrote_one = true;
			continue;
		}
		if (!is_known(j, GUARD_MESSAGE, j->ids[i], SLICE_NULL, &note))
			continue;
		say(j, RESULT_UNSOLICITED, note.automatic ? "it answers a message that was itself automatic" :
			about(j, address, "is not proven to have written the message that it answers"));
		return;
	}
	if (wrote_one) {
		say(j, RESULT_SOLICITED, about(j, address, "wrote the message that it answers"));
		return;
	}
	for (size_t i = 0; i < j->user_count; i++) {
		if (is_known(j, GUARD_PAIR, j->users[i], address, &note)) {
			say(j, RESULT_SOLICITED, about(j, address, "has written to the user it speaks for"));
			return;
		}
	}
	if (asks_for_domain(j->n->kind) && answers_domain(j, address))
		say(j, RESULT_SOLICITED, about(j, address, "is of a domain that has written here"));
	else
		say(j, RESULT_UNSOLICITED, about(j, address, "is not proven to have written here"));
}

/* ---- rations ---- */

static bool is_rationed(enum notice_kind k)
{
	return k == NOTICE_AUTO_REPLY || k == NOTICE_CHALLENGE || k == NOTICE_VIRUS_NOTICE || k == NOTICE_NOTICE ||
		k == NOTICE_COMPLAINT;
}

/* What a retry repeats: the Message-ID, else Date and body. Under the secret of the store, for the retry may come to another
 * process. 0: nothing tells a retry from another reply with the same words. */
static uint64_t identity_of(const struct judging *j)
{
	const struct message_facts *m = &j->e->message;
	struct slice body = slice_make((const char *)m->body_sha256, sizeof(m->body_sha256));
	struct store_key key;
	uint64_t identity;

	if (m->id.n == 0 && m->date.n == 0)
		return 0;
	key = guard_key(j->store, GUARD_REPLIED, m->id.n > 0 ? m->id : m->date, m->id.n > 0 ? SLICE_NULL : body);
	memcpy(&identity, key.bytes, sizeof(identity));
	return identity ? identity : 1;
}

enum reply_turn { REPLY_FIRST, REPLY_RETRIED, REPLY_SECOND };

/* The same reply again (a retry after a 4xx) is not a second one. */
static enum reply_turn turn_of(struct judging *j, struct slice user, struct slice address)
{
	struct store_key key = guard_key(j->store, GUARD_REPLIED, user, address);
	struct guard_note note = { .message = identity_of(j) }, before;
	enum store_status status = guard_get(j->store, &key, &before);

	if (status == STORE_OK)
		return note.message && before.message == note.message ? REPLY_RETRIED : REPLY_SECOND;
	if (status == STORE_TROUBLE)
		say(j, RESULT_TEMPERROR, "the received ledger cannot be read");
	else if (guard_put(j->store, &key, &note, j->conf->reply_once) != STORE_OK)
		say(j, RESULT_TEMPERROR, "the received ledger cannot be written");
	return REPLY_FIRST;
}

static bool is_flood(struct judging *j, struct slice user, struct slice address)
{
	const struct rate_limit *limit = &j->conf->reply_rate;
	struct store_key key = guard_key(j->store, GUARD_FLOOD, user, address_domain(address));
	struct guard_note note = { 0 };
	uint32_t now = (uint32_t)clock_wall_seconds();

	if (limit->period == 0)
		return false;
	if (guard_get(j->store, &key, &note) == STORE_TROUBLE) {
		say(j, RESULT_TEMPERROR, "the received ledger cannot be read");
		return false;
	}
	if (note.count == 0)
		note.began = now;
	note.count++;
	if (note.count > limit->count)
		return true;
	if (guard_put(j->store, &key, &note, limit->period - (nanoseconds)(now - note.began) * NS_PER_SECOND) != STORE_OK)
		say(j, RESULT_TEMPERROR, "the received ledger cannot be written");
	return false;
}

static void ration(struct judging *j, struct slice address)
{
	struct slice user = j->user_count > 0 ? j->users[0] : j->e->reverse_canonical;
	enum reply_turn turn;

	/* What a person may have written uses up nothing. */
	if (j->result != RESULT_SOLICITED || !is_rationed(j->n->kind) || j->n->guess)
		return;
	turn = turn_of(j, user, address);
	if (turn == REPLY_SECOND) {
		j->result = RESULT_REPEATED;
		j->reason = about(j, address, "has had an automatic reply of this user lately");
	} else if (turn == REPLY_FIRST && is_flood(j, user, address)) {
		j->result = RESULT_REPEATED;
		j->reason = about(j, address_domain(address), "has had too many automatic replies of this user");
	}
}

/* ---- the whole ---- */

static bool is_own(const struct judging *j, struct slice address)
{
	struct slice canonical;

	return j->site->own(j->site->arg, j->e->arena, address, &canonical);
}

static bool is_forward(struct judging *j)
{
	struct guard_note note;

	return j->e->message.id.n > 0 && is_known(j, GUARD_MESSAGE, j->e->message.id, SLICE_NULL, &note);
}

/* Seconds until the ledger may be trusted; 0: it may. */
static int64_t still_cold(const struct judging *j)
{
	time_t since = guard_complete_since(j->store);
	int64_t warm_after = j->conf->warm_after / NS_PER_SECOND, age;

	if (warm_after == 0)
		return 0;
	age = since ? (int64_t)(clock_wall_seconds() - since) : 0;
	return age >= warm_after ? 0 : warm_after - age;
}

/* Whose notice it is, for those who count: of a bounce the recipient that failed, since it is written by nobody. */
static struct slice speaks_for(const struct judging *j)
{
	const struct notice_recipient *failed = notice_is_bounce(j->n->kind) ? j->n->recipients : NULL;

	if (failed && failed->original.n > 0)
		return failed->original;
	if (failed && failed->address.n > 0)
		return failed->address;
	return j->user_count > 0 ? j->users[0] : j->e->reverse_canonical;
}

/* true: it leaves, unless something else holds it. */
static bool add_result(struct judging *j, struct findings *found, nanoseconds began)
{
	struct finding *f = finding_timed(found, j->e->arena, CHECK_NOTICE, j->result, began, j->reason);
	int64_t cold = still_cold(j);

	f->detail = j->e->ref;
	/* `spurn report` reads what stands before the colon. */
	f->evidence = arena_printf(j->e->arena, "%s for %s: %s", notice_kind_name(j->n->kind),
		finding_escaped(j->e->arena, speaks_for(j), 120), j->n->evidence);
	if (j->result == RESULT_TEMPERROR)
		return false;
	if (j->n->guess) {
		f->only_observed = true;
		f->reason = arena_printf(j->e->arena, "%s (only observed: nothing but the wording says that it is automatic)",
			f->reason);
		return true;
	}
	if (cold == 0)
		return j->result == RESULT_SOLICITED;
	f->only_observed = true;
	f->reason = arena_printf(j->e->arena, "%s (only observed: the received ledger is complete in %lld h)", f->reason,
		(long long)cold / 3600 + 1);
	return true;
}

bool guard_judge(struct guard *g, const struct guard_conf *conf, const struct envelope *e, const struct header *h,
	const struct guard_site *site, struct findings *found)
{
	struct judging j = { .guard = g, .store = guard_store(g), .conf = conf, .site = site, .e = e,
		.n = e->notice, .result = RESULT_NONE };
	nanoseconds began = clock_precise();

	if (!e->notice || e->notice->kind == NOTICE_MESSAGE)
		return false;
	if (!j.store) {
		finding_add(found, e->arena, CHECK_NOTICE, RESULT_TEMPERROR, "there is no received ledger");
		return false;
	}
	learn(&j, h);
	if (is_forward(&j))
		return false;
	for (const struct recipient *r = e->recipients; r; r = r->next)
		if (!is_own(&j, r->canonical))
			judge_recipient(&j, r->canonical);
	for (const struct recipient *r = e->recipients; r; r = r->next)
		if (!is_own(&j, r->canonical))
			ration(&j, r->canonical);
	return j.result != RESULT_NONE && add_result(&j, found, began);
}
