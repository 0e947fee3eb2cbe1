/*
 * A directory as a source of recipients: what it said is remembered, renewed
 * before it is too old, and good for a while when the directory is gone.
 *
 * What a directory knows is kept in the cache of recipients, under its name, with the same states as what backends say, so that
 * a directory that suddenly knows nobody is doubted like a backend that does. A "yes" is used as it is while it is fresh; after
 * that it is still used, and renewed in the background, so that no sender waits for a directory that knows him. A "no" lives
 * for the short time of all of them. When the directory does not answer, whom it knew within `stale-for` exists, for the
 * message itself still needs a live backend; then its local copy is asked; everybody else is unknown, which is 451.
 *
 * Rejected: trusting a "yes" for its whole life without asking again (who has left stays for a week), and asking each time
 * (a slow directory would be felt by every sender).
 */
#include "check/recipient_record.h"

#include "base/log.h"
#include "check/recipient_turn.h"

#include <stdlib.h>

#define REFRESH_BUDGET (30 * NS_PER_SECOND)
#define REFRESHES_MOST 64	/* under way at one time; the others are renewed by a later message */
#define QUESTIONS_MOST 64	/* under way at one time, each about another address */

enum recipient_answer recipient_ask_directory(const struct recipient_directory *directory, struct slice canonical,
	struct arena *a, const char **why, deadline d)
{
	struct slice said;
	bool found;

	if (!socketmap_ask(directory->map, a, canonical, &found, &said, why, d))
		return RECIPIENT_CANNOT_TELL;
	return found ? RECIPIENT_EXISTS : RECIPIENT_NO_SUCH_USER;
}

struct slice recipient_directory_record(struct arena *a, const struct recipient_directory *directory, struct slice canonical)
{
	return slice_of(arena_printf(a, "directory %s %.*s", directory->name, SLICE_ARG(canonical)));
}

/* What it says is remembered each time, however young the record is. */
static enum result learn(const struct recipient_conf *conf, struct store *store, struct slice name,
	enum recipient_answer answer)
{
	const struct reply said = { .code = 250, .text = SLICE("the directory has it") };
	const struct recipient record = { .canonical = name };
	struct recipient_conf now = *conf;
	const char *reason;

	now.refresh_after = 0;
	if (now.positive_ttl < now.stale_for)	/* kept as long as it may be wanted; what it is good for is asked later */
		now.positive_ttl = now.stale_for;
	if (answer == RECIPIENT_NO_SUCH_USER)
		return recipient_learn_no(&now, store, &record, NULL, &reason);
	if (answer == RECIPIENT_EXISTS)
		recipient_learn_exists(&now, store, &record, &said);
	return answer == RECIPIENT_EXISTS ? RESULT_EXISTS : RESULT_UNKNOWN;
}

/* ---- renewing ---- */

struct refresh {
	struct table_link link;
	struct arena arena;
	struct recipient_conf conf;
	struct recipient_directory directory;
	struct store *store;
	struct slice name, canonical;
};

static struct table refreshes;	/* by the name of the record: one in flight an address */

static bool refresh_match(const struct table_link *link, const void *key)
{
	return slice_eq(container_of(link, const struct refresh, link)->name, *(const struct slice *)key);
}

static ASYNC void refresh_run(void *arg)
{
	struct refresh *r = arg;
	const char *why;

	learn(&r->conf, r->store, r->name,
		recipient_ask_directory(&r->directory, r->canonical, &r->arena, &why, deadline_in(REFRESH_BUDGET)));
	table_remove(&refreshes, &r->link);
	arena_drop(&r->arena);
	free(r);
}

/* Times, names and addresses are copied: a reload may come in between. Maps and the store live as long as the worker. */
static void refresh_start(const struct recipient_conf *conf, struct store *store,
	const struct recipient_directory *directory, struct slice name, struct slice canonical)
{
	uint64_t hash = hash_bytes(name.p, name.n);
	struct refresh *r;

	if (refreshes.count >= REFRESHES_MOST || table_find(&refreshes, hash, refresh_match, &name))
		return;
	r = calloc(1, sizeof(*r));
	BUG_ON(!r);
	r->conf = *conf;
	r->conf.sources = NULL;
	r->conf.source_count = 0;
	r->store = store;
	r->name = slice_copy(&r->arena, name);
	r->canonical = slice_copy(&r->arena, canonical);
	r->directory.map = directory->map;
	r->directory.name = arena_copy(&r->arena, directory->name, strlen(directory->name));
	table_add(&refreshes, &r->link, hash);
	fiber_detach("directory refresh", refresh_run, r);
}

/* ---- the look-up ---- */

struct remembered {
	bool any;
	struct recipient_record record;
	uint32_t age;			/* seconds since the newest answer of this state */
};

static struct remembered remember(struct store *store, struct slice name)
{
	struct remembered m = { 0 };
	uint32_t expires;

	m.any = recipient_record_get(store, name, &m.record, &expires) == STORE_OK;
	m.age = age(wall_now(), m.record.last);
	return m;
}

