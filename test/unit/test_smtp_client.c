/*
 * The dialogue with a backend, against backends that play scripts: what is sent, in which order and
 * grouping, what is made of every kind of answer. Most of it runs again one byte at a time.
 */
#include "fake_backend.h"

#include "base/log.h"

#define HELLO ">220 mx.example.net ESMTP\r\n", "<EHLO gate.example.org\r\n"
#define PLAIN_EHLO ">250 mx.example.net\r\n"
#define PIPE_EHLO ">250-mx.example.net\r\n250 PIPELINING\r\n"
#define OUR_NAME "gate.example.org"

static struct fake backend;
static struct smtp_client c;
static struct arena arena;
static struct reply reply;
static const char *why;
static struct backend conf;
static struct backend_host host;
static struct fiber_job job;
static bool done;
static char certificate[100];

static int setup(void **state)
{
	fake_begin(state, &backend);
	memset(&c, 0, sizeof(c));
	c.stream.watch.fd = -1;
	conf = (struct backend){ .name = "test", .max_connections = 10, .forward_client = true };
	done = false;
	why = "";
	return 0;
}

static int teardown(void **state)
{
	int status;

	stream_limit_io(0);
	smtp_client_close(&c);
	status = fake_end(state, &backend);
	tls_context_unref(backend.tls);

	arena_drop(&arena);
	return status;
}

static void run_body(void *fn)
{
	(*(void (**)(void))fn)();
	done = true;
}

/* fn in a fiber, against this script. */
static void play(void (*fn)(void), const char *const *script)
{
	void (*body)(void) = fn;

	if (backend.fd <= 0)
		fake_open(&backend);
	backend.scripts[0] = script;
	fiber_start(&job, "test", run_body, &body);
	turns();
	assert_int_equal(fake_failures, 0);
	assert_true(done);
	done = false;
}

#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })

ASYNC static bool open_client(enum backend_protocol protocol, struct tls_context *tls)
{
	struct endpoint to = fake_endpoint(&backend);

	host = fake_host(&backend, protocol);
	if (tls)
		host.name = "mx.example.net";
	return smtp_client_open(&c, &conf, &host, &to, tls, OUR_NAME, &reply, &why,
		deadline_in(60 * NS_PER_SECOND));
}

ASYNC static bool answer(void)
{
	return smtp_client_reply(&c, &arena, &reply, &why, "test", deadline_in(60 * NS_PER_SECOND));
}

static bool why_is(const char *text)
{
	if (strncmp(why, text, strlen(text)) == 0)
		return true;
	print_error("why is \"%s\"\n", why);
	return false;
}

static struct recipient recipient(const char *address)
{
	return (struct recipient){ .for_backend = slice_of(address) };
}

/* ---- opening ---- */

static void opens(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	CHECK(c.capabilities == (CAP_PIPELINING | CAP_SIZE | CAP_8BITMIME | CAP_SMTPUTF8 | CAP_DSN | CAP_CHUNKING |
		CAP_ENHANCED | CAP_STARTTLS | CAP_XFORWARD | CAP_XCLIENT | CAP_PRDR));
	CHECK(c.size_limit == 10240000);
	CHECK(c.fresh && !c.broken && c.unread == 0);
	smtp_client_quit(&c);
}

static void test_greeting_and_capabilities(void **state)
{
	play(opens, SCRIPT(">220-mx.example.net ESMTP\r\n220-second\r\n220 third\r\n", "<EHLO gate.example.org\r\n",
		">250-mx.example.net hello SIZE 1\r\n250-pipelining\r\n250-Size 10240000\r\n250-8BitMime\r\n250-SMTPUTF8\r\n"
		"250-DSN\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-VRFY\r\n"
		"250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250-XCLIENT NAME ADDR\r\n250 PRDR\r\n",
		"<QUIT\r\n", "="));
}

static void opens_without_capabilities(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	CHECK(c.capabilities == 0);
	smtp_client_quit(&c);
}

static void test_helo_after_refused_ehlo(void **state)
{
	play(opens_without_capabilities, SCRIPT(HELLO, ">500-what\r\n500 PIPELINING\r\n",
		"<HELO gate.example.org\r\n", ">250-mx.example.net\r\n250 PIPELINING\r\n", "<QUIT\r\n", "="));
	play(opens_without_capabilities, SCRIPT(HELLO, ">502 5.5.1 no\r\n",
		"<HELO gate.example.org\r\n", ">250 mx.example.net\r\n", "<QUIT\r\n", "="));
}

static const char *expected_why;
static uint16_t expected_code;
static enum backend_protocol protocol;

static void fails_to_open(void)
{
	CHECK(!open_client(protocol, NULL));
	CHECK(why_is(expected_why));
	CHECK(c.broken);
	CHECK(reply.code == expected_code);
	smtp_client_close(&c);
}

#define refuses(code, text, ...) \
	do { \
		expected_why = text; \
		expected_code = code; \
		play(fails_to_open, SCRIPT(__VA_ARGS__)); \
	} while (0)

