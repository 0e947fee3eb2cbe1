/*
 * Whom does the text of a notice say failed?
 *
 * An address at the beginning of a line is what most systems write ("<bob@example.net>:", "  bob@example.net", "bob@example.net
 * on Wed, ..."); others put it behind a label, into the transcript of the dialogue, or into a sentence. The places
 * are tried in the order of what they are worth, and the first that names anybody decides. Addresses that
 * the notice has for another reason are left out: the sender, whom to ask for help.
 */
#include "check/notice_part.h"

#define DIAGNOSTIC_MAX 500u
#define NOWHERE UINT32_MAX
#define BLOCK_LINES 14u		/* behind an address: what is said of it */

/* ---- addresses in text ---- */

/* RFC 5322 section 3.2.3: atext, and the dot; a bit for each octet of ASCII. RFC 6532 section 3.2: what is beyond it. */
static bool is_local_char(char c)
{
	static const uint64_t inside[2] = { 0xa3ffecfa00000000, 0x7fffffffc7fffffe };
	unsigned char u = (unsigned char)c;

	return u >= 0x80 || (inside[u >> 6] >> (u & 63) & 1);
}

static bool is_domain_char(char c)
{
	return ascii_alpha(c) || ascii_digit(c) || c == '-' || c == '.' || c == '_' || (unsigned char)c >= 0x80;
}

size_t notice_address_at(struct slice s)
{
	size_t n = 0, at, dots = 0;

	if (s.n > 0 && s.p[0] == '\'')	/* a quotation mark rather than a local part */
		return 0;
	if (s.n > 0 && s.p[0] == '"') {
		for (n = 1; n < s.n && n < 66 && s.p[n] != '"'; n++)
			;
		n++;
	} else {
		while (n < s.n && n <= 300 && is_local_char(s.p[n]))
			n++;
	}
	if (n > 5 && slice_starts_nocase(s, SLICE("smtp=")))	/* X.400: dda:SMTP=bob@example.net */
		return 0;
	if (n == 0 || n >= s.n || s.p[n] != '@')
		return 0;
	at = n++;
	while (n < s.n && n - at <= 255 && is_domain_char(s.p[n]))
		dots += s.p[n++] == '.';
	while (n > at + 1 && (s.p[n - 1] == '.' || s.p[n - 1] == '-' || s.p[n - 1] == '_'))
		n--;
	return n > at + 2 && (dots > 0 || n > at + 3) ? n : 0;
}

static bool is_known(const struct notice *out, struct slice address)
{
	for (const struct notice_recipient *r = out->recipients; r; r = r->next)
		if (slice_eq_nocase(r->address, address) || slice_eq_nocase(r->original, address))
			return true;
	return false;
}

void notice_recipient_add(struct arena *a, struct notice *out, const struct notice_recipient *r)
{
	struct notice_recipient **last = &out->recipients, *copy;

	if (r->address.n == 0 || r->address.n > 320 || out->recipient_count == NOTICE_RECIPIENTS_MAX ||
	    is_known(out, r->address))
		return;
	while (*last)
		last = &(*last)->next;
	copy = arena_new(a, struct notice_recipient);
	*copy = *r;
	copy->next = NULL;
	copy->address = slice_lower(a, r->address);
	*last = copy;
	out->recipient_count++;
}

/* ---- what is said of it ---- */

/* RFC 3463 in running text: not a part of a number with more dots. */
struct slice notice_status_in(struct slice s)
{
	for (size_t i = 0; i + 5 <= s.n; i++) {
		const char *dot = memchr(s.p + i + 1, '.', s.n - i - 1);
		struct slice status;
		if (!dot)
			break;
		i = (size_t)(dot - s.p) - 1;
		if (s.p[i] != '5' && s.p[i] != '4' && s.p[i] != '2')
			continue;
		if (i > 0 && (ascii_digit(s.p[i - 1]) || s.p[i - 1] == '.' || ascii_alpha(s.p[i - 1])))
			continue;
		status = dsn_status(slice_from(s, i));
		if (status.n == 0 || (i + status.n + 1 < s.n && (s.p[i + status.n] == '.' || s.p[i + status.n] == '-') &&
		    ascii_digit(s.p[i + status.n + 1])))
			continue;
		if (i + status.n < s.n && ascii_digit(s.p[i + status.n]))
			continue;
		return status;
	}
	return SLICE_NULL;
}

