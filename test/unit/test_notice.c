/* notice: each kind by its form, what must not be taken for one, and what is read out of it; whole and in pieces. */
#include "unit.h"

#include "check/notice_part.h"

#include <time.h>

struct watched {
	struct arena *arena;
	struct str header, body;
	int ends;
	bool whole;
};

static const struct notice *judge_cut(struct arena *a, struct slice message, const char *reverse_path, size_t step,
	const struct notice_watch *watch)
{
	struct path path = { .null = true }, *from = reverse_path ? &path : NULL;
	struct header *h = arena_new(a, struct header);
	struct notice_reader *r;
	struct slice rest;
	const char *why;
	bool told = false;

	if (reverse_path && *reverse_path) {
		rest = slice_of(reverse_path);
		assert_true(path_parse(&path, &rest, true, &why));
	}
	r = notice_begin(a, from, watch);
	header_init(h, a, 1 << 20, 10000);
	while (message.n > 0) {
		struct slice piece = slice_head(message, step);
		size_t taken = told ? 0 : header_push(h, piece);
		if (!told && h->done) {
			told = true;
			notice_header(r, h);
			notice_body(r, h->body_lead);
		}
		if (told)
			notice_body(r, slice_from(piece, taken));
		message = slice_from(message, step);
	}
	if (!told) {
		header_finish(h);
		notice_header(r, h);
		notice_body(r, h->body_lead);
	}
	return notice_finish(r);
}

/* Lines of the test end in LF. reverse_path: NULL not known, "" null. */
static const struct notice *judge(struct arena *a, const char *text, const char *reverse_path)
{
	struct str message = STR_IN(a);
	const struct notice *whole, *cut;

	for (; *text; text++) {
		if (*text == '\n')
			str_addc(&message, '\r');
		str_addc(&message, *text);
	}
	whole = judge_cut(a, str_slice(&message), reverse_path, SIZE_MAX, NULL);
	cut = judge_cut(a, str_slice(&message), reverse_path, 1, NULL);
	assert_int_equal(whole->kind, cut->kind);
	assert_string_equal(whole->evidence, cut->evidence);
	assert_slices(whole->original.message_id, cut->original.message_id);
	assert_int_equal(whole->recipient_count, cut->recipient_count);
	return whole;
}

static void is_kind(const char *text, const char *reverse_path, const char *kind)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, text, reverse_path);

	if (strcmp(notice_kind_name(n->kind), kind) != 0)
		fail_msg("%s, not %s (%s): %.60s", notice_kind_name(n->kind), kind, n->evidence, text);
	arena_drop(&a);
}

#define DSN_HEAD "From: MAILER-DAEMON@mx.example.net\nTo: alice@example.org\nSubject: Undelivered\n" \
	"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n--b\n" \
	"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
#define DSN(action, status) DSN_HEAD "Final-Recipient: rfc822; bob@example.net\nAction: " action "\nStatus: " status "\n"
#define ORIGINAL "--b\nContent-Type: message/rfc822\n\nReturn-Path: <alice@example.org>\nFrom: Alice <alice@example.org>\n" \
	"To: bob@example.net\nSubject: hi\nMessage-ID: <1@example.org>\n\nhello\n--b--\n"

