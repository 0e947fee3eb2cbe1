/*
 * Values of directives. A unit decides between two kinds of k: counts are
 * thousands, sizes are 1024-based, as everybody means them in these places.
 */
#include "policy/value.h"

#include <sys/un.h>

/* Digits, then a suffix: the number and what is left. */
static bool number_and_rest(struct slice text, int64_t *out, struct slice *rest, const char **why)
{
	size_t n = 0;
	uint64_t value;

	while (n < text.n && ascii_digit(text.p[n]))
		n++;
	*why = "a number is wanted";
	if (n == 0)
		return false;
	*why = "number too large";
	if (!slice_number(slice_head(text, n), INT64_MAX, &value))
		return false;
	*out = (int64_t)value;
	*rest = slice_from(text, n);
	return true;
}

static bool scaled(int64_t *value, int64_t factor, const char **why)
{
	*why = "number too large";
	return !__builtin_mul_overflow(*value, factor, value);
}

bool value_count(struct slice text, int64_t *out, const char **why)
{
	struct slice unit;

	if (!number_and_rest(text, out, &unit, why))
		return false;
	if (unit.n == 0)
		return true;
	if (slice_eq_nocase(unit, SLICE("k")))
		return scaled(out, 1000, why);
	if (slice_eq(unit, SLICE("M")))
		return scaled(out, 1000000, why);
	*why = "a count takes no unit but k or M";
	return false;
}

bool value_size(struct slice text, int64_t *out, const char **why)
{
	static const char units[] = "kMGT";
	struct slice unit;

	if (!number_and_rest(text, out, &unit, why))
		return false;
	if (unit.n == 0)
		return true;
	const char *at = unit.n == 1 ? strchr(units, unit.p[0] == 'K' ? 'k' : unit.p[0]) : NULL;

	if (at && *at)
		return scaled(out, INT64_C(1) << (10 * (at - units + 1)), why);
	*why = "a size takes no unit but k, M, G or T";
	return false;
}

bool value_duration(struct slice text, int64_t *out, const char **why)
{
	static const struct { const char *unit; int64_t factor; } units[] = {
		{ "ms", NS_PER_MS }, { "s", NS_PER_SECOND }, { "m", 60 * NS_PER_SECOND },
		{ "h", 3600 * NS_PER_SECOND }, { "d", 86400 * NS_PER_SECOND },
		{ "w", 7 * 86400 * NS_PER_SECOND },
	};
	struct slice unit;

	if (!number_and_rest(text, out, &unit, why))
		return false;
	if (*out == 0 && unit.n == 0)
		return true;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (slice_eq(unit, slice_of(units[i].unit)))
			return scaled(out, units[i].factor, why);
	*why = unit.n == 0 ? "a duration needs a unit: ms, s, m, h, d or w" :
		"a duration takes the units ms, s, m, h, d and w";
	return false;
}

bool value_rate(struct slice text, struct rate_limit *out, const char **why)
{
	ptrdiff_t slash = slice_find(text, '/');
	int64_t count, period;

	if (slash < 0) {
		bool none = value_count(text, &count, why) && count == 0;

		*why = "a rate is written COUNT/DURATION, such as 1200/1m";
		if (!none)
			return false;
		*out = (struct rate_limit){ 0 };
		return true;
	}
	if (!value_count(slice_head(text, (size_t)slash), &count, why) ||
	    !value_duration(slice_from(text, (size_t)slash + 1), &period, why))
		return false;
	*why = "count or period out of range";
	if (count > UINT32_MAX || period <= 0)
		return false;
	*out = (struct rate_limit){ (uint32_t)count, period };
	return true;
}

bool value_integer(struct slice text, int64_t *out, const char **why)
{
	bool negative = text.n > 0 && text.p[0] == '-';
	struct slice rest;

	if (!number_and_rest(negative ? slice_from(text, 1) : text, out, &rest, why))
		return false;
	*why = "a whole number is wanted";
	if (negative)
		*out = -*out;
	return rest.n == 0;
}

/* ---- places ---- */

