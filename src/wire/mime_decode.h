/*
 * Transfer encodings undone as a stream (RFC 2045 sections 6.7 and 6.8).
 *
 * For the parser of MIME. What is not in the alphabet is passed over in base64 and kept as it is in
 * quoted-printable, as section 6.7 and 6.8 advise readers.
 */
#ifndef SPURN_WIRE_MIME_DECODE_H
#define SPURN_WIRE_MIME_DECODE_H

#include "wire/mime.h"

struct mime_decoder {
	uint8_t encoding;	/* enum mime_encoding */
	uint8_t state, first;	/* quoted-printable: where we are behind an "=" */
	uint8_t count;		/* base64: characters of the group at hand */
	uint32_t bits;
};

/* Takes octets from the front of *in and writes at most `room` (at least 4) to out; returns how many it wrote. Call again
 * until *in is empty. MIME_IDENTITY is not for it. */
size_t mime_decode(struct mime_decoder *d, struct slice *in, char *out, size_t room);
/* The body ended: what was held back, at most 3 octets. */
size_t mime_decode_end(struct mime_decoder *d, char *out);
/* The value of Content-Transfer-Encoding. What is not known is identity. */
enum mime_encoding mime_encoding_of(struct slice value);

/* ---- for the parser: parts of header fields, without an arena ---- */

/* "text/plain; ..." into two lower-case C strings; "text" and "plain" if it cannot be read. */
void mime_type_read(struct slice value, char *type, char *subtype);
/* As mime_parameter(), into at most `room` octets; longer ones are cut. Returns the length, -1: absent. */
ptrdiff_t mime_parameter_read(struct slice value, struct slice name, char *out, size_t room, struct slice *charset);

#endif