static void reports(void **state)
{
	is_kind(DSN("failed", "5.1.1") ORIGINAL, "", "dsn");
	is_kind(DSN("failed", "5.1.1") ORIGINAL, "<mailer@example.net>", "dsn");
	is_kind(DSN("delayed", "4.4.1") ORIGINAL, "", "delay");
	is_kind(DSN("relayed", "2.0.0") ORIGINAL, "", "success");
	is_kind(DSN("expired", "4.0.0") ORIGINAL, "", "dsn");
	/* One failed among delivered ones: failed. */
	is_kind(DSN("delivered", "2.0.0") "\nFinal-Recipient: rfc822; c@example.net\nAction: failed\n" ORIGINAL, "", "dsn");
	is_kind("From: a@example.net\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\n"
		"read\n--b\nContent-Type: message/disposition-notification\n\nDisposition: x; displayed\n--b--\n",
		"<a@example.net>", "mdn");
	is_kind("From: f@example.net\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nspam\n--b\n"
		"Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n--b\nContent-Type: message/rfc822\n\nA: b\n\nc\n--b--\n",
		"<f@example.net>", "feedback-report");
	is_kind("From: r@example.net\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/gzip;"
		" name=\"google.com!example.org!1!2.xml.gz\"\n\nx\n--b--\n", "<r@example.net>", "report");
	is_kind("From: r@example.net\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\n\n--b\n\nx\n--b\n"
		"Content-Type: application/tlsrpt+gzip\n\nx\n--b--\n", "<r@example.net>", "report");
}

static void facts_of_a_dsn(void **state)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, DSN("failed", "5.1.1") "Diagnostic-Code: smtp; 550 no\n" ORIGINAL, "");

	assert_true(n->null_sender);
	assert_string_equal(n->evidence, "null sender; from a mail system; multipart/report; delivery-status names "
		"bob@example.net failed 5.1.1");
	assert_int_equal(n->recipient_count, 1);
	assert_slice(n->recipients->address, "bob@example.net");
	assert_slice(n->recipients->action, "failed");
	assert_slice(n->recipients->status, "5.1.1");
	assert_slice(n->recipients->diagnostic, "smtp; 550 no");
	assert_slice(n->original.message_id, "<1@example.org>");
	assert_slice(n->original.from, "Alice <alice@example.org>");
	assert_slice(n->original.to, "bob@example.net");
	assert_slice(n->original.return_path, "alice@example.org");
	assert_slice(n->original.subject, "hi");
	assert_int_equal(n->original.form, NOTICE_FORM_FULL);
	assert_slice(n->original.header, "Return-Path: <alice@example.org>\r\nFrom: Alice <alice@example.org>\r\n"
		"To: bob@example.net\r\nSubject: hi\r\nMessage-ID: <1@example.org>\r\n");
	arena_drop(&a);
}

/* The original as headers, in base64, cut off, with folds that lost their white space. */
static void originals(void **state)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: text/rfc822-headers\n\nFrom: a@x.example\n"
		"Message-ID:\n <2@x.example>\n--b--\n", "");

	assert_slice(n->original.message_id, "<2@x.example>");
	assert_int_equal(n->original.form, NOTICE_FORM_HEADERS);
	n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: text/rfc822-headers\nContent-Transfer-Encoding: base64\n\n"
		"TWVzc2FnZS1JRDogPDNAeC5leGFtcGxlPg0KRnJvbTogYUB4LmV4YW1wbGUNCg==\n--b--\n", "");
	assert_slice(n->original.message_id, "<3@x.example>");
	n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: message/global\nContent-Transfer-Encoding: quoted-printable\n\n"
		"Message-ID: <4=\n@x.example>\n\nbody=20\n--b--\n", "");
	assert_slice(n->original.message_id, "<4@x.example>");
	assert_int_equal(n->original.form, NOTICE_FORM_FULL);
	n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: message/rfc822\n\nSubject: x\nMessage-ID: <5@x.exam", "");
	assert_slice(n->original.subject, "x");
	n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: message/rfc822\n\nReceived: from a\nby b with c\n"
		"Message-ID: <6@x.example>\n\nbody\n--b--\n", "");
	assert_slice(n->original.message_id, "<6@x.example>");
	/* Of a bounce of a bounce the outer one is returned. */
	n = judge(&a, DSN("failed", "5.1.1") "--b\nContent-Type: message/rfc822\n\nMessage-ID: <7@x.example>\n"
		"Content-Type: message/rfc822\n\nMessage-ID: <8@x.example>\n\nx\n--b--\n", "");
	assert_slice(n->original.message_id, "<7@x.example>");
	arena_drop(&a);
}

