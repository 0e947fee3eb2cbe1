/*
 * Authentication-Results (RFC 8601): what a server says it found out about who is speaking. Read, and written.
 */
#ifndef SPURN_WIRE_AUTHRES_H
#define SPURN_WIRE_AUTHRES_H

#include "wire/envelope.h"
#include "wire/message.h"

#define AUTHRES_MAX_RESULTS 100u	/* of one field */
#define AUTHRES_MAX_PROPERTIES 400u

/* "header.d=example.com": type "header", name "d". */
struct authres_property {
	struct authres_property *next;
	struct slice type, name, value;
};

struct authres_result {
	struct authres_result *next;
	struct slice method, result;	/* as written */
	uint32_t version;		/* of the method, 1 if not said */
	bool known;			/* a registered method with a result registered for it, or another method */
	struct slice reason;		/* reason=; p == NULL: not given */
	struct authres_property *properties;
};

struct authres {
	struct slice server;		/* authserv-id, without quotes */
	uint32_t version;
	struct authres_result *results;	/* NULL: "none" */
	size_t count;
};

/* Reads the value of a field, folded or not. Slices point into it, or into `a` where something had to be taken out. false and *why
 * (a static phrase): it does not follow the grammar; *out is untouched. */
bool authres_parse(struct authres *out, struct arena *a, struct slice value, const char **why);

/* Whether a field says that it is of the server named, which is one to be removed at our border (section 5). Names are compared
 * as domains, so that U-labels and case do not matter. A field whose authserv-id cannot be read is taken for one of ours if our
 * name stands anywhere in it. */
bool authres_names(struct slice value, struct slice server);
/* A field that only we may write, and that nobody behind us is to see: Spurn-*, or Authentication-Results in our name. */
bool authres_is_forged(const struct field *f, struct slice server);

/* The field with its final CRLF: what was found, by RFC 8601 section 2.7. iprev: the reverse name was looked for. */
void authres_write(struct str *out, const char *server, const struct auth_facts *auth, const struct client_facts *client);
/* "server; spf=pass ...": its value, without a final CRLF; ARC-Authentication-Results has it behind its instance. */
void authres_write_value(struct str *out, const char *server, const struct auth_facts *auth,
	const struct client_facts *client);

#endif
