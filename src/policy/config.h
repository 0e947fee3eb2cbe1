/*
 * The configuration: an immutable tree, parsed as a whole, swapped as a whole.
 *
 * A tree lives in its own arena and is reference counted: sessions keep the one they
 * began a transaction with. A reload parses into a new tree, checks it, and swaps; a bad file changes
 * nothing. Every key stands once in option.c's table with its type, range, default and help, from
 * which the parser, the defaults and the manual page come.
 */
#ifndef SPURN_POLICY_CONFIG_H
#define SPURN_POLICY_CONFIG_H

#include "check/arc.h"
#include "check/bounce.h"
#include "check/client.h"
#include "check/content_rules.h"
#include "check/dkim.h"
#include "check/dkim_sign.h"
#include "check/dmarc.h"
#include "check/dnsbl.h"
#include "check/greylist.h"
#include "check/guard.h"
#include "check/rate.h"
#include "check/recipient.h"
#include "check/scanner.h"
#include "check/sender.h"
#include "net/pool.h"
#include "net/store.h"
#include "policy/directory.h"
#include "run/tls.h"

struct listen_address {
	struct sockaddr_storage address;
	socklen_t length;
	const char *text;	/* as written */
};

#define LISTEN_ADDRESSES_MOST 64	/* of all listeners together */
#define LISTEN_SOCKETS_MOST 512		/* addresses times workers */

struct listener_conf {
	const char *name;
	bool outbound;
	struct listen_address *addresses;
	size_t address_count;
	const char *tls_certificate, *tls_key;	/* NULL: no STARTTLS */
	struct tls_context *tls;		/* loaded by the worker, swapped when the files change; NULL: none */
	struct ip_set *proxy_from;		/* NULL: no PROXY protocol */
	struct ip_set *broken_peers;		/* devices whose bare LF is repaired; NULL: none */
	struct ip_set *allow;			/* who may connect; NULL: all */
	nanoseconds greet_wait;
	uint32_t max_sessions;			/* per site: shared out over the workers */
	uint32_t max_sessions_per_client;
	struct rate_limit connection_rate;
	uint64_t size_limit;			/* octets, 0: none */
	uint32_t header_limit, max_fields, max_hops;
	uint32_t max_recipients, max_commands, max_errors, max_transactions, max_unknown_recipients;
	uint32_t line_limit;			/* octets of a command line */
	nanoseconds command_timeout;		/* silence between commands */
	nanoseconds data_timeout;		/* silence within data */
	uint32_t min_data_rate;			/* octets per second, averaged; 0: no minimum */
	nanoseconds error_delay, error_delay_max;	/* before the reply to a refused recipient; doubles */
	const struct backend *next_hop;		/* outbound only */
	uint32_t content;			/* outbound: which scanners, bits of config.content */
	bool tag;				/* outbound: senders are tagged on this way */
	struct address_list no_tag;		/* outbound: recipients to whom a tagged sender would be a stranger */
};

/* What the proofs of bounces lead to; places in the choices of option.c: accept, mark, reject. */
struct bounce_policy {
	uint8_t proven, plausible, unproven, refuted, null_sender;
	bool enrolled;		/* all mail of the domain leaves through here: `unproven` may be refused */
	bool tag;		/* its senders are tagged */
	bool wave_tightens;	/* in a wave, what is unproven is refused (where enrolled) */
	struct address_list never_sends;	/* addresses that send nothing: no notice can be for them */
};

/* Whether both do the same with what a bounce proves. Tags are the sender's, and addresses that never send are judged for each
 * recipient: they may differ. */
bool bounce_policy_same(const struct bounce_policy *a, const struct bounce_policy *b);

struct domain_route {
	struct slice canonical;		/* an address of the domain */
	const struct backend *backend;
};
struct domain_conf {
	const char *name;		/* canonical */
	const struct backend *backend;
	const struct domain_route *routes;	/* addresses with a backend of their own */
	size_t route_count;
	struct recipient_conf recipients;
	struct slice separators;	/* sub-address */
	struct bounce_policy bounces;
	uint8_t mode[CHECK_COUNT];	/* enum check_mode + 1; 0: as in the whole site */
	uint32_t content;		/* which scanners, bits of config.content */
};

