/* Whatever fails on the way of an answer, each allocation and each call to the token in turn: the client is told, and
 * everything that was taken is given back. */
#include "app/fake_exchange.h"

#include "app/exchange.h"
#include "app/metrics.h"
#include "app/queue.h"
#include "fault.h"
#include "wire/replay.h"
#include "wire/sealed.h"

#define HEAD "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":["

static const char catalogue_text[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"type\":\"text\",\"model_spec\":{\"capabilities\":"
    "{\"supportsE2EE\":true,\"supportsTeeAttestation\":true}}}]}";

/* A piece's <text> is sealed under a point of its own, unless that of the piece before is kept. */
static const struct {
    const char *json;
    bool same_point;
} pieces[] = {
    {HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}",
     false},
    {HEAD "{\"index\":0,\"delta\":{\"reasoning_content\":\"<why>\"},\"finish_reason\":null}]}", false},
    {HEAD "{\"index\":0,\"delta\":{\"content\":\"<alpha>\"},\"finish_reason\":null}]}", false},
    {HEAD "{\"index\":0,\"delta\":{\"content\":\"<beta>\"},\"finish_reason\":null}]}", true},
    {HEAD "{\"index\":0,\"delta\":{\"content\":\"<gamma>\"},\"finish_reason\":null}]}", false},
    {HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}", false},
    {HEAD "],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}", false},
    {"[DONE]", false},
};
#define PIECES (sizeof pieces / sizeof *pieces)

static struct app app;
static struct worker worker;
static struct buf events[PIECES];
static size_t secrets_before;

static int set_up(void **state)
{
    struct err err = {0};
    if (sealed_set_up(state) != 0) {
        return -1;
    }
    admission_init(&app.admission, INT64_MAX);
    inflight_init(&app.inflight, 1 << 24);
    app.derives_high = 1000;
    worker.app = &app;
    worker.aead = aead_new(&err);
    worker.next_stream_id = 1;
    fake.session = mem_calloc(1, sizeof *fake.session);
    fake.catalogue = catalogue_parse(catalogue_text, strlen(catalogue_text), 1, &err);
    if (worker.aead == NULL || fake.session == NULL || fake.catalogue == NULL) {
        return -1;
    }
    atomic_init(&fake.session->refs, 1);
    snprintf(fake.session->model, sizeof fake.session->model, "m");
    fake.session->client_point[0] = 4;
    fake.session->deadline_ns = INT64_MAX;
    for (size_t i = 0; i < PIECES; i++) {
        buf_init(&events[i], 1 << 20);
    }
    secrets_before = secret_live_count();
    return secret_new(&fake.session->request_key, AEAD_KEY_BYTES, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < PIECES; i++) {
        buf_free(&events[i]);
    }
    session_unref(fake.session);
    catalogue_unref(fake.catalogue);
    aead_free(worker.aead);
    return sealed_tear_down(state);
}

/* The server's next key. */
static void next_point(void)
{
    static uint32_t count;
    uint8_t bytes[SCALAR_BYTES] = {0};
    struct secret scalar = SECRET_EMPTY;
    struct err err = {0};
    count++;
    memcpy(bytes + 16, &count, sizeof count);
    assert_true(secret_copy(&scalar, bytes, sizeof bytes, &err) &&
                point_from_scalar(sealed_point, &scalar, &err));
    secret_free(&scalar);
}

/* The answer's events as the upstream will send them. */
static void seal_events(void)
{
    struct buf json;
    buf_init(&json, 1 << 20);
    for (size_t i = 0; i < PIECES; i++) {
        if (!pieces[i].same_point) {
            next_point();
        }
        sealed_json(&json, pieces[i].json);
        buf_reset(&events[i]);
        assert_true(buf_append_str(&events[i], "data: ") && buf_append(&events[i], json.data, json.len) &&
                    buf_append_str(&events[i], "\n\n"));
    }
    buf_free(&json);
}

