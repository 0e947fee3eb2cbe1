/*
 * Streams: input and output buffers over a descriptor that the loop watches.
 *
 * An idle stream is its struct and nothing else. An input buffer of 64 KiB is taken from a
 * pile when the kernel says there is something to read, and is back on it
 * when the owner has parked; the same few buffers serve all connections and
 * stay in the cache. A read that gives less than asked has emptied the
 * socket, so the next EAGAIN is not asked for, unless the peer has hung up (the kernel
 * reports that once, so we read on until the end is seen).
 *
 * Output is a growing block that lives until it is sent. What the socket does not take stays
 * there, and the loop sends it when the kernel says so, whether or not a fiber waits for it.
 *
 * Closing. A close with unread bytes in the socket makes the kernel send
 * a reset, which may overtake our last reply. So such a connection is
 * half-closed and drained for a short while by an object of its own, of which there may be
 * 256 at a time; beyond that (a flood) the courtesy is dropped.
 *
 * Rejected: a ring buffer (a line could wrap, every parser would have to know),
 * a buffer per connection (64 KiB times a hundred thousand), reading one byte to learn
 * whether input is there, MSG_ZEROCOPY (pays above 10 KiB only on real NICs and needs
 * completion handling).
 */
#include "run/stream.h"

#include "base/log.h"
#include "run/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include <unistd.h>

#define PILE 32			/* input buffers kept for the next stream */
#define SEND_PARTS 16		/* iovecs given to the kernel at once */
#define RECORD 16384		/* bytes of a TLS record */
#define LINGER_FOR (2 * NS_PER_SECOND)
#define LINGER_BYTES 65536
#define LINGERING_MOST 256

static struct {
	char *buffers[PILE];
	size_t count;
} pile;

static size_t io_limit;

void stream_limit_io(size_t bytes) { io_limit = bytes; }

size_t stream_limited(size_t n) { return io_limit && n > io_limit ? io_limit : n; }

/* ---- input buffers ---- */

static char *buffer_take(void)
{
	char *p;

	if (pile.count > 0)
		return pile.buffers[--pile.count];
	p = malloc(STREAM_BUFFER);
	BUG_ON(!p);
	return p;
}

static void buffer_give(char *p, size_t cap)
{
	if (cap == STREAM_BUFFER && pile.count < PILE)
		pile.buffers[pile.count++] = p;
	else
		free(p);
}

static void input_drop(struct stream *s)
{
	if (s->in)
		buffer_give(s->in, s->in_cap);
	s->in = NULL;
	s->in_start = s->in_end = s->in_cap = s->in_seen = 0;
}

/* A buffer with room at its end; the number of bytes of it, 0 if it is full. */
static size_t input_room(struct stream *s)
{
	size_t held = s->in_end - s->in_start;

	if (s->in && s->in_cap == STREAM_BUFFER && s->in_end < STREAM_BUFFER && held > 0)
		return STREAM_BUFFER - s->in_end;
	if (!s->in || s->in_cap != STREAM_BUFFER) {
		char *p = buffer_take();

		if (s->in) {
			memcpy(p, s->in + s->in_start, held);
			buffer_give(s->in, s->in_cap);
		}
		s->in = p;
		s->in_cap = STREAM_BUFFER;
	} else if (held > 0 && s->in_start > 0) {
		memmove(s->in, s->in + s->in_start, held);
	}
	s->in_start = 0;
	s->in_end = (uint32_t)held;
	return STREAM_BUFFER - held;
}

void stream_consume(struct stream *s, size_t n)
{
	BUG_ON(n > s->in_end - s->in_start);
	s->in_start += (uint32_t)n;
	s->in_seen -= n < s->in_seen ? (uint32_t)n : s->in_seen;
	if (s->in_start == s->in_end && n > 0)
		input_drop(s);
}

static bool readable(const struct stream *s)
{
	return s->state == STREAM_OPEN &&
		((s->watch.ready & WATCH_READ) || (s->tls && (tls_pending(s) || tls_wants_write(s))));
}