static void free_form(void **state)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, "From: MAILER-DAEMON@mx.example.net\nTo: alice@example.org\nSubject: failure notice\n\n"
		"Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your message\n\n"
		"<bob@example.net>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n<carol@example.net>:\nfull 192.0.2.5 (#4.2.2)\n\n"
		"--- Below this line is a copy of the message.\n\nReturn-Path: <alice@example.org>\n"
		"Received: from x\n  by y\nMessage-ID: <9@example.org>\nSubject: hi\n\nbody <no@example.com>:\n", "");

	assert_int_equal(n->kind, NOTICE_BOUNCE);
	assert_int_equal(n->recipient_count, 2);
	assert_slice(n->recipients->address, "bob@example.net");
	assert_slice(n->recipients->status, "5.1.1");
	assert_slice(n->recipients->action, "failed");
	assert_slice(n->recipients->next->address, "carol@example.net");
	assert_slice(n->recipients->next->status, "4.2.2");
	assert_slice(n->original.message_id, "<9@example.org>");
	assert_int_equal(n->original.form, NOTICE_FORM_TEXT);
	assert_slice(n->original.header, "Return-Path: <alice@example.org>\r\nReceived: from x\r\n  by y\r\n"
		"Message-ID: <9@example.org>\r\nSubject: hi\r\n");
	/* Exim names them in a field too; the status stands in the text. */
	n = judge(&a, "X-Failed-Recipients: bob@example.net\nAuto-Submitted: auto-replied\nFrom: Mail Delivery System <Mailer-Daemon@a>\n"
		"Subject: Mail delivery failed: returning message to sender\n\nThis message was created automatically by mail delivery"
		" software.\n\n  bob@example.net\n    550 5.1.1 unknown\n", "");
	assert_int_equal(n->kind, NOTICE_BOUNCE);
	assert_slice(n->recipients->status, "5.1.1");
	assert_slice(n->recipients->diagnostic, "bob@example.net 550 5.1.1 unknown");
	/* Sendmail: whom we wrote to, not where the alias led. */
	n = judge(&a, "From: MAILER-DAEMON@a\nSubject: Returned mail\n\n ----- The following addresses had permanent fatal errors -----\n"
		"<bob@inner.example>\n    (reason: 550 5.2.1 no)\n    (expanded from: <bob@example.net>)\n", "");
	assert_slice(n->recipients->address, "bob@example.net");
	arena_drop(&a);
}

