/*
 * Streams: buffered bytes over a socket, plain or TLS.
 *
 * A stream serves two masters. While its owner is parked, the loop calls
 * `on_ready` when there is something to read; while a fiber reads or writes it,
 * the fiber waits. An idle stream owns no buffer: input buffers come from a
 * pool when bytes arrive and go back when they are consumed, a small
 * remainder of a parked stream is kept in a small block of its own.
 *
 * Output is collected and written at stream_flush(): a multi-line reply, or the
 * replies to a pipelined group, leave in one segment (TCP_NODELAY is set on listeners, whose
 * connections inherit it, and by stream_connect()).
 *
 * on_ready may also come while the owner's fiber waits for something else (a backend, say): that is how a
 * peer's hang-up is noticed (watch.ready & WATCH_HANGUP). An owner that is busy ignores it; being edge-triggered it does
 * not come again, so the owner parks only when stream_park() says that nothing is left unread.
 *
 * A line ends in CRLF, and only there.
 */
#ifndef SPURN_RUN_STREAM_H
#define SPURN_RUN_STREAM_H

#include "base/str.h"
#include "run/wait.h"

#include <sys/socket.h>
#include <sys/uio.h>

struct tls;		/* tls.h */
struct tls_context;

enum stream_state {
	STREAM_OPEN,
	STREAM_EOF,	/* the peer closed its side in order; we may still write */
	STREAM_FAILED,	/* reset, TLS error: nothing more in either direction */
};

struct stream {
	struct watch watch;		/* first: a watch is its stream */
	void (*on_ready)(struct stream *s);	/* parked owner's handler */
	void *owner;
	char *in, *out;			/* NULL while empty */
	uint32_t in_start, in_end, in_cap;
	uint32_t in_seen;		/* so many bytes from in_start hold no CRLF */
	uint32_t out_start, out_end, out_cap;
	uint8_t state;			/* enum stream_state */
	uint8_t error;			/* errno of STREAM_FAILED, capped */
	struct tls *tls;		/* NULL: plain */
};

/* Takes the descriptor (non-blocking) over, also when it fails: then it is closed. */
bool stream_open(struct stream *s, int fd, void (*on_ready)(struct stream *), void *owner);
/* Closes the descriptor and frees buffers; idempotent. TLS: sends close_notify if it can. With
 * unread input or unsent output pending, the output is still delivered: half-close and a short drain
 * in the background (2 s, 64 KiB, at most 256 at a time), so that a last reply is not lost to a reset. */
void stream_close(struct stream *s);
/* The same, but always with half-close and drain: for when we end a dialogue in which the peer may be
 * talking still (421, 554). */
void stream_linger(struct stream *s);
/* Closes at once, without courtesy. */
void stream_abort(struct stream *s);
static inline bool stream_is_open(const struct stream *s) { return s->watch.fd >= 0; }

/* ---- input ---- */

/* Reads what is there, once, into the buffer. > 0: bytes read; 0: nothing now (or the
 * buffer is full); -1: end or failure, see s->state. Never waits. */
int stream_fill(struct stream *s);
/* What is buffered. Valid until the next fill, consume or close. */
static inline struct slice stream_input(const struct stream *s)
{
	return s->in ? slice_make(s->in + s->in_start, s->in_end - s->in_start) : SLICE_NULL;
}
void stream_consume(struct stream *s, size_t n);
/* A whole line without its CRLF, if one is buffered: it is consumed, the slice stays valid until
 * the next fill. A bare LF or CR does not end a line; it stays in the slice and the caller refuses it. */
bool stream_line(struct stream *s, struct slice *line);
/* Gives the buffer back; keeps a remainder in a block of its size (slices of it die). Call before parking: false if
 * there is something unread: then no on_ready will come for it, fill instead. */
bool stream_park(struct stream *s);
/* Waits for more input: fills at least one byte. WAIT_READY without one: look at s->state. A buffer that is
 * full already fails the stream (ENOBUFS): bound what you collect. */
ASYNC enum wait_result stream_read(struct stream *s, const char *label, deadline d);
/* A line of at most max bytes. WAIT_READY with *line; on end, failure or a longer line
 * *line is SLICE_NULL (look at s->state; STREAM_OPEN then means too long; it stays buffered). */
ASYNC enum wait_result stream_read_line(struct stream *s, struct slice *line, size_t max,
	const char *label, deadline d);

/* ---- output ---- */

void stream_write(struct stream *s, struct slice bytes);
void stream_printf(struct stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline size_t stream_unsent(const struct stream *s) { return s->out_end - s->out_start; }
/* Tries to send what is collected, without waiting; the loop sends the rest when it can.
 * false: the stream has failed. */
bool stream_flush(struct stream *s);
/* Waits until everything is with the kernel. WAIT_READY also on failure: look at s->state (so for the next two). */
ASYNC enum wait_result stream_drain(struct stream *s, const char *label, deadline d);
/* Sends what is collected and then these bytes, without copying them where the stream is plain.
 * The bytes stay the caller's and must last until the return. The iov array is used up. */
ASYNC enum wait_result stream_send(struct stream *s, struct iovec *iov, size_t count,
	const char *label, deadline d);
/* Sends n bytes of a file from an offset (sendfile where plain). */
ASYNC enum wait_result stream_send_file(struct stream *s, int fd, int64_t offset, size_t n,
	const char *label, deadline d);
/* Bytes given to the kernel that the peer has not acknowledged (SIOCOUTQ); 0 when unknown. */
size_t stream_unacknowledged(const struct stream *s);

/* ---- dialling ---- */

struct endpoint {
	struct sockaddr_storage address;	/* AF_INET, AF_INET6 or AF_UNIX */
	socklen_t length;
};
/* Connects without blocking the loop. *why names the reason of a failure. */
ASYNC bool stream_connect(struct stream *s, const struct endpoint *to, const char **why,
	const char *label, deadline d);

/* ---- used by tls.c alone ---- */

/* recv() and send() that keep watch.ready: no system call if it would give EAGAIN. */
ssize_t stream_recv(struct stream *s, void *buffer, size_t n);
ssize_t stream_transmit(struct stream *s, const void *bytes, size_t n);
void stream_fail(struct stream *s, int error);
size_t stream_limited(size_t n);	/* see stream_limit_io() */

/* Tests: at most so many bytes per read and write from now on (0: no limit). */
void stream_limit_io(size_t bytes);
/* Size of an input buffer taken from the pool. */
#define STREAM_BUFFER (64u * 1024u)

#endif