bool stream_park(struct stream *s)
{
	size_t held = s->in_end - s->in_start;
	char *p;

	if (held == 0) {
		input_drop(s);
	} else if (s->in_cap == STREAM_BUFFER && held < STREAM_BUFFER) {
		p = malloc(held);
		BUG_ON(!p);
		memcpy(p, s->in + s->in_start, held);
		buffer_give(s->in, s->in_cap);
		s->in = p;
		s->in_start = 0;
		s->in_end = s->in_cap = (uint32_t)held;
	}
	return !(s->watch.ready & WATCH_READ) && !(s->tls && tls_pending(s));
}

/* ---- the descriptor ---- */

void stream_fail(struct stream *s, int error)
{
	if (s->state == STREAM_FAILED)
		return;
	s->state = STREAM_FAILED;
	s->error = error > 255 ? 255 : (uint8_t)error;
	s->watch.ready = 0;
	free(s->out);
	s->out = NULL;
	s->out_start = s->out_end = s->out_cap = 0;
}

ssize_t stream_recv(struct stream *s, void *buffer, size_t n)
{
	ssize_t got;

	if (!(s->watch.ready & WATCH_READ)) {
		errno = EAGAIN;
		return -1;
	}
	n = stream_limited(n);
	do
		got = recv(s->watch.fd, buffer, n, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0 ? errno == EAGAIN : (size_t)got < n && !(s->watch.ready & WATCH_HANGUP))
		s->watch.ready &= (uint8_t)~WATCH_READ;
	return got;
}

static ssize_t transmit(struct stream *s, struct iovec *iov, size_t count, int flags)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = count };
	size_t asked = 0;
	ssize_t sent;

	if (!(s->watch.ready & WATCH_WRITE)) {
		errno = EAGAIN;
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (io_limit && asked + iov[i].iov_len > io_limit) {
			iov[i].iov_len = io_limit - asked;
			m.msg_iovlen = i + 1;
		}
		asked += iov[i].iov_len;
		if (m.msg_iovlen == i + 1)
			break;
	}
	do
		sent = m.msg_iovlen == 1 ? send(s->watch.fd, iov->iov_base, asked, MSG_NOSIGNAL | flags) :
			sendmsg(s->watch.fd, &m, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 ? errno == EAGAIN : (size_t)sent < asked)
		s->watch.ready &= (uint8_t)~WATCH_WRITE;
	return sent;
}

ssize_t stream_transmit(struct stream *s, const void *bytes, size_t n)
{
	struct iovec part = { (void *)(uintptr_t)bytes, n };

	return transmit(s, &part, 1, 0);
}

/* Told by the loop. */
static void stream_event(struct watch *w, unsigned events)
{
	struct stream *s = container_of(w, struct stream, watch);

	if ((events & WATCH_WRITE) && stream_unsent(s) > 0)
		stream_flush(s);
	if ((events & WATCH_WRITE) && s->tls && tls_wants_write(s))
		events |= WATCH_READ;
	if ((events & WATCH_READ) && !(events & WATCH_WOKE) && !w->waiter && s->on_ready)
		s->on_ready(s);
}

bool stream_open(struct stream *s, int fd, void (*on_ready)(struct stream *), void *owner)
{
	memset(s, 0, sizeof(*s));
	s->on_ready = on_ready;
	s->owner = owner;
	if (!watch_add(&s->watch, fd, WATCH_READ | WATCH_WRITE, stream_event)) {
		stream_fail(s, errno);
		close(fd);
		return false;
	}
	s->watch.ready = WATCH_WRITE;	/* a new socket takes something; reading waits for the kernel's word */
	return true;
}

/* ---- reading ---- */

