/*
 * Command lines: verb and argument, then the arguments of MAIL, RCPT, BDAT and HELO.
 *
 * Nothing is allocated and nothing is looked at twice: a command is slices of its line. What a parser
 * refuses it names by a reply and a phrase that is ours, never the peer's text, so that no reply
 * repeats what was sent (and no log line has to escape it).
 *
 * One table says of each parameter which command has it, under which offer, and whether it takes a value; what a
 * value means stands in one switch. Rejected: handler functions in the table (nine
 * parameters of one to five lines each: a switch is shorter and shows them all).
 */
#include "wire/smtp_command.h"

#include "wire/envelope.h"

#include "base/log.h"

#define SIZE_LARGEST ((uint64_t)INT64_MAX)	/* so that sums of sizes do not overflow */

static const char *const verb_names[VERB_COUNT] = {
	[VERB_UNKNOWN] = "unknown",
#define X(name) [VERB_##name] = #name,
	VERBS(X)
#undef X
};

const char *verb_name(enum verb v)
{
	BUG_ON((unsigned)v >= VERB_COUNT);
	return verb_names[v];
}

/* RFC 5321 section 2.4: verbs and argument keywords are not case sensitive; section 4.1.1: a verb
 * is followed by <CRLF> or <SP>. HTAB is taken for SP. */
void command_parse(struct command *out, struct slice line, const char **why)
{
	size_t n = 0;

	*out = (struct command){ .verb = VERB_UNKNOWN };
	*why = NULL;
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
		n++;
	out->word = slice_head(line, n);
	out->argument = slice_trim(slice_from(line, n));
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		if ((c < ' ' && c != '\t') || c == 0x7f) {
			*why = "control character in a command";
			return;
		}
	}
	for (enum verb v = VERB_UNKNOWN + 1; v < VERB_COUNT; v++) {
		if (slice_eq_nocase(out->word, slice_of(verb_names[v]))) {
			out->verb = v;
			return;
		}
	}
}

/* ---- parameters ---- */

struct refusal {
	enum reply_name *reply;
	const char **why;
};

static bool refuse(struct refusal r, enum reply_name reply, const char *why)
{
	*r.reply = reply;
	*r.why = why;
	return false;
}

enum parameter {
	PARAMETER_SIZE = 1,		/* RFC 1870 */
	PARAMETER_BODY = 2,		/* RFC 6152 */
	PARAMETER_SMTPUTF8 = 4,		/* RFC 6531 */
	PARAMETER_RET = 8,		/* RFC 3461 */
	PARAMETER_ENVID = 16,
	PARAMETER_NOTIFY = 32,
	PARAMETER_ORCPT = 64,
	PARAMETER_PRDR = 128,		/* draft-hall-prdr-00 */
	PARAMETER_AUTH = 256,		/* RFC 4954 */
};

static const struct parameter_definition {
	const char *name;
	enum verb verb;
	enum parameter parameter;
	unsigned offer;			/* enum mail_offer; 0: taken without */
	bool has_value;
} parameters[] = {
	{ "SIZE", VERB_MAIL, PARAMETER_SIZE, OFFER_SIZE, true },
	{ "BODY", VERB_MAIL, PARAMETER_BODY, OFFER_8BITMIME, true },
	{ "SMTPUTF8", VERB_MAIL, PARAMETER_SMTPUTF8, OFFER_SMTPUTF8, false },
	{ "RET", VERB_MAIL, PARAMETER_RET, OFFER_DSN, true },
	{ "ENVID", VERB_MAIL, PARAMETER_ENVID, OFFER_DSN, true },
	{ "PRDR", VERB_MAIL, PARAMETER_PRDR, OFFER_PRDR, false },
	{ "AUTH", VERB_MAIL, PARAMETER_AUTH, 0, true },
	{ "NOTIFY", VERB_RCPT, PARAMETER_NOTIFY, OFFER_DSN, true },
	{ "ORCPT", VERB_RCPT, PARAMETER_ORCPT, OFFER_DSN, true },
};

