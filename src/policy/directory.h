/*
 * A directory: a user database that can be asked whether a mailbox exists.
 *
 * LDAP and SQL are asked by the directory process, which alone reads the password; workers know of
 * them no more than a name to put into a question over a Unix socket. A socketmap of somebody else's is asked by
 * the workers themselves, in the same protocol.
 */
#ifndef SPURN_POLICY_DIRECTORY_H
#define SPURN_POLICY_DIRECTORY_H

#include "check/recipient.h"
#include "wire/directory_text.h"

enum directory_kind { DIRECTORY_NONE, DIRECTORY_LDAP, DIRECTORY_SQL, DIRECTORY_SOCKETMAP };
enum directory_template { TEMPLATE_NONE, TEMPLATE_OPENLDAP, TEMPLATE_ACTIVE_DIRECTORY };	/* order of the option's choices */

struct directory_conf {
	const char *name;
	enum directory_kind kind;
	struct recipient_directory source;	/* what a domain's chain asks */
	uint32_t connections;
	nanoseconds timeout;

	const char *urls;		/* ldap: with blanks between */
	const char *base;
	uint8_t scope;			/* base, one, sub, as LDAP_SCOPE_ */
	bool starttls, tls_verify;
	const char *ca_file, *bind_dn, *filter, *list_filter;
	const char **attributes;	/* that hold addresses */
	size_t attribute_count;
	uint8_t template;		/* enum directory_template */

	enum sql_engine engine;		/* sql */
	const char *connection, *query, *list_query;
	struct sql_query asks, lists;

	const char *password_file;	/* ldap, sql; NULL: none */
	const char *map_address, *map_name;	/* socketmap */

	const char *canary;		/* canonical address that always exists; NULL: none */
	const char *copy;		/* file that holds what it last listed; NULL: none */
	nanoseconds copy_every;		/* 0: on demand only */
	uint32_t shrink_guard;
};

static inline bool directory_is_ours(const struct directory_conf *d)
{
	return d->kind == DIRECTORY_LDAP || d->kind == DIRECTORY_SQL;
}
const char *directory_kind_name(enum directory_kind kind);

/* Where the directory process listens for workers, below the state directory. */
#define DIRECTORY_SOCKET "directory"

#endif
