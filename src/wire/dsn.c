/*
 * Fields of reports, group by group.
 *
 * One table says which field goes where; a reader of lines does the rest. Rejected: header_push() per group, since it
 * ends at the first odd line, and reports of the wild have them.
 */
#include "wire/dsn.h"

#include "wire/field_name.h"

/* ---- values ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* RFC 3463 section 2:   status-code = class "." subject "." detail
 *   class = "2"/"4"/"5", subject = 1*3digit, detail = 1*3digit */
struct slice dsn_status(struct slice value)
{
	struct slice s = slice_trim(value);
	size_t n = 0, dots = 0, digits = 0;

	if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
		return SLICE_NULL;
	for (n = 2, dots = 1; n < s.n; n++) {
		if (ascii_digit(s.p[n]) && digits < 3) {
			digits++;
		} else if (s.p[n] == '.' && digits > 0 && dots == 1) {
			dots++;
			digits = 0;
		} else {
			break;
		}
	}
	return dots == 2 && digits > 0 ? slice_head(s, n) : SLICE_NULL;
}

/* Without comments in parentheses. */
static struct slice without_comment(struct slice s)
{
	ptrdiff_t open = slice_find(s, '(');

	return slice_trim(open >= 0 ? slice_head(s, (size_t)open) : s);
}

/* RFC 6533 section 3: EmbeddedUnicodeChar = "\x{" HEXPOINT "}" stands for a character. */
static struct slice embedded_unicode(struct arena *a, struct slice s)
{
	struct str out = STR_IN(a);

	if (slice_search(s, SLICE("\\x{")) < 0)
		return s;
	for (size_t i = 0; i < s.n; i++) {
		uint64_t c = 0;
		size_t digits = 0, at = i + 3;
		if (slice_starts(slice_from(s, i), SLICE("\\x{")))
			for (; at < s.n && digits < 6 && ascii_hex(s.p[at]) >= 0; at++, digits++)
				c = c << 4 | (uint64_t)ascii_hex(s.p[at]);
		if (digits > 1 && at < s.n && s.p[at] == '}' && c >= 0x10 && c <= 0x10ffff &&
		    (c < 0xd800 || c > 0xdfff)) {
			str_utf8(&out, (uint32_t)c);
			i = at;
		} else {
			str_addc(&out, s.p[i]);
		}
	}
	return str_slice(&out);
}

/* RFC 3464 section 2.3.2:   final-recipient-field = "Final-Recipient" ":" address-type ";" generic-address */
struct slice dsn_address(struct arena *a, struct slice value)
{
	ptrdiff_t semicolon = slice_find(value, ';');
	struct slice s = slice_trim(value), type = SLICE_NULL;
	ptrdiff_t open, close;

	/* Some leave the type out; one in front of which an "@" stands is none. */
	if (semicolon >= 0 && slice_find(slice_head(value, (size_t)semicolon), '@') < 0) {
		type = slice_trim(slice_head(value, (size_t)semicolon));
		s = slice_trim(slice_from(value, (size_t)semicolon + 1));
	}
	if (slice_eq_nocase(type, SLICE("utf-8")))
		s = embedded_unicode(a, s);
	open = slice_find(s, '<');
	close = open >= 0 ? slice_find(slice_from(s, (size_t)open), '>') : -1;
	if (close > 1)
		s = slice_trim(slice_head(slice_from(s, (size_t)open + 1), (size_t)close - 1));
	else if (s.n > 0 && s.p[0] != '"')
		s = without_comment(s);
	while (s.n > 0 && (s.p[0] == '<' || s.p[0] == ' '))
		s = slice_from(s, 1);
	while (s.n > 0 && (s.p[s.n - 1] == '>' || s.p[s.n - 1] == ';'))
		s.n--;
	return s;
}

static struct slice lower_word(struct arena *a, struct slice value)
{
	struct slice rest = without_comment(value), word = slice_word(&rest);
	size_t n = 0;

	while (n < word.n && (ascii_alpha(word.p[n]) || word.p[n] == '-'))
		n++;
	return slice_lower(a, slice_head(word, n));
}

/* ---- fields ---- */

enum place {
	PLACE_NONE,
	FINAL, ORIGINAL, ACTION, STATUS, DIAGNOSTIC, REMOTE_MTA,	/* of a recipient */
	OF_MESSAGE,
	REPORTING_MTA, ENVELOPE_ID, ARRIVAL_DATE, DISPOSITION, ORIGINAL_MESSAGE_ID,
	FEEDBACK_TYPE, ORIGINAL_MAIL_FROM, ORIGINAL_RCPT_TO, SOURCE_IP,
};

/* By the name of the field; PLACE_NONE: it is not looked at. */
static const uint8_t places[FIELD_ID_COUNT] = {
	[FIELD_FINAL_RECIPIENT] = FINAL,
	[FIELD_ORIGINAL_RECIPIENT] = ORIGINAL,
	[FIELD_ACTION] = ACTION,
	[FIELD_STATUS] = STATUS,
	[FIELD_DIAGNOSTIC_CODE] = DIAGNOSTIC,
	[FIELD_REMOTE_MTA] = REMOTE_MTA,
	[FIELD_REPORTING_MTA] = REPORTING_MTA,
	[FIELD_ORIGINAL_ENVELOPE_ID] = ENVELOPE_ID,
	[FIELD_ARRIVAL_DATE] = ARRIVAL_DATE,
	[FIELD_DISPOSITION] = DISPOSITION,
	[FIELD_ORIGINAL_MESSAGE_ID] = ORIGINAL_MESSAGE_ID,
	[FIELD_FEEDBACK_TYPE] = FEEDBACK_TYPE,
	[FIELD_ORIGINAL_MAIL_FROM] = ORIGINAL_MAIL_FROM,
	[FIELD_ORIGINAL_RCPT_TO] = ORIGINAL_RCPT_TO,
	[FIELD_SOURCE_IP] = SOURCE_IP,
};