static void test_refusals_while_opening(void **state)
{
	protocol = BACKEND_SMTP;
	refuses(421, "greeting was 421", ">421 4.3.2 too busy\r\n", "=");
	refuses(554, "greeting was 554", ">554-go\r\n554 away\r\n", "=");
	refuses(421, "EHLO refused with 421", HELLO, ">421 no\r\n", "=");
	refuses(450, "EHLO refused with 450", HELLO, ">450 no\r\n", "=");
	refuses(501, "EHLO refused with 501", HELLO, ">500 no\r\n", "<HELO gate.example.org\r\n", ">501 no\r\n", "=");
	protocol = BACKEND_LMTP;
	refuses(500, "EHLO refused with 500", ">220 hi\r\n", "<LHLO gate.example.org\r\n", ">500 no\r\n", "=");
}

static void test_garbage_while_opening(void **state)
{
	protocol = BACKEND_SMTP;
	refuses(250, "malformed greeting", ">250 hello\r\n", "=");
	refuses(0, "malformed reply", ">hello\r\n", "=");
	refuses(0, "malformed reply", ">SSH-2.0-OpenSSH_9.2\r\n", "=");
	refuses(0, "malformed reply", ">354 go\r\n", "=");
	refuses(0, "malformed reply: bare", ">220 hello\n220 x\r\n", "=");
	refuses(0, "connection closed: greeting", "c");
	refuses(0, "connection closed: greeting", ">220-he", "c");
	refuses(0, "connection closed: greeting", ">220-hello\r\n", "c");
	refuses(0, "Connection reset by peer: greeting", "+", "r");
	refuses(0, "timeout: greeting", "=");
	refuses(0, "timeout: greeting", ">220-hello\r\n", "=");
	refuses(220, "timeout: reply to EHLO", HELLO, "=");
	refuses(220, "connection closed: reply to EHLO", HELLO, "c");
	refuses(220, "malformed reply", HELLO, ">250-a\r\n251 b\r\n", "=");
}

/* In one segment; what comes later cannot be told from an answer. */
static void test_speaking_before_ehlo_is_refused(void **state)
{
	protocol = BACKEND_SMTP;
	refuses(220, "malformed reply: more than was asked for", ">220 hi\r\n250 PIPELINING\r\n", "=");
	refuses(250, "malformed reply: more than was asked for", HELLO, ">250 hi\r\n250 ok\r\n", "=");
}

static void cannot_connect(void)
{
	struct endpoint to = fake_endpoint(&backend);

	host = fake_host(&backend, BACKEND_SMTP);
	fake_close(&backend);
	CHECK(!smtp_client_open(&c, &conf, &host, &to, NULL, OUR_NAME, &reply, &why, deadline_in(NS_PER_SECOND)));
	CHECK(why_is("connect: Connection refused"));
	CHECK(reply.code == 0);
}

static void test_no_connection(void **state)
{
	play(cannot_connect, SCRIPT("="));
}

/* ---- groups ---- */

static void sends_group(void)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com") };
	struct recipient one = recipient("one@example.net"), two = recipient("two@example.net");

	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue_mail(&c, &e, 0);
	smtp_client_queue_rcpt(&c, &one);
	smtp_client_queue_rcpt(&c, &two);
	smtp_client_queue(&c, "DATA");
	CHECK(c.unread == 4 && c.data == DATA_ASKED);
	CHECK(answer() && reply.code == 250 && enhanced_code_is(reply.enhanced, 2, 1, 0));
	CHECK_TEXT(reply.text, "ok");
	CHECK(answer() && reply.code == 550);
	CHECK_TEXT(reply.text, "no\nsuch");
	CHECK(answer() && reply.code == 252);
	CHECK(answer() && reply.code == 354 && c.data == DATA_OPEN && c.unread == 0);
	CHECK(c.errors == 1);
	stream_write(&c.stream, SLICE("x\r\n.\r\n"));
	smtp_client_expect(&c, 1);
	CHECK(answer() && reply.code == 250 && c.data == DATA_NONE);
	CHECK(c.errors == 0 && c.transactions == 1);
	smtp_client_queue(&c, "NOOP %d", 1);
	CHECK(answer() && reply.code == 250);
	smtp_client_quit(&c);
}

static void test_pipelining_sends_the_group_at_once(void **state)
{
	play(sends_group, SCRIPT(HELLO, PIPE_EHLO,
		"<MAIL FROM:<a@example.com>\r\nRCPT TO:<one@example.net>\r\nRCPT TO:<two@example.net>\r\nDATA\r\n", ".",
		">250 2.1.0 ok\r\n550-5.1.1 no\r\n550 5.1.1 such\r\n252 perhaps\r\n354 go\r\n",
		"<x\r\n.\r\n", ">250 2.0.0 done\r\n", "<NOOP 1\r\n", ">250 ok\r\n", "<QUIT\r\n", "="));
}

