/* Trace fields: what is put on top, and what is taken away below. */
#include "turns.h"

#include "edge/transaction.h"

static struct edge edge;
static struct config conf = { .hostname = "mx.example.org" };
static struct session session;
static struct transaction tx;
static struct recipient bob, carol;
static struct arena arena;

static int setup(void **state)
{
	turns_setup(state);
	memset(&session, 0, sizeof(session));
	memset(&tx, 0, sizeof(tx));
	session.edge = &edge;
	session.client = (struct client_facts){ .esmtp = true, .helo = SLICE("client.example"), .name = "mail.client.example" };
	assert_true(ip_parse(&session.client.ip, SLICE("192.0.2.1")));
	bob = (struct recipient){ .path = { .text = SLICE("bob@example.org") } };
	carol = (struct recipient){ .path = { .text = SLICE("carol@example.org") } };
	tx.session = &session;
	spool_init(&tx.spool, NULL);
	tx.config = &conf;
	tx.envelope = (struct envelope){ .arena = &tx.arena, .client = &session.client, .recipients = &bob,
		.recipient_count = 1, .ref = "0123456789" };
	return 0;
}

static int teardown(void **state)
{
	arena_drop(&tx.arena);
	arena_drop(&arena);
	return turns_teardown(state);
}

static struct slice lead(const char *message, uint64_t *from)
{
	header_init(&tx.header, &tx.arena, 65536, 100);
	header_push(&tx.header, slice_of(message));
	header_finish(&tx.header);
	tx.received = SLICE_NULL;	/* another message */
	return trace_lead(&tx, from);
}

static void assert_has(struct slice text, const char *part)
{
	if (slice_search(text, slice_of(part)) < 0)
		fail_msg("%s\nis not in\n%.*s", part, SLICE_ARG(text));
}

static void one_field_says_whence_and_how(void **state)
{
	uint64_t from = 7;
	struct slice text = lead("Subject: x\r\n\r\nbody\r\n", &from);

	assert_int_equal(from, 0);
	assert_has(text, "Received: from client.example (mail.client.example [192.0.2.1])\r\n"
		"\tby mx.example.org (Spurn) with ESMTP id 0123456789\r\n\tfor <bob@example.org>;\r\n\t");
	assert_true(slice_search(text, SLICE("\r\n\r\n")) < 0);
}

static void several_recipients_are_not_told_of_each_other(void **state)
{
	uint64_t from;

	bob.next = &carol;
	tx.envelope.recipient_count = 2;
	assert_true(slice_search(lead("", &from), SLICE("bob")) < 0);
}

static void protocols(void **state)
{
	uint64_t from;

	session.client.esmtp = false;
	assert_has(lead("", &from), " with SMTP id ");
	session.client.esmtp = session.client.tls = true;
	session.client.tls_version = "TLSv1.3";
	session.client.tls_cipher = "TLS_AES_256_GCM_SHA384";
	session.client.tls_bits = 256;
	assert_has(lead("", &from), " with ESMTPS id 0123456789\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 "
		"(256 bits))\r\n");
	tx.envelope.smtputf8 = true;
	assert_has(lead("", &from), " with UTF8SMTPS id ");
	session.client.tls = false;
	assert_has(lead("", &from), " with UTF8SMTP id ");
}

static void a_client_cannot_write_into_the_field(void **state)
{
	uint64_t from;
	struct slice text;

	session.client.helo = SLICE("a\r\nX-Evil: 1");
	session.client.name = NULL;
	text = lead("", &from);
	assert_true(slice_search(text, SLICE("\nX-Evil")) < 0);
	assert_has(text, "(unknown [192.0.2.1])");
}

static void forged_marks_go_and_all_else_stays(void **state)
{
	static const char message[] = "Subject: x\r\nSpurn-Notice: dsn; proof=proven\r\nSPURN-mark: x\r\n"
		"Authentication-Results: mx.example.org; spf=pass\r\n\tx=y\r\n"
		"Authentication-Results: mx.example.org.evil; spf=pass\r\nX: .dot\r\n\r\nbody\r\n";
	uint64_t from = 0;
	struct slice text = lead(message, &from);

	assert_true(slice_search_nocase(text, SLICE("\nSpurn-")) < 0);
	assert_true(slice_search(text, SLICE("x=y")) < 0);
	assert_has(text, "\r\nSubject: x\r\nAuthentication-Results: mx.example.org.evil; spf=pass\r\nX: .dot\r\n");
	assert_int_equal(from, strlen(message) - strlen("\r\nbody\r\n"));
}

static void a_mark_names_its_reason(void **state)
{
	struct finding f = { .check = CHECK_DNSBL, .result = RESULT_LISTED };
	uint64_t from;

	tx.because = &f;
	tx.disposition = DISPOSITION_MARK;
	assert_has(lead("", &from), "\r\nSpurn-Mark: dnsbl=listed ref=0123456789\r\n");
}

/* Each kind of change, and no octet of the other fields touched. */
static void changes_of_the_header(void **state)
{
	struct header_changes *changes = &tx.envelope.changes;
	uint64_t from;
	struct slice text;

	header_change_add(changes, &tx.arena, HEADER_PREPEND, 0, SLICE("X-One: 1\r\n"));
	header_change_add(changes, &tx.arena, HEADER_PREPEND, 0, SLICE("X-Two: 2\r\n"));
	text = lead("A: 1\r\nB: 2\r\n\r\nbody", &from);
	assert_int_equal(from, 0);
	assert_true(slice_ends_nocase(text, SLICE("X-One: 1\r\nX-Two: 2\r\n")));

	header_change_add(changes, &tx.arena, HEADER_REPLACE, 0, SLICE("A: one\r\n"));
	header_change_add(changes, &tx.arena, HEADER_INSERT, 1, SLICE("I: in\r\n"));
	header_change_add(changes, &tx.arena, HEADER_REMOVE, 2, SLICE_NULL);
	header_change_add(changes, &tx.arena, HEADER_APPEND, 0, SLICE("Z: end\r\n"));
	text = lead("A: 1\r\nB:  2\r\n 3\r\nC: 3\r\n\r\nbody", &from);
	assert_int_equal(from, strlen("A: 1\r\nB:  2\r\n 3\r\nC: 3\r\n"));
	assert_true(slice_ends_nocase(text,
		SLICE("X-One: 1\r\nX-Two: 2\r\nA: one\r\nI: in\r\nB:  2\r\n 3\r\nZ: end\r\n")));
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(one_field_says_whence_and_how), S(several_recipients_are_not_told_of_each_other), S(protocols),
	S(a_client_cannot_write_into_the_field), S(forged_marks_go_and_all_else_stays), S(a_mark_names_its_reason),
	S(changes_of_the_header))
