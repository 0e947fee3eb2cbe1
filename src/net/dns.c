/*
 * DNS questions: who asks, who waits for the same, and for how long.
 *
 * The life of a question. The name becomes octets in lower case, or cannot exist. Zone files answer first; an alias
 * that leads out of them goes on with its target. Then the question joins one that is under way for the same name
 * and type, or starts: on the scheduler's stack (libunbound's frames are large), where an answer in the cache comes
 * back at once. Else the fiber waits with a label and its own deadline, in the ring of the question's askers; the
 * answer is read once, into the arena of the first, and copied for the others.
 *
 * When the last asker has given up, the question is left running. libunbound could not stop it (ub_cancel() merely
 * forgets the callback), and so its answer, late as it is, warms the cache, and whoever asks again in the meantime, a
 * sender's retry on another connection say, finds it half done. What it costs is its place among QUESTIONS_MAX; past
 * those a question is trouble at once.
 *
 * There is no cache of ours. A question that libunbound's cache can answer costs 1.8 us there and 1 us here
 * (test_dns_unbound measures the sum), a mail asks some twenty, and a second cache would need the first one's care
 * with TTLs, size and DNSSEC status.
 *
 * A context cannot be reconfigured, so dns_reload() opens another, unless only zone files changed, and asks the
 * questions under way again there: nobody who waits notices.
 *
 * Rejected: a fiber per question (a stack for each of twenty waits of nothing), one resolver process for all
 * workers (a hop more per question, and one more thing to die), giving joined askers one deadline.
 */
#include "net/dns.h"

#include "base/log.h"
#include "base/table.h"
#include "net/dns_unbound.h"
#include "net/dns_zone.h"

#include <stdlib.h>

#define QUESTIONS_MAX 10000	/* under way; libunbound holds 12 KiB for each */
#define ALIASES_MAX 16		/* in a row, in zone files */
#define TIMEOUT_DEFAULT (8 * NS_PER_SECOND)
#define WHY_MAX 300

struct dns {
	struct arena arena;		/* of `network` */
	struct slice network;		/* what the context was opened with, as text */
	struct dns_zones *zones;
	struct dns_unbound *unbound;	/* NULL: neither recursion nor forwarders nor stubs */
	nanoseconds timeout;
	struct table questions;
	dns_source *source;
	void *source_arg;
	struct dns_stats stats;
};

/* Under way: in libunbound, or with a source that answers later. Outlives those who ask, hence malloc. */
struct question {
	struct table_link link;
	struct dns *dns;
	struct ring askers;
	enum dns_type type;
	struct dns_name name;		/* lower case */
	bool launching, ended;		/* ended within its own launch */
	struct timer due;		/* a source's answer */
	struct arena arena;
	struct dns_answer answer;
};

/* What a fiber waits for: all its questions. */
struct asking {
	struct event done;
	size_t left;
	bool waiting;
};

/* One question of one fiber; on its stack or in its arena, so it must be out of the ring before that goes. */
struct asker {
	struct ring link;
	struct asking *asking;
	struct arena *arena;
	struct dns_answer *out;
	uint32_t ttl;			/* of the aliases that led here: no answer holds longer */
	bool answered;
};

const char *dns_status_name(enum dns_status s)
{
	static const char *const names[] = { "found", "no data", "NXDOMAIN", "trouble" };

	return names[s];
}

const struct dns_stats *dns_stats(const struct dns *d) { return &d->stats; }

/* ---- answers ---- */

static struct dns_answer trouble(const char *why)
{
	return (struct dns_answer){ .status = DNS_TROUBLE, .why = why };
}

static void answer_copy(struct arena *a, struct dns_answer *out, const struct dns_answer *from)
{
	*out = *from;
	if (from->why)
		out->why = slice_cstr(a, slice_of(from->why));
	if (from->count == 0)
		return;
	out->records = arena_array(a, struct dns_record, from->count);
	memcpy(out->records, from->records, from->count * sizeof(*out->records));
	for (size_t i = 0; i < out->count; i++)
		if (out->records[i].text.p)
			out->records[i].text = slice_copy(a, out->records[i].text);
}

static void answer_count(struct dns *d, const struct dns_answer *answer)
{
	if (answer->status == DNS_TROUBLE)
		d->stats.trouble++;
	else
		d->stats.answered++;
}