int stream_fill(struct stream *s)
{
	size_t room;
	ssize_t n;

	if (s->state != STREAM_OPEN)
		return -1;
	if (!readable(s) || (room = input_room(s)) == 0)
		return 0;
	if (s->tls) {
		n = tls_read(s, s->in + s->in_end, room);
	} else {
		n = stream_recv(s, s->in + s->in_end, room);
		if (n == 0)
			s->state = STREAM_EOF;
		else if (n < 0 && errno != EAGAIN)
			stream_fail(s, errno);
	}
	if (n > 0) {
		s->in_end += (uint32_t)n;
		return (int)n;
	}
	if (s->in_start == s->in_end)
		input_drop(s);
	if (s->state == STREAM_OPEN)
		return 0;
	s->watch.ready &= (uint8_t)~WATCH_READ;
	return -1;
}

bool stream_line(struct stream *s, struct slice *line)
{
	struct slice in = stream_input(s);
	const char *start = in.p, *end, *at, *lf;

	if (in.n == 0)
		return false;
	end = start + in.n;
	at = start + s->in_seen;
	while (at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
		if (lf > start && lf[-1] == '\r') {
			*line = slice_make(start, (size_t)(lf - 1 - start));
			s->in_start += (uint32_t)(lf + 1 - start);	/* not consume: the slice stays */
			s->in_seen = 0;
			return true;
		}
		at = lf + 1;
	}
	s->in_seen = (uint32_t)(end - start);
	return false;
}

enum wait_result stream_read(struct stream *s, const char *label, deadline d)
{
	for (;;) {
		unsigned events = WATCH_READ;
		enum wait_result r;

		if (fiber_cancelled())
			return WAIT_CANCELLED;
		if (s->in_end - s->in_start == STREAM_BUFFER)
			stream_fail(s, ENOBUFS);
		if (stream_fill(s) != 0)
			break;
		stream_park(s);
		if (s->tls && tls_wants_write(s))
			events = WATCH_WRITE;
		r = wait_watch(&s->watch, events, label, d);
		if (r != WAIT_READY)
			return r;
	}
	if (fiber_tired())
		fiber_yield();
	return WAIT_READY;
}

enum wait_result stream_read_line(struct stream *s, struct slice *line, size_t max,
	const char *label, deadline d)
{
	BUG_ON(max + 2 > STREAM_BUFFER);
	for (;;) {
		uint32_t start = s->in_start;
		enum wait_result r;

		if (stream_line(s, line)) {
			if (line->n <= max)
				return WAIT_READY;
			s->in_start = start;
			break;
		}
		if (s->in_end - s->in_start >= max + 2)
			break;
		r = stream_read(s, label, d);
		if (r != WAIT_READY)
			return r;
		if (s->state != STREAM_OPEN)
			break;
	}
	*line = SLICE_NULL;
	return WAIT_READY;
}

/* ---- writing ---- */

static void output_drop(struct stream *s)
{
	free(s->out);
	s->out = NULL;
	s->out_start = s->out_end = s->out_cap = 0;
}

/* Room for n more bytes at the end of the output. */
static char *output_room(struct stream *s, size_t n)
{
	size_t held = stream_unsent(s), cap = s->out_cap ? s->out_cap : 512;

	if (s->out_cap - s->out_end >= n && s->out)
		return s->out + s->out_end;
	if (s->out && s->out_start > 0)
		memmove(s->out, s->out + s->out_start, held);
	s->out_start = 0;
	s->out_end = (uint32_t)held;
	while (cap - held < n)
		cap *= 2;
	BUG_ON(cap > INT32_MAX);	/* the owner drains before it comes to that */
	if (cap != s->out_cap)
		s->out = realloc(s->out, cap);
	BUG_ON(!s->out);
	s->out_cap = (uint32_t)cap;
	return s->out + s->out_end;
}

void stream_write(struct stream *s, struct slice bytes)
{
	if (s->state == STREAM_FAILED || bytes.n == 0)
		return;
	memcpy(output_room(s, bytes.n), bytes.p, bytes.n);
	s->out_end += (uint32_t)bytes.n;
}

