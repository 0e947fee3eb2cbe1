/*
 * Command lines: every slice of a command lies in its line and holds no control character; a refusal names a reply
 * and a reason and leaves the output alone; what was taken keeps its meaning when it is written anew.
 *
 * First octet: what the server offered; second: bit 0 SMTPUTF8 of the transaction. The rest is a line.
 */
#include "wire/smtp_command.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct slice line;

static void check_slice(struct slice s)
{
	if (s.n == 0)
		return;
	BUG_ON(s.p < line.p || s.p + s.n > line.p + line.n);
	for (size_t i = 0; i < s.n; i++)
		BUG_ON(((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f);
}

static void check_refusal(enum reply_name reply, const char *why, const void *out, size_t size)
{
	BUG_ON(why == NULL || why[0] == '\0');
	BUG_ON(reply != REPLY_BAD_ARGUMENT && reply != REPLY_BAD_SENDER && reply != REPLY_BAD_RECIPIENT &&
		reply != REPLY_BAD_PARAMETER);
	for (size_t i = 0; i < size; i++)
		BUG_ON(((const char *)out)[i] != 0x55);
}

static void check_mail(struct arena *a, struct slice argument, unsigned offers)
{
	struct mail_command m, again;
	enum reply_name reply = REPLY_NONE;
	const char *why = NULL;
	struct str s = STR_IN(a);

	memset(&m, 0x55, sizeof(m));
	if (!mail_command_parse(&m, argument, offers, &reply, &why)) {
		check_refusal(reply, why, &m, sizeof(m));
		return;
	}
	check_slice(m.reverse_path.text);
	check_slice(m.envid);
	BUG_ON(m.envid.n > 100 || m.size > INT64_MAX || (m.reverse_path.utf8 && !m.smtputf8));
	BUG_ON((m.size && !(offers & OFFER_SIZE)) || (m.eight_bit_mime && !(offers & OFFER_8BITMIME)) ||
		(m.smtputf8 && !(offers & OFFER_SMTPUTF8)) || ((m.ret || m.envid.n) && !(offers & OFFER_DSN)) ||
		(m.prdr && !(offers & OFFER_PRDR)));
	str_puts(&s, "FROM:<");
	str_add(&s, m.reverse_path.text);
	str_puts(&s, m.smtputf8 ? "> SMTPUTF8" : ">");
	if (m.size) {
		str_puts(&s, " SIZE=");
		str_number(&s, m.size);
	}
	if (m.ret)
		str_puts(&s, m.ret == 'F' ? " RET=FULL" : " RET=HDRS");
	if (m.envid.n) {
		str_puts(&s, " ENVID=");
		str_add(&s, m.envid);
	}
	BUG_ON(!mail_command_parse(&again, str_slice(&s), offers, &reply, &why));
	BUG_ON(!slice_eq(m.reverse_path.text, again.reverse_path.text) || m.size != again.size || m.ret != again.ret ||
		!slice_eq(m.envid, again.envid) || m.smtputf8 != again.smtputf8);
}

static void check_rcpt(struct slice argument, unsigned offers, bool smtputf8)
{
	struct rcpt_command c;
	enum reply_name reply = REPLY_NONE;
	const char *why = NULL;

	memset(&c, 0x55, sizeof(c));
	if (!rcpt_command_parse(&c, argument, offers, smtputf8, &reply, &why)) {
		check_refusal(reply, why, &c, sizeof(c));
		return;
	}
	check_slice(c.forward_path.text);
	check_slice(c.orcpt);
	BUG_ON(path_is_null(&c.forward_path) || (c.forward_path.utf8 && !smtputf8));
	BUG_ON(c.forward_path.domain.n == 0 && !path_is_postmaster(&c.forward_path));
	BUG_ON(c.orcpt.n > 500 || c.notify > 15 || ((c.notify & 1) && c.notify != 1));
	BUG_ON((c.notify || c.orcpt.n) && !(offers & OFFER_DSN));
}

static void check_others(struct slice argument)
{
	struct slice name;
	uint64_t size;
	bool last;

	if (helo_argument_parse(argument, &name))
		BUG_ON(name.n == 0 || name.n > 255 || !ascii_only(name) || slice_find(name, ' ') >= 0);
	if (bdat_command_parse(argument, &size, &last))
		BUG_ON(size > INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct command c;
	const char *why;

	if (n < 2)
		return 0;
	line = slice_make((const char *)bytes + 2, n - 2);
	command_parse(&c, line, &why);
	BUG_ON(why && c.verb != VERB_UNKNOWN);
	if (!why) {
		check_slice(c.word);
		check_slice(c.argument);
		if (c.verb == VERB_MAIL)
			check_mail(&a, c.argument, bytes[0]);
		else if (c.verb == VERB_RCPT)
			check_rcpt(c.argument, bytes[0], bytes[1] & 1);
		else
			check_others(c.argument);
	}
	arena_drop(&a);
	return 0;
}
