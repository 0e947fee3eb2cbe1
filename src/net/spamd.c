/*
 * SPAMC, linear.
 *
 * Rejected: PROCESS and HEADERS, which give the message back as the daemon would have it: what is relayed is what
 * came, with our mark on top, and no daemon rewrites it. A kept connection: spamd serves one question each.
 */
#include "net/spamd.h"

#define SYMBOLS_MOST 2000
#define SCORE_MOST 1000000	/* thousandths; beyond it all scores are alike */

bool spamd_user_valid(struct slice user)
{
	if (user.n == 0 || user.n > 254)
		return false;
	for (size_t i = 0; i < user.n; i++)
		if (!ascii_alpha(user.p[i]) && !ascii_digit(user.p[i]) && !strchr("-_.@+", user.p[i]))
			return false;
	return user.p[0] != '-';
}

/* A decimal number with sign and fraction, in thousandths, capped at SCORE_MOST. */
static bool parse_score(struct slice s, int32_t *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	int64_t whole = 0, part = 0, place = 100;
	size_t i = negative, digits = 0;

	for (; i < s.n && ascii_digit(s.p[i]); i++, digits++)
		whole = whole >= SCORE_MOST ? SCORE_MOST : whole * 10 + (s.p[i] - '0');
	if (i < s.n && s.p[i] == '.')
		for (i++; i < s.n && ascii_digit(s.p[i]); i++, digits++, place /= 10)
			part += (s.p[i] - '0') * place;
	if (digits == 0 || i != s.n)
		return false;
	whole = whole * 1000 + part;
	if (whole > SCORE_MOST)
		whole = SCORE_MOST;
	*out = (int32_t)(negative ? -whole : whole);
	return true;
}

/* "True ; 15.0 / 5.0" */
static bool parse_verdict(struct spamd_answer *r, struct slice value)
{
	struct slice word = slice_word(&value);

	if (slice_eq_nocase(word, SLICE("True")) || slice_eq_nocase(word, SLICE("Yes")))
		r->spam = true;
	else if (!slice_eq_nocase(word, SLICE("False")) && !slice_eq_nocase(word, SLICE("No")))
		return false;
	return slice_eq(slice_word(&value), SLICE(";")) && parse_score(slice_word(&value), &r->score) &&
		slice_eq(slice_word(&value), SLICE("/")) && parse_score(slice_word(&value), &r->threshold) &&
		slice_word(&value).n == 0;
}

/* A line up to CRLF; false if there is none. */
static bool take_line(struct slice *rest, struct slice *line)
{
	ptrdiff_t end = slice_search(*rest, SLICE("\r\n"));

	if (end < 0)
		return false;
	*line = slice_head(*rest, (size_t)end);
	*rest = slice_from(*rest, (size_t)end + 2);
	return true;
}

/* "SPAMD/1.1 0 EX_OK" */
static bool parse_status(struct slice line, struct arena *a, const char **why)
{
	struct str shown = STR_IN(a);
	struct slice rest = line, version = slice_word(&rest), code = slice_word(&rest);
	uint64_t number;

	*why = "malformed answer: no status";
	if (!slice_starts(version, SLICE("SPAMD/")) || !slice_number(code, 255, &number))
		return false;
	if (number == 0)
		return true;
	str_puts(&shown, "spamd: ");
	str_escaped(&shown, line, 200);
	*why = str_cstr(&shown);
	return false;
}

static const char *shown_symbols(struct arena *a, struct slice body)
{
	struct str out = STR_IN(a);

	str_escaped(&out, slice_trim(body), SYMBOLS_MOST);
	return str_cstr(&out);
}