/* HOST:PORT, [IPv6]:PORT, HOST. port 0: none given. */
static bool host_and_port(struct slice text, struct slice *host, uint16_t *port, const char **why)
{
	ptrdiff_t colon = slice_rfind(text, ':');
	ptrdiff_t bracket = slice_rfind(text, ']');
	uint64_t number = 0;

	*host = text;
	if (colon > bracket) {
		*host = slice_head(text, (size_t)colon);
		*why = "a port is a number from 1 to 65535";
		if (!slice_number(slice_from(text, (size_t)colon + 1), 65535, &number) || number == 0)
			return false;
	}
	*port = (uint16_t)number;
	if (host->n > 1 && host->p[0] == '[' && host->p[host->n - 1] == ']')
		*host = slice_make(host->p + 1, host->n - 2);
	else if (slice_find(*host, ':') >= 0) {
		*why = "an IPv6 address with a port is written [ADDRESS]:PORT";
		return false;
	}
	*why = "host missing";
	return host->n > 0;
}

static bool unix_address(struct slice path, struct listen_address *out, const char **why)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&out->address;

	*why = "path of a Unix socket is empty or too long";
	if (path.n == 0 || path.n >= sizeof(sun->sun_path))
		return false;
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path.p, path.n);
	out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return true;
}

bool value_listen_address(struct arena *a, struct slice text, struct listen_address *out, const char **why)
{
	struct slice host;
	uint16_t port;
	struct ip ip;

	memset(out, 0, sizeof(*out));
	out->text = slice_cstr(a, text);
	if (slice_starts(text, SLICE("unix:")))
		return unix_address(slice_from(text, 5), out, why);
	if (!host_and_port(text, &host, &port, why))
		return false;
	*why = "ADDRESS:PORT is wanted; a name is not an address";
	if (!ip_parse(&ip, host))
		return false;
	*why = "port missing";
	if (port == 0)
		return false;
	out->length = ip_to_sockaddr(&ip, port, &out->address);
	return true;
}

bool value_backend_host(struct arena *a, struct slice text, struct backend_host *out, const char **why)
{
	struct slice host;
	uint16_t port;

	memset(out, 0, sizeof(*out));
	out->url = slice_cstr(a, text);
	out->protocol = slice_starts(text, SLICE("lmtp")) ? BACKEND_LMTP : BACKEND_SMTP;
	if (slice_starts(text, SLICE("lmtp+unix:")) || slice_starts(text, SLICE("smtp+unix:"))) {
		out->path = slice_cstr(a, slice_from(text, 10));
		*why = "path of a Unix socket must be absolute and at most 107 octets";
		return out->path[0] == '/' && strlen(out->path) < sizeof(((struct sockaddr_un *)0)->sun_path);
	}
	*why = "a backend is smtp://HOST:PORT, lmtp://HOST:PORT or lmtp+unix:/path";
	if (!slice_starts(text, SLICE("smtp://")) && !slice_starts(text, SLICE("lmtp://")))
		return false;
	if (!host_and_port(slice_from(text, 7), &host, &port, why))
		return false;
	*why = "LMTP has no default port (RFC 2033 section 5): lmtp://HOST:PORT";
	if (port == 0 && out->protocol == BACKEND_LMTP)
		return false;
	*why = "the host has characters that no name has";
	for (size_t i = 0; i < host.n; i++)
		if (!ascii_alpha(host.p[i]) && !ascii_digit(host.p[i]) && !strchr(".-_:", host.p[i]))
			return false;
	out->name = slice_cstr(a, host);
	out->port = port ? port : 25;
	return true;
}

static void prefix_range(const struct ip_prefix *prefix, struct dnsbl_range *out)
{
	out->first = out->last = prefix->address;
	for (unsigned bit = prefix->bits; bit < 128; bit++)
		out->last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

bool value_ip_range(struct slice text, struct dnsbl_range *out, const char **why)
{
	ptrdiff_t dash = slice_find(text, '-');
	struct ip_prefix prefix;

	if (dash < 0) {
		if (!ip_prefix_parse(&prefix, text, why))
			return false;
		prefix_range(&prefix, out);
		return true;
	}
	*why = "a range of addresses is FIRST-LAST";
	if (!ip_parse(&out->first, slice_head(text, (size_t)dash)) ||
	    !ip_parse(&out->last, slice_from(text, (size_t)dash + 1)))
		return false;
	*why = "the first address of the range is behind the last";
	return memcmp(out->first.bytes, out->last.bytes, 16) <= 0;
}
