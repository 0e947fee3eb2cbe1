/*
 * Writing Authentication-Results: one line a result, folded, ASCII. What a stranger chose (domains, selectors) is
 * written as a token if it is one, and otherwise quoted; a value that is not all printable ASCII is not said at all. To leave
 * out the octets alone would make another name of it, and a result for somebody who has none: nothing that a sender writes may
 * look like a result of ours. RFC 6532 would allow UTF-8, but readers of our field may not know it; domains have A-labels.
 */
#include "wire/authres.h"

#define VALUE_MAX 320u	/* of an address; a signer may make i= as long as he likes */
#define LINE_ROOM 900u	/* RFC 5322 section 2.1.1: 998 */

/* RFC 2045 section 5.1: token; "@" is written bare besides, since pvalue allows it in an address. */
static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 127 || strchr("()<>,;:\\\"/[]?=", s.p[i]))
			return false;
	return s.n > 0;
}

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] >= 127)
			return false;
	return true;
}

static void add_value(struct str *out, struct slice s)
{
	if (is_token(s)) {
		str_add(out, s);
		return;
	}
	str_addc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			str_addc(out, '\\');
		str_addc(out, s.p[i]);
	}
	str_addc(out, '"');
}

static void add_property(struct str *out, const char *name, struct slice value)
{
	size_t line = out->n - (size_t)(slice_rfind(str_slice(out), '\n') + 1);

	if (value.n == 0 || value.n > VALUE_MAX || !is_printable(value))
		return;
	/* Twice: each octet may need a backslash. */
	str_printf(out, "%s%s=", line + strlen(name) + 2 * value.n > LINE_ROOM ? "\r\n\t" : " ", name);
	add_value(out, value);
}

static void add_result(struct str *out, const char *method, enum result result)
{
	str_printf(out, ";\r\n\t%s=%s", method, result_name(result));
}

static void add_reason(struct str *out, enum result result, const char *reason)
{
	if (!reason || result == RESULT_PASS || result == RESULT_NONE)
		return;
	str_puts(out, "\r\n\treason=\"");
	for (const char *p = reason; *p; p++) {
		if (*p == '"' || *p == '\\')
			str_addc(out, '\\');
		if (*p >= ' ' && *p < 127)
			str_addc(out, *p);
	}
	str_puts(out, "\"");
}

static void add_spf(struct str *out, const struct spf_facts *f)
{
	if (!f->asked)
		return;
	add_result(out, "spf", f->result);
	add_property(out, f->helo ? "smtp.helo" : "smtp.mailfrom", f->domain);
}

static void add_dkim(struct str *out, const struct auth_facts *auth)
{
	if (auth->dkim_asked && !auth->dkim)
		add_result(out, "dkim", RESULT_NONE);
	for (const struct dkim_facts *f = auth->dkim; f; f = f->next) {
		add_result(out, "dkim", f->result);
		add_reason(out, f->result, f->reason);
		add_property(out, "header.d", f->domain);
		add_property(out, "header.i", f->identity);
		add_property(out, "header.s", f->selector);
		add_property(out, "header.a", slice_of(f->algorithm));
		add_property(out, "header.b", f->signature_start);
	}
}

static const char *policy_word(char policy)
{
	return policy == 'r' ? "reject" : policy == 'q' ? "quarantine" : "none";
}

static void add_dmarc(struct str *out, const struct dmarc_facts *f)
{
	if (!f->asked)
		return;
	add_result(out, "dmarc", f->result);
	if (f->policy)
		str_printf(out, " (p=%s)", policy_word(f->policy));
	add_property(out, "header.from", f->from_domain);
	if (f->overridden_by)
		str_printf(out, " policy.override=%s", strcmp(f->overridden_by, "arc") == 0 ? "trusted-sealer" :
			"trusted-forwarder");
}

/* temperror is no result of arc; nothing is said then. */
static void add_arc(struct str *out, const struct arc_facts *f)
{
	if (!f->asked || f->result == RESULT_TEMPERROR)
		return;
	add_result(out, "arc", f->result);
	if (f->sets > 0)
		str_printf(out, " (i=%u)", f->sets);
	add_property(out, "header.d", f->sealer);
}

/* Section 2.7.3. */
static void add_iprev(struct str *out, const struct client_facts *client)
{
	char text[IP_TEXT];

	if (!client || !client->reverse_name)
		return;
	add_result(out, "iprev", client->name ? RESULT_PASS : RESULT_FAIL);
	add_property(out, "policy.iprev", slice_of(ip_text(&client->ip, text)));
}

void authres_write_value(struct str *out, const char *server, const struct auth_facts *auth,
	const struct client_facts *client)
{
	size_t before;

	str_puts(out, server);
	before = out->n;
	add_iprev(out, client);
	add_spf(out, &auth->spf);
	add_dkim(out, auth);
	add_dmarc(out, &auth->dmarc);
	add_arc(out, &auth->arc);
	if (out->n == before)
		str_puts(out, "; none");
}

void authres_write(struct str *out, const char *server, const struct auth_facts *auth, const struct client_facts *client)
{
	str_puts(out, "Authentication-Results: ");
	authres_write_value(out, server, auth, client);
	str_puts(out, "\r\n");
}
