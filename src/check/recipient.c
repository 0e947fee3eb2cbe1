/*
 * Recipients: sources in memory, the cache of what backends said, and what a backend's
 * reply to RCPT means.
 *
 * The cache holds one small record per address: known, doubtful or gone. "Gone" is
 * written only for a real "no" and believed for ten minutes; a new mailbox therefore works within
 * ten minutes of its creation. "Known" is written only for a live "yes" and rewritten when it is older
 * than a day, so that the store is not written once per message. A known address that turns
 * unknown becomes doubtful: the sender hears 450, and only if the "no" is still there
 * ten minutes later it is a "no". Extending a record on mere use was rejected: it keeps deleted
 * mailboxes alive for those who write to them most, which is spammers.
 *
 * A "no" is what RFC 3463 calls an addressing status of the *recipient*, in reply to
 * RCPT. 5.1.7 and 5.1.8 speak of the sender (servers delay their sender checks to RCPT), 5.1.0 says nothing
 * and is what Postfix says of senders, and a bare 550 speaks of whatever its author had in mind: where the text names the
 * sender, relaying or a policy it is no answer about the mailbox. What is not a "no" costs nothing: the
 * refusal is still passed on, it is only not remembered.
 */
#include "check/recipient_record.h"

#include "base/log.h"

/* ---- findings ---- */

/* One finding a recipient: what the backend said replaces what was known before. */
static struct finding *recipient_finding(struct findings *findings, struct arena *a, const struct recipient *r,
	enum result result, nanoseconds began, const char *reason)
{
	uint32_t cost = (uint32_t)((clock_precise() - began) / NS_PER_US);

	for (struct finding *f = findings->first; f; f = f->next) {
		if (f->check != CHECK_RECIPIENT || f->recipient != r)
			continue;
		f->result = result;
		f->reason = reason;
		f->evidence = NULL;
		f->cost_us += cost;
		return f;
	}

	struct finding *f = finding_add(findings, a, CHECK_RECIPIENT, result, reason);

	f->recipient = r;
	f->cost_us = cost;
	return f;
}

static const char *reply_evidence(struct arena *a, const struct reply *backend)
{
	struct str out = STR_IN(a);

	if (!backend || backend->code == 0)
		return NULL;
	str_printf(&out, "%u ", backend->code);
	if (backend->enhanced.class)
		str_printf(&out, "%u.%u.%u ", backend->enhanced.class, backend->enhanced.subject,
			backend->enhanced.detail);
	str_escaped(&out, backend->text, 200);
	return str_cstr(&out);
}

/* ---- before the backend is asked ---- */

static enum recipient_answer cache_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient *r, struct recipient_record *record)
{
	uint32_t now = wall_now(), expires;

	if (recipient_record_get(store, r->canonical, record, &expires) != STORE_OK)
		return RECIPIENT_ASK;
	/* The times to live are those of today's configuration, not of the day the record was written. */
	if (record->state == STATE_KNOWN && age(now, record->last) < in_seconds(conf->positive_ttl))
		return RECIPIENT_EXISTS;
	if (record->state == STATE_GONE && age(now, record->last) < in_seconds(conf->negative_ttl) &&
		!flip_alarm(flip_window_of(r->canonical)))
		return RECIPIENT_NO_SUCH_USER;
	return RECIPIENT_ASK;
}

/* What the cache says, as a finding. */
static enum recipient_answer callforward_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient *r, bool harvester, struct findings *findings, struct arena *a, nanoseconds began)
{
	struct recipient_record record;
	enum recipient_answer answer = cache_look_up(conf, store, r, &record);
	struct finding *f;
	struct str said = STR_IN(a);