/* What the results of SPF lead to; places in the choices of option.c. */
struct spf_conf {
	uint8_t fail, softfail, permerror;	/* accept, mark, reject */
	uint8_t temperror;			/* accept, mark, defer */
};

struct config {
	struct arena arena;
	uint32_t references;
	const char *path;
	const char *hostname, *state_dir, *user, *help_url;
	struct slice help;		/* help_url as a slice, empty if none */
	uint32_t workers;
	enum check_mode mode;		/* the site's */
	uint8_t check_mode[CHECK_COUNT];	/* enum check_mode */
	bool log_syslog;

	struct listener_conf *listeners;
	size_t listener_count;
	struct dns_conf dns;
	struct client_conf clients;
	struct sender_conf senders;
	struct dnsbl_conf dnsbl;
	struct rate_conf rate;
	struct greylist_conf greylist;
	struct spf_conf spf;
	struct content_conf content;
	struct rules_conf rules;
	struct dkim_conf dkim;
	struct dmarc_conf dmarc;
	struct arc_conf arc;
	struct dkim_signer *signers;
	size_t signer_count;
	struct guard_conf guard;
	struct domain_conf *domains;
	size_t domain_count;
	struct table domain_index;	/* by canonical name: config_domain() */
	const struct backend **backends;
	size_t backend_count;
	struct directory_conf *directories;
	size_t directory_count;
	struct listen_address *directory_serve;	/* where other programs may ask directories */
	size_t directory_serve_count;

	const char *keys_dir;		/* NULL: none */
	nanoseconds proof_life;		/* so long a proof is good, and the sent ledger remembers */
	struct bounce_conf bounces;

	size_t store_map_size;
	size_t spool_memory;		/* octets of one message kept in memory before it goes to a file */
	size_t spool_memory_total;	/* of all messages of a worker */
	nanoseconds answer_budget;	/* the one deadline of the answer to the final dot */
	nanoseconds rcpt_budget;	/* of the answer to RCPT */
	nanoseconds hold_backend;	/* a backend transaction waits so long for the body */
	uint32_t hold_bytes;		/* and so many octets of it */
	nanoseconds commit_retention;
	uint64_t journal_segment;	/* octets before rotation */
	nanoseconds journal_keep, journal_detail;	/* delete after; full detail for so long */
	nanoseconds watchdog;		/* a worker silent for so long is replaced */
};

/* Everything wrong in the file is reported, each as
 *   FILE:LINE:COL: error: text
 *       the line
 *         ^
 * to `report` (one call per message, without the final newline). NULL if there was an error. Includes are followed
 * (relative to the file that names them), list files are opened. */
struct config *config_load(const char *path, void (*report)(void *arg, const char *message), void *arg);
/* The same, for who asks whether it is right: certificates and the state directory are looked at, too, which may be mended while
 * Spurn runs and keep nobody from starting. */
struct config *config_check(const char *path, void (*report)(void *arg, const char *message), void *arg);
/* As config_load() from memory; name stands for the file. */
struct config *config_parse(const char *name, struct slice text,
	void (*report)(void *arg, const char *message), void *arg);
void config_ref(struct config *c);
void config_unref(struct config *c);

/* The domain of a canonical name, which may be one of its aliases, or NULL. */
const struct domain_conf *config_domain(const struct config *c, struct slice canonical_domain);
/* "local@domain", as the inbound side knows it: canonical, under its domain's own name and with its domain's sub-addresses removed, if it
 * is in one of ours. NULL: it is in none, and *canonical its canonical form, or it has none, and *canonical is empty. */
const struct domain_conf *config_address(const struct config *c, struct arena *a, struct slice address, struct slice *canonical);
/* Of an address in d that has this canonical form under the name it was written with. */
struct slice config_own_name(const struct domain_conf *d, struct arena *a, struct slice canonical);
/* Where mail to an address of the domain goes. */
const struct backend *config_backend(const struct domain_conf *d, struct slice canonical);
/* The mode in force for a check: the domain's, else the check's, capped by the site's; observe_all: `spurn observe on`. */
enum check_mode config_mode(const struct config *c, const struct domain_conf *d, enum check check, bool observe_all);

#endif
