/*
 * The truth of backends: a record in the store for each backend and domain, and the question that finds it out.
 *
 * The question is MAIL FROM:<> and RCPT on a kept connection, as a sender's would be, and then RSET. It is asked a
 * while after the first acceptance, not at once: who tries a configuration out should see his own commands. Only "no such
 * user" clears a backend and only a 2xx convicts it; anything else is asked again ten minutes later.
 */
#include "check/backend_truth.h"

#include "base/log.h"
#include "base/table.h"
#include "run/wait.h"

#include <stdlib.h>

#define FIRST_AFTER (60 * NS_PER_SECOND)
#define AGAIN_AFTER (600 * NS_PER_SECOND)	/* after a question without an answer */
#define QUESTION_BUDGET (30 * NS_PER_SECOND)
#define KEPT (90 * 86400)			/* seconds a record lives */
#define KNOWN_MOST 8192				/* backends and domains are configured: no stranger adds one */
#define RECORD_MAGIC 0xB7

/* One that this worker has heard of. */
struct subject {
	struct table_link link;
	const char *backend, *domain;
	bool accepts_all;		/* as read last */
	nanoseconds look_at;		/* when the store is looked at again */
	nanoseconds test_at;		/* when it may be asked; 0: not planned */
	bool testing;
};

static struct arena arena;
static struct table subjects;

/* ---- records ---- */

static struct store_key truth_key(struct store *store, const char *backend, const char *domain)
{
	struct slice parts[] = { SLICE("backend truth"), slice_of(backend), slice_of(domain) };

	return store_key(store, STORE_RECIPIENT, parts, 3);
}

bool truth_get(struct store *store, const char *backend, const char *domain, struct truth *out)
{
	struct store_value v;
	uint32_t words[3];

	if (!store)
		return false;

	struct store_key key = truth_key(store, backend, domain);

	if (store_get(store, STORE_RECIPIENT, &key, &v) != STORE_OK || v.length != 4 + sizeof(words) ||
	    v.bytes[0] != RECORD_MAGIC || v.bytes[1] > TRUTH_ACCEPTS_ALL)
		return false;
	memcpy(words, v.bytes + 4, sizeof(words));
	*out = (struct truth){ .state = v.bytes[1], .tested = words[0], .late = words[1], .last_late = words[2] };
	return true;
}

static void truth_put(struct store *store, const char *backend, const char *domain, const struct truth *t)
{
	struct store_value v = { .bytes = { RECORD_MAGIC, (uint8_t)t->state },
		.expires = (uint32_t)clock_wall_seconds() + KEPT };
	uint32_t words[3] = { (uint32_t)t->tested, t->late, (uint32_t)t->last_late };

	if (!store)
		return;

	struct store_key key = truth_key(store, backend, domain);

	memcpy(v.bytes + 4, words, sizeof(words));
	v.length = 4 + sizeof(words);
	store_put(store, STORE_RECIPIENT, &key, &v);
}

/* ---- subjects ---- */

struct subject_key {
	struct slice backend, domain;
};

static bool subject_match(const struct table_link *link, const void *key)
{
	const struct subject *s = container_of(link, const struct subject, link);
	const struct subject_key *k = key;

	return slice_eq(slice_of(s->backend), k->backend) && slice_eq(slice_of(s->domain), k->domain);
}

static struct subject *subject_of(const char *backend, const char *domain)
{
	struct subject_key key = { slice_of(backend), slice_of(domain) };
	uint64_t hash = hash_bytes(backend, key.backend.n) ^ hash_bytes(domain, key.domain.n);
	struct table_link *link = table_find(&subjects, hash, subject_match, &key);
	struct subject *s;

	if (link)
		return container_of(link, struct subject, link);
	if (subjects.count >= KNOWN_MOST)
		return NULL;
	s = arena_new(&arena, struct subject);
	s->backend = arena_copy(&arena, backend, key.backend.n);
	s->domain = arena_copy(&arena, domain, key.domain.n);
	table_add(&subjects, &s->link, hash);
	return s;
}

/* ---- the question ---- */

struct question {
	struct arena arena;
	struct subject *subject;
	struct store *store;
	struct pool *pool;
	struct backend backend;
	nanoseconds retest;
};

static struct backend backend_copy(struct arena *a, const struct backend *b)
{
	struct backend copy = *b;
	struct backend_host *hosts = arena_array(a, struct backend_host, b->host_count);

	for (size_t i = 0; i < b->host_count; i++) {
		const struct backend_host *h = &b->hosts[i];

		hosts[i] = (struct backend_host){ .protocol = h->protocol, .port = h->port,
			.url = h->url ? arena_copy(a, h->url, strlen(h->url)) : NULL,
			.name = h->name ? arena_copy(a, h->name, strlen(h->name)) : NULL,
			.path = h->path ? arena_copy(a, h->path, strlen(h->path)) : NULL };
	}
	copy.hosts = hosts;
	copy.name = arena_copy(a, b->name, strlen(b->name));
	copy.ca_file = b->ca_file ? arena_copy(a, b->ca_file, strlen(b->ca_file)) : NULL;
	return copy;
}

/* An address that nobody has. */
static struct recipient nobody(struct arena *a, const char *domain)
{
	uint64_t bits;

	random_bytes(&bits, sizeof(bits));
	return (struct recipient){ .for_backend = slice_of(arena_printf(a, "spurn-%016llx@%s", (unsigned long long)bits,
		domain)) };
}