struct reader {
	struct arena *arena;
	struct dsn *out;
	struct dsn_recipient *at, **last;	/* the group at hand; NULL: none yet */
};

static void set_once(struct slice *slot, struct slice value)
{
	if (slot->n == 0)
		*slot = value;
}

/* The group at hand, or a new one. NULL: there are too many. */
static struct dsn_recipient *group_of(struct reader *r, enum place place)
{
	struct dsn_recipient *g = r->at;
	bool taken = g && ((place == FINAL && g->final.n > 0) ||
		(place == ORIGINAL && (g->original.n > 0 || g->final.n > 0) && g->action.n > 0));

	if (g && !taken)
		return g;
	if (r->out->count == DSN_RECIPIENTS_MAX)
		return NULL;
	g = arena_new(r->arena, struct dsn_recipient);
	*r->last = g;
	r->last = &g->next;
	r->out->count++;
	r->at = g;
	return g;
}

static void recipient_field(struct reader *r, enum place place, struct slice value)
{
	struct dsn_recipient *g = group_of(r, place);
	struct slice address;

	if (!g)
		return;
	switch (place) {
	case FINAL:
	case ORIGINAL:
		address = dsn_address(r->arena, value);
		set_once(place == FINAL ? &g->final : &g->original, address);
		set_once(place == FINAL ? &r->out->final_recipient : &r->out->original_recipient, address);
		break;
	case ACTION:
		set_once(&g->action, lower_word(r->arena, value));
		break;
	case STATUS:
		set_once(&g->status, dsn_status(value));
		break;
	case DIAGNOSTIC:
		set_once(&g->diagnostic, value);
		break;
	default:
		set_once(&g->remote_mta, value);
		break;
	}
}

static void message_field(struct dsn *d, enum place place, struct slice value)
{
	switch (place) {
	case REPORTING_MTA:
		set_once(&d->reporting_mta, value);
		break;
	case ENVELOPE_ID:
		set_once(&d->envelope_id, value);
		break;
	case ARRIVAL_DATE:
		set_once(&d->arrival_date, value);
		break;
	case DISPOSITION:
		set_once(&d->disposition, value);
		break;
	case ORIGINAL_MESSAGE_ID:
		set_once(&d->original_message_id, value);
		break;
	case FEEDBACK_TYPE:
		set_once(&d->feedback_type, value);
		break;
	case ORIGINAL_MAIL_FROM:
		set_once(&d->original_mail_from, value);
		break;
	case ORIGINAL_RCPT_TO:
		set_once(&d->original_rcpt_to, value);
		break;
	default:
		set_once(&d->source_ip, value);
		break;
	}
}

/* RFC 5322 section 2.2.3, but folds may end in LF alone. */
static struct slice unfolded(struct arena *a, struct slice raw)
{
	struct slice s = slice_trim(raw);
	struct str out = STR_IN(a);

	if (slice_find(s, '\n') < 0)
		return s;
	str_room(&out, s.n);
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '\r' && s.p[i] != '\n')
			str_addc(&out, s.p[i]);
	return str_slice(&out);
}

static void field_read(struct reader *r, struct slice raw)
{
	ptrdiff_t colon = slice_find(raw, ':');
	struct slice value;
	enum place place;

	if (colon <= 0 || r->out->fields == DSN_FIELDS_MAX)
		return;
	r->out->fields++;
	place = (enum place)places[field_id(slice_trim(slice_head(raw, (size_t)colon)))];
	if (place == PLACE_NONE)
		return;
	value = unfolded(r->arena, slice_from(raw, (size_t)colon + 1));
	if (place < OF_MESSAGE)
		recipient_field(r, place, value);
	else
		message_field(r->out, place, value);
}

/* A field with its folds. */
static struct slice take_field(struct slice *rest)
{
	size_t end = 0;
	struct slice field;

	do {
		ptrdiff_t lf = slice_find(slice_from(*rest, end), '\n');
		end = lf >= 0 ? end + (size_t)lf + 1 : rest->n;
	} while (end < rest->n && (rest->p[end] == ' ' || rest->p[end] == '\t') &&
		 slice_trim(slice_head(slice_from(*rest, end), 80)).n > 0);
	field = slice_head(*rest, end);
	*rest = slice_from(*rest, end);
	return field;
}

void dsn_read(struct arena *a, struct slice text, struct dsn *out)
{
	struct reader r = { .arena = a, .out = out, .last = &out->recipients };

	*out = (struct dsn){ .count = 0 };
	while (text.n > 0) {
		struct slice raw = take_field(&text);
		if (is_space(raw.p[0]) && slice_trim(raw).n == 0) {
			/* A group that names nobody yet goes on: some write blank lines anywhere. */
			if (r.at && (r.at->final.n > 0 || r.at->original.n > 0) && r.at->action.n > 0)
				r.at = NULL;
		} else {
			field_read(&r, raw);
		}
	}
}