void stream_printf(struct stream *s, const char *format, ...)
{
	va_list args;
	char *p;
	int n;

	if (s->state == STREAM_FAILED)
		return;
	p = output_room(s, 256);
	va_start(args, format);
	n = vsnprintf(p, 256, format, args);
	va_end(args);
	BUG_ON(n < 0);
	if (n >= 256) {
		p = output_room(s, (size_t)n + 1);
		va_start(args, format);
		vsnprintf(p, (size_t)n + 1, format, args);
		va_end(args);
	}
	s->out_end += (uint32_t)n;
}

bool stream_flush(struct stream *s)
{
	while (stream_unsent(s) > 0) {
		const char *p = s->out + s->out_start;
		ssize_t n = s->tls ? tls_write(s, p, stream_unsent(s)) : stream_transmit(s, p, stream_unsent(s));

		if (n < 0 && !s->tls && errno != EAGAIN)
			stream_fail(s, errno);
		if (n <= 0)
			return s->state != STREAM_FAILED;
		s->out_start += (uint32_t)n;
	}
	output_drop(s);
	return s->state != STREAM_FAILED;
}

/* Until the socket takes more. */
ASYNC static enum wait_result writable(struct stream *s, const char *label, deadline d)
{
	return wait_watch(&s->watch, WATCH_WRITE, label, d);
}

enum wait_result stream_drain(struct stream *s, const char *label, deadline d)
{
	for (;;) {
		enum wait_result r;

		if (fiber_cancelled())
			return WAIT_CANCELLED;
		if (!stream_flush(s) || stream_unsent(s) == 0)
			return WAIT_READY;
		r = writable(s, label, d);
		if (r != WAIT_READY)
			return r;
	}
}