static bool is_known(const struct remembered *m, nanoseconds within)
{
	return m->any && m->record.state == STATE_KNOWN && m->age < in_seconds(within);
}

/* It does not answer, or is not to be asked: whom it knew lately, or whom its copy knows, exists. */
static enum recipient_answer without_it(const struct recipient_conf *conf, const struct recipient_source *s,
	struct slice canonical, const struct remembered *m, const char *why, const char **reason, struct arena *a)
{
	const char *name = s->directory->name;

	if (is_known(m, conf->stale_for)) {
		*reason = arena_printf(a, "The directory %s knew the recipient %u s ago and did not answer now: %s.", name,
			m->age, why);
		return RECIPIENT_EXISTS;
	}
	if (s->file && list_file_contains_address(s->file, canonical)) {
		*reason = arena_printf(a, "The recipient is in the copy of the directory %s, which did not answer: %s.",
			name, why);
		return RECIPIENT_EXISTS;
	}
	*reason = arena_printf(a, "The directory %s did not answer: %s.", name, why);
	return RECIPIENT_CANNOT_TELL;
}

/* What the cache says. false: nothing that counts now. */
static bool is_remembered(const struct recipient_conf *conf, const struct recipient_source *s, struct slice canonical,
	const struct remembered *m, enum recipient_answer *answer, const char **reason, struct arena *a)
{
	bool known = is_known(m, conf->positive_ttl);

	if (!known && (!m->any || m->record.state != STATE_GONE || m->age >= in_seconds(conf->negative_ttl) ||
	    flip_alarm(flip_window_of(canonical))))
		return false;
	*answer = known ? RECIPIENT_EXISTS : RECIPIENT_NO_SUCH_USER;
	*reason = arena_printf(a, known ? "The directory %s knew the recipient %u s ago." :
		"The directory %s did not know the recipient %u s ago.", s->directory->name, m->age);
	return true;
}

static ASYNC enum recipient_answer ask(const struct recipient_conf *conf, struct store *store,
	const struct recipient_source *s, struct slice name, struct slice canonical, const struct remembered *m,
	bool *unconfirmed, const char **reason, struct arena *a, deadline d)
{
	const char *why;
	enum recipient_answer answer = recipient_ask_directory(s->directory, canonical, a, &why, d);
	enum result worth = learn(conf, store, name, answer);

	if (answer != RECIPIENT_EXISTS && answer != RECIPIENT_NO_SUCH_USER)
		return without_it(conf, s, canonical, m, why, reason, a);
	*reason = arena_printf(a, "The directory %s %s the recipient.", s->directory->name,
		answer == RECIPIENT_EXISTS ? "knows" : "does not know");
	if (worth != RESULT_UNCONFIRMED)
		return answer;
	*unconfirmed = true;
	*reason = arena_printf(a, "The directory %s does not know the recipient, but knew him, or others that it does not "
		"know now: not believed until it says so again later.", s->directory->name);
	return RECIPIENT_CANNOT_TELL;
}

/* One question in flight an address: whoever comes meanwhile has the answer from the cache, or goes without. */
static ASYNC enum recipient_answer ask_once(const struct recipient_conf *conf, struct store *store,
	const struct recipient_source *s, struct slice name, struct slice canonical, struct remembered *m,
	bool *unconfirmed, const char **reason, struct arena *a, deadline d)
{
	struct slice directory = slice_of(arena_printf(a, "directory %s", s->directory->name));
	struct recipient_turn *turn;
	enum recipient_answer answer;

	switch (recipient_turn_take(directory, canonical, QUESTIONS_MOST, &turn, d)) {
	case TURN_OURS:
		answer = ask(conf, store, s, name, canonical, m, unconfirmed, reason, a, d);
		recipient_turn_end(turn);
		return answer;
	case TURN_ASKED:
		*m = remember(store, name);
		if (is_remembered(conf, s, canonical, m, &answer, reason, a))
			return answer;
		return without_it(conf, s, canonical, m, "it has just been asked in vain", reason, a);
	case TURN_NONE:
		break;
	}
	return without_it(conf, s, canonical, m, "too many questions wait for it", reason, a);
}

enum recipient_answer recipient_directory_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient_source *s, const struct recipient *r, bool harvester, bool *unconfirmed,
	const char **reason, struct arena *a, deadline d)
{
	struct slice name = recipient_directory_record(a, s->directory, r->canonical);
	struct remembered m = remember(store, name);
	enum recipient_answer answer;

	if (is_remembered(conf, s, r->canonical, &m, &answer, reason, a)) {
		if (answer == RECIPIENT_EXISTS && !is_known(&m, conf->fresh) && !harvester)
			refresh_start(conf, store, s->directory, name, r->canonical);
		return answer;
	}
	if (harvester)
		return without_it(conf, s, r->canonical, &m, "the client looks like a harvester and is not to ask it",
			reason, a);
	return ask_once(conf, store, s, name, r->canonical, &m, unconfirmed, reason, a, d);
}
