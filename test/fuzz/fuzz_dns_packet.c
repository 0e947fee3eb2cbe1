/*
 * Answers: the input is a packet, asked for what its own question says, and for a few types
 * whatever it says. What comes out must be within bounds, and names must be names.
 */
#include "base/log.h"
#include "wire/dns_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_record(const struct dns_record *r, enum dns_type type)
{
	const char *why = NULL;
	struct dns_name name;

	BUG_ON(r->text.n > 0 && r->text.p[r->text.n] != '\0');
	BUG_ON((type == DNS_A) && !ip_is_v4(&r->ip));
	if (type != DNS_MX && type != DNS_PTR && type != DNS_NS && type != DNS_CNAME && type != DNS_SRV)
		return;
	BUG_ON(r->text.n > 0 && !dns_name_parse_escaped(&name, r->text, NULL, &why));
}

static void ask(struct slice packet, const struct dns_name *name, enum dns_type type)
{
	struct arena a = ARENA_INIT;
	const char *why = NULL;
	struct dns_reply r;

	if (dns_packet_parse(&r, &a, packet, name, type, &why)) {
		BUG_ON(r.rcode > 15 || r.ttl > INT32_MAX || r.count > packet.n / 11);
		for (size_t i = 0; i < r.count; i++)
			check_record(&r.records[i], type);
	} else {
		BUG_ON(!why);
	}
	arena_drop(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_TXT, DNS_PTR, DNS_CNAME, DNS_SOA,
		DNS_SRV, DNS_NS, DNS_CAA };
	struct slice packet = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	struct dns_record record;
	struct dns_name name;
	size_t at = 12;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (dns_rdata_parse(&record, &a, packet, n < 12 ? 0 : 12, n < 12 ? n : n - 12, types[i]))
			check_record(&record, types[i]);
	if (n >= 16 && dns_name_unpack(&name, packet, &at) && at + 2 <= n)
		ask(packet, &name, (enum dns_type)(bytes[at] << 8 | bytes[at + 1]));
	else if (dns_name_parse(&name, SLICE("example.org")))
		ask(packet, &name, DNS_MX);
	arena_drop(&a);
	return 0;
}