	switch (answer) {
	case RECIPIENT_EXISTS:
		recipient_finding(findings, a, r, RESULT_EXISTS, began, arena_printf(a,
			"The backend knew the recipient %u s ago.", age(wall_now(), record.last)));
		break;
	case RECIPIENT_NO_SUCH_USER:
		f = recipient_finding(findings, a, r, RESULT_NO_SUCH_USER, began, arena_printf(a,
			"The backend did not know the recipient %u s ago.", age(wall_now(), record.last)));
		str_escaped(&said, slice_of(record.reply), sizeof(record.reply));
		f->evidence = str_cstr(&said);
		break;
	case RECIPIENT_ASK:
	case RECIPIENT_CANNOT_TELL:
		if (!harvester)
			return RECIPIENT_ASK;
		recipient_finding(findings, a, r, RESULT_UNKNOWN, began,
			"The client looks like a harvester and is answered from the cache alone, which does not "
			"know the recipient.");
		return RECIPIENT_CANNOT_TELL;
	}
	return answer;
}

/* A source that speaks for itself: EXISTS ends the search, the others let the next one speak. */
static enum recipient_answer file_look_up(const struct recipient_source *s, const struct recipient *r,
	const char **reason, struct arena *a)
{
	bool has = list_file_contains_address(s->file, r->canonical);

	*reason = arena_printf(a, "The recipient is %sin %s.", has ? "" : "not ", list_file_path(s->file));
	return has ? RECIPIENT_EXISTS : RECIPIENT_NO_SUCH_USER;
}

enum recipient_answer recipient_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient *r, bool harvester, struct findings *findings, struct arena *a, deadline d)
{
	nanoseconds began = clock_precise();
	const char *without = NULL;	/* why the last source said no */
	const char *unsure = NULL;	/* why a source could not tell: it might have known him */
	bool unconfirmed = false;	/* it says no of somebody whom it knew */

	for (size_t i = 0; i < conf->source_count; i++) {
		const struct recipient_source *s = &conf->sources[i];
		const char *reason;
		enum recipient_answer answer;

		if (s->kind == SOURCE_CALLFORWARD)
			return callforward_look_up(conf, store, r, harvester, findings, a, began);
		answer = s->kind == SOURCE_FILE ? file_look_up(s, r, &reason, a) :
			recipient_directory_look_up(conf, store, s, r, harvester, &unconfirmed, &reason, a, d);
		if (answer == RECIPIENT_EXISTS) {
			recipient_finding(findings, a, r, RESULT_EXISTS, began, reason);
			return answer;
		}
		if (answer == RECIPIENT_NO_SUCH_USER)
			without = reason;
		else
			unsure = reason;
	}
	if (without && !unsure) {
		recipient_finding(findings, a, r, RESULT_NO_SUCH_USER, began, without);
		return RECIPIENT_NO_SUCH_USER;
	}
	/* No source: the configuration refuses that, so somebody forgot to ask it. */
	recipient_finding(findings, a, r, unconfirmed ? RESULT_UNCONFIRMED : RESULT_UNKNOWN, began, unsure ? unsure :
		"No source is configured for the recipient.");
	return RECIPIENT_CANNOT_TELL;
}

/* ---- what the backend said ---- */

/* Words by which a bare 550 gives away that it is not about the mailbox. */
static bool text_is_about_something_else(struct slice text)
{
	static const char *const words[] = { "sender", "relay", "rcpthosts", "spam", "spf", "dkim", "dmarc", "block",
		"black list", "blacklist", "dnsbl", "policy", "denied", "access", "prohibit", "authenticat", "authori",
		"verif", "helo", "reverse", "rdns", "greylist", "rate limit", "too many", "reputation", "quota",
		"mailbox full", "is full", "encrypt", "(#5.7" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_search_nocase(text, slice_of(words[i])) >= 0)
			return true;
	return false;
}

/* RFC 3463 section 3.2, and 5.1.10 of RFC 7505. */
static bool status_is_no(const struct enhanced_code *e)
{
	if (e->class != 5)
		return false;
	if (e->subject == 2)
		return e->detail == 1;
	switch (e->subject == 1 ? e->detail : 0) {
	case 1:		/* bad destination mailbox address */
	case 2:		/* bad destination system address */
	case 3:		/* bad destination mailbox address syntax */
	case 4:		/* ambiguous */
	case 6:		/* moved, no forwarding address */
	case 10:	/* null MX */
		return true;
	default:	/* 0 other, 5 valid, 7 and 8 of the sender, 9 message relayed to non-compliant mailer */
		return false;
	}
}