bool spamd_answer_parse(struct spamd_answer *out, struct slice text, struct arena *a, const char **why)
{
	struct spamd_answer r = { 0 };
	bool judged = false, measured = false;
	uint64_t length = 0;
	struct slice line;

	*why = "malformed answer: half of it";
	if (!take_line(&text, &line))
		return false;
	if (!parse_status(line, a, why))
		return false;
	for (;;) {
		struct slice value;

		*why = "malformed answer: half of it";
		if (!take_line(&text, &line))
			return false;
		if (line.n == 0)
			break;
		value = line;
		line = slice_trim(slice_split(&value, ':'));
		*why = "malformed answer: header";
		if (slice_eq_nocase(line, SLICE("Spam"))) {
			if (judged || !parse_verdict(&r, slice_trim(value)))
				return false;
			judged = true;
		} else if (slice_eq_nocase(line, SLICE("Content-length"))) {
			if (measured || !slice_number(slice_trim(value), SPAMD_ANSWER_MOST, &length))
				return false;
			measured = true;
		}
	}
	*why = "malformed answer: no verdict";
	if (!judged)
		return false;
	*why = "malformed answer: not as long as it says";
	if (measured && length != text.n)
		return false;
	r.symbols = shown_symbols(a, text);
	*out = r;
	return true;
}

/* ---- the dialogue ---- */

static bool wait_failed(struct stream *s, enum wait_result r, const char *late, const char **why)
{
	if (r == WAIT_READY && s->state != STREAM_FAILED)
		return false;
	*why = r == WAIT_CANCELLED ? "cancelled" : r == WAIT_TIMEOUT ? late : "connection closed";
	return true;
}

static ASYNC bool send_message(struct stream *s, const struct spamd_question *q, const char **why, deadline d)
{
	uint64_t sent = 0;
	struct slice piece;

	stream_printf(s, "SYMBOLS SPAMC/1.5\r\nContent-length: %llu\r\n", (unsigned long long)q->size);
	if (q->user.n > 0)
		stream_printf(s, "User: %.*s\r\n", SLICE_ARG(q->user));
	stream_write(s, SLICE("\r\n"));
	*why = "the message cannot be read";
	while (q->message->next(q->message, &piece)) {
		struct iovec iov = { (char *)piece.p, piece.n };

		if (piece.n == 0) {
			*why = "the message is not as long as it was";
			return sent == q->size && !wait_failed(s, stream_drain(s, "spamd question", d),
				"timeout: spamd takes no data", why);
		}
		sent += piece.n;
		if (wait_failed(s, stream_send(s, &iov, 1, "spamd question", d), "timeout: spamd takes no data", why))
			return false;
	}
	return false;
}

/* All it says until it closes. */
static ASYNC bool read_all(struct stream *s, const char **why, deadline d)
{
	while (s->state == STREAM_OPEN) {
		if (stream_input(s).n > SPAMD_ANSWER_MOST) {
			*why = "malformed answer: too long";
			return false;
		}
		if (wait_failed(s, stream_read(s, "spamd answer", d), "timeout: spamd does not answer", why))
			return false;
	}
	*why = "connection closed";
	return s->state == STREAM_EOF;
}

ASYNC bool spamd_check(const struct endpoint *to, const struct spamd_question *q, struct arena *a,
	struct spamd_answer *out, const char **why, deadline d)
{
	struct stream s = { .watch.fd = -1 };
	bool ok;

	if (!stream_connect(&s, to, why, "spamd connect", d))
		return false;
	ok = send_message(&s, q, why, d);
	if (ok) {
		shutdown(s.watch.fd, SHUT_WR);
		ok = read_all(&s, why, d) && spamd_answer_parse(out, stream_input(&s), a, why);
	}
	stream_abort(&s);
	return ok;
}

ASYNC bool spamd_ping(const struct endpoint *to, const char **why, deadline d)
{
	struct stream s = { .watch.fd = -1 };
	struct slice text;
	bool ok;

	if (!stream_connect(&s, to, why, "spamd connect", d))
		return false;
	stream_write(&s, SLICE("PING SPAMC/1.5\r\n\r\n"));
	ok = !wait_failed(&s, stream_drain(&s, "spamd ping", d), "timeout: spamd takes no data", why);
	if (ok) {
		shutdown(s.watch.fd, SHUT_WR);
		ok = read_all(&s, why, d);
	}
	text = stream_input(&s);
	if (ok && (!slice_starts(text, SLICE("SPAMD/")) || slice_search(text, SLICE(" 0 PONG\r\n")) < 0)) {
		*why = "malformed answer to PING";
		ok = false;
	}
	stream_abort(&s);
	return ok;
}
