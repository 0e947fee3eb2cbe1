/*
 * The dialogue with a filter: stages, macros, changes, and every way in which a filter can fail. The filter is a fiber in
 * the same loop that answers each command from a table. All of it again one byte at a time.
 */
#include "fake_backend.h"

#include "net/milter.h"

#define PACKET(octets) slice_make(octets, sizeof(octets) - 1)
#define U32(n) (char)((n) >> 24 & 0xff), (char)((n) >> 16 & 0xff), (char)((n) >> 8 & 0xff), (char)((n) & 0xff)

static struct fake peer;		/* its acceptor and port; scripts are not used */
static struct fiber_job job;
static struct arena arena;
static struct str heard;		/* a line for each packet; NUL is shown as '|' */
static struct slice says[128];		/* octets in answer to a command; p NULL: CONTINUE */
static struct slice negotiation;	/* data of OPTNEG; p NULL: version 6, all actions, all steps */
static char leaves_at, body[8];		/* the command at which the filter closes; how a new body begins */
static bool silent_everywhere, may_replace, ok, done, reusable, no_room;
static size_t replaced;
static int questions;			/* on the same connection, as long as it can be used again */
static struct milter_answer answer;
static const char *why;
static struct slice message;

static int setup(void **state)
{
	fake_begin(state, &peer);
	memset(says, 0, sizeof(says));
	memset(&answer, 0, sizeof(answer));
	memset(body, 0, sizeof(body));
	heard = STR_IN(&arena);
	negotiation = SLICE_NULL;
	leaves_at = 0;
	silent_everywhere = ok = done = reusable = no_room = false;
	may_replace = true;
	replaced = 0;
	questions = 1;
	why = "";
	message = SLICE("first line\r\nsecond\r\n");
	return 0;
}

static int teardown(void **state)
{
	int status = fake_end(state, &peer);

	arena_drop(&arena);
	return status;
}

/* ---- the filter ---- */

static ASYNC bool take(struct stream *s, struct str *out, size_t n)
{
	out->n = 0;
	while (out->n < n) {
		struct slice in = slice_head(stream_input(s), n - out->n);

		str_add(out, in);
		stream_consume(s, in.n);
		if (in.n == 0 && (s->state != STREAM_OPEN || stream_read(s, "filter", DEADLINE_NONE) != WAIT_READY))
			return false;
	}
	return true;
}

static void note(char word, struct slice text)
{
	str_addc(&heard, word);
	for (size_t i = 0; i < text.n && word != 'O'; i++)
		str_addc(&heard, text.p[i] ? text.p[i] : '|');
	str_addc(&heard, '\n');
}

static void say(struct stream *s, char word, struct slice text)
{
	char head[5] = { U32(text.n + 1), word };

	stream_write(s, slice_make(head, 5));
	stream_write(s, text);
}

static void reply_to(struct stream *s, char word)
{
	static const char all[] = { U32(6), U32(0x1ff), U32(0) };

	if (says[(int)word].p)
		stream_write(s, says[(int)word]);
	else if (word == 'O')
		say(s, 'O', negotiation.p ? negotiation : slice_make(all, sizeof(all)));
	else if (!strchr("DAKQ", word) && !silent_everywhere)
		say(s, 'c', SLICE(""));
}

static ASYNC void filter(void *arg)
{
	struct fake_peer *p = arg;
	struct arena scratch = ARENA_INIT;
	struct str text = STR_IN(&scratch);

	while (take(&p->stream, &text, 5)) {
		const uint8_t *o = (const uint8_t *)text.p;
		size_t n = (size_t)o[0] << 24 | (size_t)o[1] << 16 | (size_t)o[2] << 8 | o[3];
		char word = text.p[4];

		CHECK(n >= 1 && n <= MILTER_CHUNK + 1);
		if (!take(&p->stream, &text, n - 1))
			break;
		note(word, str_slice(&text));
		reply_to(&p->stream, word);
		if (stream_drain(&p->stream, "filter", DEADLINE_NONE) != WAIT_READY || word == leaves_at)
			break;
	}
	arena_drop(&scratch);
	stream_close(&p->stream);
}

static void on_accept(struct acceptor *a, int fd, const struct ip *from, uint16_t port)
{
	struct fake_peer *p = &fake_peers[fake_peer_count++];

	(void)a;
	(void)from;
	(void)port;
	memset(p, 0, sizeof(*p));
	if (stream_open(&p->stream, fd, NULL, NULL))
		fiber_start(&p->job, "filter", filter, p);
}

/* ---- the question ---- */

