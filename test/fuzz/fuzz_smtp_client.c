/*
 * A whole dialogue with a backend that says whatever it likes: the input is all it ever says, cut at NUL
 * bytes into pieces that are sent one after the other. The first byte chooses what the client does.
 * Beyond not crashing and not hanging: a success is one with every reply read and nothing left over, a
 * failure leaves the client broken with a reason, and a connection that may go back to a pool
 * is one at rest.
 */
#include "net/smtp_client.h"

#include "base/log.h"
#include "run/loop.h"

#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#define OUR_NAME "gate.example.org"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int listener = -1;
static struct endpoint to;
static struct smtp_client client;
static unsigned choice;
static bool ended;

static void set_up(void)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&to.address;

	clock_fake(NS_PER_SECOND, NS_PER_SECOND);
	loop_init();
	fiber_init(4, 256 * 1024);
	un->sun_family = AF_UNIX;	/* an abstract name: no file */
	snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "spurn-fuzz-%d", (int)getpid());
	to.length = sizeof(*un);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	BUG_ON(listener < 0 || bind(listener, (struct sockaddr *)un, sizeof(*un)) < 0 || listen(listener, 4) < 0);
}

ASYNC static bool answered(struct arena *a, struct reply *reply, deadline d)
{
	const char *why = NULL;
	bool ok = smtp_client_reply(&client, a, reply, &why, "fuzz", d);

	BUG_ON(!ok && (!why || !client.broken));
	BUG_ON(ok && (reply->code < 200 || reply->code > 599));
	return ok;
}

/* A transaction of one or two recipients. True: the message has been answered for. */
ASYNC static bool transact(struct arena *a, deadline d)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com"), .eight_bit_mime = true, .ret = 'F' };
	struct recipient r = { .for_backend = SLICE("one@example.net"), .notify = NOTIFY_NEVER };
	unsigned recipients = 1 + (choice >> 1 & 1), accepted = 0;
	struct reply reply;

	smtp_client_queue_mail(&client, &e, 100);
	for (unsigned i = 0; i < recipients; i++)
		smtp_client_queue_rcpt(&client, &r);
	smtp_client_queue(&client, "DATA");
	if (!answered(a, &reply, d))
		return false;
	for (unsigned i = 0; i < recipients && !client.broken; i++) {
		if (!answered(a, &reply, d))
			return false;
		accepted += reply_is_positive(&reply);
	}
	if (!answered(a, &reply, d) || client.data != DATA_OPEN || accepted == 0)
		return false;
	BUG_ON(reply.code != 354 || client.unread > 0);
	stream_write(&client.stream, SLICE("x\r\n.\r\n"));
	smtp_client_expect(&client, client.lmtp ? accepted : 1);
	while (client.unread > 0)
		if (!answered(a, &reply, d))
			return false;
	return true;
}

ASYNC static void talk(void *arg)
{
	static const struct backend_host hosts[] = { { .protocol = BACKEND_SMTP, .url = "smtp" },
		{ .protocol = BACKEND_LMTP, .url = "lmtp" } };
	struct backend b = { .forward_client = true };
	struct client_facts facts = { .port = 25, .helo = SLICE("client.example.com"), .ip = { { 1 } } };
	struct arena a = ARENA_INIT;
	deadline d = deadline_in(60 * NS_PER_SECOND);
	const char *why = NULL;
	struct reply reply;
	bool ok = smtp_client_open(&client, &b, &hosts[choice & 1], &to, NULL, OUR_NAME, &reply, &why, d);

	BUG_ON(!ok && (!why || !client.broken));
	BUG_ON(ok && (client.unread > 0 || client.broken || !reply_is_positive(&reply)));
	ok = ok && smtp_client_present(&client, &b, &facts, "REF", OUR_NAME, &why, d);
	while (ok && !client.broken && client.transactions < 3)
		ok = transact(&a, d);
	BUG_ON(ok && (client.unread > 0 || client.data != DATA_NONE));
	if (choice & 4)
		smtp_client_quit(&client);
	smtp_client_close(&client);
	arena_drop(&a);
	ended = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice rest = slice_make((const char *)bytes + 1, n > 0 ? n - 1 : 0);
	static struct fiber_job job;
	int peer;

	if (n == 0 || n > 65536)
		return 0;
	if (listener < 0)
		set_up();
	choice = bytes[0];
	ended = false;
	fiber_start(&job, "fuzz", talk, NULL);
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	BUG_ON(peer < 0);
	while (rest.n > 0 && !ended) {
		struct slice piece = slice_split(&rest, '\0');

		if (send(peer, piece.p, piece.n, MSG_NOSIGNAL) < 0)
			break;
		while (loop_turn(clock_now()))
			;
	}
	if (choice & 8)		/* else it merely falls silent */
		shutdown(peer, SHUT_WR);
	while (!ended)
		loop_turn(DEADLINE_NONE);
	close(peer);
	while (loop_turn(DEADLINE_NONE))
		;
	return 0;
}