/* held: the arena the answer lies in. */
static void asker_answer(struct dns *d, struct asker *asker, const struct dns_answer *answer,
	const struct arena *held)
{
	if (held == asker->arena)
		*asker->out = *answer;
	else
		answer_copy(asker->arena, asker->out, answer);
	if (asker->ttl < asker->out->ttl)
		asker->out->ttl = asker->ttl;
	asker->out->cached = !asker->asking->waiting;
	asker->answered = true;
	answer_count(d, answer);
	ring_remove(&asker->link);
	if (--asker->asking->left == 0)
		event_set(&asker->asking->done);
}

static void answer_read(struct dns_answer *out, struct arena *a, const struct question *q,
	const struct unbound_reply *r)
{
	struct dns_reply reply;
	const char *why;

	if (r->bogus)
		*out = trouble(arena_printf(a, "bogus: %.*s", WHY_MAX, r->bogus));
	else if (r->rcode != 0)
		*out = trouble(dns_rcode_name((unsigned)r->rcode));
	else if (!dns_packet_parse(&reply, a, r->packet, &q->name, q->type, &why))
		*out = trouble(why);
	else if (reply.truncated)
		*out = trouble("answer over 64 KiB");
	else if (reply.rcode != DNS_NOERROR && reply.rcode != DNS_NAMEERROR)
		*out = trouble(dns_rcode_name(reply.rcode));
	else
		*out = (struct dns_answer){ .secure = r->secure, .ttl = reply.ttl,
			.records = reply.records, .count = reply.count,
			.status = reply.rcode == DNS_NAMEERROR ? DNS_NXDOMAIN :
				reply.count > 0 ? DNS_FOUND : DNS_NODATA };
}

/* ---- questions under way ---- */

struct question_key {
	const struct dns_name *name;
	enum dns_type type;
};

static bool question_match(const struct table_link *link, const void *key)
{
	const struct question *q = container_of(link, struct question, link);
	const struct question_key *k = key;

	return q->type == k->type && slice_eq(dns_name_slice(&q->name), dns_name_slice(k->name));
}

static uint64_t question_hash(const struct dns_name *name, enum dns_type type)
{
	return hash_bytes(name->wire, name->n) + (uint64_t)type * UINT64_C(0x9e3779b97f4a7c15);
}

static struct question *question_find(const struct dns *d, const struct dns_name *name, enum dns_type type)
{
	struct question_key key = { name, type };
	struct table_link *link = table_find(&d->questions, question_hash(name, type), question_match, &key);

	return link ? container_of(link, struct question, link) : NULL;
}

static struct question *question_new(struct dns *d, const struct dns_name *name, enum dns_type type)
{
	struct question *q = d->questions.count < QUESTIONS_MAX ? malloc(sizeof(*q)) : NULL;

	if (!q)
		return NULL;
	q->dns = d;
	ring_init(&q->askers);
	q->type = type;
	q->name.n = name->n;
	memcpy(q->name.wire, name->wire, name->n);
	q->launching = q->ended = false;
	q->due = (struct timer){ .fn = NULL };
	q->arena = ARENA_INIT;
	table_add(&d->questions, &q->link, question_hash(name, type));
	return q;
}

static void question_free(struct question *q)
{
	timer_clear(&q->due);
	arena_drop(&q->arena);
	free(q);
}

/* All who wait get the answer; the question is gone. */
static void question_end(struct question *q, const struct dns_answer *answer, const struct arena *held)
{
	while (!ring_empty(&q->askers))
		asker_answer(q->dns, container_of(q->askers.next, struct asker, link), answer, held);
	table_remove(&q->dns->questions, &q->link);
	q->ended = true;
	if (!q->launching)
		question_free(q);
}

static void question_heard(void *arg, const struct unbound_reply *r)
{
	struct question *q = arg;
	struct dns_answer answer = { .status = DNS_TROUBLE };
	struct arena *a = NULL;

	if (!ring_empty(&q->askers)) {		/* else it is libunbound's cache alone that learns it */
		a = container_of(q->askers.next, struct asker, link)->arena;
		answer_read(&answer, a, q, r);
	}
	question_end(q, &answer, a);
}

