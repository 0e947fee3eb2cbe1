/*
 * The socketmap server of the directory process: a thread per connection.
 *
 * OK (with the address as its value) and NOTFOUND are answers; all else is TEMP or TIMEOUT, never NOTFOUND: a Postfix that
 * reads us defers, too. A map that is not configured is PERM. A key without an address in it (Postfix asks for "@domain"
 * and bare names, too) is NOTFOUND without a question: a mailbox is found under its whole address or not at all.
 *
 * A connection that is silent for long, or speaks no socketmap, is closed. Other programs get at most half of the
 * places, so that they cannot keep the workers out.
 */
#include "app/directory.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MOST 1024
#define OTHERS_MOST 256
#define STACK (512u * 1024u)
#define SILENCE 300000		/* ms */
#define SEND_PATIENCE 10000

struct client {
	const struct directory_set *set;
	int fd;
	bool ours;
	unsigned place;
	size_t have;
	char in[SOCKETMAP_QUESTION_MAX + 16];
};

static struct {
	pthread_mutex_t lock;
	unsigned clients, others, busy;
	nanoseconds since[CLIENTS_MOST];	/* of the question in that place; 0: none */
	bool taken[CLIENTS_MOST];
	bool finish;
} served = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- bookkeeping ---- */

static bool client_enter(struct client *c)
{
	bool ok;

	pthread_mutex_lock(&served.lock);
	ok = served.clients < CLIENTS_MOST && (c->ours || served.others < OTHERS_MOST);
	if (ok) {
		served.clients++;
		served.others += !c->ours;
		while (served.taken[c->place])
			c->place++;
		served.taken[c->place] = true;
	}
	pthread_mutex_unlock(&served.lock);
	return ok;
}

static void client_leave(struct client *c)
{
	pthread_mutex_lock(&served.lock);
	served.clients--;
	served.others -= !c->ours;
	served.taken[c->place] = false;
	pthread_mutex_unlock(&served.lock);
}

static void client_busy(struct client *c, bool busy)
{
	pthread_mutex_lock(&served.lock);
	served.busy += busy ? 1 : -1u;
	served.since[c->place] = busy ? clock_precise() : 0;
	pthread_mutex_unlock(&served.lock);
}

unsigned directory_serve_busy(nanoseconds *oldest)
{
	unsigned busy;

	*oldest = 0;
	pthread_mutex_lock(&served.lock);
	busy = served.busy;
	for (unsigned i = 0; i < CLIENTS_MOST && busy; i++)
		if (served.since[i] && (*oldest == 0 || served.since[i] < *oldest))
			*oldest = served.since[i];
	pthread_mutex_unlock(&served.lock);
	return busy;
}

void directory_serve_finish(void)
{
	__atomic_store_n(&served.finish, true, __ATOMIC_RELEASE);
}

/* ---- questions ---- */

static struct directory_source *find(const struct directory_set *set, struct slice map)
{
	for (size_t i = 0; i < set->count; i++)
		if (slice_eq(slice_of(directory_source_conf(set->sources[i])->name), map))
			return set->sources[i];
	return NULL;
}

static void answer(struct client *c, struct slice question, struct str *out)
{
	struct slice map, key;
	const char *reason;
	struct directory_source *s;
	struct directory_why why = { "" };
	enum directory_answer said;
	bool late;

	if (!socketmap_question_parse(question, &map, &key, &reason)) {
		socketmap_reply_write(out, SOCKETMAP_PERM, slice_of(reason));
		return;
	}
	s = find(c->set, map);
	if (!s) {
		socketmap_reply_write(out, SOCKETMAP_PERM, SLICE("no directory of this name"));
		return;
	}
	if (slice_find(key, '\0') >= 0) {
		socketmap_reply_write(out, SOCKETMAP_PERM, SLICE("a key with NUL in it"));
		return;
	}
	client_busy(c, true);
	said = directory_source_ask(s, key, &late, &why);
	client_busy(c, false);
	if (said == DIRECTORY_FOUND)
		socketmap_reply_write(out, SOCKETMAP_FOUND, key);
	else if (said == DIRECTORY_ABSENT)
		socketmap_reply_write(out, SOCKETMAP_NOTFOUND, SLICE_NULL);
	else
		socketmap_reply_write(out, late ? SOCKETMAP_TIMEOUT : SOCKETMAP_TEMP, slice_of(why.text));
}

/* false: the connection ends. */
static bool send_all(int fd, struct slice bytes)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	while (bytes.n > 0) {
		ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);

		if (n > 0)
			bytes = slice_from(bytes, (size_t)n);
		else if (n < 0 && errno == EAGAIN && poll(&p, 1, SEND_PATIENCE) > 0)
			continue;
		else if (n >= 0 || errno != EINTR)
			return false;
	}
	return true;
}

static bool receive(struct client *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, SILENCE) <= 0)
		return false;
	n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, 0);
	if (n > 0)
		c->have += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* All whole questions in the buffer. false: the connection ends. */
static bool serve_input(struct client *c)
{
	struct arena a = ARENA_INIT;
	struct slice question;
	size_t used;
	const char *why;
	bool ok = true;

	for (;;) {
		struct str out = STR_IN(&a);
		enum netstring_parse state = netstring_read(slice_make(c->in, c->have), SOCKETMAP_QUESTION_MAX, &question,
			&used, &why);

		if (state != NETSTRING_DONE) {
			ok = ok && state == NETSTRING_MORE;
			break;
		}
		answer(c, question, &out);
		memmove(c->in, c->in + used, c->have - used);
		c->have -= used;
		ok = send_all(c->fd, str_slice(&out)) && !__atomic_load_n(&served.finish, __ATOMIC_ACQUIRE);
		if (!ok)
			break;
	}
	arena_drop(&a);
	return ok;
}

static void *serve(void *arg)
{
	struct client *c = arg;

	while (receive(c) && serve_input(c))
		;
	close(c->fd);
	client_leave(c);
	free(c);
	return NULL;
}

bool directory_serve(const struct directory_set *set, int fd, bool ours)
{
	struct client *c = calloc(1, sizeof(*c));
	pthread_attr_t attributes;
	pthread_t thread;
	bool ok;

	if (!c)
		arena_exhausted(sizeof(*c));
	*c = (struct client){ .set = set, .fd = fd, .ours = ours };
	if (!client_enter(c)) {
		log_limited(LOG_WARNING, "directory clients", "directories: too many connections, one is closed");
		close(fd);
		free(c);
		return false;
	}
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attributes, serve, c) == 0;
	pthread_attr_destroy(&attributes);
	if (ok)
		return true;
	client_leave(c);
	close(fd);
	free(c);
	return false;
}