static void languages(void **state)
{
	is_kind("From: MAILER-DAEMON@x.example\nSubject: x\n\nIhre Nachricht konnte nicht zugestellt werden:\n<b@y.example>\n", "", "bounce");
	is_kind("From: postmaster@x.example\nSubject: x\nContent-Type: text/plain; charset=iso-8859-1\n\n"
		"Votre message n'a pas pu \xeatre remis \xe0 b@y.example\n", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
		"0KHQvtC+0LHRidC10L3QuNC1INC90LUg0LTQvtGB0YLQsNCy0LvQtdC90L4=\n", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: x\nContent-Type: text/plain; charset=koi8-r\n\n"
		"\xf3\xcf\xcf\xc2\xdd\xc5\xce\xc9\xc5 \xce\xc5 \xc4\xcf\xd3\xd4\xc1\xd7\xcc\xc5\xce\xcf\n", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
		"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$3$N%a!<%k$OG[?.$G$-$^$;$s!#\x1b(B\n--b\n\nx\n--b--\n", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: =?GB2312?B?zcvQxc2o1qo=?=\n\nx\n", "", "bounce");
	/* No word of it is known, its form is. */
	is_kind("From: MAILER-DAEMON@x.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\xb7\xa2\xcb\xcd\n\n<b@y.example>:\n\xb2\xbb\n\n"
		"--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@z.example>\n\nx\n--b--\n", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: Undeliverable\nContent-Type: text/html\n\n<html><style>x</style><p>Delivery has"
		" failed to these recipients:</p><a href=\"mailto:b@y.example\">b@y.example</a><br>", "", "bounce");
	is_kind("From: MAILER-DAEMON@x.example\nSubject: Warning: message 1 delayed 24 hours\n\nThis message was created automatically by"
		" mail delivery software.\nA message that you sent has not yet been delivered.\n", "", "delay");
}

static void answers(void **state)
{
	is_kind("From: c@x.example\nAuto-Submitted: auto-replied\n\nAway.\n", "<c@x.example>", "auto-reply");
	is_kind("From: c@x.example\nX-Autoreply: yes\n\nAway.\n", "<c@x.example>", "auto-reply");
	is_kind("From: c@x.example\nPrecedence: auto_reply\n\nAway.\n", "", "auto-reply");
	is_kind("From: c@x.example\nAuto-Submitted: auto-generated\nIn-Reply-To: <1@y>\n\nticket\n", "<c@x.example>", "auto-reply");
	is_kind("From: c@x.example\nAuto-Submitted: auto-generated\n\nThanks\n", "", "auto-reply");
	is_kind("From: c@x.example\nSubject: Automatic reply: hello\nIn-Reply-To: <1@y>\n\nAway.\n", "<c@x.example>", "auto-reply");
	is_kind("From: c@x.example\nAuto-Submitted: auto-replied\nSubject: Your mail\n\nPlease confirm your message: reply to this"
		" message to confirm.\n", "<c@x.example>", "challenge");
	is_kind("From: MailScanner <postmaster@x.example>\nSubject: Warning: E-mail viruses detected\n\nThe virus detector found it.\n", "",
		"virus-notice");
	is_kind("From: list-owner@x.example\nAuto-Submitted: auto-replied\nSubject: Your message to L awaits moderator approval\n\nheld\n",
		"", "notice");
	is_kind("From: abuse@x.example\nAuto-Submitted: auto-generated\nSubject: abuse report\n\nspam complaint\n", "", "complaint");
}

static void is_guess(const char *text, const char *reverse_path, bool wanted)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, text, reverse_path);

	if (n->kind == NOTICE_MESSAGE || n->guess != wanted)
		fail_msg("%s: %s, %s", text, notice_kind_name(n->kind), n->guess ? "guess" : "known");
	arena_drop(&a);
}

static void guesses(void **state)
{
	struct arena a = ARENA_INIT;
	const struct notice *n = judge(&a, "From: c@x.example\nSubject: Out of office reply\n\nI am out of the office.\n", "<c@x.example>");

	assert_int_equal(n->kind, NOTICE_AUTO_REPLY);
	assert_true(n->guess);
	arena_drop(&a);
	/* People answer such mail, and write about it. */
	is_guess("From: c@x.example\nSubject: Re: Out of office next week\nIn-Reply-To: <1@y>\n\nI will call Carol.\n", "<c@x.example>", true);
	is_guess("From: c@x.example\nSubject: Automatic reply: hello\nIn-Reply-To: <1@y>\n\nAway.\n", "<c@x.example>", true);
	is_guess("From: Postmaster <postmaster@x.example>\nSubject: Re: trouble\nIn-Reply-To: <1@y>\n\nYour message could not be"
		" delivered: user unknown.\n", "<postmaster@x.example>", true);
	is_guess("From: c@x.example\nX-Mailer: Vacation Rentals CRM 2.1\nSubject: Your booking\n\nThanks.\n", "<c@x.example>", true);
	is_guess("From: c@x.example\nSubject: Fwd: Report Domain: y.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nlook\n--m\n"
		"Content-Type: application/gzip; name=\"r.example!y.example!1!2.xml.gz\"\n\nx\n--m--\n", "<c@x.example>", true);
	/* Programs. */
	is_guess("From: c@x.example\nAuto-Submitted: auto-replied\n\nAway.\n", "<c@x.example>", false);
	is_guess("From: c@x.example\nSubject: Automatic reply: hello\n\nAway.\n", "", false);
	is_guess("From: c@x.example\nX-Autoreply: yes\nX-Mailer: vacation 1.4\n\nAway.\n", "<c@x.example>", false);
	is_guess("From: c@x.example\nPrecedence: bulk\nSubject: Out of office\n\nI am out of the office.\n", "<c@x.example>", false);
	is_guess("From: MAILER-DAEMON@x.example\nSubject: Undeliverable\n\n<b@y.example>: user unknown, it could not be delivered\n",
		"<m@x.example>", false);
	is_guess("From: noreply@x.example\nSubject: Report Domain: y.example Submitter: x.example Report-ID: <1>\nContent-Type:"
		" application/gzip; name=\"r.example!y.example!1!2.xml.gz\"\n\nx\n", "<noreply@x.example>", false);
	is_guess(DSN("failed", "5.1.1") ORIGINAL, "<c@x.example>", false);
}