/* RFC 5321 section 4.1.2, RFC 6531 section 3.3:
 *   esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *   esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *   esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
 * Deviation: "=" is taken within a value, since some senders leave it there in ORCPT. */
static bool parameter_split(struct slice word, struct slice *keyword, struct slice *value, bool *has_value)
{
	*value = word;
	*keyword = slice_split(value, '=');
	*has_value = keyword->n < word.n;
	if (keyword->n == 0 || keyword->p[0] == '-' || (*has_value && value->n == 0))
		return false;
	for (size_t i = 0; i < keyword->n; i++) {
		char c = keyword->p[i];
		if (!ascii_alpha(c) && !ascii_digit(c) && c != '-')
			return false;
	}
	return utf8_valid(*value);
}

static const struct parameter_definition *parameter_find(enum verb verb, struct slice keyword)
{
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
		if (parameters[i].verb == verb && slice_eq_nocase(keyword, slice_of(parameters[i].name)))
			return &parameters[i];
	}
	return NULL;
}

/* ---- values ---- */

/* RFC 1870 section 3: size-value = 1*20DIGIT. What is larger than any message is just too large. */
static bool size_parse(struct slice value, uint64_t *out)
{
	uint64_t digits;

	for (size_t i = 0; i < value.n; i++) {
		if (!ascii_digit(value.p[i]))
			return false;
	}
	if (value.n == 0 || value.n > 20)
		return false;
	*out = slice_number(value, SIZE_LARGEST, &digits) ? digits : SIZE_LARGEST;
	return true;
}

/* RFC 3461 section 4: xtext = *( xchar / hexchar ), hexchar = "+" and two hexadecimal digits.
 * Deviation: "=" and lower-case digits are taken; it is passed on and not decoded. */
static bool is_xtext(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
		if (s.p[i] == '+' && (s.n - i < 3 || ascii_hex(s.p[i + 1]) < 0 || ascii_hex(s.p[i + 2]) < 0))
			return false;
	}
	return true;
}

/* RFC 3461 section 4.2: original-recipient-address = addr-type ";" xtext, at most 500 octets, addr-type = atom.
 * RFC 6533 section 3: type utf-8 has UTF-8 in it where SMTPUTF8 was asked for, else \x{...}. */
static bool is_orcpt(struct slice value, bool smtputf8)
{
	struct slice rest = value, type = slice_split(&rest, ';');

	if (value.n > 500 || type.n == 0 || type.n == value.n || rest.n == 0)
		return false;
	for (size_t i = 0; i < type.n; i++) {
		if (!ascii_alpha(type.p[i]) && !ascii_digit(type.p[i]) && type.p[i] != '-' && type.p[i] != '.')
			return false;
	}
	if (smtputf8 && slice_eq_nocase(type, SLICE("utf-8")))
		return true;
	return is_xtext(rest);
}

/* RFC 3461 section 4.1: notify-esmtp-value = "NEVER" / 1#notify-list-element,
 * notify-list-element = "SUCCESS" / "FAILURE" / "DELAY" */
static uint8_t notify_parse(struct slice value)
{
	uint8_t bits = 0;

	while (value.n > 0) {
		bool more = slice_find(value, ',') >= 0;
		struct slice word = slice_split(&value, ',');
		if (slice_eq_nocase(word, SLICE("NEVER")))
			bits |= NOTIFY_NEVER;
		else if (slice_eq_nocase(word, SLICE("SUCCESS")))
			bits |= NOTIFY_SUCCESS;
		else if (slice_eq_nocase(word, SLICE("FAILURE")))
			bits |= NOTIFY_FAILURE;
		else if (slice_eq_nocase(word, SLICE("DELAY")))
			bits |= NOTIFY_DELAY;
		else
			return 0;
		if (more && value.n == 0)
			return 0;
	}
	return (bits & NOTIFY_NEVER) && bits != NOTIFY_NEVER ? 0 : bits;
}