/* Takes n sent bytes off the output and then off the parts. */
static void parts_advance(struct stream *s, struct iovec **iov, size_t *count, size_t n)
{
	size_t own = n < stream_unsent(s) ? n : stream_unsent(s);

	s->out_start += (uint32_t)own;
	n -= own;
	if (stream_unsent(s) == 0)
		output_drop(s);
	while (*count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (n > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

/* One sendmsg() of what is collected and as many parts as fit. */
static ssize_t send_parts(struct stream *s, const struct iovec *iov, size_t count)
{
	struct iovec parts[SEND_PARTS];
	size_t n = 0;

	if (stream_unsent(s) > 0)
		parts[n++] = (struct iovec){ s->out + s->out_start, stream_unsent(s) };
	while (n < SEND_PARTS && count > 0) {
		parts[n++] = *iov++;
		count--;
	}
	return transmit(s, parts, n, count > 0 ? MSG_MORE : 0);
}

/* TLS: through the output, a record at a time. */
ASYNC static enum wait_result send_copied(struct stream *s, struct iovec *iov, size_t count,
	const char *label, deadline d)
{
	for (; count > 0; iov++, count--) {
		struct slice rest = slice_make(iov->iov_base, iov->iov_len);

		while (rest.n > 0) {
			size_t room = stream_unsent(s) < RECORD ? RECORD - stream_unsent(s) : 0;
			struct slice head = slice_make(rest.p, rest.n < room ? rest.n : room);
			enum wait_result r;

			stream_write(s, head);
			rest = slice_make(rest.p + head.n, rest.n - head.n);
			if (stream_unsent(s) < RECORD && s->state != STREAM_FAILED)
				break;
			r = stream_drain(s, label, d);
			if (r != WAIT_READY || s->state == STREAM_FAILED)
				return r;
		}
	}
	return stream_drain(s, label, d);
}

enum wait_result stream_send(struct stream *s, struct iovec *iov, size_t count,
	const char *label, deadline d)
{
	enum wait_result r;

	if (s->tls)
		return send_copied(s, iov, count, label, d);
	parts_advance(s, &iov, &count, 0);	/* empty parts */
	while (count > 0 || stream_unsent(s) > 0) {
		ssize_t n;

		if (fiber_cancelled())
			return WAIT_CANCELLED;
		if (s->state == STREAM_FAILED)
			break;
		n = send_parts(s, iov, count);
		if (n >= 0) {
			parts_advance(s, &iov, &count, (size_t)n);
			continue;
		}
		if (errno != EAGAIN) {
			stream_fail(s, errno);
			break;
		}
		r = writable(s, label, d);
		if (r != WAIT_READY)
			return r;
	}
	return WAIT_READY;
}

/* TLS: a record of the file at a time; it is in the page cache, or nearly so. */
ASYNC static enum wait_result send_file_copied(struct stream *s, int fd, int64_t offset, size_t n,
	const char *label, deadline d)
{
	while (n > 0 && s->state != STREAM_FAILED) {
		size_t want = n < RECORD ? n : RECORD;
		ssize_t got = pread(fd, output_room(s, want), want, offset);
		enum wait_result r;

		if (got <= 0) {
			stream_fail(s, got < 0 ? errno : EIO);
			break;
		}
		s->out_end += (uint32_t)got;
		offset += got;
		n -= (size_t)got;
		r = stream_drain(s, label, d);
		if (r != WAIT_READY)
			return r;
	}
	return WAIT_READY;
}

enum wait_result stream_send_file(struct stream *s, int fd, int64_t offset, size_t n,
	const char *label, deadline d)
{
	enum wait_result r = stream_drain(s, label, d);
	off_t at = offset;

	if (r != WAIT_READY || s->tls)
		return r == WAIT_READY ? send_file_copied(s, fd, offset, n, label, d) : r;
	while (n > 0 && s->state != STREAM_FAILED) {
		ssize_t sent;

		if (fiber_cancelled())
			return WAIT_CANCELLED;
		sent = s->watch.ready & WATCH_WRITE ? sendfile(s->watch.fd, fd, &at, stream_limited(n)) : -2;
		if (sent > 0) {
			n -= (size_t)sent;
		} else if (sent == 0) {
			stream_fail(s, EIO);	/* the file is shorter than was said */
		} else if (sent == -1 && errno != EAGAIN && errno != EINTR) {
			stream_fail(s, errno);
		} else {
			if (sent == -1 && errno == EAGAIN)
				s->watch.ready &= (uint8_t)~WATCH_WRITE;
			r = writable(s, label, d);
			if (r != WAIT_READY)
				return r;
		}
	}
	return WAIT_READY;
}

size_t stream_unacknowledged(const struct stream *s)
{
	int n = 0;

	if (s->watch.fd < 0 || ioctl(s->watch.fd, SIOCOUTQ, &n) < 0 || n < 0)
		return 0;
	return (size_t)n;
}

/* ---- closing ---- */

struct lingering {
	struct stream stream;
	struct timer timer;
	size_t drained;
	bool shut;
};

static size_t lingering_count;

void stream_abort(struct stream *s)
{
	if (s->watch.fd < 0)
		return;
	if (s->tls)
		tls_drop(s);
	watch_close(&s->watch);
	input_drop(s);
	output_drop(s);
	s->state = STREAM_FAILED;
	s->watch.ready = 0;
}

static void lingering_free(void *object)
{
	free(object);
}

static void lingering_end(struct lingering *l)
{
	timer_clear(&l->timer);
	stream_abort(&l->stream);
	lingering_count--;
	loop_bury(lingering_free, l);
}

static void lingering_expired(struct timer *t)
{
	lingering_end(container_of(t, struct lingering, timer));
}

/* One step: send what is left, half-close, read what comes and forget it. */
static void lingering_step(struct lingering *l)
{
	struct stream *s = &l->stream;
	char *sink;
	ssize_t n;

	if (!stream_flush(s)) {
		lingering_end(l);
		return;
	}
	if (stream_unsent(s) > 0)
		return;
	if (!l->shut) {
		if (s->tls)
			tls_shutdown(s);
		shutdown(s->watch.fd, SHUT_WR);
		l->shut = true;
	}
	sink = buffer_take();
	while ((n = stream_recv(s, sink, STREAM_BUFFER)) > 0 && l->drained < LINGER_BYTES)
		l->drained += (size_t)n;
	buffer_give(sink, STREAM_BUFFER);
	if (n >= 0 || errno != EAGAIN)
		lingering_end(l);
}

static void lingering_event(struct watch *w, unsigned events)
{
	(void)events;
	lingering_step((struct lingering *)container_of(w, struct stream, watch));
}

/* The stream goes on as an object of its own; s is closed. */
static void linger(struct stream *s)
{
	struct lingering *l = calloc(1, sizeof(*l));

	BUG_ON(!l);
	input_drop(s);
	if (s->watch.waiter)
		fiber_wake(s->watch.waiter, WAIT_READY);
	l->stream = *s;
	watch_move(&l->stream.watch, &s->watch, lingering_event);
	s->tls = NULL;
	s->out = NULL;
	s->out_start = s->out_end = s->out_cap = 0;
	s->state = STREAM_FAILED;
	s->watch.ready = 0;
	if (l->stream.tls)
		tls_moved(&l->stream);
	l->stream.on_ready = NULL;
	l->timer.fn = lingering_expired;
	timer_set(&l->timer, deadline_in(LINGER_FOR));
	lingering_count++;
	lingering_step(l);
}

static void closing(struct stream *s, bool talking)
{
	if (s->watch.fd < 0)
		return;
	if (s->state != STREAM_FAILED)
		stream_flush(s);
	if (s->state == STREAM_FAILED) {
		stream_abort(s);
		return;
	}
	talking = s->state == STREAM_OPEN && (talking || (s->watch.ready & WATCH_READ));
	if ((talking || stream_unsent(s) > 0) && lingering_count < LINGERING_MOST) {
		linger(s);
		return;
	}
	if (s->tls)
		tls_shutdown(s);
	stream_abort(s);
}

void stream_close(struct stream *s) { closing(s, false); }
void stream_linger(struct stream *s) { closing(s, true); }

/* ---- dialling ---- */

/* connect() that has begun: its end. 0 or an errno. */
ASYNC static int connect_end(struct stream *s, const char *label, deadline d)
{
	enum wait_result r;
	socklen_t length = sizeof(int);
	int error = 0;

	s->watch.ready = 0;
	r = writable(s, label, d);
	if (r != WAIT_READY)
		return r == WAIT_TIMEOUT ? ETIMEDOUT : ECANCELED;
	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return errno;
	return error;
}

/* A Unix listener whose queue is full says EAGAIN and never tells us more: ask again. */
ASYNC static int connect_begin(int fd, const struct endpoint *to, const char *label, deadline d)
{
	for (;;) {
		enum wait_result r;

		if (connect(fd, (const struct sockaddr *)&to->address, to->length) == 0)
			return 0;
		if (errno != EAGAIN)
			return errno;
		r = wait_until(label, deadline_min(d, deadline_in(10 * NS_PER_MS)));
		if (r == WAIT_CANCELLED)
			return ECANCELED;
		if (deadline_passed(d))
			return ETIMEDOUT;
	}
}

bool stream_connect(struct stream *s, const struct endpoint *to, const char **why,
	const char *label, deadline d)
{
	int one = 1, error, fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memset(s, 0, sizeof(*s));
	s->watch.fd = -1;
	stream_fail(s, fd < 0 ? errno : 0);
	if (fd < 0) {
		*why = strerror(errno);
		return false;
	}
	if (to->address.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	error = fiber_cancelled() ? ECANCELED : connect_begin(fd, to, label, d);
	if (error != 0 && error != EINPROGRESS) {
		close(fd);
	} else if (!stream_open(s, fd, NULL, NULL)) {
		error = s->error;
	} else if (error == EINPROGRESS) {
		error = connect_end(s, label, d);
		if (error != 0)
			stream_abort(s);
	}
	if (error == 0)
		return true;
	s->error = (uint8_t)(error > 255 ? 255 : error);
	*why = error == ECANCELED ? "cancelled" : strerrordesc_np(error);
	return false;
}