struct search {
	struct arena *arena;
	const struct notice_text *t;
	const struct notice_text_context *context;
	struct notice *out;
	uint32_t *at_line;	/* for each recipient, where it was found, or NOWHERE */
	uint32_t *ats, at_count;	/* the lines with an at sign, without which there is no address */
	bool given;		/* the recipients are known; only their places are looked for */
};

static bool is_other(const struct search *s, struct slice address)
{
	for (size_t i = 0; i < 4; i++)
		if (slice_eq_nocase(s->context->others[i], address))
			return true;
	return false;
}

/* "(expanded from: <x@y>)" in the lines behind: that is whom we wrote to (Sendmail). */
static struct slice expanded_from(const struct search *s, uint32_t line)
{
	for (uint32_t i = line; i < s->t->end && i <= line + 4; i++) {
		ptrdiff_t at = slice_search_nocase(s->t->lines[i], SLICE("(expanded from: "));
		struct slice rest;
		size_t n;
		if (at < 0)
			continue;
		rest = slice_from(s->t->lines[i], (size_t)at + 16);
		if (rest.n > 0 && rest.p[0] == '<')
			rest = slice_from(rest, 1);
		n = notice_address_at(rest);
		return slice_head(rest, n);
	}
	return SLICE_NULL;
}

/* Keeps it; one that is known already (X-Failed-Recipients) gets its line. */
static void keep(struct search *s, struct slice address, uint32_t line)
{
	struct notice_recipient r = { .address = address }, *known = s->out->recipients;
	struct slice expanded = expanded_from(s, line);
	uint32_t before = s->out->recipient_count;

	if (expanded.n > 0)
		r.address = expanded;
	for (uint32_t i = 0; known; i++, known = known->next)
		if (slice_eq_nocase(known->address, r.address) && s->at_line[i] == NOWHERE)
			s->at_line[i] = line;
	if (s->given)
		return;
	notice_recipient_add(s->arena, s->out, &r);
	if (s->out->recipient_count > before)
		s->at_line[before] = line;
}

static bool found(struct search *s, struct slice address, uint32_t line)
{
	if (is_other(s, address))
		return false;
	keep(s, address, line);
	return true;
}

/* ---- places ---- */

/* Leading bullets, quotes, brackets. */
static struct slice without_bullet(struct slice line)
{
	line = slice_trim(line);
	while (line.n > 0 && memchr("<*-\"'>[({|:;#", line.p[0], 13))
		line = slice_trim(slice_from(line, 1));
	if (slice_starts_nocase(line, SLICE("mailto:")))
		line = slice_from(line, 7);
	return line;
}

/* The line asks the reader to write to somebody. */
static bool is_contact(struct arena *a, const struct notice_text *t, uint32_t i)
{
	static const struct slice words[] = { NAME("contact"), NAME("please send"), NAME("further assistance"), NAME("for help"), NAME("questions"),
		NAME("forward this"), NAME("mail to:"), NAME("reply to"), NAME("abuse@"), NAME("helpdesk"),
		NAME("postmaster@"), NAME("if you "), NAME("for assistance"), NAME("more information"), NAME("administrator") };
	struct slice line = phrases_fold(a, t->lines[i], 200);

	for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
		if (slice_search(line, words[k]) >= 0)
			return true;
	return false;
}

/* An address begins the line. */
static void at_line_start(struct search *s)
{
	for (uint32_t at = 0; at < s->at_count; at++) {
		uint32_t i = s->ats[at];
		struct slice line = without_bullet(s->t->lines[i]), rest;
		size_t n = notice_address_at(line);
		if (n == 0)
			continue;
		rest = slice_from(line, n);
		/* In the middle of prose a line may begin with one by chance: then the sentence goes on. */
		if (rest.n > 1 && rest.p[0] == ' ' && ascii_alpha(rest.p[1]) && i > 0 &&
		    slice_trim(s->t->lines[i - 1]).n > 50 && is_contact(s->arena, s->t, i - 1))
			continue;
		/* "<bob@example.net>:" and an address with nothing behind it are meant, whoever it is. */
		if (rest.n == 0 || (rest.n > 1 && rest.p[0] == '>' && rest.p[1] == ':') || slice_eq(rest, SLICE(">")))
			keep(s, slice_head(line, n), i);
		else if (!(rest.p[0] == '>' && rest.n > 2 && rest.p[1] == ' ' && is_contact(s->arena, s->t, i)))
			found(s, slice_head(line, n), i);
	}
}