enum recipient_answer recipient_answer_of(const struct reply *backend, bool backend_has_enhanced)
{
	if (reply_is_positive(backend))
		return RECIPIENT_EXISTS;
	if (!reply_is_permanent(backend))
		return RECIPIENT_CANNOT_TELL;
	if (backend->enhanced.class != 0)
		return status_is_no(&backend->enhanced) ? RECIPIENT_NO_SUCH_USER : RECIPIENT_CANNOT_TELL;
	if (backend_has_enhanced)
		return RECIPIENT_CANNOT_TELL;
	if (backend->code != 550 && backend->code != 551 && backend->code != 553)
		return RECIPIENT_CANNOT_TELL;
	return text_is_about_something_else(backend->text) ? RECIPIENT_CANNOT_TELL : RECIPIENT_NO_SUCH_USER;
}

static void record_reply(struct recipient_record *r, const struct reply *backend)
{
	size_t n = backend && backend->text.n < sizeof(r->reply) - 11 ? backend->text.n : sizeof(r->reply) - 11;

	memset(r->reply, 0, sizeof(r->reply));
	if (backend && backend->code)
		snprintf(r->reply, sizeof(r->reply), "%u %.*s", backend->code, (int)n,
			backend->text.p ? backend->text.p : "");
}

void recipient_learn_exists(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	const struct reply *backend)
{
	struct recipient_record record;
	uint32_t now = wall_now(), expires;
	enum store_status status = recipient_record_get(store, r->canonical, &record, &expires);

	if (status == STORE_TROUBLE)
		return;

	bool known = status == STORE_OK && record.state == STATE_KNOWN;

	if (status == STORE_OK && record.state != STATE_GONE)
		flip_count(flip_window_of(r->canonical), false);
	if (known && age(now, record.last) < in_seconds(conf->refresh_after))
		return;
	if (status != STORE_OK || record.state == STATE_GONE)
		record.first = now;
	record.state = STATE_KNOWN;
	record.last = now;
	record.turned = 0;
	record_reply(&record, backend);
	recipient_record_put(store, r->canonical, &record, now + in_seconds(conf->positive_ttl));
}

/* A known address was refused: from now on doubtful. Kept until the doubt can be settled. */
static void learn_doubt(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	struct recipient_record *record, const struct reply *backend, uint32_t expires)
{
	uint32_t now = wall_now(), least = now + in_seconds(conf->positive_ttl);

	record->state = STATE_DOUBTFUL;
	record->turned = record->last = now;
	record_reply(record, backend);
	recipient_record_put(store, r->canonical, record, expires > least ? expires : least);
}

static void learn_gone(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	bool again, struct recipient_record *record, const struct reply *backend)
{
	uint32_t now = wall_now();

	if (!again)
		record->first = now;
	record->state = STATE_GONE;
	record->last = now;
	record->turned = 0;
	record_reply(record, backend);
	recipient_record_put(store, r->canonical, record, now + in_seconds(conf->negative_ttl));
}

/* A "no". What it is worth depends on what was known. */
enum result recipient_learn_no(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	const struct reply *backend, const char **reason)
{
	struct recipient_record record = { 0 };
	uint32_t now = wall_now(), expires = 0;
	enum store_status status = recipient_record_get(store, r->canonical, &record, &expires);
	struct flip_window *w = flip_window_of(r->canonical);

