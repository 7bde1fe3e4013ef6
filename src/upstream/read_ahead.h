/* Reads from a TLS connection what its socket has, as nginx does: OpenSSL otherwise asks the kernel twice for each record, once
 * for five bytes of header. libcurl does not know of it. It looks for buffered bytes with SSL_pending(3), which counts
 * opened records only, so whoever lets libcurl read goes on until records that were read ahead are used up:
 * read_ahead_use_up after what concerns one transfer, read_ahead_use_up_all when others may have been read too.
 * A loop's own thread only. */
#ifndef E2EE_UPSTREAM_READ_AHEAD_H
#define E2EE_UPSTREAM_READ_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>
#include <openssl/types.h>

struct transfer;
struct upstream_loop;

/* In each loop. */
struct read_ahead {
    bool on;          /* libcurl's TLS is ours, and no proxy puts a second TLS under the first */
    uint64_t records; /* whose header was seen, by all connections */
    const SSL *only;  /* whose record was seen since read_ahead_begin, or NULL */
    bool others;      /* and one of another connection: read_ahead_use_up_all has work */
};

/* http2: off, because that has buffers of its own above TLS, and more of them would be what a paused answer costs. */
void read_ahead_init(struct read_ahead *a, bool http2);
/* For a transfer's handle, before it starts. The loop must outlive its connections. */
CURLcode read_ahead_set(struct read_ahead *a, CURL *easy);
/* Before libcurl is called, and after it was called for t's socket (NULL: for none). */
void read_ahead_begin(struct read_ahead *a);
void read_ahead_end(struct read_ahead *a, const struct transfer *t);
/* Calls libcurl until nothing of t's is left that is whole. Stops at a pause: its end must come here again. */
void read_ahead_use_up(struct transfer *t);
/* The same for every transfer, if read_ahead_end saw a record of another connection. */
void read_ahead_use_up_all(struct upstream_loop *loop);

#endif