static void test_without_pipelining_one_after_the_other(void **state)
{
	play(sends_group, SCRIPT(HELLO, PLAIN_EHLO, "<MAIL FROM:<a@example.com>\r\n", ".", ">250 2.1.0 ok\r\n",
		"<RCPT TO:<one@example.net>\r\n", ".", ">550-5.1.1 no\r\n550 5.1.1 such\r\n",
		"<RCPT TO:<two@example.net>\r\n", ".", ">252 perhaps\r\n", "<DATA\r\n", ".", ">354 go\r\n",
		"<x\r\n.\r\n", ">250 2.0.0 done\r\n", "<NOOP 1\r\n", ">250 ok\r\n", "<QUIT\r\n", "="));
}

static void delivers_by_lmtp(void)
{
	struct envelope e = { .reverse_path = { .null = true } };
	struct recipient one = recipient("one@example.net"), two = recipient("two@example.net");

	CHECK(open_client(BACKEND_LMTP, NULL));
	CHECK(c.lmtp);
	smtp_client_queue_mail(&c, &e, 0);
	smtp_client_queue_rcpt(&c, &one);
	smtp_client_queue_rcpt(&c, &two);
	smtp_client_queue(&c, "DATA");
	for (int i = 0; i < 4; i++)
		CHECK(answer());
	stream_write(&c.stream, SLICE(".\r\n"));
	smtp_client_expect(&c, 2);
	CHECK(answer() && reply.code == 250);
	CHECK(answer() && reply.code == 452);
	CHECK(c.unread == 0 && !c.broken);
	smtp_client_quit(&c);
}

static const char *const lmtp_script[] = { ">220 lmtp\r\n", "<LHLO gate.example.org\r\n", PIPE_EHLO,
	"<MAIL FROM:<>\r\nRCPT TO:<one@example.net>\r\nRCPT TO:<two@example.net>\r\nDATA\r\n",
	">250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "<.\r\n", ">250 2.0.0 one\r\n", "+", ">452 4.2.2 two\r\n",
	"<QUIT\r\n", "=", NULL };

static void test_lmtp_replies_per_recipient(void **state)
{
	play(delivers_by_lmtp, lmtp_script);
}

static void test_lmtp_over_a_unix_socket(void **state)
{
	fake_open_unix(&backend);
	play(delivers_by_lmtp, lmtp_script);
}

/* ---- bad answers ---- */

static void asks_once(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "NOOP");
	CHECK(!answer());
	CHECK(why_is(expected_why));
	CHECK(c.broken);
	smtp_client_queue(&c, "NOOP");
	CHECK(!answer());
	smtp_client_quit(&c);
}

#define breaks(text, ...) \
	do { \
		expected_why = text; \
		play(asks_once, SCRIPT(HELLO, PIPE_EHLO, "<NOOP\r\n", __VA_ARGS__)); \
	} while (0)

static char long_text[6000], many_lines[600 * 8 + 1];

static void test_garbage_replies(void **state)
{
	static const char *const garbage[] = {
		">\r\n", ">25\r\n", ">2x0 ok\r\n", ">abc\r\n", ">250ok\r\n", "> 250 ok\r\n", ">250-a\r\n251 b\r\n",
		">250-a\r\n250+b\r\n", ">250-a\r\n\r\n", ">000 x\r\n", ">150 x\r\n", ">350 x\r\n", ">354 x\r\n", ">650 x\r\n",
		">999 x\r\n", ">2500 x\r\n", ">250 a\rb\r\n", ">250 a\n250 b\r\n", ">250 a\r\r\n", ">250-a\n250 b\r\n",
	};

	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
		breaks("malformed reply", garbage[i], "=");
	breaks("connection closed", "c");
	breaks("connection closed", ">250 o", "c");
	breaks("connection closed", ">250-ok\r\n", "c");
	breaks("connection closed", ">250 ok\n", "c");
	breaks("Connection reset", "r");
	breaks("timeout", "=");
	breaks("timeout", ">250-ok\r\n", "=");
	breaks("timeout", ">250 ok\r", "=");
}

static void test_endless_replies(void **state)
{
	memset(long_text, 'x', sizeof(long_text) - 1);
	memcpy(long_text, ">250 ", 5);
	breaks("malformed reply", long_text, "w");
	many_lines[0] = '>';
	for (size_t i = 1; i + 8 < sizeof(many_lines); i += 8)
		memcpy(many_lines + i, "250-ab\r\n", 9);
	breaks("malformed reply", many_lines, "w");
}

static void asks_nul(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "NOOP");
	stream_write(&fake_peers[0].stream, slice_make("250 a\0b\r\n", 9));
	stream_flush(&fake_peers[0].stream);
	CHECK(!answer());
	CHECK(why_is("malformed reply"));
	smtp_client_close(&c);
}

static void test_nul_in_a_reply(void **state)
{
	play(asks_nul, SCRIPT(HELLO, PIPE_EHLO, "w"));
}

static void asks_data(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "DATA");
	CHECK(!answer());
	CHECK(why_is("malformed reply: code does not fit"));
	smtp_client_close(&c);
}