static void question_due(struct timer *t)
{
	struct question *q = container_of(t, struct question, due);

	question_end(q, &q->answer, &q->arena);
}

/* True: the source answers, now or later. */
static bool source_launch(struct question *q)
{
	struct dns *d = q->dns;
	char text[DNS_TEXT_MAX];
	nanoseconds delay = 0;
	size_t n;

	if (!d->source)
		return false;
	n = dns_name_text(&q->name, text);
	q->answer = (struct dns_answer){ .status = DNS_TROUBLE };
	if (!d->source(d->source_arg, &q->arena, slice_make(text, n), q->type, &q->answer, &delay))
		return false;
	if (q->answer.status == DNS_TROUBLE && !q->answer.why)
		q->answer.why = "no answer";
	q->due.fn = question_due;
	if (delay > 0)
		timer_set(&q->due, deadline_in(delay));
	else
		question_end(q, &q->answer, &q->arena);
	return true;
}

/* On the scheduler's stack. */
static void question_launch(void *arg)
{
	struct question *q = arg;
	struct dns *d = q->dns;
	struct dns_answer answer;

	q->launching = true;
	if (!source_launch(q) &&
	    (!d->unbound || !dns_unbound_ask(d->unbound, &q->name, q->type, question_heard, q))) {
		answer = trouble(d->unbound ? "the resolver takes no questions" : "no resolver is configured");
		question_end(q, &answer, NULL);
	}
	q->launching = false;
	if (q->ended)
		question_free(q);
}

/* ---- asking ---- */

/* Goes through aliases in zone files. True: answered; else *name is what to ask the network. */
static bool zones_answer(const struct dns *d, struct asker *asker, struct dns_name *name, enum dns_type type,
	struct dns_answer *answer)
{
	struct dns_name alias;

	for (int i = 0; i <= ALIASES_MAX; i++) {
		enum dns_zone_result r = dns_zone_ask(d->zones, asker->arena, name, type, answer, &alias);

		if (r != ZONE_ALIAS)
			return r == ZONE_ANSWERED;
		if (answer->ttl < asker->ttl)
			asker->ttl = answer->ttl;
		*name = alias;
	}
	*answer = trouble("too many CNAMEs");
	return true;
}

static void ask_one(struct dns *d, struct asker *asker, struct slice text, enum dns_type type)
{
	struct dns_answer answer = { .status = DNS_NXDOMAIN };
	struct dns_name name;
	struct question *q;

	d->stats.questions++;
	if (!dns_name_parse(&name, text)) {
		asker_answer(d, asker, &answer, asker->arena);
		return;
	}
	dns_name_lower(&name);
	if (zones_answer(d, asker, &name, type, &answer)) {
		asker_answer(d, asker, &answer, asker->arena);
		return;
	}
	q = question_find(d, &name, type);
	if (q) {
		d->stats.joined++;
		ring_add_last(&q->askers, &asker->link);
		return;
	}
	q = question_new(d, &name, type);
	if (!q) {
		answer = trouble("too many questions under way");
		asker_answer(d, asker, &answer, asker->arena);
		return;
	}
	ring_add_last(&q->askers, &asker->link);
	fiber_hoist(question_launch, q);
}

void dns_prefetch(struct dns *d, struct slice text, enum dns_type type)
{
	struct arena scratch = ARENA_INIT;
	struct asker nobody = { .arena = &scratch, .ttl = UINT32_MAX };
	struct dns_answer answer;
	struct dns_name name;
	struct question *q = NULL;

	if (dns_name_parse(&name, text)) {
		dns_name_lower(&name);
		if (!zones_answer(d, &nobody, &name, type, &answer) && !question_find(d, &name, type))
			q = question_new(d, &name, type);
	}
	arena_drop(&scratch);
	if (!q)
		return;
	d->stats.questions++;
	fiber_hoist(question_launch, q);
}

static void asker_init(struct asker *asker, struct asking *asking, struct arena *a, struct dns_answer *out)
{
	*asker = (struct asker){ .asking = asking, .arena = a, .out = out, .ttl = UINT32_MAX };
	ring_init(&asker->link);
	asking->left++;
}

