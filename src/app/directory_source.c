/*
 * One directory: its connections to the database, and what is known of its health.
 *
 * A connection serves one question at a time and is kept. One that turns out to be dead is replaced, once, by a fresh one
 * within the same question: databases close idle connections as they like. After a failure to connect, or a fresh connection that broke
 * at its first question, nobody tries again for 0.5 s, doubling to 30 s, and then one does: a wrong password repeated a hundred times a
 * second locks an account, and a dead server costs a question no time. Questions that fail together are one failure. All of this
 * stands under one lock, never held over a call that blocks.
 *
 * A name of the Internet has two forms. What is asked for is the canonical one (A-labels, RFC 5890); where the domain
 * has a U-label form, a directory may hold that: "absent" is said only when neither is there.
 */
#include "app/directory.h"

#include "base/log.h"
#include "wire/address.h"

#include <errno.h>
#include <fcntl.h>
#include <idn2.h>
#include <ldap.h>
#include <mysql.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKOFF_FIRST (500 * NS_PER_MS)
#define BACKOFF_MOST (30 * NS_PER_SECOND)
#define CANARY_EVERY (60 * NS_PER_SECOND)
#define LIST_BUDGET (600 * NS_PER_SECOND)

struct directory_source {
	const struct directory_conf *conf;
	const struct directory_driver *driver;
	struct directory_health *health, own_health;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	void *idle[64];
	unsigned idle_count, out;	/* out: with idle, at most conf->connections */
	unsigned failures;
	nanoseconds failed_at, retry_at, canary_at;
	bool canary_lost;
	char last_failure[200];
};

void directory_why(struct directory_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	/* Of a server: printable before it goes anywhere. */
	for (char *p = why->text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = *p == '\n' && !p[1] ? '\0' : '?';
}

void directory_libraries_init(void)
{
	int version = LDAP_VERSION3;

	setenv("LDAPNOINIT", "1", 1);
	/* The first call of all sets the library up, which is not safe among threads. */
	ldap_set_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version);
	mysql_library_init(0, NULL, NULL);
}

const struct directory_driver *directory_driver_of(const struct directory_conf *conf)
{
	static const struct directory_driver *const engines[] = { [SQL_POSTGRESQL] = &directory_postgresql,
		[SQL_MARIADB] = &directory_mariadb, [SQL_SQLITE] = &directory_sqlite };

	return conf->kind == DIRECTORY_LDAP ? &directory_ldap : engines[conf->engine];
}

struct directory_source *directory_source_new(struct arena *a, const struct directory_conf *conf,
	struct directory_health *health)
{
	struct directory_source *s = arena_new(a, struct directory_source);
	pthread_condattr_t clock;

	s->conf = conf;
	s->driver = directory_driver_of(conf);
	s->health = health ? health : &s->own_health;
	*s->health = (struct directory_health){ .kind = (uint8_t)conf->kind, .up = true };
	snprintf(s->health->name, sizeof(s->health->name), "%s", conf->name);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->freed, &clock);
	pthread_condattr_destroy(&clock);
	return s;
}

const struct directory_conf *directory_source_conf(const struct directory_source *s)
{
	return s->conf;
}

struct directory_health *directory_source_health(struct directory_source *s)
{
	return s->health;
}

/* ---- connections ---- */

