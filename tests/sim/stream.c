#include "stream.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "sign.h"

#define QUEUE_HIGH ((size_t)256 << 10) /* bytes queued at which production rests until the client has read */
#define FLOOD_BLOCK ((size_t)64 << 10)

static void stream_free(struct stream *s)
{
    if (s->timer)
        event_free(s->timer);
    chat_free(&s->chat);
    plan_free(&s->plan);
    bytes_free(&s->json);
    bytes_free(&s->event);
    bytes_free(&s->field);
    bytes_free(&s->last_field);
    bytes_free(&s->head);
    EVP_MD_CTX_free(s->hash);
    free(s);
}

static void on_gone(void *user)
{
    stream_free(user);
}

static void store_signature(struct stream *s)
{
    uint8_t response[32];
    if (!s->hash || EVP_DigestFinal_ex(s->hash, response, NULL) != 1)
        return;
    sign_store(s->id, s->chat.model,
               s->chat.model->flavour == FLAVOUR_PG ? s->chat.plain_hash : s->chat.body_hash, response);
}

static void emit(struct stream *s, const void *data, size_t len)
{
    if (s->hash)
        EVP_DigestUpdate(s->hash, data, len);
    if (stream_fault(s, F_BYTES))
        http_stream_bytes(s->conn, data, len);
    else
        http_stream_write(s->conn, data, len);
}

static void finish(struct stream *s)
{
    struct http_conn *conn = s->conn;
    http_watch(conn, NULL, NULL, NULL);
    sim_stats.streams_done++;
    store_signature(s);
    stream_free(s);
    http_stream_end(conn);
}

static void arm(struct stream *s, long ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    s->waiting = true;
    event_add(s->timer, &tv);
}

/* ---- faults that end or stop the body ---- */

static bool cut_now(struct stream *s)
{
    struct http_conn *conn = s->conn;
    if (stream_fault_now(s, F_CUT)) {
        finish(s);
    } else if (stream_fault_now(s, F_CUT_EVENT)) {
        event_next(s);
        emit(s, s->event.p, s->event.len / 2);
        finish(s);
    } else if (stream_fault_now(s, F_CUT_HARD)) {
        http_watch(conn, NULL, NULL, NULL);
        stream_free(s);
        http_close(conn);
    } else if (stream_fault_now(s, F_CUT_RESET)) {
        http_watch(conn, NULL, NULL, NULL);
        stream_free(s);
        http_reset(conn);
    } else {
        return false;
    }
    return true;
}

static bool stall_now(struct stream *s)
{
    if (!stream_fault_now(s, F_STALL))
        return false;
    s->stalled = true;
    if (s->plan.fault.value > 0)
        arm(s, s->plan.fault.value);
    return true;
}

static void flood_now(struct stream *s)
{
    if (stream_fault_now(s, F_HUGE_EVENT)) {
        emit(s, "data: {\"id\":\"", strlen("data: {\"id\":\""));
        s->flood_unit = "x";
    } else if (stream_fault_now(s, F_ENDLESS_LINE)) {
        s->flood_unit = "y";
    } else if (stream_fault_now(s, F_COMMENT_FLOOD)) {
        s->flood_unit = ": keep-alive\n\n\n";
    } else {
        return;
    }
    s->flood_left = (size_t)s->plan.fault.value;
}

static void flood_some(struct stream *s)
{
    static char block[FLOOD_BLOCK];
    size_t unit = strlen(s->flood_unit), len = 0;
    while (len + unit <= sizeof block && len < s->flood_left) {
        memcpy(block + len, s->flood_unit, unit);
        len += unit;
    }
    emit(s, block, len);
    s->flood_left -= len < s->flood_left ? len : s->flood_left;
    if (!s->flood_left && stream_fault(s, F_HUGE_EVENT))
        emit(s, "\",\"choices\":[]}\n\n", 17);
}

/* ---- production ---- */

/* True while there is more to send at once. */
static bool step(struct stream *s)
{
    if (s->flood_left) {
        flood_some(s);
        return true;
    }
    bool content = s->phase == PHASE_CONTENT || s->phase == PHASE_REASONING;
    flood_now(s);
    if (s->flood_left)
        return true;
    if (stall_now(s) || cut_now(s))
        return false;
    if (!event_next(s)) {
        if (!stream_fault(s, F_LINGER))
            finish(s);
        return false;
    }
    emit(s, s->event.p, s->event.len);
    if (content && s->event.len && s->plan.delay_ms > 0 && s->choice == 0) {
        arm(s, s->plan.delay_ms);
        return false;
    }
    return true;
}

