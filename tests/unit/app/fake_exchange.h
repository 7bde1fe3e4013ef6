/* All that an exchange touches beside its own files, made of nothing: a client's call, the keyholder, the table of
 * sessions and the upstream. Each counts what it was given and what it got back. Linked instead of the real ones. */
#ifndef E2EE_TESTS_FAKE_EXCHANGE_H
#define E2EE_TESTS_FAKE_EXCHANGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "app/routes.h"
#include "app/signed.h"
#include "app/worker.h"
#include "base/mem.h"
#include "upstream/transfer.h"

#define FAKE_PENDING 64

struct http_call {
    void *context;
    bool streaming, aborted;
    unsigned ends; /* exactly one by the app, or none after the client went */
    int status;
    char code[64];
    char text[16384]; /* all that was written; no heap, for its failures are not the test's */
    size_t len;
};

static struct {
    struct http_call call;
    struct session *session;
    struct catalogue *catalogue;
    /* keyholder */
    struct {
        keyholder_derive_cb cb;
        void *arg;
        uint64_t stream_id;
    } pending[FAKE_PENDING];
    size_t pending_count;
    unsigned derives, fail_derive_at, fail_answer_at, answers; /* from 1; 0: none fails */
    enum err_kind failure;
    unsigned retired;
    /* upstream */
    bool transfer_live;
    struct transfer_callbacks callbacks;
    void *transfer_arg;
    size_t sent_bytes;
} fake;

/* ---- the client ---- */

void call_set_context(struct http_call *call, void *context)
{
    call->context = context;
}

void *call_context(const struct http_call *call)
{
    return call->context;
}

uint64_t call_id(const struct http_call *call)
{
    return 1;
}

bool call_streaming(const struct http_call *call)
{
    return call->streaming;
}

bool call_stream_full(const struct http_call *call)
{
    return false;
}

static void fake_write(struct http_call *call, const void *data, size_t len)
{
    assert_true(call->len + len < sizeof call->text);
    memcpy(call->text + call->len, data, len);
    call->len += len;
}

void call_reply(struct http_call *call, int status, const char *content_type, const struct http_header *extra,
                size_t extra_count, const void *body, size_t len)
{
    assert_false(call->streaming);
    call->status = status;
    fake_write(call, body, len);
    call->ends++;
}

void call_reply_error(struct http_call *call, const struct http_error *e, const struct http_header *extra,
                      size_t extra_count)
{
    assert_false(call->streaming);
    assert_non_null(e->message);
    call->status = e->status;
    snprintf(call->code, sizeof call->code, "%s", e->code != NULL ? e->code : "");
    call->ends++;
}

void call_stream_begin(struct http_call *call, int status, const char *content_type,
                       const struct http_header *extra, size_t extra_count)
{
    assert_false(call->streaming);
    call->streaming = true;
    call->status = status;
}

bool call_stream_write(struct http_call *call, const void *data, size_t len)
{
    assert_true(call->streaming && call->ends == 0);
    fake_write(call, data, len);
    return true;
}

void call_stream_end(struct http_call *call)
{
    assert_true(call->streaming);
    call->ends++;
}

void call_abort(struct http_call *call)
{
    call->aborted = true;
    call->ends++;
}

void call_body_release(struct http_call *call)
{
}

/* ---- the keyholder ---- */

bool keyholder_derive(struct keyholder_worker *worker, struct keyholder_key key, uint64_t stream_id,
                      const uint8_t server_point[static POINT_BYTES], keyholder_derive_cb cb, void *arg,
                      struct err *err)
{
    if (++fake.derives == fake.fail_derive_at) {
        return err_set(err, fake.failure, "as asked for by the test");
    }
    assert_true(fake.pending_count < FAKE_PENDING);
    fake.pending[fake.pending_count].cb = cb;
    fake.pending[fake.pending_count].arg = arg;
    fake.pending[fake.pending_count++].stream_id = stream_id;
    return true;
}

void keyholder_cancel(struct keyholder_worker *worker, uint64_t stream_id)
{
    size_t kept = 0;
    for (size_t i = 0; i < fake.pending_count; i++) {
        if (fake.pending[i].stream_id != stream_id) {
            fake.pending[kept++] = fake.pending[i];
        }
    }
    fake.pending_count = kept;
}

size_t keyholder_worker_pending(const struct keyholder_worker *worker)
{
    return fake.pending_count;
}

void keyholder_control_state(struct keyholder_control *control, struct keyholder_state *out)
{
    *out = (struct keyholder_state){0};
}

void keyholder_close(struct keyholder_control *control, struct keyholder_key key)
{
}

/* Answers the oldest question. Every key is the one that tests/unit/wire/sealed.h seals with. */
static void fake_answer(void)
{
    keyholder_derive_cb cb = fake.pending[0].cb;
    void *arg = fake.pending[0].arg;
    struct secret key = SECRET_EMPTY;
    struct err err = {0};
    fake.pending_count--;
    memmove(fake.pending, fake.pending + 1, fake.pending_count * sizeof fake.pending[0]);
    if (++fake.answers == fake.fail_answer_at) {
        err_set(&err, fake.failure, "as asked for by the test");
        cb(arg, NULL, &err, 1);
        return;
    }
    assert_true(secret_new(&key, AEAD_KEY_BYTES, NULL));
    memset(key.data, 0x41, key.len);
    cb(arg, &key, NULL, 1);
    secret_free(&key);
}

/* ---- the table of sessions ---- */

bool sessions_acquire(struct sessions *sessions, const char *model, struct mailbox *box, session_done_cb done,
                      void *arg, struct session **session, struct session_wait **wait, struct err *err)
{
    *session = session_ref(fake.session);
    return true;
}

bool sessions_catalogue(struct sessions *sessions, struct mailbox *box, session_done_cb done, void *arg,
                        struct catalogue **catalogue, struct session_wait **wait, struct err *err)
{
    *catalogue = catalogue_ref(fake.catalogue);
    return true;
}

void sessions_cancel(struct sessions *sessions, struct session_wait *wait)
{
    fail();
}

void sessions_retire(struct sessions *sessions, struct session *session)
{
    fake.retired++;
}

/* ---- the upstream ---- */

struct transfer *transfer_start(struct upstream_loop *loop, const struct transfer_request *request,
                                const struct transfer_callbacks *callbacks, void *arg, struct err *err)
{
    assert_false(fake.transfer_live);
    fake.sent_bytes = request->body->len;
    buf_free(request->body);
    fake.callbacks = *callbacks;
    fake.transfer_arg = arg;
    fake.transfer_live = true;
    return (struct transfer *)(void *)&fake;
}

void transfer_cancel(struct transfer *t)
{
    assert_true(fake.transfer_live);
    fake.transfer_live = false;
}

void transfer_release(struct transfer *t)
{
    transfer_cancel(t);
}

void transfer_pause(struct transfer *t)
{
    assert_true(fake.transfer_live);
}

void transfer_resume(struct transfer *t)
{
    assert_true(fake.transfer_live);
}

bool signed_take(struct signed_answers *s, uint16_t *wait_s, struct err *err)
{
    fail();
    return false;
}

struct signed_lookup *signed_lookup_start(struct worker *w, const char *model, const char *id,
                                          const uint8_t address[static ETH_ADDRESS_BYTES],
                                          signed_done_cb done, void *arg, struct err *err)
{
    fail();
    return NULL;
}

void signed_lookup_cancel(struct signed_lookup *l)
{
    assert_null(l);
}

#endif
