#include "upstream/transfer.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/loop_internal.h"

/* ---- libcurl's callbacks: libcurl is on the stack ---- */

/* Bodies are large and streams are long: give the memory back as soon as the whole request has left. */
static void drop_sent_body(struct transfer *t)
{
    curl_off_t sent = 0;
    if (t->body.data != NULL && curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent) == CURLE_OK &&
        sent >= (curl_off_t)t->body_len) {
        buf_free(&t->body);
        t->sent = true;
    }
}

static size_t fail_answer(struct transfer *t, const char *why)
{
    err_set(&t->result.err, ERR_UPSTREAM, "%s", why);
    return 0; /* libcurl ends the transfer and closes the connection */
}

/* The empty line after a block of headers. */
static size_t headers_end(struct transfer *t, size_t len)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->answered || (status >= 100 && status < 200)) {
        return len; /* after trailers, or before the real answer */
    }
    t->result.status = (int)status;
    if (status < 200 || status > 599) {
        return fail_answer(t, "the upstream answered with an impossible status");
    }
    if (status < 400 && status >= 300) {
        return fail_answer(t, "the upstream answered with a redirect, which is never followed");
    }
    t->answered = true;
    if (t->callbacks.on_status != NULL) {
        curl_off_t wait = 0;
        char *type = NULL;
        curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &wait);
        curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
        t->callbacks.on_status(t->arg, &(struct transfer_status){(int)status, wait > 0 ? (int64_t)wait : -1,
                                                                 type != NULL ? type : ""});
    }
    return t->work == WORK_DEAD ? 0 : len;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct transfer *t = arg;
    if (t->work == WORK_DEAD) {
        return 0;
    }
    t->began = true;
    t->header_bytes += len;
    if (t->header_bytes > LIMIT_HTTP_HEADER_BYTES) {
        return fail_answer(t, "the upstream's headers are too large");
    }
    bool empty = (len == 2 && line[0] == '\r' && line[1] == '\n') || (len == 1 && line[0] == '\n');
    return empty ? headers_end(t, len) : len;
}

static size_t on_write(char *data, size_t one, size_t len, void *arg)
{
    struct transfer *t = arg;
    if (t->work == WORK_DEAD) {
        return len + 1; /* anything but len is an error, also where len is 0 */
    }
    if (t->released) {
        t->linger_bytes += len;
        return t->linger_bytes > LIMIT_UPSTREAM_LINGER_BYTES ? len + 1 : len;
    }
    if (t->paused) {
        t->curl_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    drop_sent_body(t);
    t->streaming = true;
    t->last_ns = clock_boot_ns();
    t->result.bytes += len;
    if (len > 0) {
        t->callbacks.on_data(t->arg, (const uint8_t *)data, len);
    }
    return t->work == WORK_DEAD ? len + 1 : len;
}

/* ---- start ---- */

static bool easy_prepare(struct transfer *t, struct err *err)
{
    CURL *easy = t->easy;
    if (!upstream_easy_setup(easy, t->loop->config, (const char *)t->url.data, t->loop->config->loopback,
                             &t->headers, err)) {
        return false;
    }
    CURLcode rc = CURLE_OK;
#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_SHARE, t->loop->share);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, t);
    if (t->body.data != NULL) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
        SET(CURLOPT_POSTFIELDS, (char *)t->body.data);
    }
#undef SET
    rc = rc != CURLE_OK ? rc : read_ahead_set(&t->loop->ahead, easy);
    return rc == CURLE_OK || err_set(err, ERR_MEMORY, "libcurl: %s", curl_easy_strerror(rc));
}

struct transfer *transfer_start(struct upstream_loop *loop, const struct transfer_request *request,
                                const struct transfer_callbacks *callbacks, void *arg, struct err *err)
{
    struct buf body;
    buf_init(&body, 0);
    if (request->body != NULL) {
        buf_move(&body, request->body);
    }
    struct transfer *t = upstream_loop_reserve(loop) ? mem_calloc(1, sizeof *t) : NULL;
    if (t == NULL) {
        buf_free(&body);
        err_set(err, ERR_MEMORY, "no memory for a request to the upstream");
        return NULL;
    }
    t->loop = loop;
    t->fd = CURL_SOCKET_BAD;
    t->callbacks = *callbacks;
    t->arg = arg;
    t->last_ns = clock_boot_ns();
    t->body_len = body.len;
    buf_init(&t->url, LIMIT_UPSTREAM_URL_BYTES);
    buf_init(&t->body, 0);
    if (request->body != NULL) {
        t->body = body;
    }
    upstream_loop_enter(t);
    bool ok = true;
    if (request->body != NULL && (body.failed || body.data == NULL)) {
        ok = err_set(err, ERR_INVALID, "a request's body is empty or did not fit");
    }
    ok =
        ok && upstream_url_join(loop->config, request->path, &t->url, err) &&
        upstream_headers_build(&t->headers, loop->config, !request->anonymous, request->headers,
                               request->header_count, request->body != NULL ? "application/json" : NULL, err);
    if (ok && (t->easy = curl_easy_init()) == NULL) {
        ok = err_set(err, ERR_MEMORY, "no memory for a request to the upstream");
    }
    if (!ok || !easy_prepare(t, err)) {
        transfer_free(t);
        return NULL;
    }
    if (loop->in_curl > 0) {
        upstream_loop_queue(t, WORK_START);
    } else {
        transfer_work_start(t);
    }
    return t;
}