static void test_data_answered_with_250(void **state)
{
	play(asks_data, SCRIPT(HELLO, PIPE_EHLO, "<DATA\r\n", ">250 ok\r\n", "="));
	play(asks_data, SCRIPT(HELLO, PIPE_EHLO, "<DATA\r\n", ">350 ok\r\n", "="));
}

static void data_refused(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "DATA");
	CHECK(answer() && reply.code == 554 && c.data == DATA_NONE && !c.broken);
	smtp_client_queue(&c, "RSET");
	CHECK(answer() && reply.code == 250);
	smtp_client_queue(&c, "DATA");
	CHECK(answer() && reply.code == 354);
	smtp_client_quit(&c);	/* in mid-message QUIT would become a part of it */
	CHECK(!stream_is_open(&c.stream));
}

static void test_no_quit_in_a_message(void **state)
{
	play(data_refused, SCRIPT(HELLO, PIPE_EHLO, "<DATA\r\n", ">554 5.5.1 no valid recipients\r\n", "<RSET\r\n",
		">250 ok\r\n", "<DATA\r\n", ">354 go\r\n", "="));
}

static void hears_too_much(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "NOOP");
	CHECK(answer() && reply.code == 250);	/* this one was ours */
	CHECK(c.broken);
	CHECK(!smtp_client_is_quiet(&c));
	smtp_client_queue(&c, "DATA");
	CHECK(c.data == DATA_NONE);
	CHECK(!answer());
	CHECK(why_is("malformed reply: more than was asked for"));
	smtp_client_close(&c);
}

static void test_a_second_reply_breaks_the_connection(void **state)
{
	play(hears_too_much, SCRIPT(HELLO, PIPE_EHLO, "<NOOP\r\n", ">250 ok\r\n250 and this\r\n", "="));
	play(hears_too_much, SCRIPT(HELLO, PIPE_EHLO, "<NOOP\r\n", ">250 ok\r\nx", "="));
}

static void waits_and_asks(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	CHECK(smtp_client_is_quiet(&c));
	wait_until("test", deadline_in(10 * NS_PER_SECOND));
	smtp_client_queue(&c, "NOOP");
	CHECK(c.broken && c.unread == 0);
	CHECK(!answer());
	CHECK(why_is(expected_why));
	smtp_client_close(&c);
}

static void test_a_backend_that_speaks_unasked(void **state)
{
	expected_why = "the backend spoke unasked";
	play(waits_and_asks, SCRIPT(HELLO, PIPE_EHLO, "+", ">250 ok\r\n", "="));
	play(waits_and_asks, SCRIPT(HELLO, PIPE_EHLO, "+", ">421 bye\r\n", "c"));
	expected_why = "closed by the backend between commands";
	play(waits_and_asks, SCRIPT(HELLO, PIPE_EHLO, "+", "c"));
	play(waits_and_asks, SCRIPT(HELLO, PIPE_EHLO, "+", "r"));
}

static void is_told_421(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "NOOP");
	smtp_client_queue(&c, "NOOP");
	CHECK(answer() && reply.code == 421);
	CHECK(c.broken);
	CHECK(!answer());
	CHECK(why_is("closed by the backend with 421"));
	smtp_client_close(&c);
}

static void test_421_is_an_answer_and_the_end(void **state)
{
	play(is_told_421, SCRIPT(HELLO, PIPE_EHLO, "<NOOP\r\nNOOP\r\n", ">421 4.4.2 timeout\r\n", "c"));
	play(is_told_421, SCRIPT(HELLO, PLAIN_EHLO, "<NOOP\r\n", ">421 4.4.2 timeout\r\n", "="));
}

/* The dialogue of a message, cut at every octet of what the backend says: never a success that was none. */
static void delivers_if_it_can(void)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com") };
	struct recipient one = recipient("one@example.net");
	bool ok = open_client(BACKEND_SMTP, NULL);

	if (ok) {
		smtp_client_queue_mail(&c, &e, 0);
		smtp_client_queue_rcpt(&c, &one);
		smtp_client_queue(&c, "DATA");
		ok = answer() && answer() && answer() && reply.code == 354;
	}
	if (ok) {
		stream_write(&c.stream, SLICE(".\r\n"));
		smtp_client_expect(&c, 1);
		ok = answer();
	}
	CHECK(ok == (expected_code == 250));
	CHECK(ok || c.broken);
	smtp_client_quit(&c);
}