static void ordinary(void **state)
{
	is_kind("From: c@x.example\nSubject: hi\n\nhello\n", "<c@x.example>", "message");
	is_kind("", "<c@x.example>", "message");
	is_kind("Subject: x\n", "", "message");
	/* A bounce within ordinary mail. */
	is_kind("From: c@x.example\nSubject: Fwd: Undelivered Mail\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nlook\n--m\n"
		"Content-Type: message/rfc822\n\n" DSN("failed", "5.1.1") ORIGINAL "--m--\n", "<c@x.example>", "message");
	is_kind("From: c@x.example\nSubject: Re: trouble\n\nI got this:\n> This message was created automatically by mail delivery\n"
		"> software. A message that you sent could not be delivered.\n", "<c@x.example>", "message");
	/* A list post with the null reverse-path. */
	is_kind("From: c@x.example\nSubject: undeliverable parcels\nList-Id: <l.x.example>\n\nThey could not be delivered.\n", "", "message");
	/* Fields that ask not to be answered, and mail of programs that answers nothing. */
	is_kind("From: c@x.example\nX-Auto-Response-Suppress: All\n\nhello\n", "<c@x.example>", "message");
	is_kind("From: shop@x.example\nAuto-Submitted: auto-generated\nSubject: Your order\n\nThank you.\n", "<shop@x.example>", "message");
	is_kind("From: c@x.example\nAuto-Submitted: no\n\nhello\n", "<c@x.example>", "message");
	is_kind("From: c@x.example\nX-Autoreply:\n\nhello\n", "<c@x.example>", "message");
	/* Parcels, newsletters, help desks, and vacation speak of deliveries, too. */
	is_kind("From: parcels@x.example\nAuto-Submitted: auto-generated\nSubject: Delivery failure: your parcel\n\n"
		"It could not be delivered.\n", "<bounces+17@x.example>", "message");
	is_kind("From: c@x.example\nSubject: Undeliverable mail\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nThis could not be"
		" delivered, see below.\n--m\nContent-Type: message/rfc822\n\nMessage-ID: <1@y>\n\nx\n--m--\n", "<c@x.example>",
		"message");
	is_kind("From: c@x.example\nSubject: failed delivery\n\nIt could not be delivered.\n", "", "message");
	is_kind("From: c@x.example\nAuto-Submitted: auto-replied\nSubject: Away\n\nYour mail has not been delivered to anybody else.\n", "",
		"auto-reply");
	/* Somebody attaches a delivery-status to a question. */
	is_kind("From: c@x.example\nSubject: help\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nwhy?\n--b\n"
		"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; b@y\nAction: failed\n--b--\n",
		"<c@x.example>", "message");
}

/* ---- watching ---- */

static void watch_header(void *arg, struct slice header)
{
	struct watched *w = arg;

	str_add(&w->header, header);
}

static void watch_body(void *arg, struct slice piece)
{
	struct watched *w = arg;

	str_add(&w->body, piece);
}

static void watch_end(void *arg, bool whole)
{
	struct watched *w = arg;

	w->ends++;
	w->whole = whole;
}

