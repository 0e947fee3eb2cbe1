/*
 * A whole dialogue with a filter that says whatever it likes: the input is all it ever says, cut at 0xff octets into
 * pieces that are sent one after the other. Beyond not crashing and not hanging: a message that is accepted has
 * changes that can stand in a header section; a filter that failed is closed, with a reason.
 */
#include "net/milter.h"

#include "base/log.h"
#include "run/loop.h"

#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int listener = -1;
static struct endpoint to;
static bool ended;
static uint64_t replaced;

static void set_up(void)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&to.address;

	clock_fake(NS_PER_SECOND, NS_PER_SECOND);
	loop_init();
	fiber_init(4, 256 * 1024);
	un->sun_family = AF_UNIX;	/* an abstract name: no file */
	snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "spurn-fuzz-milter-%d", (int)getpid());
	to.length = sizeof(*un);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	BUG_ON(listener < 0 || bind(listener, (struct sockaddr *)un, sizeof(*un)) < 0 || listen(listener, 4) < 0);
}

struct body {
	struct pieces pieces;
	int left;
};

static bool next(struct pieces *p, struct slice *piece)
{
	struct body *b = (struct body *)p;

	*piece = b->left-- > 0 ? SLICE("a line of the body\r\n") : SLICE_NULL;
	return true;
}

static bool replace(void *arg, struct slice piece)
{
	(void)arg;
	replaced += piece.n;
	return replaced < 100000;
}

static void check_change(const struct milter_change *c)
{
	struct slice v = c->value;

	BUG_ON(c->name.n == 0);
	for (size_t i = 0; i < v.n; i++) {
		BUG_ON(v.p[i] == '\0');
		if (v.p[i] == '\n')
			BUG_ON(i == 0 || v.p[i - 1] != '\r' || i + 1 == v.n || (v.p[i + 1] != ' ' && v.p[i + 1] != '\t'));
		if (v.p[i] == '\r')
			BUG_ON(i + 1 == v.n || v.p[i + 1] != '\n');
	}
}

ASYNC static bool ask(struct milter *m, struct arena *a, deadline d)
{
	static const struct milter_self self = { .hostname = "mx.example.org" };
	static const struct field fields[] = { { .name = SLICE("Subject"), .value = SLICE(" x\r\n\ty") } };
	static const struct field *list[] = { &fields[0] };
	struct client_facts client = { .helo = SLICE("client.example"), .ip = { { 1 } } };
	struct recipient second = { .for_backend = SLICE("b@example.org") };
	struct recipient first = { .next = &second, .for_backend = SLICE("a@example.org") };
	struct envelope e = { .recipients = &first, .recipient_count = 2 };
	struct body body = { .pieces = { next }, .left = 3 };
	struct milter_question q = { .self = &self, .client = &client, .envelope = &e, .fields = list, .field_count = 1,
		.body = &body.pieces, .replace = replace };
	struct milter_answer answer;
	const char *why = NULL;

	if (!milter_ask(m, &q, a, &answer, &why, d)) {
		BUG_ON(!why || stream_is_open(&m->stream));
		return false;
	}
	BUG_ON(answer.verdict != MILTER_ACCEPTS && (answer.changes || answer.body_replaced));
	BUG_ON(answer.refused_recipients > 2);
	for (const struct milter_change *c = answer.changes; c; c = c->next)
		check_change(c);
	return true;
}

ASYNC static void talk(void *arg)
{
	struct arena a = ARENA_INIT;
	deadline d = deadline_in(60 * NS_PER_SECOND);
	const char *why = NULL;
	struct milter m;

	(void)arg;
	replaced = 0;
	if (milter_open(&m, &to, true, &why, d)) {
		for (int i = 0; i < 3 && ask(&m, &a, d) && milter_is_reusable(&m); i++)
			;
		milter_quit(&m);
	} else {
		BUG_ON(!why || stream_is_open(&m.stream));
	}
	arena_drop(&a);
	ended = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice rest = slice_make((const char *)bytes, n);
	static struct fiber_job job;
	int peer;

	if (n > 65536)
		return 0;
	if (listener < 0)
		set_up();
	ended = false;
	fiber_start(&job, "fuzz", talk, NULL);
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	BUG_ON(peer < 0);
	while (rest.n > 0 && !ended) {
		struct slice piece = slice_split(&rest, '\xff');

		if (send(peer, piece.p, piece.n, MSG_NOSIGNAL) < 0)
			break;
		while (loop_turn(clock_now()))
			;
	}
	shutdown(peer, SHUT_WR);
	while (!ended)
		loop_turn(DEADLINE_NONE);
	close(peer);
	while (loop_turn(DEADLINE_NONE))
		;
	return 0;
}
