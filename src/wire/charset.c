/*
 * The list, and the loop around iconv(3). Converters are opened once a process and kept: opening one reads files. A process
 * that uses them has one thread that does.
 *
 * Rejected: libicu, which is 30 MB, and tables of our own for what libc has.
 */
#include "wire/charset.h"

#include <errno.h>
#include <iconv.h>

/* As it is called in mail (first as libc knows it). Sets are read as the superset that those who say so write: GB2312 as GB18030,
 * Shift_JIS as CP932, KS_C_5601 as CP949 (WHATWG Encoding Standard, section 4.2). */
static const char *const sets[][5] = {
	{ "ISO-2022-JP", NULL },
	{ "EUC-JP", "x-euc-jp", NULL },
	{ "CP932", "shift_jis", "shift-jis", "x-sjis", "windows-31j" },
	{ "GB18030", "gb2312", "gbk", "cp936", "x-gbk" },
	{ "BIG5", "cn-big5", "x-x-big5", NULL },
	{ "CP949", "euc-kr", "ks_c_5601-1987", "x-windows-949", NULL },
	{ "KOI8-R", NULL },
	{ "KOI8-U", NULL },
	{ "CP1251", "windows-1251", "x-cp1251", NULL },
	{ "CP1250", "windows-1250", "x-cp1250", NULL },
	{ "CP1253", "windows-1253", NULL },
	{ "CP1254", "windows-1254", "iso-8859-9", "latin5", NULL },
	{ "CP1257", "windows-1257", NULL },
	{ "ISO-8859-2", "latin2", NULL },
	{ "ISO-8859-5", NULL },
	{ "ISO-8859-7", NULL },
	{ "ISO-8859-13", NULL },
};
#define SETS (sizeof(sets) / sizeof(sets[0]))
#define WIDEST 3u	/* octets of UTF-8 that an octet becomes, at most */

/* NULL: not opened yet; CLOSED: libc does not have it. */
static iconv_t converters[SETS];
#define CLOSED ((iconv_t)-1)

static size_t set_of(struct slice charset)
{
	char first = charset.n > 0 ? ascii_lower(charset.p[0]) : 0;

	/* What most text is in needs no look at the list. */
	if (charset.n == 0 || slice_eq_nocase(charset, SLICE("utf-8")) || slice_eq_nocase(charset, SLICE("us-ascii")) ||
	    slice_eq_nocase(charset, SLICE("iso-8859-1")))
		return SETS;
	for (size_t i = 0; i < SETS; i++)
		for (size_t k = 0; k < sizeof(sets[i]) / sizeof(sets[i][0]) && sets[i][k]; k++)
			if (ascii_lower(sets[i][k][0]) == first && slice_eq_nocase(charset, slice_of(sets[i][k])))
				return i;
	return SETS;
}

static iconv_t converter_of(size_t set)
{
	if (!converters[set])
		converters[set] = iconv_open("UTF-8", sets[set][0]);
	return converters[set];
}

bool charset_is_known(struct slice charset)
{
	return set_of(charset) < SETS;
}

void charset_load(void)
{
	for (size_t i = 0; i < SETS; i++)
		converter_of(i);
}

bool charset_convert(struct arena *a, struct slice charset, struct slice text, struct slice *out)
{
	size_t set = set_of(charset), left = text.n, room;
	iconv_t converter = set < SETS ? converter_of(set) : CLOSED;
	struct str done = STR_IN(a);
	char *from = (char *)text.p, *to;

	if (converter == CLOSED)
		return false;
	room = text.n * WIDEST + 16;
	to = str_room(&done, room);
	iconv(converter, NULL, NULL, NULL, NULL);
	while (left > 0 && room > 0) {
		if (iconv(converter, &from, &left, &to, &room) != (size_t)-1 || errno != EILSEQ || room == 0)
			break;
		/* EINVAL: it ends within a character. */
		*to++ = '?';
		room--;
		from++;
		left--;
	}
	done.n = (size_t)(to - done.p);
	*out = str_slice(&done);
	return true;
}
