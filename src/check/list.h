/*
 * Lists: of clients (prefixes) and of addresses (mailboxes, domains), from the
 * configuration and from files that may change while we run.
 *
 * A file is read whole into a new list, checked, and swapped; a file that cannot
 * be read or parsed keeps the old list and is said aloud once. Files are looked at
 * every second (list_files_poll), so a change holds within two.
 */
#ifndef SPURN_CHECK_LIST_H
#define SPURN_CHECK_LIST_H

#include "base/ip.h"
#include "base/str.h"

enum list_kind {
	LIST_CLIENTS,		/* one address or prefix per line */
	LIST_SENDERS,		/* one of user@domain, @domain, @.domain (sub-domains), user@, prefix*@domain per line */
	LIST_RECIPIENTS,	/* the same, for recipients (file source) */
	LIST_HOSTS,		/* one host name per line: it and all below it; looked up as x@host */
	LIST_HASHES,		/* one SHA-256 in hexadecimal per line; looked up as hash@any.domain, in lower case */
};
/* In all files: # begins a comment at the start of a line or behind white space; empty lines, CRLF and a UTF-8 byte
 * order mark are taken; "smtp:" before an address is dropped (proxyAddresses of a directory). */

/* A named list file, shared by all who name the same path, kind and separators; never freed while the process lives. */
struct list_file;
/* Opens (reads) it, or finds it already open. NULL and *why ("FILE:LINE: reason") if it cannot be read now and
 * never could; separators: as in address_form(), for LIST_SENDERS and LIST_RECIPIENTS.
 * shrink_guard: a new version with fewer than (100 - guard) % of the entries is refused; 0: no guard. Opening it again
 * with another guard looks at a refused version once more. */
struct list_file *list_file_open(const char *path, enum list_kind kind, struct slice separators,
	unsigned shrink_guard, struct arena *a, const char **why);
/* The same for a file that we make ourselves and that may not be there yet: then it is empty and has a trouble, until it
 * comes. Whoever makes it guards it. */
struct list_file *list_file_expect(const char *path, enum list_kind kind, struct slice separators);
size_t list_file_count(const struct list_file *f);
const char *list_file_path(const struct list_file *f);
/* NULL: in order; else why the last reload was refused. */
const char *list_file_trouble(const struct list_file *f);
/* Looks at every open file, reloads those that changed, logs what happened. Called by a timer each second. */
void list_files_poll(void);
/* Every file that is open, for status. */
void list_files_each(void (*fn)(const struct list_file *f, void *arg), void *arg);

/* What the configuration says: entries and files. */
struct client_list {
	struct ip_set *prefixes;	/* NULL: none */
	struct list_file **files;
	size_t file_count;
};
struct address_list {
	struct address_set *entries;	/* NULL: none */
	struct list_file **files;
	size_t file_count;
};
/* *where: the file's path or "configuration". */
bool client_list_contains(const struct client_list *l, const struct ip *ip, const char **where);
/* canonical: local@domain folded (address_form). */
bool address_list_contains(const struct address_list *l, struct slice canonical, const char **where);
bool list_file_contains_ip(const struct list_file *f, const struct ip *ip);
bool list_file_contains_address(const struct list_file *f, struct slice canonical);

struct address_set;
struct address_set *address_set_new(struct arena *a);
/* One entry in any of the forms above. */
bool address_set_add(struct address_set *set, struct slice entry, struct slice separators, const char **why);
/* An entry of LIST_HOSTS, of LIST_HASHES. */
bool address_set_add_host(struct address_set *set, struct slice entry, const char **why);
bool address_set_add_hash(struct address_set *set, struct slice entry, const char **why);
bool address_set_contains(const struct address_set *set, struct slice canonical);

#endif
