#include "keyipc/keyipc_internal.h"

#include <string.h>

#define LENGTH_BYTES 4                                   /* the length field itself */
#define FIXED_BYTES (KEYIPC_HEADER_BYTES - LENGTH_BYTES) /* version to request id: what every length counts */

#define STATUS_BYTES 1037
_Static_assert(STATUS_BYTES == 2 + 2 * 4 + 3 * 8 + 1 + 2 * 8 + 32 + 1 + 8 + 8 + 1 +
                                   KEYIPC_TOKENS_MAX * KEYIPC_TOKEN_BYTES + KEYIPC_TIMES_BYTES,
               "keyipc_put_status");

enum { WHO_CONTROL = 1, WHO_WORKER = 2, WHO_NEW = 4 };

/* Everything there is: an op that has no row does not exist. Lengths are of bodies, in bytes. */
static const struct op {
    uint8_t op;
    uint8_t who; /* which connections may send the request */
    uint16_t request;
    uint16_t answer;
} ops[] = {
    {KEYIPC_HELLO, WHO_NEW, 2 + KEYIPC_JOIN_BYTES + 4, 1 + 3 * 4},
    {KEYIPC_OPEN, WHO_CONTROL, POINT_BYTES, 8 + 2 * POINT_BYTES + AEAD_KEY_BYTES},
    {KEYIPC_DERIVE, WHO_CONTROL | WHO_WORKER, 8 + 8 + POINT_BYTES, AEAD_KEY_BYTES},
    {KEYIPC_CANCEL, WHO_CONTROL | WHO_WORKER, 8, 0},
    {KEYIPC_CLOSE, WHO_CONTROL, 8, 0},
    {KEYIPC_STATUS, WHO_CONTROL | WHO_WORKER, 0, STATUS_BYTES},
};

static const struct op *find_op(uint8_t op)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (ops[i].op == op) {
            return &ops[i];
        }
    }
    return NULL;
}

bool keyipc_permitted(uint8_t op, uint8_t role, bool hello_done)
{
    const struct op *known = find_op(op);
    unsigned who = !hello_done              ? WHO_NEW
                   : role == KEYIPC_CONTROL ? WHO_CONTROL
                   : role == KEYIPC_WORKER  ? WHO_WORKER
                                            : 0;
    return known != NULL && (known->who & who) != 0;
}

static struct secret *secret_of(struct keyipc_message *m)
{
    switch (m->op) {
    case KEYIPC_OPEN | KEYIPC_ANSWER:
        return &m->u.open_answer.request_key;
    case KEYIPC_DERIVE | KEYIPC_ANSWER:
        return &m->u.derive_answer.response_key;
    default:
        return NULL;
    }
}

void keyipc_message_clear(struct keyipc_message *m)
{
    struct secret *secret = secret_of(m);
    if (secret != NULL) {
        secret_free(secret);
    }
    secret_wipe(m, sizeof *m);
}

/* ---- writing ---- */

void keyipc_put_number(struct buf *out, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        buf_append_byte(out, (uint8_t)(value >> (8 * bytes)));
    }
}

static bool put_request(struct buf *out, const struct keyipc_message *m)
{
    switch (m->op) {
    case KEYIPC_HELLO:
        buf_append_byte(out, m->u.hello.role);
        buf_append_byte(out, m->u.hello.custody);
        buf_append(out, m->u.hello.join, KEYIPC_JOIN_BYTES);
        keyipc_put_number(out, m->u.hello.max_key_age_s, 4);
        return true;
    case KEYIPC_OPEN:
        buf_append(out, m->u.open.model_point, POINT_BYTES);
        return true;
    case KEYIPC_DERIVE:
        keyipc_put_number(out, m->u.derive.key_id, 8);
        keyipc_put_number(out, m->u.derive.stream_id, 8);
        buf_append(out, m->u.derive.server_point, POINT_BYTES);
        return true;
    case KEYIPC_CANCEL:
        keyipc_put_number(out, m->u.stream_id, 8);
        return true;
    case KEYIPC_CLOSE:
        keyipc_put_number(out, m->u.key_id, 8);
        return true;
    default:
        return m->op == KEYIPC_STATUS;
    }
}

static bool put_answer(struct buf *out, const struct keyipc_message *m)
{
    switch (m->op & ~KEYIPC_ANSWER) {
    case KEYIPC_HELLO:
        buf_append_byte(out, m->u.hello_answer.custody);
        keyipc_put_number(out, m->u.hello_answer.max_key_age_s, 4);
        keyipc_put_number(out, m->u.hello_answer.max_keys, 4);
        keyipc_put_number(out, m->u.hello_answer.sessions, 4);
        return true;
    case KEYIPC_OPEN:
        keyipc_put_number(out, m->u.open_answer.key_id, 8);
        buf_append(out, m->u.open_answer.client_point, POINT_BYTES);
        buf_append(out, m->u.open_answer.response_point, POINT_BYTES);
        buf_append(out, m->u.open_answer.request_key.data, AEAD_KEY_BYTES);
        return true;
    case KEYIPC_DERIVE:
        buf_append(out, m->u.derive_answer.response_key.data, AEAD_KEY_BYTES);
        return true;
    case KEYIPC_STATUS:
        return keyipc_put_status(out, &m->u.status_answer);
    default:
        return true; /* CANCEL and CLOSE: the header says it all */
    }
}

