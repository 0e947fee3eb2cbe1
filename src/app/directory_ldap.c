/*
 * LDAP through libldap.
 *
 * "Does not exist" is said only of a search that the server finished with success and without an entry. No right to
 * read the base comes as noSuchObject from some servers and as an empty success from others: the first is
 * trouble here, against the second there is `canary`.
 *
 * A size limit that is hit with an entry in hand is a yes; we ask for two at most. Referrals are not followed (to whom would we
 * give the password?): a search that was only continued elsewhere has not been answered, except for Active
 * Directory, which appends references to its configuration partitions to every search from the root.
 *
 * The library's own configuration (/etc/ldap/ldap.conf, ~/.ldaprc, LDAP* in the environment) is not read: what holds stands
 * in ours.
 */
#include "app/directory.h"

#include <ldap.h>
#include <stdlib.h>

#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"
#define PAGE 500
#define PAGES_MOST 100000

struct session {
	LDAP *ld;
	const struct directory_conf *conf;
};

static struct timeval time_left(deadline d)
{
	nanoseconds left = d - clock_precise();

	if (left < NS_PER_MS)
		left = NS_PER_MS;
	return (struct timeval){ .tv_sec = left / NS_PER_SECOND, .tv_usec = left % NS_PER_SECOND / NS_PER_US };
}

static void say(struct directory_why *why, LDAP *ld, const char *what, int rc)
{
	char *text = NULL;

	if (ld)
		ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text);
	directory_why(why, "%s: %s%s%s", what, ldap_err2string(rc), text && text[0] ? ": " : "", text ? text : "");
	ldap_memfree(text);
}

/* ---- opening ---- */

static bool set_options(LDAP *ld, const struct directory_conf *conf, deadline d)
{
	int version = LDAP_VERSION3, fresh = 0, verify = conf->tls_verify ? LDAP_OPT_X_TLS_HARD : LDAP_OPT_X_TLS_NEVER;
	struct timeval patience = time_left(d);
	const char *cas = conf->ca_file ? conf->ca_file : SYSTEM_CAS;

	return ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &patience) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_TIMEOUT, &patience) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &verify) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, cas) == LDAP_OPT_SUCCESS &&
		ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &fresh) == LDAP_OPT_SUCCESS;
}

static bool bind_as(LDAP *ld, const struct directory_conf *conf, struct slice password, struct directory_why *why)
{
	struct berval credentials = { .bv_len = password.n, .bv_val = (char *)password.p };
	int rc = LDAP_SUCCESS;

	/* RFC 4513 section 5.1.2: a name with an empty password is an unauthenticated bind, which "succeeds". */
	if (conf->bind_dn && password.n == 0) {
		directory_why(why, "bind: the password is empty");
		return false;
	}
	if (conf->bind_dn)
		rc = ldap_sasl_bind_s(ld, conf->bind_dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, NULL);
	if (rc != LDAP_SUCCESS)
		say(why, ld, "bind", rc);
	return rc == LDAP_SUCCESS;
}

static void *session_open(const struct directory_conf *conf, struct slice password, deadline d,
	struct directory_why *why)
{
	struct session *s = calloc(1, sizeof(*s));
	LDAP *ld = NULL;
	int rc;

	if (!s)
		arena_exhausted(sizeof(*s));
	rc = ldap_initialize(&ld, conf->urls);
	if (rc != LDAP_SUCCESS || !set_options(ld, conf, d)) {
		directory_why(why, "%s: %s", conf->urls, rc != LDAP_SUCCESS ? ldap_err2string(rc) :
			"options or certificate authorities are not taken");
		goto fail;
	}
	rc = conf->starttls ? ldap_start_tls_s(ld, NULL, NULL) : LDAP_SUCCESS;
	if (rc != LDAP_SUCCESS) {
		say(why, ld, "STARTTLS", rc);
		goto fail;
	}
	if (!bind_as(ld, conf, password, why))
		goto fail;
	s->ld = ld;
	s->conf = conf;
	return s;
fail:
	if (ld)
		ldap_unbind_ext_s(ld, NULL, NULL);
	free(s);
	return NULL;
}

static void session_close(void *connection)
{
	struct session *s = connection;

	ldap_unbind_ext_s(s->ld, NULL, NULL);
	free(s);
}

/* ---- one address ---- */

static enum directory_answer trouble(struct session *s, int rc, struct directory_why *why)
{
	say(why, s->ld, "search", rc);
	if (rc == LDAP_TIMEOUT)
		return DIRECTORY_LATE;
	/* The library's own errors are negative: it has lost the connection, or its wits. */
	return rc < 0 || rc == LDAP_UNAVAILABLE ? DIRECTORY_BROKEN : DIRECTORY_TROUBLE;
}

