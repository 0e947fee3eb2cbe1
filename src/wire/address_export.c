/*
 * Exports: rows, cells, values.
 *
 * Columns are known by their names, of which only the letters count ("Email Address [Required]" is emailaddressrequired).
 * The name that somebody logs in with (userPrincipalName) is taken for an address only where no column holds addresses: it often
 * is one, but need not be. Recovery and secondary addresses lie at other sites and are not taken.
 *
 * Google bounces mail for suspended accounts, so their rows give nothing. Microsoft's "Block credential" only
 * forbids to log in (shared mailboxes have it): those rows count.
 *
 * Lists within a cell come as "SMTP:a@x+smtp:b@x", "smtp:a@x;smtp:b@x" or "{SMTP:a@x, smtp:b@x}". A plus sign separates only where a
 * type follows it: it is also part of addresses.
 */
#include "wire/address_export.h"

static const char *const address_columns[] = { "proxyaddresses", "emailaddresses", "emailaddressrequired", "emailaddress",
	"primarysmtpaddress", "windowsemailaddress", "groupemailrequired", "groupemail", "email", "mail", "address" };
static const char *const login_columns[] = { "userprincipalname", "username" };
static const char *const status_columns[] = { "statusreadonly", "status" };

/* ---- rows ---- */

/* A cell in quotes: its text without them. false: the quote does not end. */
static bool read_quoted(struct slice *rest, struct arena *a, struct slice *cell)
{
	struct str text = STR_IN(a);
	size_t i = 1;

	for (;; i++) {
		if (i >= rest->n)
			return false;
		if (rest->p[i] != '"') {
			str_addc(&text, rest->p[i]);
		} else if (i + 1 < rest->n && rest->p[i + 1] == '"') {
			str_addc(&text, '"');
			i++;
		} else {
			break;
		}
	}
	*cell = str_slice(&text);
	*rest = slice_from(*rest, i + 1);
	return true;
}

static struct slice read_plain(struct slice *rest, char separator)
{
	size_t i = 0;

	while (i < rest->n && rest->p[i] != separator && rest->p[i] != '\n' && rest->p[i] != '\r')
		i++;
	struct slice cell = slice_head(*rest, i);
	*rest = slice_from(*rest, i);
	return cell;
}

/* One row into cells; false at the end or for *why. */
static bool read_row(struct address_export *e, struct arena *a, const char **why)
{
	e->count = 0;
	while (e->rest.n > 0 && (e->rest.p[0] == '\n' || e->rest.p[0] == '\r'))
		e->rest = slice_from(e->rest, 1);
	if (e->rest.n == 0)
		return false;
	for (;;) {
		struct slice *cell = &e->cells[e->count];

		*why = "a row has too many columns";
		if (e->count == EXPORT_COLUMNS)
			return false;
		*why = "a quoted cell does not end";
		if (e->rest.n > 0 && e->rest.p[0] == '"') {
			if (!read_quoted(&e->rest, a, cell))
				return false;
		} else {
			*cell = read_plain(&e->rest, e->separator);
		}
		e->count++;
		*why = "behind a quoted cell stands something else";
		if (e->rest.n > 0 && e->rest.p[0] != e->separator && e->rest.p[0] != '\n' && e->rest.p[0] != '\r')
			return false;
		if (e->rest.n == 0 || e->rest.p[0] != e->separator)
			break;
		e->rest = slice_from(e->rest, 1);
	}
	*why = NULL;
	return true;
}

/* ---- the head ---- */

static struct slice letters_of(struct arena *a, struct slice name)
{
	struct str out = STR_IN(a);

	for (size_t i = 0; i < name.n; i++)
		if (ascii_alpha(name.p[i]))
			str_addc(&out, ascii_lower(name.p[i]));
	return str_slice(&out);
}

static bool is_among(struct slice name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(name, slice_of(names[i])))
			return true;
	return false;
}
#define AMONG(name, list) is_among(name, list, sizeof(list) / sizeof((list)[0]))

static bool want_columns(struct address_export *e, struct arena *a, struct slice column)
{
	bool any = false;

	e->status = -1;
	for (size_t i = 0; i < e->count; i++) {
		struct slice name = letters_of(a, e->cells[i]);

		e->wanted[i] = column.n > 0 ? slice_eq_nocase(slice_trim(e->cells[i]), slice_trim(column)) :
			AMONG(name, address_columns);
		any = any || e->wanted[i];
		if (e->status < 0 && AMONG(name, status_columns))
			e->status = (int)i;
	}
	for (size_t i = 0; i < e->count && !any && column.n == 0; i++)
		e->wanted[i] = AMONG(letters_of(a, e->cells[i]), login_columns);
	for (size_t i = 0; i < e->count; i++)
		any = any || e->wanted[i];
	return any;
}