	if (status == STORE_OK && record.state == STATE_KNOWN)
		flip_count(w, true);
	*reason = "The backend does not know the recipient.";
	if (status == STORE_OK && record.state == STATE_KNOWN) {
		learn_doubt(conf, store, r, &record, backend, expires);
		*reason = "The backend knew the recipient and now does not: not believed until it says so again later.";
		return RESULT_UNCONFIRMED;
	}
	if (flip_alarm(w)) {
		/* The waiting time of the doubtful begins anew: its first "no" was the broken backend's. */
		if (status == STORE_OK && record.state == STATE_DOUBTFUL)
			learn_doubt(conf, store, r, &record, backend, expires);
		*reason = "The backend does not know the recipient, but neither others that it knew: not believed now.";
		return RESULT_UNCONFIRMED;
	}
	if (status == STORE_OK && record.state == STATE_DOUBTFUL &&
		age(now, record.turned) < in_seconds(conf->confirm_after)) {
		*reason = "The backend knew the recipient until a short while ago: its \"no\" is not confirmed yet.";
		return RESULT_UNCONFIRMED;
	}
	if (status != STORE_TROUBLE)
		learn_gone(conf, store, r, status == STORE_OK && record.state == STATE_GONE, &record, backend);
	return RESULT_NO_SUCH_USER;
}

void recipient_learn(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	enum recipient_answer answer, const struct reply *backend, struct findings *findings, struct arena *a)
{
	nanoseconds began = clock_precise();
	enum result result = RESULT_UNKNOWN;
	const char *reason = "The backend did not say whether the recipient exists.";

	/* Without callforward the cache is not asked, and need not be fed. */
	if (!conf->callforward)
		store = NULL;
	switch (answer) {
	case RECIPIENT_EXISTS:
		recipient_learn_exists(conf, store, r, backend);
		result = RESULT_EXISTS;
		reason = "The backend knows the recipient.";
		break;
	case RECIPIENT_NO_SUCH_USER:
		result = recipient_learn_no(conf, store, r, backend, &reason);
		break;
	case RECIPIENT_ASK:
	case RECIPIENT_CANNOT_TELL:
		break;
	}
	recipient_finding(findings, a, r, result, began, reason)->evidence = reply_evidence(a, backend);
}

void recipient_proves_nothing(struct findings *findings, const struct recipient *r)
{
	for (struct finding *f = findings->first; f; f = f->next) {
		if (f->check != CHECK_RECIPIENT || f->recipient != r)
			continue;
		f->result = RESULT_ACCEPT_ALL;
		f->reason = "The backend takes any address of the domain: that it took this one proves nothing.";
	}
}

/* ---- for the postmaster ---- */

bool recipient_show(struct store *store, struct slice canonical, struct recipient_cache_entry *out)
{
	static const enum recipient_answer answers[] = { [STATE_KNOWN] = RECIPIENT_EXISTS,
		[STATE_DOUBTFUL] = RECIPIENT_CANNOT_TELL, [STATE_GONE] = RECIPIENT_NO_SUCH_USER };
	struct recipient_record record;
	uint32_t expires;

	if (recipient_record_get(store, canonical, &record, &expires) != STORE_OK)
		return false;
	*out = (struct recipient_cache_entry){ .answer = answers[record.state], .first = record.first,
		.last = record.last, .expires = expires };
	memcpy(out->reply, record.reply, sizeof(out->reply));
	return true;
}

/* One record. false: there is none. */
static bool forget_record(struct store *store, struct slice name)
{
	struct recipient_record record;
	struct store_key key = recipient_record_key(store, name);
	uint32_t expires;

	return recipient_record_get(store, name, &record, &expires) == STORE_OK &&
		store_delete(store, STORE_RECIPIENT, &key) == STORE_OK;
}

bool recipient_forget(const struct recipient_conf *conf, struct store *store, struct slice canonical)
{
	struct arena scratch = ARENA_INIT;
	bool any = forget_record(store, canonical);

	for (size_t i = 0; i < conf->source_count; i++)
		if (conf->sources[i].kind == SOURCE_DIRECTORY)
			any |= forget_record(store, recipient_directory_record(&scratch, conf->sources[i].directory, canonical));
	arena_drop(&scratch);
	return any;
}