static enum directory_answer session_ask(void *connection, const struct directory_key *key, deadline d,
	struct directory_why *why)
{
	struct session *s = connection;
	struct arena a = ARENA_INIT;
	struct str filter = STR_IN(&a);
	char *none[] = { (char *)LDAP_NO_ATTRS, NULL };
	struct timeval patience = time_left(d);
	LDAPMessage *result = NULL;
	int rc, entries, references;

	ldap_filter_write(&filter, slice_of(s->conf->filter), key);
	rc = ldap_search_ext_s(s->ld, s->conf->base, s->conf->scope, str_cstr(&filter), none, 0, NULL, NULL, &patience, 2,
		&result);
	entries = result ? ldap_count_entries(s->ld, result) : 0;
	references = result ? ldap_count_references(s->ld, result) : 0;
	ldap_msgfree(result);
	arena_drop(&a);
	if (entries > 0 && (rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED))
		return DIRECTORY_FOUND;
	if (rc != LDAP_SUCCESS)
		return trouble(s, rc, why);
	if (references != 0 && s->conf->template != TEMPLATE_ACTIVE_DIRECTORY) {
		directory_why(why, "the search goes on at another server, which is not asked");
		return DIRECTORY_TROUBLE;
	}
	return entries == 0 ? DIRECTORY_ABSENT : DIRECTORY_TROUBLE;
}

/* ---- all of them ---- */

static bool take_entry(struct session *s, LDAPMessage *entry, struct directory_sink *sink)
{
	for (size_t i = 0; i < s->conf->attribute_count; i++) {
		struct berval **values = ldap_get_values_len(s->ld, entry, s->conf->attributes[i]);
		bool go_on = true;

		for (struct berval **v = values; v && *v && go_on; v++)
			go_on = sink->take(sink, slice_make((*v)->bv_val, (*v)->bv_len));
		if (values)
			ldap_value_free_len(values);
		if (!go_on)
			return false;
	}
	return true;
}

/* The cookie of the next page (RFC 2696); empty at the end. */
static bool page_next(struct session *s, LDAPMessage *result, struct berval *cookie, struct directory_why *why)
{
	LDAPControl **controls = NULL, *page;
	int rc, parsed;
	ber_int_t estimate;

	rc = ldap_parse_result(s->ld, result, &parsed, NULL, NULL, NULL, &controls, 0);
	if (rc == LDAP_SUCCESS)
		rc = parsed;
	ber_memfree(cookie->bv_val);
	*cookie = (struct berval){ 0 };
	page = controls ? ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL) : NULL;
	if (rc == LDAP_SUCCESS && page)
		rc = ldap_parse_pageresponse_control(s->ld, page, &estimate, cookie);
	ldap_controls_free(controls);
	if (rc != LDAP_SUCCESS)
		say(why, s->ld, "list", rc);
	return rc == LDAP_SUCCESS;
}

/* One page. false: *why. */
static bool list_page(struct session *s, struct berval *cookie, struct directory_sink *sink, deadline d,
	struct directory_why *why)
{
	struct timeval patience = time_left(d);
	LDAPControl *page = NULL, *controls[2] = { NULL };
	LDAPMessage *result = NULL;
	int rc = ldap_create_page_control(s->ld, PAGE, cookie->bv_val ? cookie : NULL, 0, &page);
	bool ok;

	controls[0] = page;
	if (rc == LDAP_SUCCESS)
		rc = ldap_search_ext_s(s->ld, s->conf->base, s->conf->scope, s->conf->list_filter,
			(char **)s->conf->attributes, 0, controls, NULL, &patience, LDAP_NO_LIMIT, &result);
	if (page)
		ldap_control_free(page);
	ok = rc == LDAP_SUCCESS;
	if (!ok)
		say(why, s->ld, "list", rc);
	for (LDAPMessage *e = ok ? ldap_first_entry(s->ld, result) : NULL; e && ok; e = ldap_next_entry(s->ld, e)) {
		ok = take_entry(s, e, sink);
		if (!ok)
			directory_why(why, "too many addresses");
	}
	ok = ok && page_next(s, result, cookie, why);
	ldap_msgfree(result);
	return ok;
}

static bool session_list(void *connection, struct directory_sink *sink, deadline d, struct directory_why *why)
{
	struct session *s = connection;
	struct timeval patience = time_left(d);
	struct berval cookie = { 0 };
	bool ok = true;

	/* One page of hundreds may take longer than a question about one address. */
	ldap_set_option(s->ld, LDAP_OPT_TIMEOUT, &patience);
	for (int i = 0; i < PAGES_MOST && ok; i++) {
		ok = list_page(s, &cookie, sink, d, why);
		if (ok && cookie.bv_len == 0)
			break;
		if (ok && clock_precise() > d) {
			directory_why(why, "the list took too long");
			ok = false;
		}
	}
	ber_memfree(cookie.bv_val);
	return ok;
}

const struct directory_driver directory_ldap = { session_open, session_ask, session_list, session_close };