static bool mail_value(struct mail_command *m, enum parameter p, struct slice value, struct refusal r)
{
	switch (p) {
	case PARAMETER_SIZE:
		return size_parse(value, &m->size) || refuse(r, REPLY_BAD_ARGUMENT, "SIZE=number");
	case PARAMETER_BODY:
		m->eight_bit_mime = slice_eq_nocase(value, SLICE("8BITMIME"));
		if (slice_eq_nocase(value, SLICE("BINARYMIME")))
			return refuse(r, REPLY_BAD_PARAMETER, "BODY=BINARYMIME");
		return m->eight_bit_mime || slice_eq_nocase(value, SLICE("7BIT")) ||
			refuse(r, REPLY_BAD_ARGUMENT, "BODY=7BIT or BODY=8BITMIME");
	case PARAMETER_SMTPUTF8:
		m->smtputf8 = true;
		return true;
	case PARAMETER_PRDR:
		m->prdr = true;
		return true;
	case PARAMETER_RET:
		m->ret = slice_eq_nocase(value, SLICE("FULL")) ? 'F' : slice_eq_nocase(value, SLICE("HDRS")) ? 'H' : 0;
		return m->ret != 0 || refuse(r, REPLY_BAD_ARGUMENT, "RET=FULL or RET=HDRS");
	case PARAMETER_ENVID:	/* RFC 3461 section 4.4: at most 100 characters */
		m->envid = value;
		return (value.n <= 100 && is_xtext(value)) || refuse(r, REPLY_BAD_ARGUMENT, "ENVID=xtext");
	case PARAMETER_AUTH:	/* RFC 4954 section 5: not trusted, so what it says does not matter */
	default:
		return true;
	}
}

static bool rcpt_value(struct rcpt_command *c, enum parameter p, struct slice value, bool smtputf8, struct refusal r)
{
	if (p == PARAMETER_NOTIFY) {
		c->notify = notify_parse(value);
		return c->notify != 0 ||
			refuse(r, REPLY_BAD_ARGUMENT, "NOTIFY=NEVER or NOTIFY=SUCCESS,FAILURE,DELAY");
	}
	c->orcpt = value;
	return is_orcpt(value, smtputf8) || refuse(r, REPLY_BAD_ARGUMENT, "ORCPT=type;xtext");
}

/* The next parameter of a command, checked against the table. At the end *found is NULL. */
static bool parameter_next(struct slice *rest, enum verb verb, unsigned offers, unsigned *seen,
	const struct parameter_definition **found, struct slice *value, struct refusal r)
{
	struct slice word = slice_word(rest), keyword;
	const struct parameter_definition *def;
	bool has_value;

	*found = NULL;
	if (word.n == 0)
		return true;
	if (!parameter_split(word, &keyword, value, &has_value))
		return refuse(r, REPLY_BAD_ARGUMENT, "malformed parameter");
	def = parameter_find(verb, keyword);
	if (!def)
		return refuse(r, REPLY_BAD_PARAMETER, "unknown keyword");
	if (def->offer && !(offers & def->offer))
		return refuse(r, REPLY_BAD_PARAMETER, def->name);
	if (*seen & def->parameter)
		return refuse(r, REPLY_BAD_ARGUMENT, "a parameter stands twice");
	if (has_value != def->has_value)
		return refuse(r, REPLY_BAD_ARGUMENT, has_value ? "a parameter has a value that takes none" :
			"a parameter lacks its value");
	*seen |= def->parameter;
	*found = def;
	return true;
}

/* ---- commands ---- */

/* RFC 5321 section 3.3: spaces are not permitted on either side of the colon following FROM in the MAIL
 * command or TO in the RCPT command. Behind it they are tolerated, since old devices send them and nothing
 * becomes ambiguous. *rest is moved to the path. */
