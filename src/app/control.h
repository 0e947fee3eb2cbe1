/*
 * The control socket's commands, for control.c alone: each adds its answer to
 * `out`, one JSON object a line.
 */
#ifndef SPURN_APP_CONTROL_H
#define SPURN_APP_CONTROL_H

#include "app/worker.h"

/* {"error":"..."} */
void control_error(struct str *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A comma unless this is the first of its object or array, and the name (NULL: none, in an array). */
void json_key(struct str *out, const char *name);
void json_text(struct str *out, const char *name, struct slice value);
void json_cstr(struct str *out, const char *name, const char *value);	/* NULL: null */
void json_number(struct str *out, const char *name, uint64_t value);
void json_signed(struct str *out, const char *name, int64_t value);
void json_bool(struct str *out, const char *name, bool value);
void json_open(struct str *out, const char *name, char bracket);	/* '{' or '[' */

/* control_status.c */
void control_status(struct str *out);
void control_waits(struct str *out);

/* control_directory.c: a member of the status. */
void control_directories(struct str *out);

/* control_recipient.c: "show ADDRESS", "probe ADDRESS", "forget ADDRESS". */
/* control_sent.c: "SENDER MESSAGE-ID", "SENDER ADDRESS-OR-DOMAIN"; and "proofs" of the status. */
void control_sent(struct str *out, struct slice arguments);
void control_proofs(struct str *out);

ASYNC void control_recipient(struct str *out, struct slice arguments, deadline d);

#endif