/* The first line of the file; empty if there is none. false: *why. */
static bool read_password(const struct directory_conf *conf, char *out, size_t size, struct slice *password,
	struct directory_why *why)
{
	int fd = conf->password_file ? open(conf->password_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	ssize_t n = 0;
	struct slice text;

	if (conf->password_file) {
		n = fd < 0 ? -1 : read(fd, out, size);
		if (n < 0)
			directory_why(why, "%s: %s", conf->password_file, strerror(errno));
		if (fd >= 0)
			close(fd);
		if (n < 0)
			return false;
	}
	text = slice_make(out, (size_t)n);
	text = slice_split(&text, '\n');
	if (text.n > 0 && text.p[text.n - 1] == '\r')
		text.n--;
	*password = text;
	return true;
}

static void *connection_open(struct directory_source *s, deadline d, struct directory_why *why)
{
	char secret[1024];
	struct slice password;
	void *connection = NULL;

	if (read_password(s->conf, secret, sizeof(secret), &password, why))
		connection = s->driver->open(s->conf, password, d, why);
	explicit_bzero(secret, sizeof(secret));
	return connection;
}

/* A place, and a kept connection if there is one. false: none became free in time, or it is not tried now. */
static bool place_take(struct directory_source *s, void **connection, deadline d, bool *late, struct directory_why *why)
{
	struct timespec until = { .tv_sec = d / NS_PER_SECOND, .tv_nsec = d % NS_PER_SECOND };
	bool ok = true;

	*connection = NULL;
	pthread_mutex_lock(&s->lock);
	s->health->asked++;
	while (s->out >= s->conf->connections && ok)
		ok = pthread_cond_timedwait(&s->freed, &s->lock, &until) == 0;
	if (!ok) {
		directory_why(why, "no connection became free in time");
		*late = true;
	} else if (s->idle_count > 0) {
		*connection = s->idle[--s->idle_count];
	} else if (s->failures > 0 && clock_precise() < s->retry_at) {
		directory_why(why, "down: %s", s->last_failure);
		ok = false;
	} else if (s->failures > 0) {
		s->retry_at = d;	/* ours is the try */
	}
	s->out += ok;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static void place_free(struct directory_source *s, void *connection)
{
	pthread_mutex_lock(&s->lock);
	s->out--;
	if (connection && s->idle_count < s->conf->connections) {
		s->idle[s->idle_count++] = connection;
		connection = NULL;
	}
	pthread_cond_signal(&s->freed);
	pthread_mutex_unlock(&s->lock);
	if (connection)
		s->driver->close(connection);
}

/* How an opening went that was begun then, which decides when it is tried again. */
static void note_opening(struct directory_source *s, bool ok, nanoseconds began, const struct directory_why *why)
{
	bool first, back;

	pthread_mutex_lock(&s->lock);
	back = ok && s->failures > 0;
	first = !ok && s->failures == 0;
	s->health->opened += ok;
	if (ok) {
		s->failures = 0;
	} else if (first || began > s->failed_at) {
		unsigned shift = s->failures++;
		nanoseconds pause = shift > 6 ? BACKOFF_MOST : BACKOFF_FIRST << shift;

		s->failed_at = clock_precise();
		s->retry_at = s->failed_at + (pause < BACKOFF_MOST ? pause : BACKOFF_MOST);
		snprintf(s->last_failure, sizeof(s->last_failure), "%s", why->text);
	}
	pthread_mutex_unlock(&s->lock);
	if (first)
		log_alert("directory %s: %s; its addresses are unknown until it answers", s->conf->name, why->text);
	else if (back)
		log_alert("directory %s: connected again", s->conf->name);
}

/* ---- one question ---- */

/* On the connection at hand or a fresh one; NULL where it had to be closed. */
static enum directory_answer ask_on(struct directory_source *s, void **connection, const struct directory_key *key,
	deadline d, struct directory_why *why)
{
	for (;;) {
		nanoseconds began = clock_precise();
		bool fresh = !*connection;
		enum directory_answer answer = DIRECTORY_BROKEN;

		if (fresh)
			*connection = connection_open(s, d, why);
		if (*connection)
			answer = s->driver->ask(*connection, key, d, why);
		else if (clock_precise() >= d)
			answer = DIRECTORY_LATE;
		/* A connection that is there and slow says nothing about the next one. */
		if (fresh && (answer != DIRECTORY_LATE || !*connection))
			note_opening(s, answer != DIRECTORY_BROKEN && answer != DIRECTORY_LATE, began, why);
		if (answer != DIRECTORY_BROKEN && answer != DIRECTORY_LATE)
			return answer;
		if (*connection)
			s->driver->close(*connection);
		*connection = NULL;
		if (fresh || answer == DIRECTORY_LATE)
			return answer;
	}
}

/* The form in which people write it. false: there is no other. */
static bool u_label_form(struct arena *a, const struct directory_key *key, struct directory_key *out)
{
	char *domain = NULL;
	bool ok;

	if (slice_search(key->domain, SLICE("xn--")) < 0)
		return false;
	ok = idn2_to_unicode_8z8z(slice_cstr(a, key->domain), &domain, 0) == IDN2_OK &&
		!slice_eq(slice_of(domain), key->domain);
	if (ok)
		ok = directory_key_split(slice_of(arena_printf(a, "%.*s@%s", SLICE_ARG(key->local), domain)), out);
	idn2_free(domain);
	return ok;
}

/* "No" of a directory that denies what must be there is no answer. */
static enum directory_answer ask_canary(struct directory_source *s, void **connection, deadline d,
	struct directory_why *why)
{
	struct directory_key key;
	enum directory_answer answer;
	nanoseconds now = clock_precise();
	bool due, lost;

	pthread_mutex_lock(&s->lock);
	due = s->canary_at == 0 || now >= s->canary_at;
	pthread_mutex_unlock(&s->lock);
	if (!due || !directory_key_split(slice_of(s->conf->canary), &key))
		return DIRECTORY_ABSENT;
	answer = ask_on(s, connection, &key, d, why);
	if (answer == DIRECTORY_ABSENT) {
		directory_why(why, "it does not know its canary %s: has it lost its data, or we our right to read them?",
			s->conf->canary);
		answer = DIRECTORY_TROUBLE;
	}
	if (answer != DIRECTORY_FOUND && answer != DIRECTORY_TROUBLE)
		return answer;
	pthread_mutex_lock(&s->lock);
	lost = answer == DIRECTORY_TROUBLE && !s->canary_lost;
	s->canary_lost = answer == DIRECTORY_TROUBLE;
	if (!s->canary_lost)
		s->canary_at = now + CANARY_EVERY;
	pthread_mutex_unlock(&s->lock);
	if (lost)
		log_alert("directory %s: %s", s->conf->name, why->text);
	return answer == DIRECTORY_FOUND ? DIRECTORY_ABSENT : answer;
}

static enum directory_answer ask_forms(struct directory_source *s, void **connection, const struct directory_key *key,
	deadline d, struct directory_why *why)
{
	struct arena a = ARENA_INIT;
	struct directory_key other;
	enum directory_answer answer = ask_on(s, connection, key, d, why);

	if (answer == DIRECTORY_ABSENT && u_label_form(&a, key, &other))
		answer = ask_on(s, connection, &other, d, why);
	arena_drop(&a);
	if (answer == DIRECTORY_ABSENT && s->conf->canary)
		answer = ask_canary(s, connection, d, why);
	return answer;
}

static int64_t wall_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static void note_answer(struct directory_source *s, enum directory_answer answer, nanoseconds began,
	const struct directory_why *why)
{
	struct directory_health *h = s->health;

	pthread_mutex_lock(&s->lock);
	h->up = answer == DIRECTORY_FOUND || answer == DIRECTORY_ABSENT;
	if (h->up) {
		h->answered_at = wall_now();
		h->time_total += clock_precise() - began;
	} else {
		h->failed_at = wall_now();
		snprintf(h->last_error, sizeof(h->last_error), "%s", why->text);
	}
	h->found += answer == DIRECTORY_FOUND;
	h->absent += answer == DIRECTORY_ABSENT;
	h->trouble += !h->up;
	pthread_mutex_unlock(&s->lock);
}

enum directory_answer directory_source_ask(struct directory_source *s, struct slice address, bool *late,
	struct directory_why *why)
{
	nanoseconds began = clock_precise();
	deadline d = began + s->conf->timeout;
	enum directory_answer answer = DIRECTORY_BROKEN;
	struct directory_key key;
	void *connection;

	*late = false;
	directory_why(why, "no answer");
	if (!directory_key_split(address, &key))
		return DIRECTORY_ABSENT;
	if (place_take(s, &connection, d, late, why)) {
		answer = ask_forms(s, &connection, &key, d, why);
		*late = answer == DIRECTORY_LATE;
		place_free(s, connection);
	}
	note_answer(s, answer, began, why);
	return answer == DIRECTORY_FOUND || answer == DIRECTORY_ABSENT ? answer : DIRECTORY_TROUBLE;
}

bool directory_source_list(struct directory_source *s, struct directory_sink *sink, struct directory_why *why)
{
	deadline d = clock_precise() + LIST_BUDGET;
	void *connection = connection_open(s, clock_precise() + s->conf->timeout, why);
	bool ok;

	if (!connection)
		return false;
	ok = s->driver->list(connection, sink, d, why);
	s->driver->close(connection);
	return ok;
}