struct run {
    bool stream;
    const char *more;    /* further members of the request */
    size_t fail_alloc;   /* this allocation, from 1; 0: none */
    size_t client_gone;  /* before this piece, from 1; 0: never */
    size_t upstream_cut; /* before this piece */
};

/* Gives the upstream's answer piece by piece, the token's answers late: each one piece after its question. */
static void play(const struct run *run)
{
    static const struct transfer_status status = {.status = 200, .retry_after_s = -1, .content_type = ""};
    struct transfer_result done = {.status = 200};
    if (fake.transfer_live) {
        fake.callbacks.on_status(fake.transfer_arg, &status);
    }
    for (size_t i = 0; i < PIECES && fake.transfer_live; i++) {
        size_t waiting = fake.pending_count;
        if (i + 1 == run->client_gone) {
            struct call_owner *owner = call_context(&fake.call);
            owner->closed(owner);
            return;
        }
        if (i + 1 == run->upstream_cut) {
            err_set(&done.err, ERR_UPSTREAM, "cut by the test");
            break;
        }
        fake.callbacks.on_data(fake.transfer_arg, events[i].data, events[i].len);
        while (waiting-- > 0 && fake.pending_count > 0) {
            fake_answer();
        }
    }
    if (fake.transfer_live) {
        fake.transfer_live = false;
        fake.callbacks.on_done(fake.transfer_arg, &done);
    }
    while (fake.pending_count > 0) {
        fake_answer();
    }
}

static void begin(void)
{
    struct err err = {0};
    memset(&fake.call, 0, sizeof fake.call);
    fake.pending_count = 0;
    fake.derives = fake.answers = fake.retired = 0;
    seal_events();
    answer_parser_init(&worker.parser);
    fake.session->shared = replay_new(64, &err);
    assert_non_null(fake.session->shared);
}

/* Everything that the exchange took is back. */
static void end(void)
{
    assert_null(worker.exchanges);
    assert_false(fake.transfer_live);
    assert_int_equal(fake.pending_count, 0);
    assert_int_equal(inflight_used(&app.inflight), 0);
    assert_int_equal(atomic_load(&app.admission.claims), 0);
    assert_int_equal(atomic_load(&fake.session->refs), 1);
    assert_int_equal(metrics_get(METRIC_STREAMS_OPEN), 0);
    aead_clear(worker.aead);
    queue_free_spare(&worker);
    answer_parser_free(&worker.parser);
    replay_free(fake.session->shared);
    fake.session->shared = NULL;
    assert_int_equal(secret_live_count(), secrets_before + 1); /* the session's own */
}

/* True when the allocation that was to fail did. */
static bool exchange(const struct run *run)
{
    struct buf body;
    begin();
    buf_init(&body, 65536);
    assert_true(buf_appendf(
        &body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"stream\":%s%s}",
        run->stream ? "true" : "false", run->more));
    fault_alloc_at(run->fail_alloc);
    exchange_start(&worker, &fake.call, &body);
    play(run);
    bool hit = fault_alloc_hit();
    fault_alloc_at(0);
    buf_free(&body);
    end();
    return hit;
}

static bool has(const char *text)
{
    return memmem(fake.call.text, fake.call.len, text, strlen(text)) != NULL;
}

/* The contents that a client has read, one after another. */
static const char *contents(void)
{
    static const char name[] = "\"content\":\"";
    static char out[256];
    size_t len = 0;
    fake.call.text[fake.call.len] = '\0';
    for (const char *p = fake.call.text; (p = strstr(p, name)) != NULL;) {
        for (p += sizeof name - 1; *p != '"' && len < sizeof out - 1; p++) {
            out[len++] = *p;
        }
    }
    out[len] = '\0';
    return out;
}

static void assert_complete(bool stream)
{
    assert_int_equal(fake.call.ends, 1);
    assert_int_equal(fake.call.status, 200);
    assert_true(has("data: [DONE]") == stream);
    assert_string_equal(contents(), "alphabetagamma");
    assert_true(has("\"why\""));
    assert_false(has("\"error\""));
}

