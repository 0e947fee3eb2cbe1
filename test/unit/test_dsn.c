/* dsn: groups of fields, well formed and as they come. */
#include "unit.h"

#include "wire/dsn.h"

static struct dsn read_dsn(struct arena *a, const char *text)
{
	struct dsn d;

	dsn_read(a, slice_of(text), &d);
	return d;
}

static void well_formed(void **state)
{
	struct arena a = ARENA_INIT;
	/* RFC 3464 appendix E.2, shortened. */
	struct dsn d = read_dsn(&a, "Reporting-MTA: dns; cs.utk.edu\r\nOriginal-Envelope-Id: id7\r\n\r\n"
		"Original-Recipient: rfc822;arathib@vnet.ibm.com\r\nFinal-Recipient: rfc822;arathib@vnet.ibm.com\r\n"
		"Action: failed\r\nStatus: 5.0.0 (permanent failure)\r\nDiagnostic-Code: smtp;\r\n 550 'arathib@vnet.IBM.COM' is not"
		" a\r\n  registered gateway user\r\nRemote-MTA: dns; vnet.ibm.com\r\n\r\n"
		"Final-Recipient: rfc822;johnh@hpnjld.njd.hp.com\r\nAction: delayed\r\nStatus: 4.0.0\r\n");
	const struct dsn_recipient *r = d.recipients;

	assert_int_equal(d.count, 2);
	assert_slice(d.reporting_mta, "dns; cs.utk.edu");
	assert_slice(d.envelope_id, "id7");
	assert_slice(r->final, "arathib@vnet.ibm.com");
	assert_slice(r->original, "arathib@vnet.ibm.com");
	assert_slice(r->action, "failed");
	assert_slice(r->status, "5.0.0");
	assert_slice(r->diagnostic, "smtp; 550 'arathib@vnet.IBM.COM' is not a  registered gateway user");
	assert_slice(r->remote_mta, "dns; vnet.ibm.com");
	assert_slice(r->next->final, "johnh@hpnjld.njd.hp.com");
	assert_slice(r->next->action, "delayed");
	assert_null(r->next->next);
	arena_drop(&a);
}

static void as_they_come(void **state)
{
	struct arena a = ARENA_INIT;
	/* No blank lines between groups, LF, blank lines within a group, unknown fields. */
	struct dsn d = read_dsn(&a, "\n\nFinal-Recipient: RFC822; <a@x.example>\nX-Odd\nAction: Failed (bad)\nStatus: 5.1.1\n"
		"Final-Recipient: b@x.example (Bob)\n\nAction: relayed\n\n\nStatus:\n\nFinal-Recipient: rfc822; c@x.example\n");

	assert_int_equal(d.count, 3);
	assert_slice(d.recipients->final, "a@x.example");
	assert_slice(d.recipients->action, "failed");
	assert_slice(d.recipients->next->final, "b@x.example");
	assert_slice(d.recipients->next->action, "relayed");
	assert_slice(d.recipients->next->next->final, "c@x.example");
	assert_slice(d.recipients->next->next->status, "");
	assert_int_equal(read_dsn(&a, "").count, 0);
	assert_int_equal(read_dsn(&a, "no fields at all").count, 0);
	arena_drop(&a);
}

static void many(void **state)
{
	struct arena a = ARENA_INIT;
	struct str text = STR_IN(&a);
	struct dsn d;

	for (int i = 0; i < 5000; i++)
		str_printf(&text, "Final-Recipient: rfc822; u%d@x.example\r\nAction: failed\r\n\r\n", i);
	dsn_read(&a, str_slice(&text), &d);
	assert_int_equal(d.count, DSN_RECIPIENTS_MAX);
	assert_slice(d.recipients->final, "u0@x.example");
	arena_drop(&a);
}

static void addresses(void **state)
{
	struct arena a = ARENA_INIT;

	assert_slice(dsn_address(&a, SLICE("rfc822; bob@example.net")), "bob@example.net");
	assert_slice(dsn_address(&a, SLICE("RFC822;<bob@example.net>")), "bob@example.net");
	assert_slice(dsn_address(&a, SLICE("bob@example.net (Bob)")), "bob@example.net");
	assert_slice(dsn_address(&a, SLICE("rfc822; \"a (b)\"@example.net")), "\"a (b)\"@example.net");
	assert_slice(dsn_address(&a, SLICE("rfc822;")), "");
	/* RFC 6533 section 3. */
	assert_slice(dsn_address(&a, SLICE("utf-8; j\\x{F6}rg@example.net")), "j\xc3\xb6rg@example.net");
	assert_slice(dsn_address(&a, SLICE("utf-8; \\x{1F408}\\x{41}@example.net")), "\xf0\x9f\x90\x88" "A@example.net");
	assert_slice(dsn_address(&a, SLICE("utf-8; \\x{D800}\\x{}\\x{12@x")), "\\x{D800}\\x{}\\x{12@x");
	arena_drop(&a);
}

static void statuses(void **state)
{
	assert_slice(dsn_status(SLICE(" 5.1.1 (x)")), "5.1.1");
	assert_slice(dsn_status(SLICE("4.7.650")), "4.7.650");
	assert_slice(dsn_status(SLICE("5.1")), "");
	assert_slice(dsn_status(SLICE("5.1.")), "");
	assert_slice(dsn_status(SLICE("3.1.1")), "");
	assert_slice(dsn_status(SLICE("550 5.1.1")), "");
	assert_slice(dsn_status(SLICE("5.1.1234")), "5.1.123");
}

static void other_reports(void **state)
{
	struct arena a = ARENA_INIT;
	struct dsn d = read_dsn(&a, "Reporting-UA: x\r\nOriginal-Recipient: rfc822;j@x.example\r\nFinal-Recipient: rfc822;j@x.example\r\n"
		"Original-Message-ID: <1@x.example>\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n");

	assert_slice(d.original_message_id, "<1@x.example>");
	assert_slice(d.final_recipient, "j@x.example");
	assert_slice(d.disposition, "manual-action/MDN-sent-manually; displayed");
	d = read_dsn(&a, "Feedback-Type: abuse\r\nOriginal-Mail-From: <s@x.example>\r\nSource-IP: 192.0.2.1\r\n"
		"Original-Rcpt-To: <u@y.example>\r\n");
	assert_slice(d.feedback_type, "abuse");
	assert_slice(d.original_mail_from, "<s@x.example>");
	assert_slice(d.source_ip, "192.0.2.1");
	arena_drop(&a);
}

UNIT_MAIN(T(well_formed), T(as_they_come), T(many), T(addresses), T(statuses), T(other_reports))
