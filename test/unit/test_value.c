/* Values of directives: units, ranges, places. */
#include "unit.h"

#include "policy/value.h"

static struct arena arena;

static const char *count(const char *text, int64_t wanted)
{
	const char *why = NULL;
	int64_t value = -1;

	if (!value_count(slice_of(text), &value, &why))
		return why;
	assert_int_equal(value, wanted);
	return NULL;
}

static void counts_are_thousands(void **state)
{
	assert_null(count("0", 0));
	assert_null(count("100k", 100000));
	assert_null(count("2M", 2000000));
	assert_non_null(count("", 0));
	assert_non_null(count("-1", 0));
	assert_non_null(count("1G", 0));
	assert_non_null(count("k", 0));
	assert_non_null(count("99999999999999999999", 0));
	assert_non_null(count("9223372036854775807k", 0));
}

static void sizes_are_1024_based(void **state)
{
	static const struct { const char *text; int64_t value; } good[] = {
		{ "512", 512 }, { "10k", 10240 }, { "10K", 10240 }, { "25M", 25 << 20 }, { "4G", INT64_C(4) << 30 },
		{ "1T", INT64_C(1) << 40 },
	};
	static const char *const bad[] = { "", "k", "10kk", "10P", "1.5M", "10 k", "9999999T" };
	const char *why;
	int64_t value;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(value_size(slice_of(good[i].text), &value, &why));
		assert_int_equal(value, good[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_size(slice_of(bad[i]), &value, &why));
		assert_non_null(why);
	}
}

static void durations_need_a_unit(void **state)
{
	static const struct { const char *text; int64_t value; } good[] = {
		{ "0", 0 }, { "0s", 0 }, { "500ms", 500 * NS_PER_MS }, { "30s", 30 * NS_PER_SECOND },
		{ "5m", 300 * NS_PER_SECOND }, { "2h", 7200 * NS_PER_SECOND }, { "7d", 604800 * NS_PER_SECOND },
		{ "1w", 604800 * NS_PER_SECOND },
	};
	static const char *const bad[] = { "", "30", "s", "30sec", "1y", "-1s", "99999999999d" };
	const char *why;
	int64_t value;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(value_duration(slice_of(good[i].text), &value, &why));
		assert_int_equal(value, good[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_duration(slice_of(bad[i]), &value, &why));
		assert_non_null(why);
	}
}

static void rates(void **state)
{
	static const char *const bad[] = { "", "10", "10/", "/1m", "10/0s", "10/1", "5000M/1s", "a/1m" };
	struct rate_limit limit = { 7, 7 };
	const char *why;

	assert_true(value_rate(SLICE("1200/1m"), &limit, &why));
	assert_int_equal(limit.count, 1200);
	assert_int_equal(limit.period, 60 * NS_PER_SECOND);
	assert_true(value_rate(SLICE("0"), &limit, &why));
	assert_int_equal(limit.period, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_rate(slice_of(bad[i]), &limit, &why));
		assert_non_null(why);
	}
}

static void integers_may_be_negative(void **state)
{
	const char *why;
	int64_t value;

	assert_true(value_integer(SLICE("-2"), &value, &why));
	assert_int_equal(value, -2);
	assert_true(value_integer(SLICE("3"), &value, &why));
	assert_false(value_integer(SLICE("--3"), &value, &why));
	assert_false(value_integer(SLICE("-"), &value, &why));
	assert_false(value_integer(SLICE("3k"), &value, &why));
}

static void listen_addresses(void **state)
{
	static const char *const good[] = { "0.0.0.0:25", "127.0.0.1:65535", "[::]:25", "[::1]:10025", "unix:/run/x" };
	static const char *const bad[] = { "", "25", "0.0.0.0", "0.0.0.0:", "0.0.0.0:0", "0.0.0.0:65536", "::1:25",
		"localhost:25", "[::1]", "unix:", ":25" };
	struct listen_address address;
	const char *why;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(value_listen_address(&arena, slice_of(good[i]), &address, &why));
		assert_string_equal(address.text, good[i]);
		assert_true(address.length > 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_listen_address(&arena, slice_of(bad[i]), &address, &why));
		assert_non_null(why);
	}
}

static void backends(void **state)
{
	static const char *const bad[] = { "", "10.0.0.5:25", "http://a:1", "smtp://", "smtp://:25", "smtp://a:0",
		"lmtp+unix:run/x", "smtp://a:99999", "smtp://::1:25" };
	struct backend_host host;
	const char *why;

	assert_true(value_backend_host(&arena, SLICE("smtp://10.0.0.5:2525"), &host, &why));
	assert_int_equal(host.protocol, BACKEND_SMTP);
	assert_string_equal(host.name, "10.0.0.5");
	assert_int_equal(host.port, 2525);
	assert_true(value_backend_host(&arena, SLICE("smtp://mail.example.org"), &host, &why));
	assert_int_equal(host.port, 25);
	assert_true(value_backend_host(&arena, SLICE("smtp://[2001:db8::1]:25"), &host, &why));
	assert_string_equal(host.name, "2001:db8::1");
	assert_true(value_backend_host(&arena, SLICE("lmtp+unix:/run/lmtp"), &host, &why));
	assert_int_equal(host.protocol, BACKEND_LMTP);
	assert_string_equal(host.path, "/run/lmtp");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_backend_host(&arena, slice_of(bad[i]), &host, &why));
		assert_non_null(why);
	}
}

static void ranges_of_answers(void **state)
{
	static const char *const bad[] = { "", "127.0.0.300", "127.0.0.9-127.0.0.2", "127.0.0.2-", "a-b" };
	struct dnsbl_range range;
	char text[IP_TEXT];
	const char *why;

	assert_true(value_ip_range(SLICE("127.0.0.2-127.0.0.11"), &range, &why));
	assert_string_equal(ip_text(&range.last, text), "127.0.0.11");
	assert_true(value_ip_range(SLICE("127.0.0.4"), &range, &why));
	assert_true(ip_eq(&range.first, &range.last));
	assert_true(value_ip_range(SLICE("127.0.0.0/16"), &range, &why));
	assert_string_equal(ip_text(&range.first, text), "127.0.0.0");
	assert_string_equal(ip_text(&range.last, text), "127.0.255.255");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(value_ip_range(slice_of(bad[i]), &range, &why));
		assert_non_null(why);
	}
}

UNIT_MAIN(T(counts_are_thousands), T(sizes_are_1024_based), T(durations_need_a_unit), T(rates),
	T(integers_may_be_negative), T(listen_addresses), T(backends), T(ranges_of_answers))