static void watching(void **state)
{
	static const char message[] = "From: MAILER-DAEMON@a\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
		"Content-Type: message/rfc822\r\n\r\nFrom: a\r\nContent-Type: multipart/x; boundary=i\r\n\r\n--i\r\n\r\nhello\r\n--i--\r\n\r\n--b--\r\n";

	for (size_t step = 1; step < 200; step += 3) {
		struct arena a = ARENA_INIT;
		struct watched w = { .arena = &a, .header = STR_IN(&a), .body = STR_IN(&a) };
		const struct notice_watch watch = { watch_header, watch_body, watch_end, &w };
		judge_cut(&a, slice_of(message), "", step, &watch);
		assert_slice(str_slice(&w.header), "From: a\r\nContent-Type: multipart/x; boundary=i\r\n");
		assert_slice(str_slice(&w.body), "--i\r\n\r\nhello\r\n--i--\r\n");
		assert_int_equal(w.ends, 1);
		assert_true(w.whole);
		arena_drop(&a);
	}
}

/* A message that is returned in base64 is watched from behind its header section on, however it is cut. */
static void watching_encoded(void **state)
{
	static const char returned[] = "From: a\r\nContent-Type: multipart/x; boundary=i\r\n\r\n--i\r\n\r\nhello\r\n--i--\r\n";

	for (size_t step = 1; step < 300; step += 3) {
		struct arena a = ARENA_INIT;
		struct watched w = { .arena = &a, .header = STR_IN(&a), .body = STR_IN(&a) };
		const struct notice_watch watch = { watch_header, watch_body, watch_end, &w };
		struct str message = STR_IN(&a);
		str_puts(&message, "From: MAILER-DAEMON@a\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
			"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n");
		str_base64(&message, slice_of(returned));
		str_puts(&message, "\r\n--b--\r\n");
		judge_cut(&a, str_slice(&message), "", step, &watch);
		assert_slice(str_slice(&w.header), "From: a\r\nContent-Type: multipart/x; boundary=i\r\n");
		assert_slice(str_slice(&w.body), "--i\r\n\r\nhello\r\n--i--\r\n");
		assert_int_equal(w.ends, 1);
		assert_true(w.whole);
		arena_drop(&a);
	}
}

/* ---- bombs: 20 MB of each through the whole recogniser ---- */

static double bomb_once(const char *head, const char *unit, size_t *memory)
{
	struct arena a = ARENA_INIT, b = ARENA_INIT;
	struct str block = STR_IN(&b);
	struct path null = { .null = true };
	struct notice_reader *r = notice_begin(&a, &null, NULL);
	struct header h;
	struct timespec t0, t1;

	while (block.n < 65536)
		str_puts(&block, unit);
	header_init(&h, &b, 1 << 20, 10000);
	header_push(&h, slice_of(head));
	header_finish(&h);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
	notice_header(r, &h);
	for (size_t n = 0; n < 20u << 20; n += block.n)
		notice_body(r, str_slice(&block));
	notice_finish(r);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
	*memory = arena_bytes(&a);
	arena_drop(&a);
	arena_drop(&b);
	return (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e6;
}

static void bombs(void **state)
{
	static const char *const bombs[][2] = {
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\n\r\n", "<a@b.example>:\r\n550 5.1.1 no\r\n" },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\n\r\n", "a@b@c@d " },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\n\r\n", "Received: x\r\nTo: b\r\n" },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\nContent-Type: text/html\r\n\r\n", "<a&<p" },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\nContent-Type: text/html\r\n\r\n", "<!--" },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\n\r\n", "----- original message -----\r\n" },
		{ "From: MAILER-DAEMON@a\r\nContent-Type: message/delivery-status\r\n\r\n", "Final-Recipient: x;y@z.example\r\n" },
		{ "From: MAILER-DAEMON@a\r\nContent-Type: message/delivery-status\r\n\r\n", " \r\n" },
		{ "From: MAILER-DAEMON@a\r\nContent-Type: multipart/report; boundary=b\r\n\r\n",
		  "--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n" },
		{ "From: MAILER-DAEMON@a\r\nContent-Type: multipart/report; boundary=b\r\n\r\n",
		  "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: a\r\n\r\n" },
		{ "From: MAILER-DAEMON@a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
		  "--b\r\nContent-Type: application/x; name=\"=?utf-8?q?=41?=!!!.xml\"\r\n\r\n" },
		{ "From: MAILER-DAEMON@a\r\nSubject: failure notice\r\n\r\n", "x" },
	};

	for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
		double best = 1e9;
		size_t memory = 0;
		for (int k = 0; k < 5 && best >= 50; k++) {
			double ms = bomb_once(bombs[i][0], bombs[i][1], &memory);
			best = ms < best ? ms : best;
		}
		print_message("%7.1f ms, %5zu KiB: %.40s\n", best, memory / 1024, bombs[i][1]);
		assert_true(memory < 4u << 20);
