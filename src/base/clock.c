/*
 * One clock_gettime() a turn: the monotonic clock is read, the wall clock is that plus
 * an offset, which is read anew once a second. So a wall clock that the
 * administrator or NTP sets is noticed within a second, and within one
 * turn both clocks agree.
 *
 * The calendar is our own (days to civil date, as in the proleptic
 * Gregorian calendar; Hinnant, "chrono-Compatible Low-Level Date Algorithms"):
 * gmtime_r() loads the zone file at its first call, which a worker
 * under seccomp must not do, and strftime() speaks the locale's language.
 */
#include "base/clock.h"

#include "base/log.h"

static struct {
	nanoseconds now;
	nanoseconds offset;	/* wall - monotonic */
	nanoseconds offset_read;
	bool read, fake;
} clocks;

static nanoseconds clock_of(clockid_t id)
{
	struct timespec t;

	BUG_ON(clock_gettime(id, &t) != 0);
	return (nanoseconds)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

void clock_turn(void)
{
	if (clocks.fake)
		return;
	clocks.now = clock_of(CLOCK_MONOTONIC);
	if (!clocks.read || clocks.now - clocks.offset_read >= NS_PER_SECOND) {
		clocks.offset = clock_of(CLOCK_REALTIME) - clocks.now;
		clocks.offset_read = clocks.now;
		clocks.read = true;
	}
}

nanoseconds clock_now(void)
{
	if (__builtin_expect(!clocks.read, 0))
		clock_turn();
	return clocks.now;
}

nanoseconds clock_wall(void)
{
	if (__builtin_expect(!clocks.read, 0))
		clock_turn();
	return clocks.now + clocks.offset;
}

nanoseconds clock_precise(void)
{
	return clocks.fake ? clocks.now : clock_of(CLOCK_MONOTONIC);
}

void clock_fake(nanoseconds monotonic, nanoseconds wall)
{
	clocks.now = monotonic;
	clocks.offset = wall - monotonic;
	clocks.read = clocks.fake = true;
}

void clock_fake_advance(nanoseconds span)
{
	BUG_ON(!clocks.fake);
	clocks.now += span;
}

bool clock_is_fake(void)
{
	return clocks.fake;
}

struct civil {
	int year, month, day;	/* month 1..12 */
	int weekday;		/* 0: Sunday */
	int hour, minute, second, ms;
};

static struct civil civil_of(nanoseconds wall)
{
	int64_t ms = wall / NS_PER_MS - (wall % NS_PER_MS < 0);
	int64_t days = ms / 86400000 - (ms % 86400000 < 0);
	int in_day = (int)(ms - days * 86400000);
	int64_t z = days + 719468;	/* since 1 March of year 0 */
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int of_era = (int)(z - era * 146097);
	int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int of_year = of_era - (365 * year + year / 4 - year / 100);
	int march_month = (5 * of_year + 2) / 153;
	struct civil c = {
		.year = (int)(year + era * 400) + (march_month >= 10),
		.month = march_month < 10 ? march_month + 3 : march_month - 9,
		.day = of_year - (153 * march_month + 2) / 5 + 1,
		.weekday = (int)(((days + 4) % 7 + 7) % 7),
		.hour = in_day / 3600000,
		.minute = in_day / 60000 % 60,
		.second = in_day / 1000 % 60,
		.ms = in_day % 1000,
	};
	return c;
}

/* 64 bits of nanoseconds reach from 1677 to 2262: years have four digits. */
static char *put_digits(char *p, int value, int width)
{
	for (int i = width - 1; i >= 0; i--, value /= 10)
		p[i] = (char)('0' + value % 10);
	return p + width;
}

static char *put_text(char *p, const char *text, int n)
{
	for (int i = 0; i < n; i++)
		*p++ = text[i];
	return p;
}

static char *put_time(char *p, const struct civil *c)
{
	p = put_digits(p, c->hour, 2);
	*p++ = ':';
	p = put_digits(p, c->minute, 2);
	*p++ = ':';
	return put_digits(p, c->second, 2);
}

void clock_rfc5322(nanoseconds wall, char out[32])
{
	struct civil c = civil_of(wall);
	char *p = out;

	p = put_text(p, &"SunMonTueWedThuFriSat"[c.weekday * 3], 3);
	p = put_text(p, ", ", 2);
	p = put_digits(p, c.day, c.day < 10 ? 1 : 2);
	*p++ = ' ';
	p = put_text(p, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(c.month - 1) * 3], 3);
	*p++ = ' ';
	p = put_digits(p, c.year, 4);
	*p++ = ' ';
	p = put_time(p, &c);
	p = put_text(p, " +0000", 6);
	*p = '\0';
}

void clock_rfc3339(nanoseconds wall, char out[25])
{
	struct civil c = civil_of(wall);
	char *p = out;

	p = put_digits(p, c.year, 4);
	*p++ = '-';
	p = put_digits(p, c.month, 2);
	*p++ = '-';
	p = put_digits(p, c.day, 2);
	*p++ = 'T';
	p = put_time(p, &c);
	*p++ = '.';
	p = put_digits(p, c.ms, 3);
	*p++ = 'Z';
	*p = '\0';
}