static void test_drops_at_each_octet(void **state)
{
	static const char *const says[] = { ">220 hi\r\n", ">250-hi\r\n250 PIPELINING\r\n",
		">250 ok\r\n250 ok\r\n354 go\r\n", ">250 2.0.0 taken\r\n" };
	static const char *const asked[] = { "<EHLO gate.example.org\r\n",
		"<MAIL FROM:<a@example.com>\r\nRCPT TO:<one@example.net>\r\nDATA\r\n", "<.\r\n", "<QUIT\r\n" };

	for (size_t part = 0; part < 4; part++) {
		for (size_t n = 1; n < strlen(says[part]); n++) {
			const char *script[12] = { 0 };
			char cut[80];
			size_t steps = 0;

			for (size_t i = 0; i < part; i++) {
				script[steps++] = says[i];
				script[steps++] = asked[i];
			}
			snprintf(cut, sizeof(cut), "%.*s", (int)n, says[part]);
			script[steps++] = cut;
			script[steps++] = n % 2 ? "c" : "r";
			expected_code = 0;
			play(delivers_if_it_can, script);
		}
	}
	expected_code = 250;
	play(delivers_if_it_can, SCRIPT(says[0], asked[0], says[1], asked[1], says[2], asked[2], says[3], asked[3], "="));
}

static struct fiber_job victim;

static void victim_run(void *arg)
{
	(void)arg;
	CHECK(open_client(BACKEND_SMTP, NULL));
	smtp_client_queue(&c, "NOOP");
	CHECK(!answer());
	CHECK(why_is("cancelled"));
}

static void cancels(void)
{
	fiber_start(&victim, "victim", victim_run, NULL);
	wait_until("test", deadline_in(NS_PER_SECOND));
	fiber_job_cancel(&victim);
	wait_until("test", deadline_in(NS_PER_SECOND));
	CHECK(!c.broken && c.unread == 1);	/* the reply is still owed, and comes */
	CHECK(answer() && reply.code == 250);
	smtp_client_quit(&c);
}

static void test_cancelled_but_in_step(void **state)
{
	play(cancels, SCRIPT(HELLO, PIPE_EHLO, "<NOOP\r\n", "+", ">250 ok\r\n", "<QUIT\r\n", "="));
}

/* ---- MAIL and RCPT ---- */

static void sends_parameters(void)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com"), .eight_bit_mime = true,
		.smtputf8 = true, .ret = 'H', .envid = SLICE("QQ314159"), .prdr = true };
	struct recipient r = recipient("one@example.net");

	CHECK(open_client(BACKEND_SMTP, NULL));
	r.notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	r.orcpt = SLICE("rfc822;one+40example.net");
	smtp_client_queue_mail(&c, &e, 12345);
	smtp_client_queue_rcpt(&c, &r);
	r.notify = NOTIFY_NEVER;
	r.orcpt = SLICE_NULL;
	smtp_client_queue_rcpt(&c, &r);
	r.notify = NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY;
	smtp_client_queue_rcpt(&c, &r);
	e = (struct envelope){ .reverse_path = { .null = true }, .ret = 'F' };
	smtp_client_queue_mail(&c, &e, 0);
	for (int i = 0; i < 5; i++)
		CHECK(answer());
	smtp_client_quit(&c);
}

#define FIVE_OK ">250 1\r\n250 2\r\n250 3\r\n250 4\r\n250 5\r\n"

static void test_parameters_only_where_offered(void **state)
{
	play(sends_parameters, SCRIPT(HELLO,
		">250-hi\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 PRDR\r\n",
		"<MAIL FROM:<a@example.com> SIZE=12345 BODY=8BITMIME SMTPUTF8 PRDR RET=HDRS ENVID=QQ314159\r\n",
		"<RCPT TO:<one@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;one+40example.net\r\n",
		"<RCPT TO:<one@example.net> NOTIFY=NEVER\r\n",
		"<RCPT TO:<one@example.net> NOTIFY=SUCCESS,FAILURE,DELAY\r\n",
		"<MAIL FROM:<> PRDR RET=FULL\r\n", FIVE_OK, "<QUIT\r\n", "="));
	play(sends_parameters, SCRIPT(HELLO, PIPE_EHLO, "<MAIL FROM:<a@example.com>\r\n",
		"<RCPT TO:<one@example.net>\r\nRCPT TO:<one@example.net>\r\nRCPT TO:<one@example.net>\r\nMAIL FROM:<>\r\n",
		FIVE_OK, "<QUIT\r\n", "="));
}

static void would_inject(void)
{
	struct recipient r = recipient("one@example.net>\r\nDATA\r\n");
	struct recipient nul = { .for_backend = slice_make("a\0b", 3) };

	CHECK(open_client(BACKEND_SMTP, NULL));
	assert_aborts(smtp_client_queue_rcpt(&c, &r));
	assert_aborts(smtp_client_queue_rcpt(&c, &nul));
	assert_aborts(smtp_client_queue(&c, "VRFY %s", "a\nb"));
	assert_aborts(answer());	/* nothing is owed */
	smtp_client_queue(&c, "DATA");
	assert_aborts(smtp_client_queue(&c, "RSET"));
	CHECK(answer() && reply.code == 354);
	assert_aborts(smtp_client_queue(&c, "RSET"));
	smtp_client_close(&c);
}

static void test_our_own_mistakes_abort(void **state)
{
	play(would_inject, SCRIPT(HELLO, PIPE_EHLO, "<DATA\r\n", ">354 go\r\n", "="));
}

/* ---- who the client is ---- */

static struct client_facts client;