void transfer_work_start(struct transfer *t)
{
    /* libcurl only sets its timer here; the timer's event starts the work. */
    if (curl_multi_add_handle(t->loop->multi, t->easy) == CURLM_OK) {
        t->added = true;
    } else {
        err_set(&t->result.err, ERR_MEMORY, "no memory for a request to the upstream");
        upstream_loop_queue(t, WORK_DONE);
    }
}

/* ---- back-pressure ---- */

void transfer_pause(struct transfer *t)
{
    t->paused = true; /* libcurl is told when it next has bytes: pausing it from outside gains nothing */
}

void transfer_resume(struct transfer *t)
{
    if (!t->paused) {
        return;
    }
    t->paused = false;
    t->last_ns = clock_boot_ns();
    if ((t->curl_paused || t->loop->ahead.on) && t->work == WORK_NONE) {
        /* Later: curl_easy_pause calls on_write before it returns. */
        upstream_loop_queue(t, WORK_RESUME);
    }
}

void transfer_work_resume(struct transfer *t)
{
    struct upstream_loop *loop = t->loop;
    if (!t->paused && t->curl_paused) {
        t->curl_paused = false;
        loop->in_curl++;
        CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
        loop->in_curl--;
        if (code != CURLE_OK && t->work == WORK_NONE) {
            transfer_finish_code(t, code);
        }
    }
    read_ahead_use_up(t);
}

/* ---- end ---- */

static void set_result(struct transfer *t, CURLcode code)
{
    long connects = 0;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    t->result.reused = t->began && connects == 0;
    if (t->result.err.kind == ERR_NONE && code != CURLE_OK) {
        upstream_easy_error(t->easy, code, t->began, &t->result.err);
    } else if (t->result.err.kind == ERR_NONE && !t->answered) {
        err_set(&t->result.err, ERR_UPSTREAM, "the upstream's answer has no headers");
    }
}

static void detach(struct transfer *t)
{
    if (t->added) {
        t->added = false;
        /* Closes the connection at once unless the answer was complete. */
        curl_multi_remove_handle(t->loop->multi, t->easy);
    }
}

void transfer_finish_code(struct transfer *t, CURLcode code)
{
    set_result(t, code);
    upstream_loop_queue(t, WORK_DONE);
}

void transfer_work_done(struct transfer *t)
{
    detach(t);
    t->finished = true;
    if (!t->released) {
        t->callbacks.on_done(t->arg, &t->result);
    }
    transfer_free(t);
}

void transfer_free(struct transfer *t)
{
    detach(t);
    upstream_loop_unqueue(t);
    upstream_loop_leave(t);
    curl_easy_cleanup(t->easy);
    upstream_headers_clear(&t->headers);
    buf_free(&t->url);
    buf_free(&t->body);
    mem_free(t);
}

void transfer_cancel(struct transfer *t)
{
    if (t->finished) {
        return; /* from its own on_done */
    }
    if (t->loop->in_curl > 0) {
        upstream_loop_queue(t, WORK_DEAD);
    } else {
        upstream_loop_unqueue(t);
        transfer_free(t);
    }
}

void transfer_release(struct transfer *t)
{
    if (t->finished) {
        return;
    }
    transfer_resume(t);
    t->released = true;
    t->last_ns = clock_boot_ns();
}

static void time_out(struct transfer *t, uint32_t seconds, const char *what)
{
    if (t->result.err.kind == ERR_NONE) {
        err_set(&t->result.err, ERR_TIMEOUT, "the upstream %s for %u s", what, seconds);
    }
    set_result(t, CURLE_OPERATION_TIMEDOUT);
    upstream_loop_queue(t, WORK_DONE);
}

static bool request_sent(struct transfer *t, int64_t now)
{
    curl_off_t connected = 0, uploaded = 0;
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (connected <= 0) {
        t->last_ns = now; /* libcurl's own connect time-out runs */
        return false;
    }
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (uploaded != t->uploaded) {
        t->uploaded = uploaded;
        t->last_ns = now;
    }
    if (uploaded >= (curl_off_t)t->body_len) {
        t->sent = true;
        t->last_ns = now;
    }
    return t->sent;
}

void transfer_check(struct transfer *t, int64_t now)
{
    const struct upstream_options *o = &t->loop->config->options;
    if (t->released && t->work == WORK_NONE &&
        now - t->last_ns > LIMIT_UPSTREAM_LINGER_MS * CLOCK_NS_PER_MS) {
        upstream_loop_queue(t, WORK_DEAD);
        return;
    }
    if (!t->added || t->paused || t->curl_paused || t->work != WORK_NONE) {
        return;
    }
    if (t->streaming || (!t->sent && !request_sent(t, now))) {
        if (now - t->last_ns > (int64_t)o->silence_s * CLOCK_NS_PER_S) {
            time_out(t, o->silence_s, t->streaming ? "was silent" : "took no byte of the request");
        }
    } else if (now - t->last_ns > (int64_t)o->first_byte_s * CLOCK_NS_PER_S) {
        time_out(t, o->first_byte_s, "sent no byte of its answer");
    }
}