/* "To:" with "Subject:" behind it is what the original said (Exchange). */
static bool is_quoted_to(const struct notice_text *t, uint32_t i)
{
	if (!slice_starts_nocase(slice_trim(t->lines[i]), SLICE("To:")))
		return false;
	for (uint32_t k = i + 1; k < t->end && k <= i + 3; k++)
		if (slice_starts_nocase(slice_trim(t->lines[k]), SLICE("Subject:")))
			return true;
	return false;
}

/* Behind a label. */
static void at_label(struct search *s, const struct slice *labels)
{
	for (uint32_t at_line = 0; at_line < s->at_count; at_line++) {
		uint32_t i = s->ats[at_line];
		struct slice line = phrases_fold(s->arena, s->t->lines[i], 400);
		for (size_t k = 0; labels[k].n > 0 && !is_quoted_to(s->t, i); k++) {
			ptrdiff_t at = slice_search(line, labels[k]), semicolon;
			struct slice rest;
			size_t n;
			if (at < 0)
				continue;
			rest = slice_from(line, (size_t)at + labels[k].n);
			semicolon = slice_find(slice_head(rest, 12), ';');
			if (semicolon >= 0)
				rest = slice_from(rest, (size_t)semicolon + 1);
			rest = without_bullet(rest);
			n = notice_address_at(rest);
			if (n > 0 && found(s, slice_head(rest, n), i))
				break;
		}
	}
}

/* A local part alone, on lines of their own behind "... to the following recipients ...:" (AOL). */
static void at_local_part(struct search *s)
{
	ptrdiff_t at = slice_find(s->context->author, '@');
	bool announced = false;

	for (uint32_t i = 0; at > 0 && i < s->t->end; i++) {
		struct slice rest = s->t->lines[i], line = slice_trim(rest), word = slice_word(&rest);
		if (announced && line.n > 0 && line.n < 65 && word.n == line.n && slice_find(word, '@') < 0 &&
		    (s->t->lines[i].p[0] == ' ' || s->t->lines[i].p[0] == '\t')) {
			struct str address = STR_IN(s->arena);
			str_add(&address, word);
			str_add(&address, slice_from(s->context->author, (size_t)at));
			keep(s, str_slice(&address), i);
		} else if (line.n > 0) {
			announced = line.p[line.n - 1] == ':' && slice_search_nocase(s->t->folded, SLICE("recipient")) >= 0;
		}
	}
}

/* "550 <bob@example.net>... User unknown" */
static void in_reply(struct search *s)
{
	for (uint32_t at = 0; at < s->at_count; at++) {
		uint32_t i = s->ats[at];
		struct slice line = slice_trim(s->t->lines[i]);
		if (slice_starts(line, SLICE("<<<")))
			line = slice_trim(slice_from(line, 3));
		if (line.n < 8 || (line.p[0] != '4' && line.p[0] != '5') || !ascii_digit(line.p[1]) ||
		    !ascii_digit(line.p[2]))
			continue;
		for (size_t k = 3; k < line.n; k++) {
			size_t n = line.p[k - 1] == '<' || line.p[k - 1] == ' ' || line.p[k - 1] == '(' ?
				notice_address_at(slice_from(line, k)) : 0;
			if (n > 0 && found(s, slice_head(slice_from(line, k), n), i))
				break;
		}
	}
}

/* Anywhere. */
static void in_sentence(struct search *s, bool contacts)
{
	for (uint32_t at = 0; at < s->at_count; at++) {
		uint32_t i = s->ats[at];
		struct slice line = s->t->lines[i];
		if (is_quoted_to(s->t, i) || (!contacts && is_contact(s->arena, s->t, i)))
			continue;
		for (size_t k = 0; k < line.n && k < 1000; k++) {
			bool begins = k == 0 || !is_local_char(line.p[k - 1]) || line.p[k - 1] == '=' ||
				line.p[k - 1] == '\'';
			size_t n = begins ? notice_address_at(slice_from(line, k)) : 0;
			if (n > 0) {
				found(s, slice_head(slice_from(line, k), n), i);
				k += n;
			}
		}
	}
}

