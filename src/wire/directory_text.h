/*
 * What is asked of user databases, as text: LDAP filters (RFC 4515), SQL with
 * parameters, connection strings, and the address values that directories hold.
 *
 * Pure. Every octet of an address stays an octet of an address: in a filter it is escaped, in SQL
 * it is never part of the text at all.
 */
#ifndef SPURN_WIRE_DIRECTORY_TEXT_H
#define SPURN_WIRE_DIRECTORY_TEXT_H

#include "base/str.h"

/* The address that is asked for, and its halves. */
struct directory_key {
	struct slice address, local, domain;
};
/* Cuts at the last @. false: there is none, or nothing on a side of it. */
bool directory_key_split(struct slice address, struct directory_key *out);

/* ---- LDAP ---- */

/* A filter with %s (address), %u (local part), %d (domain), %% (percent). asks: it must name the address or the local part;
 * else it must name nothing. false: *why. */
bool ldap_filter_check(struct slice filter, bool asks, const char **why);
/* The same with the key put in, escaped as RFC 4515 section 3 says. The filter has been checked. */
void ldap_filter_write(struct str *out, struct slice filter, const struct directory_key *key);

/* ---- SQL ---- */

enum sql_engine { SQL_POSTGRESQL, SQL_MARIADB, SQL_SQLITE };

#define SQL_PARAMETERS 16

/* A query in which $1 is the address, $2 the local part, $3 the domain, outside quotes and comments. */
struct sql_query {
	struct slice text;			/* as the engine wants it: $1 $2 ..., ? ? ..., or ?1 ?2 ... */
	uint8_t parameter[SQL_PARAMETERS];	/* what the nth placeholder of `text` stands for: 1, 2, 3 */
	size_t count;
};
/* asks: it must have $1 or $2; else it must have none. One statement, without a semicolon at its end. false: *why. */
bool sql_query_parse(struct arena *a, struct slice query, enum sql_engine engine, bool asks, struct sql_query *out,
	const char **why);
struct slice sql_parameter(const struct directory_key *key, unsigned which);

/* "host=... port=... dbname=... user=... socket=... tls=none|require|verify", blanks between, of MariaDB. */
struct sql_connection {
	const char *host, *socket, *dbname, *user, *tls;	/* NULL: not given */
	unsigned port;						/* 0: not given */
};
bool sql_connection_parse(struct arena *a, struct slice text, struct sql_connection *out, const char **why);

/* What the first column of a row says about the mailbox it was found for. */
enum sql_value {
	SQL_VALUE_YES,
	SQL_VALUE_NO,		/* NULL: count it as no row */
	SQL_VALUE_UNCLEAR,	/* empty, 0, f, false: does the query mean "no", or is it the name of somebody? */
};
/* null: the value is NULL. */
enum sql_value sql_value_of(struct slice value, bool null);

/* ---- values ---- */

/* The address in a value of a directory: "smtp:ann@example.org" and "SMTP:..." of proxyAddresses, or a plain one.
 * false: it is no mail address (SIP:, X500:, X400:, ...). */
bool directory_value_address(struct slice value, struct slice *address);

#endif