static void client_is(const char *ip, const char *name, const char *helo)
{
	memset(&client, 0, sizeof(client));
	ip_parse(&client.ip, slice_of(ip));
	client.port = 4711;
	client.esmtp = true;
	client.name = name;
	client.helo = slice_of(helo);
}

ASYNC static bool present(void)
{
	return smtp_client_present(&c, &conf, &client, "REF0000001", OUR_NAME, &why, deadline_in(30 * NS_PER_SECOND));
}

#define XFORWARD_EHLO ">250-hi\r\n250-PIPELINING\r\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n"

static void presents_twice(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", "client.example.com", "cl+ient=x y\xc3\xa9");
	CHECK(present());
	smtp_client_queue(&c, "NOOP");
	CHECK(c.unread == 2 && c.skip == 1);
	CHECK(answer());
	CHECK_TEXT(reply.text, "noop");
	client_is("2001:db8::1", NULL, "");
	client.esmtp = false;
	client.port = 0;
	CHECK(present());
	smtp_client_queue(&c, "NOOP");
	CHECK(answer());
	CHECK_TEXT(reply.text, "noop");
	CHECK(c.unread == 0 && c.skip == 0);
	smtp_client_quit(&c);
}

static void test_xforward_travels_with_the_next_command(void **state)
{
	play(presents_twice, SCRIPT(HELLO, XFORWARD_EHLO,
		"<XFORWARD NAME=client.example.com ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=cl+2Bient+3Dx+20y+C3+A9"
		" IDENT=REF0000001 SOURCE=REMOTE\r\nNOOP\r\n", ".", ">250 ok\r\n250 noop\r\n",
		"<XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=[UNAVAILABLE] PROTO=SMTP HELO=[UNAVAILABLE]"
		" IDENT=REF0000001 SOURCE=REMOTE\r\nNOOP\r\n", ">250 ok\r\n250 noop\r\n", "<QUIT\r\n", "="));
}

static void test_xforward_without_pipelining(void **state)
{
	play(presents_twice, SCRIPT(HELLO, ">250-hi\r\n250 XFORWARD NAME ADDR\r\n",
		"<XFORWARD NAME=client.example.com ADDR=192.0.2.1\r\n", ".", ">250 ok\r\n", "<NOOP\r\n", ">250 noop\r\n",
		"<XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1\r\n", ".", ">250 ok\r\n", "<NOOP\r\n", ">250 noop\r\n",
		"<QUIT\r\n", "="));
}

static void test_xforward_declined_is_not_asked_again(void **state)
{
	play(presents_twice, SCRIPT(HELLO, ">250-hi\r\n250-PIPELINING\r\n250 XFORWARD ADDR\r\n",
		"<XFORWARD ADDR=192.0.2.1\r\nNOOP\r\n", ">501 5.5.4 bad\r\n250 noop\r\n",
		"<NOOP\r\n", ".", ">250 noop\r\n", "<QUIT\r\n", "="));
}

static void test_not_presented_unless_wanted(void **state)
{
	conf.forward_client = false;
	play(opens_without_capabilities, SCRIPT(HELLO, PLAIN_EHLO, "<QUIT\r\n", "="));
}

static char helo[260], name[256], wide[256];

static void presents_at_length(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", name, helo);
	CHECK(present());
	CHECK(c.skip == 2);
	smtp_client_queue(&c, "NOOP");
	CHECK(answer());
	CHECK_TEXT(reply.text, "noop");
	memset(helo, 'h', 256);		/* longer than an attribute may be */
	memset(wide, '\xe9', 255);	/* 765 octets when encoded */
	client_is("192.0.2.1", wide, helo);
	CHECK(present());
	CHECK(c.skip == 1);
	smtp_client_queue(&c, "NOOP");
	CHECK(answer());
	smtp_client_quit(&c);
}

static void test_xforward_over_several_lines(void **state)
{
	static char first[600], second[600];

	memset(helo, 0, sizeof(helo));
	memset(helo, 'h', 250);
	memset(name, 'n', 240);
	snprintf(first, sizeof(first), "<XFORWARD NAME=%s ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP\r\n", name);
	snprintf(second, sizeof(second), "<XFORWARD HELO=%s IDENT=REF0000001 SOURCE=REMOTE\r\nNOOP\r\n", helo);
	play(presents_at_length, SCRIPT(HELLO, XFORWARD_EHLO, first, second, ">250 ok\r\n250 ok\r\n250 noop\r\n",
		"<XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=[UNAVAILABLE]"
		" IDENT=REF0000001 SOURCE=REMOTE\r\nNOOP\r\n", ">250 ok\r\n250 noop\r\n", "<QUIT\r\n", "="));
}

static void presents_in_vain(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", NULL, "x");
	CHECK(present());
	smtp_client_queue(&c, "NOOP");
	CHECK(!answer());
	CHECK(why_is(expected_why));
	smtp_client_close(&c);
}