/* Who is not answered by now has an answer of his own. While an asker is in a ring, d lives. */
static void askers_give_up(struct dns *d, struct asker *askers, size_t count, enum wait_result result)
{
	for (size_t i = 0; i < count; i++) {
		if (askers[i].answered)
			continue;
		ring_remove(&askers[i].link);
		*askers[i].out = trouble(result == WAIT_CANCELLED ? "cancelled" : "timeout");
		d->stats.trouble++;
		d->stats.timeouts += result == WAIT_TIMEOUT;
	}
}

static ASYNC void askers_wait(struct dns *d, struct asking *asking, struct asker *askers, size_t count,
	const char *label, deadline until)
{
	enum wait_result result;

	asking->waiting = true;
	result = wait_event(&asking->done, label, deadline_min(until, deadline_in(d->timeout)));
	if (asking->left > 0)
		askers_give_up(d, askers, count, result);
}

/* "dns TXT _dmarc.example.net (+2)", cut to fit, odd octets replaced. */
static void label_write(char *out, size_t size, struct slice name, enum dns_type type, size_t others)
{
	int n = snprintf(out, size, "dns %s ", dns_type_name(type));

	name = slice_head(name, size - (size_t)n - 16);
	for (size_t i = 0; i < name.n; i++)
		out[n++] = name.p[i] > ' ' && name.p[i] < 0x7f ? name.p[i] : '?';
	if (others)
		n += snprintf(out + n, size - (size_t)n, " (+%zu)", others < 100000 ? others : 99999);
	out[n] = '\0';
}

void dns_ask(struct dns *d, struct arena *a, struct slice name, enum dns_type type,
	struct dns_answer *out, deadline until)
{
	struct asking asking = { .left = 0 };
	struct asker asker;
	char label[120];

	event_init(&asking.done);
	asker_init(&asker, &asking, a, out);
	if (deadline_passed(until)) {
		askers_give_up(d, &asker, 1, WAIT_TIMEOUT);
		return;
	}
	ask_one(d, &asker, name, type);
	if (asking.left == 0)
		return;
	label_write(label, sizeof(label), name, type, 0);
	askers_wait(d, &asking, &asker, 1, label, until);
}

void dns_ask_all(struct dns *d, struct arena *a, struct dns_question *questions, size_t count,
	deadline until)
{
	struct asker *askers = arena_array(a, struct asker, count);
	struct asking asking = { .left = 0 };
	char label[120];
	size_t first = 0;

	event_init(&asking.done);
	for (size_t i = 0; i < count; i++)
		asker_init(&askers[i], &asking, a, &questions[i].answer);
	if (deadline_passed(until)) {
		askers_give_up(d, askers, count, WAIT_TIMEOUT);
		return;
	}
	for (size_t i = 0; i < count; i++)
		ask_one(d, &askers[i], questions[i].name, questions[i].type);
	if (asking.left == 0)
		return;
	while (first + 1 < count && askers[first].answered)
		first++;
	label_write(label, sizeof(label), questions[first].name, questions[first].type, asking.left - 1);
	askers_wait(d, &asking, askers, count, label, until);
}

void dns_addresses(struct dns *d, struct arena *a, struct slice name, struct dns_answer *out, deadline until)
{
	struct dns_question q[2] = { { .name = name, .type = DNS_A }, { .name = name, .type = DNS_AAAA } };
	const struct dns_answer *v4 = &q[0].answer, *v6 = &q[1].answer;

	dns_ask_all(d, a, q, 2, until);
	*out = (struct dns_answer){ .cached = v4->cached && v6->cached, .secure = v4->secure && v6->secure,
		.ttl = v4->ttl < v6->ttl ? v4->ttl : v6->ttl, .count = v4->count + v6->count };
	if (out->count > 0) {
		out->records = arena_array(a, struct dns_record, out->count);
		if (v4->records)
			memcpy(out->records, v4->records, v4->count * sizeof(*out->records));
		if (v6->records)
			memcpy(out->records + v4->count, v6->records, v6->count * sizeof(*out->records));
	} else if (v4->status == DNS_NXDOMAIN || v6->status == DNS_NXDOMAIN) {
		out->status = DNS_NXDOMAIN;	/* of the name, whatever the type (RFC 8020) */
	} else if (v4->status == DNS_TROUBLE || v6->status == DNS_TROUBLE) {
		*out = trouble(v4->status == DNS_TROUBLE ? v4->why : v6->why);
	} else {
		out->status = DNS_NODATA;
	}
}