static void run(struct stream *s)
{
    if (s->waiting || (s->stalled && s->plan.fault.value <= 0))
        return;
    while (http_queued(s->conn) < QUEUE_HIGH)
        if (!step(s))
            return;
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
    struct stream *s = user;
    s->waiting = false;
    run(s);
}

static void on_drain(void *user)
{
    run(user);
}

static void make_id(struct stream *s)
{
    uint8_t raw[16];
    char hex[33];
    random_bytes(raw, sizeof raw);
    hex_encode(raw, sizeof raw, hex);
    memcpy(s->id, "chatcmpl-", 9);
    memcpy(s->id + 9, hex, 33);
}

/* A fault's place defaults to the second piece; past the end of the answer it befalls the last one. */
static long place_fault(const struct plan *p)
{
    long pieces = p->chunks;
    for (size_t at = 0; !p->chunks && at < p->text.len; pieces++)
        at += utf8_prefix(bytes_text(&p->text) + at, p->text.len - at, (size_t)p->piece);
    pieces *= p->n;
    long at = p->fault.at < 0 ? 1 : p->fault.at;
    return at < pieces ? at : pieces > 0 ? pieces - 1 : 0;
}

/* One chat.completion instead of a stream: {"choices":[{"message":{…}}]}, sealed. */
static void whole_json(struct stream *s)
{
    struct http_conn *conn = s->conn;
    struct bytes b = {0};
    bytes_fmt(&b,
              "{\"id\":\"%s\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
              "\"assistant\",\"content\":\"",
              s->id);
    sealer_add(&s->sealer, &b, s->plan.text.p, s->plan.text.len);
    bytes_str(&b, "\"},\"finish_reason\":\"stop\"}]}");
    http_watch(conn, NULL, NULL, NULL);
    stream_free(s);
    http_reply(conn, 200, "application/json", NULL, b.p, b.len);
    bytes_free(&b);
}

void stream_start(struct event_base *base, struct http_conn *conn, struct chat *chat, const struct plan *plan,
                  enum seal_mode mode)
{
    struct stream *s = sim_alloc(sizeof *s);
    struct bytes extra = {0};
    s->base = base;
    s->conn = conn;
    s->chat = *chat;
    s->plan = *plan;
    memset(chat, 0, sizeof *chat);
    make_id(s);
    if (mode == SEAL_PER_FIELD && s->plan.key == KEY_PER_RESPONSE)
        mode = SEAL_PER_RESPONSE;
    sealer_init(&s->sealer, mode, s->chat.client, plan_defaults.prepared);
    s->fault_at = place_fault(&s->plan);
    s->timer = event_new(base, -1, 0, on_timer, s);
    if (!plan_defaults.prepared && mode != SEAL_PLAIN && mode != SEAL_SAME_SIZE) {
        s->hash = EVP_MD_CTX_new();
        EVP_DigestInit_ex(s->hash, EVP_sha256(), NULL);
    }
    if (s->plan.fault.fault)
        sim_stats.faults++;
    http_watch(conn, s, on_drain, on_gone);
    if (stream_fault(s, F_WHOLE_JSON)) {
        whole_json(s);
        return;
    }
    if (mode != SEAL_PLAIN && mode != SEAL_SAME_SIZE)
        bytes_fmt(&extra, "X-Venice-TEE: true\r\nX-Venice-TEE-Provider: %s\r\n", s->chat.model->provider);
    bytes_str(&extra, "Cache-Control: no-cache\r\nx-ratelimit-remaining-requests: 499\r\n");
    http_stream_begin(conn, 200,
                      stream_fault(s, F_CT_JSON) ? "application/json" : "text/event-stream; charset=utf-8",
                      bytes_text(&extra));
    bytes_free(&extra);
    if (stream_fault(s, F_NO_EVENTS))
        s->phase = PHASE_OVER;
    if (s->plan.first_ms > 0)
        arm(s, s->plan.first_ms);
    else
        run(s);
}