static void put_error(struct buf *out, const struct keyipc_error *error)
{
    buf_append_byte(out, error->kind);
    for (const char *c = error->message; *c != '\0'; c++) {
        buf_append_byte(out, *c >= 0x20 && *c < 0x7f ? (uint8_t)*c : '?');
    }
}

/* Length of the body that m needs, or SIZE_MAX for a message that has no form. */
static size_t body_length(const struct keyipc_message *m)
{
    if (m->op == KEYIPC_ERROR) {
        size_t len = strnlen(m->u.error.message, sizeof m->u.error.message);
        return len < sizeof m->u.error.message && m->u.error.kind > ERR_NONE &&
                       m->u.error.kind < ERR_KIND_COUNT
                   ? 1 + len
                   : SIZE_MAX;
    }
    struct keyipc_message copy = *m; /* secret_of gives a writable pointer: ask a copy */
    const struct secret *secret = secret_of(&copy);
    const struct op *op = find_op(m->op & (uint8_t)~KEYIPC_ANSWER);
    bool ok = op != NULL && (secret == NULL || secret->len == AEAD_KEY_BYTES);
    return !ok ? SIZE_MAX : (m->op & KEYIPC_ANSWER) != 0 ? op->answer : op->request;
}

bool keyipc_encode(struct buf *out, const struct keyipc_message *m, struct err *err)
{
    size_t before = out->len, body = body_length(m);
    if (body == SIZE_MAX) {
        return err_set(err, ERR_INTERNAL, "message %u of the keyholder protocol has no form", m->op);
    }
    /* Asked first: a failed append would empty the buffer, and with it the frames before this one. */
    if (out->failed || out->max - out->len < KEYIPC_HEADER_BYTES + body) {
        return err_set(err, ERR_TOO_LARGE, "the keyholder connection's buffer is full");
    }
    if (!buf_reserve(out, KEYIPC_HEADER_BYTES + body)) {
        return err_set(err, ERR_MEMORY, "no memory for a message to or from the keyholder");
    }
    keyipc_put_number(out, FIXED_BYTES + body, LENGTH_BYTES);
    buf_append_byte(out, KEYIPC_VERSION);
    buf_append_byte(out, m->op);
    keyipc_put_number(out, 0, 2);
    keyipc_put_number(out, m->request_id, 4);
    bool ok = true;
    if (m->op == KEYIPC_ERROR) {
        put_error(out, &m->u.error);
    } else {
        ok = (m->op & KEYIPC_ANSWER) != 0 ? put_answer(out, m) : put_request(out, m);
    }
    if (!ok || out->failed || out->len != before + KEYIPC_HEADER_BYTES + body) {
        secret_wipe(out->data + before, out->len - before);
        out->len = before;
        return err_set(err, ERR_INTERNAL, "message %u of the keyholder protocol has no form", m->op);
    }
    return true;
}

/* ---- reading ---- */

void keyipc_get_bytes(struct cursor *c, void *out, size_t len)
{
    if (c->bad || len > c->left) {
        c->bad = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, c->at, len);
    c->at += len;
    c->left -= len;
}

uint64_t keyipc_get_number(struct cursor *c, size_t bytes)
{
    uint8_t raw[8];
    uint64_t value = 0;
    keyipc_get_bytes(c, raw, bytes);
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | raw[i];
    }
    return value;
}

uint8_t keyipc_get_enum(struct cursor *c, uint8_t max)
{
    uint8_t value = (uint8_t)keyipc_get_number(c, 1);
    c->bad = c->bad || value == 0 || value > max;
    return value;
}

void keyipc_get_text(struct cursor *c, char *out, size_t len)
{
    keyipc_get_bytes(c, out, len);
    out[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        c->bad = c->bad || (out[i] != '\0' && (out[i] < 0x20 || out[i] > 0x7e)) ||
                 (i > 0 && out[i - 1] == '\0' && out[i] != '\0');
    }
}

static bool get_secret(struct cursor *c, struct secret *out, struct err *err)
{
    if (c->left < AEAD_KEY_BYTES || c->bad) {
        c->bad = true;
        return true;
    }
    if (!secret_copy(out, c->at, AEAD_KEY_BYTES, err)) {
        return false;
    }
    c->at += AEAD_KEY_BYTES;
    c->left -= AEAD_KEY_BYTES;
    return true;
}