static bool take_prefix(struct slice *rest, struct slice prefix, const char *syntax, struct refusal r)
{
	if (!slice_starts_nocase(*rest, prefix))
		return refuse(r, REPLY_BAD_ARGUMENT, syntax);
	*rest = slice_from(*rest, prefix.n);
	while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t'))
		*rest = slice_from(*rest, 1);
	if (rest->n == 0 || rest->p[0] != '<')
		return refuse(r, REPLY_BAD_ARGUMENT, syntax);
	return true;
}

static bool ends_path(struct slice rest)
{
	return rest.n == 0 || rest.p[0] == ' ' || rest.p[0] == '\t';
}

/* RFC 5321 section 4.1.1.2: mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF */
bool mail_command_parse(struct mail_command *out, struct slice argument, unsigned offers,
	enum reply_name *reply, const char **why)
{
	struct refusal r = { reply, why };
	struct mail_command m = { .size = 0 };
	const struct parameter_definition *def;
	struct slice rest = argument, value;
	unsigned seen = 0;

	if (!take_prefix(&rest, SLICE("FROM:"), "MAIL FROM:<address>", r))
		return false;
	/* Whether UTF-8 was allowed is known at the end. */
	if (!path_parse(&m.reverse_path, &rest, true, why)) {
		*reply = REPLY_BAD_SENDER;
		return false;
	}
	if (!ends_path(rest))
		return refuse(r, REPLY_BAD_ARGUMENT, "MAIL FROM:<address> parameters");
	for (;;) {
		if (!parameter_next(&rest, VERB_MAIL, offers, &seen, &def, &value, r))
			return false;
		if (!def)
			break;
		if (!mail_value(&m, def->parameter, value, r))
			return false;
	}
	if (m.reverse_path.utf8 && !m.smtputf8)
		return refuse(r, REPLY_BAD_SENDER, "non-ASCII address without SMTPUTF8");
	*out = m;
	return true;
}

/* RFC 5321 section 4.1.1.3:
 *   rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF */
bool rcpt_command_parse(struct rcpt_command *out, struct slice argument, unsigned offers,
	bool smtputf8, enum reply_name *reply, const char **why)
{
	struct refusal r = { reply, why };
	struct rcpt_command c = { .notify = 0 };
	const struct parameter_definition *def;
	struct slice rest = argument, value;
	unsigned seen = 0;

	if (!take_prefix(&rest, SLICE("TO:"), "RCPT TO:<address>", r))
		return false;
	if (!path_parse_forward(&c.forward_path, &rest, smtputf8, why)) {
		*reply = REPLY_BAD_RECIPIENT;
		return false;
	}
	if (!ends_path(rest))
		return refuse(r, REPLY_BAD_ARGUMENT, "RCPT TO:<address> parameters");
	for (;;) {
		if (!parameter_next(&rest, VERB_RCPT, offers, &seen, &def, &value, r))
			return false;
		if (!def)
			break;
		if (!rcpt_value(&c, def->parameter, value, smtputf8, r))
			return false;
	}
	*out = c;
	return true;
}

/* RFC 3030 section 2: bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CR LF, chunk-size = 1*DIGIT,
 * end-marker = "LAST" */
bool bdat_command_parse(struct slice argument, uint64_t *size, bool *last)
{
	struct slice rest = argument, number = slice_word(&rest), marker = slice_word(&rest);
	uint64_t value;

	if (!slice_number(number, SIZE_LARGEST, &value) || slice_word(&rest).n > 0)
		return false;
	if (marker.n > 0 && !slice_eq_nocase(marker, SLICE("LAST")))
		return false;
	*size = value;
	*last = marker.n > 0;
	return true;
}

/* RFC 5321 section 4.1.1.1: helo = "HELO" SP Domain CRLF, ehlo = "EHLO" SP ( Domain / address-literal ) CRLF.
 * Deviation: one word of visible characters, whatever it says. */
bool helo_argument_parse(struct slice argument, struct slice *out)
{
	if (argument.n == 0 || argument.n > 255)
		return false;
	for (size_t i = 0; i < argument.n; i++) {
		if (argument.p[i] <= ' ' || argument.p[i] > '~')
			return false;
	}
	*out = argument;
	return true;
}