#ifndef __SANITIZE_ADDRESS__
		assert_true(best < 100);
#endif
	}
}

/* Parts whose header sections are as long as is kept, with what never becomes an encoded word, and with what is no charset. */
static void bomb_of_parameters(void **state)
{
	static const char *const parts[][2] = { { "application/x; name", "=?x" }, { "text/plain; charset", "x" } };

	for (size_t i = 0; i < 2; i++) {
		struct arena a = ARENA_INIT;
		struct str unit = STR_IN(&a);
		size_t memory;
		double ms;

		str_printf(&unit, "--b\r\nContent-Type: %s=\"", parts[i][0]);
		while (unit.n < 60000)
			str_puts(&unit, parts[i][1]);
		str_puts(&unit, "\"\r\n\r\nx\r\n");
		ms = bomb_once("From: MAILER-DAEMON@a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", str_cstr(&unit), &memory);
		print_message("%7.1f ms, %5zu KiB: %s\n", ms, memory / 1024, parts[i][0]);
		assert_true(memory < 4u << 20);
#ifndef __SANITIZE_ADDRESS__
		assert_true(ms < 2000);
#endif
		arena_drop(&a);
	}
}

/* ---- phrases ---- */

/* Looks in memory of just that size, so that a look behind its end is seen. */
static unsigned says(const char *text)
{
	size_t n = strlen(text);
	char *exact = malloc(n > 0 ? n : 1);
	unsigned bits;

	memcpy(exact, text, n);
	bits = phrases_in_subject(slice_make(exact, n)).bits;
	free(exact);
	return bits;
}

static void phrases(void **state)
{
	struct said said;

	assert_int_equal(says(""), 0);
	assert_int_equal(says("ndn"), 0);
	assert_int_equal(says("ndn:"), SAYS_FAILED);
	assert_int_equal(says("xndn:"), 0);
	assert_int_equal(says("1ndn:"), 0);
	assert_int_equal(says("-ndn:"), SAYS_FAILED);
	assert_int_equal(says("\xc3\xbc" "ndn:"), SAYS_FAILED);
	assert_int_equal(says("mail (delay)"), SAYS_DELAYED);
	assert_int_equal(says("mail (delay"), 0);
	assert_int_equal(says("ndn: ooo: delayed"), SAYS_FAILED | SAYS_AUTO_REPLY | SAYS_DELAYED);
	/* One that begins as others do, and one within another. */
	assert_true(says("it could not be delivered") & SAYS_FAILED);
	assert_int_equal(says("it could not be delivere"), 0);
	said = phrases_in_text(SLICE("sorry, unable to deliver, was not delivered"));
	assert_int_equal(said.at, 7);
	assert_slice(said.first, "unable to deliver");
	assert_int_equal(said.bits, SAYS_FAILED);
}

UNIT_MAIN(T(reports), T(facts_of_a_dsn), T(originals), T(free_form), T(languages), T(answers), T(guesses), T(ordinary),
	T(watching), T(watching_encoded), T(phrases), T(bombs), T(bomb_of_parameters))