static void test_xforward_and_the_end(void **state)
{
	expected_why = "closed by the backend with 421";
	play(presents_in_vain, SCRIPT(HELLO, XFORWARD_EHLO, "<XFORWARD", ">421 bye\r\n", "w"));
	expected_why = "connection closed: reply to XFORWARD";
	play(presents_in_vain, SCRIPT(HELLO, XFORWARD_EHLO, "<XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4711 "
		"PROTO=ESMTP HELO=x IDENT=REF0000001 SOURCE=REMOTE\r\nNOOP\r\n", "c"));
	expected_why = "malformed reply";
	play(presents_in_vain, SCRIPT(HELLO, XFORWARD_EHLO, "<XFORWARD", ">354 go\r\n", "w"));
}

static void presents_by_xclient(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", "client.example.com", "client.example.com");
	CHECK(present());
	CHECK(c.unread == 0);
	CHECK(c.capabilities & CAP_SIZE);
	CHECK(present());		/* the same one again: nothing to say */
	client_is("2001:db8::2", NULL, "two words");
	CHECK(present());
	smtp_client_quit(&c);
}

#define XCLIENT_EHLO ">250-hi\r\n250 XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT LOGIN\r\n"

static void test_xclient(void **state)
{
	play(presents_by_xclient, SCRIPT(HELLO, XCLIENT_EHLO,
		"<XCLIENT NAME=client.example.com ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=client.example.com\r\n", ".",
		">220 again\r\n", "<EHLO client.example.com\r\n", ">250-hi\r\n250-SIZE 100\r\n250 XCLIENT NAME ADDR\r\n",
		"<XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::2\r\n", ">220 again\r\n",
		"<EHLO gate.example.org\r\n", PLAIN_EHLO, "<QUIT\r\n", "="));
}

static void xclient_is_declined(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", "client.example.com", "client.example.com");
	CHECK(present());
	CHECK(!c.broken);
	CHECK(present());
	smtp_client_quit(&c);
}

static void test_xclient_declined(void **state)
{
	play(xclient_is_declined, SCRIPT(HELLO, XCLIENT_EHLO, "<XCLIENT NAME=client.example.com ADDR=192.0.2.1 PORT=4711"
		" PROTO=ESMTP HELO=client.example.com\r\n", ">550 5.7.0 no\r\n", "<QUIT\r\n", "="));
	/* The client's name is not taken: ours is. */
	play(xclient_is_declined, SCRIPT(HELLO, ">250-hi\r\n250 XCLIENT ADDR\r\n", "<XCLIENT ADDR=192.0.2.1\r\n",
		">220 again\r\n", "<EHLO client.example.com\r\n", ">501 no such name\r\n", "<EHLO gate.example.org\r\n",
		PLAIN_EHLO, "<QUIT\r\n", "="));
}

static void xclient_fails(void)
{
	CHECK(open_client(BACKEND_SMTP, NULL));
	client_is("192.0.2.1", "client.example.com", "client.example.com");
	CHECK(!present());
	CHECK(why_is(expected_why));
	CHECK(c.broken);
	smtp_client_close(&c);
}

static void test_xclient_fails(void **state)
{
	expected_why = "closed by the backend with 421";
	play(xclient_fails, SCRIPT(HELLO, XCLIENT_EHLO, "<XCLIENT", ">421 no\r\n", "w"));
	expected_why = "connection closed: reply to EHLO";
	play(xclient_fails, SCRIPT(HELLO, ">250-hi\r\n250 XCLIENT ADDR\r\n", "<XCLIENT ADDR=192.0.2.1\r\n",
		">220 again\r\n", "<EHLO client.example.com\r\n", "c"));
	expected_why = "EHLO refused with 550";
	play(xclient_fails, SCRIPT(HELLO, ">250-hi\r\n250 XCLIENT ADDR\r\n", "<XCLIENT ADDR=192.0.2.1\r\n",
		">220 again\r\n", "<EHLO client.example.com\r\n", ">550 no\r\n", "<EHLO gate.example.org\r\n", ">550 no\r\n",
		"<HELO gate.example.org\r\n", ">550 no\r\n", "="));
}

/* ---- TLS ---- */

static struct tls_context *tls;

static void tls_setup(enum backend_tls mode, const char *ca_file)
{
	const char *reason = "";

	conf.tls = mode;
	backend.tls = tls_server_context(&arena, certificate, certificate, &reason);
	assert_non_null(backend.tls);
	tls = tls_client_context(&arena, mode == BACKEND_TLS_VERIFY, ca_file, &reason);
	assert_non_null(tls);
}

static void opens_tls(void)
{
	CHECK(open_client(BACKEND_SMTP, tls));
	CHECK(c.stream.tls);
	CHECK(c.capabilities == CAP_PIPELINING);	/* what was said in plaintext is forgotten */
	smtp_client_queue(&c, "NOOP");
	CHECK(answer() && reply.code == 250);
	CHECK(smtp_client_is_quiet(&c));
	smtp_client_quit(&c);
}