struct whole {
	struct pieces pieces;
	struct slice left;
};

static bool next_piece(struct pieces *p, struct slice *piece)
{
	struct whole *w = container_of(p, struct whole, pieces);

	*piece = w->left;
	w->left = SLICE_NULL;
	return true;
}

static bool replace(void *arg, struct slice piece)
{
	(void)arg;
	for (size_t i = 0; i < piece.n; i++)
		if (replaced + i < sizeof(body) - 1)
			body[replaced + i] = piece.p[i];
	replaced += piece.n;
	return !no_room;
}

static ASYNC bool ask(struct milter *m, deadline d)
{
	static const struct milter_self self = { .hostname = "mx.example.org", .listener = "inbound", .address = "192.0.2.25" };
	static const struct field subject = { .name = SLICE("Subject"), .value = SLICE(" one\r\n\ttwo") };
	static const struct field bare = { .name = SLICE("X"), .value = SLICE("y") };
	static const struct field *fields[] = { &subject, &bare };
	struct client_facts client = { .helo = SLICE("client.example"), .port = 25, .name = "client.example" };
	struct recipient second = { .for_backend = SLICE("b@example.org") };
	struct recipient first = { .next = &second, .for_backend = SLICE("a@example.org") };
	struct envelope e = { .recipients = &first, .recipient_count = 2, .ref = "0REF", .message = { .size = 20 } };
	struct whole whole = { .pieces = { next_piece }, .left = message };
	struct milter_question q = { .self = &self, .client = &client, .envelope = &e, .reverse_path = SLICE("s@example.net"),
		.fields = fields, .field_count = 2, .body = &whole.pieces, .replace = may_replace ? replace : NULL };

	ip_parse(&client.ip, SLICE("192.0.2.1"));
	return milter_ask(m, &q, &arena, &answer, &why, d);
}

static ASYNC void converse(void *arg)
{
	struct endpoint to = fake_endpoint(&peer);
	deadline d = deadline_in(20 * NS_PER_SECOND);
	struct milter m;

	(void)arg;
	ok = milter_open(&m, &to, may_replace, &why, d);
	CHECK(ok || !stream_is_open(&m.stream));
	for (int i = 0; ok && i < questions; i++) {
		ok = ask(&m, d);
		CHECK(ok || !stream_is_open(&m.stream));
		if (ok && !(reusable = milter_is_reusable(&m)))
			break;
	}
	if (ok)
		milter_quit(&m);
	done = true;
}

static void play(void)
{
	fake_open(&peer);
	peer.acceptor.on_accept = on_accept;
	fiber_start(&job, "test", converse, NULL);
	turns();
	assert_int_equal(fake_failures, 0);
	assert_true(done);
}

static void expect_trouble(const char *text)
{
	assert_false(ok);
	assert_int_equal(answer.change_count, 0);
	if (strstr(why, text) == NULL)
		fail_msg("why is \"%s\", not \"%s\"", why, text);
}

static bool was_told(const char *text)
{
	return slice_search(str_slice(&heard), slice_of(text)) >= 0;
}

/* ---- stages ---- */

static void all_stages_in_their_order(void **state)
{
	(void)state;
	play();
	assert_true(ok && reusable && answer.verdict == MILTER_ACCEPTS);
	assert_true(was_told("O\nDCj|mx.example.org|{daemon_name}|inbound|{daemon_addr}|192.0.2.25|v|Spurn " SPURN_VERSION
		"|_|client.example [192.0.2.1]|{client_addr}|192.0.2.1|{client_name}|client.example|{client_port}|25|"
		"{client_ptr}|unknown|\nC"));
	assert_true(was_told("Cclient.example|4"));
	assert_true(was_told("192.0.2.1|\nHclient.example|\nDMi|0REF|{mail_addr}|s@example.net|{mail_host}|example.net|"
		"{mail_mailer}|smtp|\nM<s@example.net>|SIZE=20|\nDRi|0REF|{rcpt_addr}|a@example.org|{rcpt_host}|example.org|"
		"{rcpt_mailer}|smtp|\nR<a@example.org>|\n"));
	assert_true(was_told("R<b@example.org>|\nDTi|0REF|\nT\nLSubject|one\n\ttwo|\nLX|y|\nDNi|0REF|\nN\n"
		"Bfirst line\r\nsecond\r\n\nDEi|0REF|\nE\nQ\n"));
}