void dns_set_source(struct dns *d, dns_source *source, void *arg)
{
	d->source = source;
	d->source_arg = arg;
}

/* ---- opening, changing, closing ---- */

/* All that the context depends on, as text: equal text, equal context. */
static struct slice network_text(struct arena *a, const struct dns_conf *conf)
{
	struct str s = STR_IN(a);

	str_printf(&s, "%d %zu %s\n", conf->recurse, conf->cache_size,
		conf->trust_anchor_file ? conf->trust_anchor_file : "(built in)");
	for (size_t i = 0; i < conf->forward_count; i++)
		str_printf(&s, "forward %s\n", conf->forward[i]);
	for (size_t i = 0; i < conf->stub_count; i++)
		str_printf(&s, "stub %s %s %u\n", conf->stubs[i].zone, conf->stubs[i].address, conf->stubs[i].port);
	return str_slice(&s);
}

static bool is_offline(const struct dns_conf *conf)
{
	return !conf->recurse && conf->forward_count == 0 && conf->stub_count == 0;
}

/* A change of configuration, or the first one. */
struct change {
	struct dns *dns;
	struct arena *arena;
	const struct dns_conf *conf;
	const char **why;
	bool good;
};

/* The questions under way are asked anew. A source's are none of the network's. */
static void questions_relaunch(struct dns *d)
{
	struct table_link *link, *next;
	size_t at = 0;

	for (link = table_each(&d->questions, &at, NULL); link; link = next) {
		struct question *q = container_of(link, struct question, link);

		next = table_each(&d->questions, &at, link);	/* q may go */
		if (!timer_is_set(&q->due))
			question_launch(q);
	}
}

static void network_swap(struct dns *d, struct dns_unbound *fresh, const struct dns_conf *conf)
{
	struct dns_unbound *old = d->unbound;

	arena_drop(&d->arena);
	d->network = network_text(&d->arena, conf);
	d->unbound = fresh;
	dns_unbound_close(old);
	questions_relaunch(d);
}

static void change_apply(void *arg)
{
	struct change *c = arg;
	struct dns *d = c->dns;
	struct dns_zones *zones = dns_zone_open(c->arena, c->conf->zone_files, c->conf->zone_file_count, c->why);
	bool same = slice_eq(network_text(c->arena, c->conf), d->network);
	struct dns_unbound *fresh = NULL;

	if (!zones)
		return;
	if (!same && !is_offline(c->conf)) {
		fresh = dns_unbound_open(c->arena, c->conf, c->why);
		if (!fresh) {
			dns_zone_close(zones);
			return;
		}
	}
	dns_zone_close(d->zones);
	d->zones = zones;
	d->timeout = c->conf->timeout > 0 ? c->conf->timeout : TIMEOUT_DEFAULT;
	if (!same)
		network_swap(d, fresh, c->conf);
	c->good = true;
}

bool dns_reload(struct dns *d, struct arena *a, const struct dns_conf *conf, const char **why)
{
	struct change c = { d, a, conf, why, false };

	fiber_hoist(change_apply, &c);
	return c.good;
}

struct dns *dns_open(struct arena *a, const struct dns_conf *conf, const char **why)
{
	struct dns *d = calloc(1, sizeof(*d));

	if (!d) {
		*why = "out of memory";
		return NULL;
	}
	if (dns_reload(d, a, conf, why))
		return d;
	free(d);
	return NULL;
}

static void close_all(void *arg)
{
	struct dns *d = arg;
	struct dns_answer closed = trouble("the resolver is closed");
	struct table_link *link, *next;
	size_t at = 0;

	dns_unbound_close(d->unbound);
	for (link = table_each(&d->questions, &at, NULL); link; link = next) {
		next = table_each(&d->questions, &at, link);
		question_end(container_of(link, struct question, link), &closed, NULL);
	}
	dns_zone_close(d->zones);
	table_drop(&d->questions);
	arena_drop(&d->arena);
	free(d);
}

void dns_close(struct dns *d)
{
	if (d)
		fiber_hoist(close_all, d);
}