/* ---- all ---- */

static struct slice lines_between(const struct notice_text *t, uint32_t from, uint32_t to)
{
	return slice_make(t->lines[from].p, (size_t)(t->lines[to - 1].p + t->lines[to - 1].n - t->lines[from].p));
}

/* One line, white space runs as one space. */
static struct slice one_line(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);
	struct slice word;

	text = slice_head(text, DIAGNOSTIC_MAX * 2);
	while (text.n > 0 && out.n < DIAGNOSTIC_MAX) {
		size_t n = 0;
		while (n < text.n && !ascii_space(text.p[n]))
			n++;
		word = slice_head(text, n);
		text = slice_from(text, n + 1);
		if (word.n > 0 && out.n > 0)
			str_addc(&out, ' ');
		str_add(&out, word);
	}
	return str_slice(&out);
}

/* Status and diagnostic of each, from the lines up to the next one. */
static void describe(struct search *s)
{
	struct notice_recipient *r = s->out->recipients;

	for (uint32_t k = 0; r; k++, r = r->next) {
		uint32_t from = s->at_line[k], to = s->t->end;
		if (from == NOWHERE)
			continue;
		for (uint32_t other = 0; other < s->out->recipient_count; other++)
			if (s->at_line[other] > from && s->at_line[other] < to)
				to = s->at_line[other];
		if (to > from + BLOCK_LINES)
			to = from + BLOCK_LINES;
		if (to <= from)
			to = from + 1;
		if (r->status.n == 0)
			r->status = notice_status_in(lines_between(s->t, from, to));
		if (r->diagnostic.n == 0)
			r->diagnostic = one_line(s->arena, lines_between(s->t, from, to));
	}
	/* One recipient, and the status stands elsewhere. */
	r = s->out->recipients;
	if (r && !r->next && r->status.n == 0 && s->t->end > 0)
		r->status = notice_status_in(lines_between(s->t, 0, s->t->end));
}

/* The lines of the notice's own that have an at sign, in one walk over the text. */
static void ats_find(struct search *s)
{
	const struct notice_text *t = s->t;
	struct slice rest = t->end > 0 ? lines_between(t, 0, t->end) : SLICE_NULL;
	uint32_t line = 0;
	ptrdiff_t at;

	s->ats = arena_alloc(s->arena, arena_times(t->end + 1, sizeof(*s->ats)));
	while ((at = slice_find(rest, '@')) >= 0) {
		const char *p = rest.p + at;
		while (t->lines[line].p + t->lines[line].n <= p)
			line++;
		s->ats[s->at_count++] = line;
		rest = line + 1 < t->end ? lines_between(t, line + 1, t->end) : SLICE_NULL;
	}
}

void notice_text_recipients(struct arena *a, const struct notice_text *t, const struct notice_text_context *context,
	struct notice *out)
{
	static const struct slice transcript[] = { NAME("rcpt to:"), { NULL, 0 } };
	static const struct slice labels[] = { NAME("recipient:"), NAME("recipients:"), NAME("delivery failed:"), NAME("address:"), NAME("to:"), NAME("the recipient was:"),
		NAME("user:"), NAME("empf\xc3\xa4nger:"), NAME("destinataire:"), NAME("destinatario:"), NAME("for:"), { NULL, 0 } };
	struct search s = { .arena = a, .t = t, .context = context, .out = out, .given = out->recipient_count > 0,
		.at_line = arena_array(a, uint32_t, NOTICE_RECIPIENTS_MAX) };

	for (size_t i = 0; i < NOTICE_RECIPIENTS_MAX; i++)
		s.at_line[i] = NOWHERE;
	ats_find(&s);
	at_line_start(&s);
	if (out->recipient_count == 0) {
		at_label(&s, transcript);
		in_reply(&s);
	}
	if (out->recipient_count == 0)
		at_label(&s, labels);
	if (out->recipient_count == 0)
		at_local_part(&s);
	if (out->recipient_count == 0)
		in_sentence(&s, false);
	if (out->recipient_count == 0)
		in_sentence(&s, true);
	describe(&s);
}