static void steps_that_it_does_not_want(void **state)
{
	static const char data[] = { U32(6), U32(0), U32(0x1 | 0x2 | 0x8 | 0x10 | 0x40 | 0x200) };

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	play();
	assert_true(ok);
	assert_true(was_told("M<s@") && was_told("LSubject") && was_told("E\n"));
	assert_false(was_told("\nC") || was_told("\nH") || was_told("\nR<") || was_told("\nB") || was_told("\nN\n") ||
		was_told("\nT\n"));
}

/* SMFIP_NR_*: what it says that it will not answer is not waited for; the end always is. */
static void steps_that_it_does_not_answer(void **state)
{
	static const char data[] = { U32(6), U32(0), U32(0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x40000 | 0x80000) };

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	silent_everywhere = true;
	says['E'] = PACKET("\0\0\0\1c");
	play();
	assert_true(ok && was_told("R<b@example.org>|") && was_told("Bfirst"));
}

static void macros_that_it_names(void **state)
{
	static const char data[] = "\0\0\0\6\0\0\1\0\0\0\0\0" "\0\0\0\2i {client_addr} {no_such}\0" "\0\0\0\3";

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	play();
	assert_true(ok && was_told("DMi|0REF|{client_addr}|192.0.2.1|\nM<"));
	assert_false(was_told("\nDR"));		/* none wanted there */
	assert_true(was_told("\nDTi|0REF|\n"));
}

static void old_versions_hear_no_data(void **state)
{
	static const char data[] = { U32(2), U32(0x3f), U32(0) };

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	play();
	assert_true(ok && !reusable);
	assert_false(was_told("\nT\n"));
}

static void a_long_body_is_cut_into_chunks(void **state)
{
	char *text = arena_alloc(&arena, 70000);

	(void)state;
	if (stream_limited(2) == 1)
		return;		/* half a million turns say nothing more */
	memset(text, 'x', 70000);
	message = slice_make(text, 70000);
	play();
	assert_true(ok && was_told("\nBx") && heard.n > 70000);
}

static void enough_of_the_body(void **state)
{
	static const char data[] = { U32(6), U32(0), U32(0x400) };
	char *text = arena_alloc(&arena, 70000);

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	memset(text, 'x', 70000);
	message = slice_make(text, stream_limited(2) == 1 ? 100 : 70000);
	says['B'] = PACKET("\0\0\0\1s");
	play();
	assert_true(ok && heard.n < 69000);
}

/* ---- what it says ---- */

