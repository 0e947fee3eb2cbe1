/*
 * Values of directives: numbers with units, durations, rates, addresses, urls.
 * Pure; *why is a phrase for the error message.
 */
#ifndef SPURN_POLICY_VALUE_H
#define SPURN_POLICY_VALUE_H

#include "check/rate.h"
#include "net/smtp_client.h"
#include "policy/config.h"

/* 10, 100k, 1M: thousands and millions. */
bool value_count(struct slice text, int64_t *out, const char **why);
/* 10k, 25M, 4G: 1024-based octets. */
bool value_size(struct slice text, int64_t *out, const char **why);
/* 500ms, 30s, 5m, 2h, 7d; 0 alone needs no unit. In nanoseconds. */
bool value_duration(struct slice text, int64_t *out, const char **why);
/* 1200/1m; 0 means no limit. */
bool value_rate(struct slice text, struct rate_limit *out, const char **why);
/* May be negative. */
bool value_integer(struct slice text, int64_t *out, const char **why);
/* ADDRESS:PORT, [ADDRESS]:PORT, unix:/path. */
bool value_listen_address(struct arena *a, struct slice text, struct listen_address *out, const char **why);
/* smtp://HOST[:PORT], lmtp://HOST:PORT, lmtp+unix:/path, smtp+unix:/path. */
bool value_backend_host(struct arena *a, struct slice text, struct backend_host *out, const char **why);
/* 127.0.0.2 or 127.0.0.2-127.0.0.11 or a prefix: an inclusive range. */
bool value_ip_range(struct slice text, struct dnsbl_range *out, const char **why);

#endif
