/*
 * Tag lists, read strictly in one pass.
 *
 * RFC 6376 section 3.2:
 *   tag-list  =  tag-spec *( ";" tag-spec ) [ ";" ]
 *   tag-spec  =  [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
 *   tag-name  =  ALPHA *ALNUMPUNC
 *   tag-value =  [ tval *( 1*(WSP / FWS) tval ) ]
 *   tval      =  1*VALCHAR,  VALCHAR = %x21-3A / %x3C-7E ; EXCLAMATION to TILDE except SEMICOLON
 * "Tags with duplicate names MUST NOT occur within a single tag-list; if a tag name does occur more than
 * once, the entire tag-list is invalid."
 *
 * Two readings that peers rely on: UTF-8 beyond ASCII is taken in values (RFC 8616 section 4), and white space may
 * stand between the last ";" and the end, as every signer that folds before a closing tag writes it.
 *
 * Rejected: skipping what is no tag. A list that is read differently by two verifiers is how one
 * of them is made to accept what the other refuses.
 */
#include "wire/taglist.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim_head(struct slice s)
{
	while (s.n > 0 && is_space(s.p[0]))
		s = slice_from(s, 1);
	return s;
}

static bool name_valid(struct slice name)
{
	if (name.n == 0 || !ascii_alpha(name.p[0]))
		return false;
	for (size_t i = 1; i < name.n; i++)
		if (!ascii_alpha(name.p[i]) && !ascii_digit(name.p[i]) && name.p[i] != '_')
			return false;
	return true;
}

/* Its semicolons are gone already. RFC 6376 section 2.8: FWS = [*WSP CRLF] 1*WSP, so a line break is
 * followed by white space; where keys come from DNS there are none. */
static bool value_valid(struct slice value)
{
	bool ascii = true;

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c == '\r' && i + 2 < value.n && value.p[i + 1] == '\n' &&
		    (value.p[i + 2] == ' ' || value.p[i + 2] == '\t'))
			i += 2;
		else if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
		ascii = ascii && c < 0x80;
	}
	return ascii || utf8_valid(value);
}

static bool tag_parse(struct tag *out, struct slice spec, const char **why)
{
	ptrdiff_t equals = slice_find(spec, '=');
	struct tag t;

	if (equals < 0) {
		*why = "a tag without \"=\"";
		return false;
	}
	t.name = slice_trim(slice_head(spec, (size_t)equals));
	t.raw = slice_from(spec, (size_t)equals + 1);
	t.value = slice_trim(t.raw);
	if (!name_valid(t.name)) {
		*why = "a tag name that is none";
		return false;
	}
	if (!value_valid(t.value)) {
		*why = "octets that no tag value may have";
		return false;
	}
	*out = t;
	return true;
}

bool taglist_parse(struct taglist *out, struct arena *a, struct slice text, const char **why)
{
	struct tag tags[TAGLIST_MAX_TAGS];
	struct taglist list = { .tags = tags };
	struct slice rest = text;

	do {
		if (list.count == TAGLIST_MAX_TAGS) {
			*why = "too many tags";
			return false;
		}
		if (!tag_parse(&tags[list.count], slice_split(&rest, ';'), why))
			return false;
		if (taglist_find(&list, tags[list.count].name)) {
			*why = "a tag given twice";
			return false;
		}
		list.count++;
	} while (trim_head(rest).n > 0);
	out->tags = arena_array(a, struct tag, list.count);
	memcpy(out->tags, tags, list.count * sizeof(*tags));
	out->count = list.count;
	return true;
}

const struct tag *taglist_find(const struct taglist *list, struct slice name)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (slice_eq(list->tags[i].name, name))
			return &list->tags[i];
	return NULL;
}

struct slice taglist_value(const struct taglist *list, struct slice name)
{
	const struct tag *t = taglist_find(list, name);

	return t ? t->value : SLICE_NULL;
}

struct slice taglist_item(struct slice *rest)
{
	ptrdiff_t colon = slice_find(*rest, ':');
	struct slice item = colon < 0 ? *rest : slice_head(*rest, (size_t)colon);

	*rest = colon < 0 ? SLICE_NULL : slice_from(*rest, (size_t)colon + 1);
	return slice_trim(item);
}

bool taglist_has_item(struct slice value, struct slice item)
{
	while (value.p)
		if (slice_eq_nocase(taglist_item(&value), item))
			return true;
	return false;
}

/* RFC 6376 section 2.10:
 *   base64string = ALPHADIGITPS *([FWS] ALPHADIGITPS) [ [FWS] "=" [ [FWS] "=" ] ]
 * so padding may be left out; what is there must not be more than would be needed. */
bool taglist_base64(struct arena *a, struct slice value, struct slice *out)
{
	struct str digits = STR_IN(a), octets = STR_IN(a);
	char *p = str_room(&digits, value.n + 3);

	for (size_t i = 0; i < value.n; i++)
		if (!is_space(value.p[i]))
			p[digits.n++] = value.p[i];
	if (digits.n % 4 == 1)
		return false;
	while (digits.n % 4)
		p[digits.n++] = '=';
	if (!str_base64_decode(&octets, str_slice(&digits)) || octets.n == 0)
		return false;
	*out = str_slice(&octets);
	return true;
}