static void words_at_each_stage(void **state)
{
	static const struct { char at; const char *word; enum milter_verdict verdict; const char *stage; } cases[] = {
		{ 'C', "r", MILTER_REJECTS, "connect" }, { 'C', "a", MILTER_ACCEPTS, "connect" },
		{ 'H', "t", MILTER_DEFERS, "helo" }, { 'M', "r", MILTER_REJECTS, "mail" }, { 'M', "d", MILTER_DISCARDS, "mail" },
		{ 'R', "d", MILTER_DISCARDS, "rcpt" }, { 'R', "4", MILTER_DEFERS, "rcpt" }, { 'R', "a", MILTER_ACCEPTS, "rcpt" },
		{ 'T', "r", MILTER_REJECTS, "data" },
		{ 'L', "r", MILTER_REJECTS, "header" }, { 'N', "t", MILTER_DEFERS, "eoh" }, { 'B', "d", MILTER_DISCARDS, "body" },
		{ 'E', "r", MILTER_REJECTS, "end of message" }, { 'E', "f", MILTER_DEFERS, "end of message" },
		{ 'E', "d", MILTER_DISCARDS, "end of message" }, { 'E', "a", MILTER_ACCEPTS, "end of message" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char packet[] = { 0, 0, 0, 1, cases[i].word[0] };
		bool in_message = !strchr("CHE", cases[i].at);

		if (i > 0) {
			size_t limit = stream_limited(2);

			teardown(state);
			setup(state);
			stream_limit_io(limit == 1 ? 1 : 0);
		}
		says[(int)cases[i].at] = slice_make(packet, 5);
		play();
		assert_true(ok && !reusable);
		assert_int_equal(answer.verdict, cases[i].verdict);
		assert_string_equal(answer.stage, cases[i].stage);
		assert_int_equal(was_told("\nA\n"), in_message);
	}
}

static void its_own_words(void **state)
{
	(void)state;
	says['E'] = PACKET("\0\0\0\x15y451 4.7.1 come back\0");
	play();
	assert_true(ok);
	assert_int_equal(answer.verdict, MILTER_DEFERS);
	assert_int_equal(answer.reply.code, 451);
	assert_int_equal(answer.reply.enhanced.subject, 7);
	assert_true(slice_starts(answer.reply.text, SLICE("come bac")));
}

static void all_recipients_refused(void **state)
{
	(void)state;
	says['R'] = PACKET("\0\0\0\1r");
	play();
	assert_true(ok);
	assert_int_equal(answer.verdict, MILTER_REJECTS);
	assert_int_equal(answer.refused_recipients, 2);
}

static void changes_of_all_kinds(void **state)
{
	const struct milter_change *c;

	(void)state;
	says['E'] = PACKET("\0\0\0\x09hX-A\0b\nc\0" "\0\0\0\1p" "\0\0\0\x0bi\0\0\0\2X-I\0d\0" "\0\0\0\x0bm\0\0\0\1Subj\0\0"
		"\0\0\0\4bnew" "\0\0\0\4bend" "\0\0\0\5qodd\0" "\0\0\0\1c");
	play();
	assert_true(ok && answer.verdict == MILTER_ACCEPTS);
	assert_int_equal(answer.change_count, 3);
	c = answer.changes;
	assert_true(c->kind == MILTER_ADDS && slice_eq(c->name, SLICE("X-A")) && slice_eq(c->value, SLICE(" b\r\n\tc")));
	c = c->next;
	assert_true(c->kind == MILTER_INSERTS && c->index == 2 && slice_eq(c->value, SLICE(" d")));
	c = c->next;
	assert_true(c->kind == MILTER_CHANGES && c->index == 1 && slice_eq(c->name, SLICE("Subj")) && c->value.n == 0);
	assert_true(answer.body_replaced && replaced == 6);
	assert_string_equal(body, "newend");
	assert_string_equal(answer.quarantine, "odd");
}

/* No line of white space alone; no CR but before LF. */
static void values_of_several_lines(void **state)
{
	(void)state;
	says['E'] = PACKET("\0\0\0\x11hX-A\0p\r\n\n \t\nq\rr\n\0" "\0\0\0\5qodd\0" "\0\0\0\5qtwo\0" "\0\0\0\1c");
	play();
	assert_true(ok && answer.change_count == 1);
	assert_slice(answer.changes->value, " p\r\n\tqr");
	assert_string_equal(answer.quarantine, "odd");
}

/* Whoever refuses has changed nothing. */
static void changes_of_one_that_refuses(void **state)
{
	(void)state;
	says['E'] = PACKET("\0\0\0\7hX-A\0b\0" "\0\0\0\4bnew" "\0\0\0\1r");
	play();
	assert_true(ok && answer.verdict == MILTER_REJECTS);
	assert_true(!answer.changes && answer.change_count == 0 && !answer.body_replaced);
}

/* ---- trouble ---- */

static void negotiations_that_are_none(void **state)
{
	static const struct { struct slice says; const char *why; } cases[] = {
		{ SLICE("HTTP/1.1 400 Bad\r\n\r\n"), "malformed packet" },
		{ SLICE("\0\0\0\1a"), "malformed answer to the negotiation" },
		{ SLICE("\0\0\0\5O\0\0\0\6"), "" },
		{ SLICE("\0\0\0\rO\0\0\0\x63\0\0\0\0\0\0\0\0"), "" },
		{ SLICE("\0\0\0\rO\0\0\0\6\0\0\0\0\x40\0\0\0"), "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (i > 0) {
			teardown(state);
			setup(state);
		}
		says['O'] = cases[i].says;
		play();
		expect_trouble(cases[i].why);
	}
}

static void answers_that_are_none(void **state)
{
	static const struct { char at; struct slice says; const char *why; } cases[] = {
		{ 'E', SLICE("\x7f\xff\xff\xff" "bx"), "longer than any may be" },
		{ 'E', SLICE("\0\0\0\0a"), "malformed packet" },
		{ 'E', SLICE("\0\0\0\1z"), "" },
		{ 'E', SLICE("\0\0\0\1s"), "cannot stand here" },
		{ 'E', SLICE("\0\0\0\4hX-A\0\0\0\1c"), "" },
		{ 'E', SLICE("\0\0\0\7hX-A\0b\0" "\0\0\0\7+<x@y>\0\0\0\1c"), "" },
		{ 'E', SLICE("\0\0\0\xbm\0\0\0\0Subj\0x" "\0\0\0\1c"), "" },
		{ 'E', SLICE("\0\0\0\x0fy250 2.0.0 fine\0"), "" },
		{ 'H', SLICE("\0\0\0\7hX-A\0b\0"), "cannot stand here" },
		{ 'B', SLICE("\0\0\0\1s"), "cannot stand here" },
		{ 'R', SLICE("\0\0\0\4bnew"), "cannot stand here" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (i > 0) {
			teardown(state);
			setup(state);
		}
		says[(int)cases[i].at] = cases[i].says;
		play();
		expect_trouble(cases[i].why);
	}
}

static void changes_that_were_not_agreed(void **state)
{
	static const char data[] = { U32(6), U32(0x10), U32(0) };

	(void)state;
	negotiation = slice_make(data, sizeof(data));
	says['E'] = PACKET("\0\0\0\7hX-A\0b\0\0\0\0\1c");
	play();
	expect_trouble("what it did not ask for");
}

static void a_body_that_may_not_be_replaced(void **state)
{
	(void)state;
	may_replace = false;
	says['E'] = PACKET("\0\0\0\4bnew\0\0\0\1c");
	play();
	expect_trouble("");
	assert_int_equal(replaced, 0);
}

static void a_body_that_nobody_can_keep(void **state)
{
	(void)state;
	no_room = true;
	says['E'] = PACKET("\0\0\0\4bnew\0\0\0\1c");
	play();
	expect_trouble("");
}

static void it_leaves_at_any_stage(void **state)
{
	for (const char *at = "OCHMRTLNBE"; *at; at++) {
		if (*at != 'O') {
			teardown(state);
			setup(state);
		}
		leaves_at = *at;
		says[(int)*at] = SLICE("");
		play();
		expect_trouble("closed the connection");
	}
}

static void it_dies_in_the_middle_of_its_changes(void **state)
{
	(void)state;
	leaves_at = 'E';
	says['E'] = PACKET("\0\0\0\7hX-A\0b\0" "\0\0\0\4bnew" "\0\0\0\4be");
	play();
	expect_trouble("half of it");
	assert_false(answer.body_replaced);
}

static void it_says_nothing(void **state)
{
	(void)state;
	says['M'] = SLICE("");
	play();
	expect_trouble("timeout: the filter does not answer");
}

/* Progress keeps nothing open beyond the deadline, nor without end. */
static void it_says_too_much(void **state)
{
	struct str much = STR_IN(&arena);

	if (stream_limited(2) == 1)
		return;
	(void)state;
	for (int i = 0; i < 21000; i++)
		str_add(&much, PACKET("\0\0\0\1p"));
	says['E'] = str_slice(&much);
	play();
	expect_trouble("says too much");
}

static void it_changes_too_much(void **state)
{
	struct str much = STR_IN(&arena);

	if (stream_limited(2) == 1)
		return;
	(void)state;
	for (int i = 0; i < 1100; i++)
		str_add(&much, PACKET("\0\0\0\7hX-A\0b\0"));
	says['E'] = str_slice(&much);
	play();
	expect_trouble("changes too much");
}

/* ---- the next message ---- */

static void a_connection_is_used_again(void **state)
{
	(void)state;
	questions = 3;
	play();
	assert_true(ok && fake_peer_count == 1);
	assert_true(was_told("E\nK\n") && was_told("E\nQ\n"));
	assert_false(was_told("O\nK\n"));
}

static void not_behind_another_last_word(void **state)
{
	(void)state;
	questions = 3;
	says['E'] = PACKET("\0\0\0\1a");
	play();
	assert_true(ok && !reusable);
	assert_false(was_told("\nK\n"));
}

/* What nobody asked for is the answer to no later question. */
static void not_with_an_answer_too_many(void **state)
{
	(void)state;
	questions = 2;
	says['E'] = PACKET("\0\0\0\1c\0\0\0\1a");
	play();
	assert_true(ok && !reusable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(all_stages_in_their_order), both(steps_that_it_does_not_want), both(steps_that_it_does_not_answer),
		both(macros_that_it_names), both(old_versions_hear_no_data), both(a_long_body_is_cut_into_chunks),
		both(enough_of_the_body), both(words_at_each_stage), both(its_own_words), both(all_recipients_refused),
		both(changes_of_all_kinds), both(values_of_several_lines), both(changes_of_one_that_refuses), both(negotiations_that_are_none),
		both(answers_that_are_none), both(changes_that_were_not_agreed), both(a_body_that_may_not_be_replaced),
		both(a_body_that_nobody_can_keep), both(it_leaves_at_any_stage), both(it_dies_in_the_middle_of_its_changes),
		both(it_says_nothing), both(it_says_too_much), both(it_changes_too_much), both(a_connection_is_used_again),
		both(not_behind_another_last_word), both(not_with_an_answer_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