static void get_request(struct cursor *c, struct keyipc_message *m)
{
    switch (m->op) {
    case KEYIPC_HELLO:
        m->u.hello.role = keyipc_get_enum(c, KEYIPC_WORKER);
        m->u.hello.custody = keyipc_get_enum(c, KEYIPC_CUSTODY_SESSION);
        keyipc_get_bytes(c, m->u.hello.join, KEYIPC_JOIN_BYTES);
        m->u.hello.max_key_age_s = (uint32_t)keyipc_get_number(c, 4);
        break;
    case KEYIPC_OPEN:
        keyipc_get_bytes(c, m->u.open.model_point, POINT_BYTES);
        break;
    case KEYIPC_DERIVE:
        m->u.derive.key_id = keyipc_get_number(c, 8);
        m->u.derive.stream_id = keyipc_get_number(c, 8);
        keyipc_get_bytes(c, m->u.derive.server_point, POINT_BYTES);
        break;
    case KEYIPC_CANCEL:
        m->u.stream_id = keyipc_get_number(c, 8);
        break;
    case KEYIPC_CLOSE:
        m->u.key_id = keyipc_get_number(c, 8);
        break;
    default:
        break; /* STATUS has no body */
    }
}

/* False only when memory ran out. */
static bool get_answer(struct cursor *c, struct keyipc_message *m, struct err *err)
{
    switch (m->op) {
    case KEYIPC_ERROR:
        m->u.error.kind = keyipc_get_enum(c, ERR_KIND_COUNT - 1);
        keyipc_get_text(c, m->u.error.message, c->left < sizeof m->u.error.message ? c->left : 0);
        return true;
    case KEYIPC_HELLO | KEYIPC_ANSWER:
        m->u.hello_answer.custody = keyipc_get_enum(c, KEYIPC_CUSTODY_SESSION);
        m->u.hello_answer.max_key_age_s = (uint32_t)keyipc_get_number(c, 4);
        m->u.hello_answer.max_keys = (uint32_t)keyipc_get_number(c, 4);
        m->u.hello_answer.sessions = (uint32_t)keyipc_get_number(c, 4);
        return true;
    case KEYIPC_OPEN | KEYIPC_ANSWER:
        m->u.open_answer.key_id = keyipc_get_number(c, 8);
        keyipc_get_bytes(c, m->u.open_answer.client_point, POINT_BYTES);
        keyipc_get_bytes(c, m->u.open_answer.response_point, POINT_BYTES);
        return get_secret(c, &m->u.open_answer.request_key, err);
    case KEYIPC_DERIVE | KEYIPC_ANSWER:
        return get_secret(c, &m->u.derive_answer.response_key, err);
    case KEYIPC_STATUS | KEYIPC_ANSWER:
        keyipc_get_status(c, &m->u.status_answer);
        return true;
    default:
        return true; /* CANCEL and CLOSE */
    }
}

/* Are op and body length those of a message of this direction? */
static bool known_form(uint8_t op, size_t body, bool answers)
{
    if (op == KEYIPC_ERROR) {
        return answers && body >= 1 && body <= sizeof((struct keyipc_error *)0)->message;
    }
    const struct op *known = find_op(op & (uint8_t)~KEYIPC_ANSWER);
    return known != NULL && ((op & KEYIPC_ANSWER) != 0) == answers &&
           body == (answers ? known->answer : known->request);
}

bool keyipc_decode(struct keyipc_message *m, size_t *used, const uint8_t *in, size_t len, bool answers,
                   struct err *err)
{
    *used = 0;
    if (len < LENGTH_BYTES) {
        return true;
    }
    struct cursor c = {in, len, false};
    size_t length = (size_t)keyipc_get_number(&c, LENGTH_BYTES);
    if (length < FIXED_BYTES || length > LIMIT_KEYIPC_FRAME_BYTES - LENGTH_BYTES) {
        return err_set(err, ERR_PROTOCOL, "a keyholder frame of %zu bytes", length);
    }
    if (len < KEYIPC_HEADER_BYTES) {
        return true;
    }
    struct keyipc_message read;
    memset(&read, 0, sizeof read);
    unsigned version = (unsigned)keyipc_get_number(&c, 1);
    read.op = (uint8_t)keyipc_get_number(&c, 1);
    unsigned flags = (unsigned)keyipc_get_number(&c, 2);
    read.request_id = (uint32_t)keyipc_get_number(&c, 4);
    if (version != KEYIPC_VERSION) {
        return err_set(err, ERR_PROTOCOL, "version %u of the keyholder protocol; this program speaks %d",
                       version, KEYIPC_VERSION);
    }
    if (flags != 0 || !known_form(read.op, length - FIXED_BYTES, answers)) {
        return err_set(err, ERR_PROTOCOL, "a keyholder frame of op %u with flags %u and %zu bytes", read.op,
                       flags, length);
    }
    if (len < LENGTH_BYTES + length) {
        return true;
    }
    c.left = length - FIXED_BYTES;
    if (answers) {
        if (!get_answer(&c, &read, err)) {
            return false;
        }
    } else {
        get_request(&c, &read);
    }
    if (c.bad || c.left != 0) {
        uint8_t op = read.op;
        keyipc_message_clear(&read);
        return err_set(err, ERR_PROTOCOL, "a keyholder frame of op %u holds a value that it cannot have", op);
    }
    *m = read;
    *used = LENGTH_BYTES + length;
    return true;
}