/* An error as a status, or as the last event of a stream, and then no [DONE]. */
static void assert_told(const char *code)
{
    char member[96];
    assert_int_equal(fake.call.ends, 1);
    assert_false(fake.call.aborted);
    if (!fake.call.streaming) {
        assert_true(fake.call.status >= 500);
        assert_string_equal(fake.call.code, code);
        return;
    }
    snprintf(member, sizeof member, "\"code\":\"%s\"", code);
    assert_true(has("\"error\"") && has(member));
    assert_false(has("[DONE]"));
}

static const struct run kinds[] = {
    {.stream = true, .more = ""},
    {.stream = false, .more = ""},
    {.stream = true, .more = ",\"stop\":[\"omega\",\"eta!\"]"},
    {.stream = false, .more = ",\"stop\":[\"omega\",\"eta!\"]"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void test_nothing_fails(void **state)
{
    for (size_t k = 0; k < KINDS; k++) {
        exchange(&kinds[k]);
        assert_complete(kinds[k].stream);
        assert_int_equal(fake.derives, 3); /* one key serves two pieces */
        assert_true(fake.sent_bytes > FIELD_MIN_CHARS);
    }
}

/* Each allocation in turn, until one run is through without reaching it. */
static void test_each_allocation_fails(void **state)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct run run = kinds[k];
        size_t told = 0;
        for (run.fail_alloc = 1;; run.fail_alloc++) {
            assert_true(run.fail_alloc < 2000);
            if (!exchange(&run)) {
                break;
            }
            assert_told("overloaded");
            told++;
        }
        assert_complete(run.stream);
        assert_true(told > 10);
    }
}

/* Each question to the token in turn: refused at once, or answered by an error. */
static void test_each_token_call_fails(void **state)
{
    static const enum err_kind failures[] = {ERR_TOKEN, ERR_KEY_GONE, ERR_PIN, ERR_MEMORY};
    for (size_t i = 0; i < 2 * KINDS * sizeof failures / sizeof *failures; i++) {
        unsigned *which = i % 2 == 0 ? &fake.fail_derive_at : &fake.fail_answer_at;
        const struct run *run = &kinds[i / 2 % KINDS];
        fake.failure = failures[i / 2 / KINDS];
        for (*which = 1; *which <= 3; ++*which) {
            exchange(run);
            assert_told(fake.failure == ERR_MEMORY ? "overloaded" : "token_unavailable");
            assert_int_equal(fake.retired, fake.failure == ERR_KEY_GONE);
        }
        *which = 0;
    }
}

/* A keyholder with no room for one more question is asked again when one of ours is answered; with none of ours on its
 * way nobody would ask again. */
static void test_busy_keyholder(void **state)
{
    fake.failure = ERR_BUSY;
    for (fake.fail_derive_at = 1; fake.fail_derive_at <= 3; fake.fail_derive_at++) {
        exchange(&kinds[0]);
        if (fake.fail_derive_at == 2) {
            assert_complete(true);
        } else {
            assert_told("overloaded");
        }
    }
    fake.fail_derive_at = 0;
}

/* A client that hangs up, and an upstream that breaks off, before each piece. */
static void test_either_end_goes_away(void **state)
{
    for (size_t k = 0; k < KINDS; k++) {
        for (size_t piece = 1; piece <= PIECES; piece++) {
            struct run gone = kinds[k], cut = kinds[k];
            gone.client_gone = piece;
            exchange(&gone);
            assert_int_equal(fake.call.ends, 0);
            cut.upstream_cut = piece;
            exchange(&cut);
            assert_told("upstream_error");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_fails),         cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_token_call_fails), cmocka_unit_test(test_busy_keyholder),
        cmocka_unit_test(test_either_end_goes_away),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