static void test_tls(void **state)
{
	const char *const script[] = { HELLO, ">250-hi\r\n250-SIZE 10\r\n250 STARTTLS\r\n", "<STARTTLS\r\n",
		">220 go\r\n", "t", "<EHLO gate.example.org\r\n", PIPE_EHLO, "<NOOP\r\n", ">250 ok\r\n", "<QUIT\r\n", "=", NULL };

	tls_setup(BACKEND_TLS_VERIFY, certificate);
	play(opens_tls, script);
	tls_context_unref(tls);
	tls_context_unref(backend.tls);
	tls_setup(BACKEND_TLS_OPPORTUNISTIC, NULL);
	play(opens_tls, script);
	tls_context_unref(tls);
}

static void opens_plain(void)
{
	CHECK(open_client(BACKEND_SMTP, tls));
	CHECK(!c.stream.tls);
	smtp_client_quit(&c);
}

static void fails_tls(void)
{
	CHECK(!open_client(BACKEND_SMTP, tls));
	CHECK(why_is(expected_why));
	CHECK(c.broken);
	CHECK(c.tls_failed == (strncmp(why, "TLS:", 4) == 0));
	smtp_client_close(&c);
}

#define OFFER HELLO, ">250-hi\r\n250 STARTTLS\r\n", "<STARTTLS\r\n"

static void test_tls_opportunistic(void **state)
{
	tls_setup(BACKEND_TLS_OPPORTUNISTIC, NULL);
	play(opens_plain, SCRIPT(HELLO, PLAIN_EHLO, "<QUIT\r\n", "="));
	play(opens_plain, SCRIPT(OFFER, ">454 4.7.0 not now\r\n", "<QUIT\r\n", "="));
	expected_why = "TLS: ";
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\n", "+", ">this is no TLS\r\n", "w"));
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\n", "c"));
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\n", "w"));
	expected_why = "STARTTLS refused with 421";
	play(fails_tls, SCRIPT(OFFER, ">421 bye\r\n", "c"));
	tls_context_unref(tls);
}

static void test_tls_verified(void **state)
{
	tls_setup(BACKEND_TLS_VERIFY, certificate);
	expected_why = "STARTTLS is not offered";
	play(fails_tls, SCRIPT(HELLO, PLAIN_EHLO, "="));
	expected_why = "STARTTLS refused with 454";
	play(fails_tls, SCRIPT(OFFER, ">454 4.7.0 not now\r\n", "="));
	tls_context_unref(tls);
	tls_context_unref(backend.tls);
	tls_setup(BACKEND_TLS_VERIFY, NULL);	/* nobody vouches for this certificate */
	expected_why = "TLS: ";
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\n", "t", "w"));
	tls_context_unref(tls);
}

static void test_plaintext_behind_starttls(void **state)
{
	tls_setup(BACKEND_TLS_OPPORTUNISTIC, NULL);
	expected_why = "plaintext after the reply to STARTTLS";
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\n250 PIPELINING\r\n", "w"));
	play(fails_tls, SCRIPT(OFFER, ">220 go\r\nx", "w"));
	tls_context_unref(tls);
}

static int certificate_make(void **state)
{
	(void)state;
	fake_certificate(certificate, sizeof(certificate));
	return 0;
}

static int certificate_remove(void **state)
{
	(void)state;
	unlink(certificate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(test_greeting_and_capabilities),
		both(test_helo_after_refused_ehlo),
		both(test_refusals_while_opening),
		both(test_garbage_while_opening),
		{ "speaking before EHLO", test_speaking_before_ehlo_is_refused, setup, teardown, NULL },
		both(test_no_connection),
		both(test_pipelining_sends_the_group_at_once),
		both(test_without_pipelining_one_after_the_other),
		both(test_lmtp_replies_per_recipient),
		both(test_lmtp_over_a_unix_socket),
		both(test_garbage_replies),
		{ "endless replies", test_endless_replies, setup, teardown, NULL },
		{ "NUL in a reply", test_nul_in_a_reply, setup, teardown, NULL },
		both(test_data_answered_with_250),
		both(test_no_quit_in_a_message),
		{ "a second reply", test_a_second_reply_breaks_the_connection, setup, teardown, NULL },
		both(test_a_backend_that_speaks_unasked),
		both(test_421_is_an_answer_and_the_end),
		both(test_drops_at_each_octet),
		both(test_cancelled_but_in_step),
		both(test_parameters_only_where_offered),
		{ "our own mistakes", test_our_own_mistakes_abort, setup, teardown, NULL },
		both(test_xforward_travels_with_the_next_command),
		both(test_xforward_without_pipelining),
		both(test_xforward_declined_is_not_asked_again),
		both(test_not_presented_unless_wanted),
		both(test_xforward_over_several_lines),
		both(test_xforward_and_the_end),
		both(test_xclient),
		both(test_xclient_declined),
		both(test_xclient_fails),
		both(test_tls),
		both(test_tls_opportunistic),
		both(test_tls_verified),
		{ "plaintext behind STARTTLS", test_plaintext_behind_starttls, setup, teardown, NULL },
	};

	return cmocka_run_group_tests(tests, certificate_make, certificate_remove);
}