/* What the backend says of somebody who does not exist. */
static ASYNC enum recipient_answer ask(struct question *q, struct smtp_client *c, struct reply *said, deadline d)
{
	const struct envelope null_sender = { .reverse_path = { .null = true } };
	struct recipient r = nobody(&q->arena, q->subject->domain);
	struct reply mail;
	const char *why;

	smtp_client_queue_mail(c, &null_sender, 0);
	smtp_client_queue_rcpt(c, &r);
	if (!smtp_client_reply(c, &q->arena, &mail, &why, "backend MAIL", d) || c->broken || !reply_is_positive(&mail) ||
	    !smtp_client_reply(c, &q->arena, said, &why, "backend RCPT", d))
		return RECIPIENT_CANNOT_TELL;
	return recipient_answer_of(said, said->enhanced.class != 0);
}

static void learn(struct question *q, enum recipient_answer answer, const struct reply *said)
{
	struct subject *s = q->subject;
	struct truth t = { 0 };
	bool before = truth_get(q->store, s->backend, s->domain, &t) && t.state == TRUTH_ACCEPTS_ALL;

	if (answer != RECIPIENT_EXISTS && answer != RECIPIENT_NO_SUCH_USER) {
		s->test_at = deadline_in(q->retest < AGAIN_AFTER ? q->retest : AGAIN_AFTER);
		return;
	}
	t.state = answer == RECIPIENT_EXISTS ? TRUTH_ACCEPTS_ALL : TRUTH_TELLS;
	t.tested = clock_wall_seconds();
	truth_put(q->store, s->backend, s->domain, &t);
	s->accepts_all = t.state == TRUTH_ACCEPTS_ALL;
	s->test_at = deadline_in(q->retest);
	if (s->accepts_all && !before)
		log_alert("backend %s accepts any address of %s (%u to a random one): it cannot tell who exists, and will "
			"bounce what it took; give the domain another source of recipients", s->backend, s->domain, said->code);
	else if (!s->accepts_all && before)
		log_alert("backend %s no longer accepts any address of %s", s->backend, s->domain);
}

static ASYNC void question_run(void *arg)
{
	struct question *q = arg;
	struct reply said = { 0 };
	const char *why;
	deadline d = deadline_in(QUESTION_BUDGET);
	enum recipient_answer answer = RECIPIENT_CANNOT_TELL;
	struct smtp_client *c = pool_take(q->pool, &q->arena, &q->backend, false, &said, &why, d);

	if (c) {
		answer = ask(q, c, &said, d);
		if (c->broken)
			pool_discard(q->pool, c, false);
		else
			pool_reset_and_give(q->pool, c);
	}
	learn(q, answer, &said);
	q->subject->testing = false;
	arena_drop(&q->arena);
	free(q);
}

static void question_start(struct subject *s, struct store *store, struct pool *pool, const struct backend *b,
	nanoseconds retest)
{
	struct question *q = calloc(1, sizeof(*q));

	BUG_ON(!q);
	q->subject = s;
	q->store = store;
	q->pool = pool;
	q->backend = backend_copy(&q->arena, b);
	q->retest = retest;
	s->testing = true;
	fiber_detach("accept-all question", question_run, q);
}

/* ---- what deliveries say ---- */

/* The store is looked at once a minute: another worker may have asked. */
static void subject_look(struct subject *s, struct store *store, nanoseconds retest)
{
	struct truth t = { 0 };
	time_t age;

	if (s->look_at != 0 && !deadline_passed(s->look_at))
		return;
	s->look_at = deadline_in(FIRST_AFTER);
	if (!truth_get(store, s->backend, s->domain, &t) || t.tested == 0)
		return;
	s->accepts_all = t.state == TRUTH_ACCEPTS_ALL;
	age = clock_wall_seconds() - t.tested;
	if (age >= 0 && age * NS_PER_SECOND < retest)
		s->test_at = deadline_in(retest - age * NS_PER_SECOND);
}

bool truth_accepted(struct store *store, struct pool *pool, const struct backend *b, const char *domain,
	nanoseconds retest)
{
	struct subject *s = subject_of(b->name, domain);

	if (!s || retest <= 0)
		return s && s->accepts_all;
	subject_look(s, store, retest);
	if (s->test_at == 0)
		s->test_at = deadline_in(retest < FIRST_AFTER ? retest : FIRST_AFTER);
	else if (!s->testing && deadline_passed(s->test_at))
		question_start(s, store, pool, b, retest);
	return s->accepts_all;
}

bool truth_refused_late(struct store *store, const struct backend *b, const char *domain, const struct reply *said)
{
	struct subject *s = subject_of(b->name, domain);
	struct truth t = { 0 };

	if (!s || recipient_answer_of(said, true) != RECIPIENT_NO_SUCH_USER)
		return false;
	truth_get(store, b->name, domain, &t);
	if (t.late++ == 0)
		log_alert("backend %s takes recipients of %s at RCPT and refuses them as unknown after the message (%u): its "
			"RCPT does not tell who exists", b->name, domain, said->code);
	t.last_late = clock_wall_seconds();
	truth_put(store, b->name, domain, &t);
	return true;
}

/* ---- for operators ---- */

void truth_each(struct store *store, void (*fn)(const char *backend, const char *domain, const struct truth *t, void *arg),
	void *arg)
{
	struct table_link *link = NULL;

	for (size_t at = 0; (link = table_each(&subjects, &at, link));) {
		const struct subject *s = container_of(link, const struct subject, link);
		struct truth t = { 0 };

		if (!truth_get(store, s->backend, s->domain, &t))
			t = (struct truth){ 0 };
		fn(s->backend, s->domain, &t, arg);
	}
}