/* What stands most often in the first line, outside quotes. */
static char guess_separator(struct slice line)
{
	static const char candidates[] = ",;\t";
	char best = ',';
	size_t most = 0;

	for (size_t c = 0; c < sizeof(candidates) - 1; c++) {
		size_t n = 0;
		bool quoted = false;

		for (size_t i = 0; i < line.n; i++) {
			quoted ^= line.p[i] == '"';
			n += !quoted && line.p[i] == candidates[c];
		}
		if (n > most) {
			most = n;
			best = candidates[c];
		}
	}
	return best;
}

bool address_export_open(struct address_export *e, struct arena *a, struct slice text, struct slice column,
	const char **why)
{
	struct slice first;

	memset(e, 0, sizeof(*e));
	*why = "the text is UTF-16: save it as UTF-8";
	if (slice_starts(text, SLICE("\xFF\xFE")) || slice_starts(text, SLICE("\xFE\xFF")))
		return false;
	if (slice_starts(text, SLICE("\xEF\xBB\xBF")))
		text = slice_from(text, 3);
	text = slice_trim(text);
	e->rest = text;
	first = text;
	first = slice_split(&first, '\n');
	/* A table begins with the names of its columns, and no name has an @. */
	if (slice_find(first, '@') >= 0 || (first.n > 0 && first.p[0] == '#')) {
		*why = "the text is a list, not a table: it has no columns";
		return column.n == 0;
	}
	e->separator = guess_separator(first);
	if (text.n == 0 || !read_row(e, a, why)) {
		*why = text.n == 0 ? "there is nothing in it" : *why;
		return false;
	}
	*why = column.n > 0 ? "the table has no column of this name" :
		"no column of the table is known to hold addresses (name one with --column)";
	if (!want_columns(e, a, column))
		return false;
	e->at = e->count = 0;	/* the names are no row */
	return true;
}

/* ---- values ---- */

static bool is_suspended(const struct address_export *e)
{
	struct slice status;

	if (e->status < 0 || (size_t)e->status >= e->count)
		return false;
	status = slice_trim(e->cells[e->status]);
	return slice_eq_nocase(status, SLICE("suspended")) || slice_eq_nocase(status, SLICE("archived"));
}

/* "+smtp:" and the like. */
static bool begins_type(struct slice s)
{
	size_t i = 0;

	while (i < s.n && ascii_alpha(s.p[i]))
		i++;
	return i > 0 && i < s.n && s.p[i] == ':';
}

/* Cuts the next value off a cell; a quoted local part may hold a separator. */
static struct slice take_value(struct slice *cell)
{
	bool quoted = false;
	size_t i = 0;

	for (; i < cell->n; i++) {
		char c = cell->p[i];

		quoted ^= c == '"';
		if (!quoted && (strchr(",;|{} \t\r\n", c) || (c == '+' && begins_type(slice_from(*cell, i + 1)))))
			break;
	}
	struct slice value = slice_head(*cell, i);
	*cell = slice_from(*cell, i + 1);
	return value;
}

/* The next cell that is wanted, or the next line of a list. */
static bool next_cell(struct address_export *e, struct arena *a, const char **why)
{
	if (e->separator == '\0') {
		struct slice line = slice_trim(slice_split(&e->rest, '\n'));

		e->cell = line.n > 0 && line.p[0] == '#' ? SLICE_NULL : line;
		return e->rest.n > 0 || line.n > 0;
	}
	for (;;) {
		while (e->at < e->count) {
			size_t i = e->at++;

			if (e->wanted[i]) {
				e->cell = slice_trim(e->cells[i]);
				return true;
			}
		}
		if (!read_row(e, a, why))
			return false;
		e->at = is_suspended(e) ? e->count : 0;
	}
}

bool address_export_next(struct address_export *e, struct arena *a, struct slice *value, const char **why)
{
	*why = NULL;
	for (;;) {
		while (e->cell.n > 0) {
			*value = take_value(&e->cell);
			if (value->n > 0)
				return true;
		}
		if (!next_cell(e, a, why))
			return false;
	}
}
