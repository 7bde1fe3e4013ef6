/* The one long body: the answer to STATUS. */
#include <string.h>

#include "keyipc/keyipc_internal.h"

static bool put_text(struct buf *out, const char *text, size_t len)
{
    uint8_t padded[KEYIPC_LABEL_BYTES] = {0};
    size_t used = strnlen(text, len + 1);
    if (used > len) {
        return false;
    }
    memcpy(padded, text, used);
    return buf_append(out, padded, len);
}

static bool put_tokens(struct buf *out, const struct keyipc_status_answer *status)
{
    static const struct keyipc_token none;
    if (status->token_count > KEYIPC_TOKENS_MAX) {
        return false;
    }
    buf_append_byte(out, status->token_count);
    for (size_t i = 0; i < KEYIPC_TOKENS_MAX; i++) {
        const struct keyipc_token *t = i < status->token_count ? &status->tokens[i] : &none;
        buf_append_byte(out, t->state);
        keyipc_put_number(out, t->keys, 4);
        if (!put_text(out, t->label, KEYIPC_LABEL_BYTES) || !put_text(out, t->serial, KEYIPC_SERIAL_BYTES)) {
            return false;
        }
    }
    return true;
}

bool keyipc_put_status(struct buf *out, const struct keyipc_status_answer *status)
{
    buf_append_byte(out, status->token_state);
    buf_append_byte(out, status->custody);
    keyipc_put_number(out, status->keys_live, 4);
    keyipc_put_number(out, status->queue, 4);
    keyipc_put_number(out, status->derives, 8);
    keyipc_put_number(out, status->generates, 8);
    keyipc_put_number(out, status->failures, 8);
    buf_append_byte(out, status->audit_state);
    keyipc_put_number(out, status->audit_lines, 8);
    keyipc_put_number(out, status->audit_lost, 8);
    buf_append(out, status->audit_head, sizeof status->audit_head);
    buf_append_byte(out, status->sign_state);
    keyipc_put_number(out, status->audit_signed, 8);
    keyipc_put_number(out, status->derive_ns, 8);
    if (!put_tokens(out, status)) {
        return false;
    }
    for (size_t op = 0; op < KEYIPC_TIMED_COUNT; op++) {
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            keyipc_put_number(out, status->times[op].counts[i], 8);
        }
        keyipc_put_number(out, status->times[op].sum_ns, 8);
    }
    return true;
}

static uint8_t get_audit(struct cursor *c)
{
    uint8_t state = (uint8_t)keyipc_get_number(c, 1);
    c->bad = c->bad || state > KEYIPC_AUDIT_FAILING;
    return state;
}

/* Unused rows are zeros throughout: there is one form for each content. */
static void get_tokens(struct cursor *c, struct keyipc_status_answer *status)
{
    status->token_count = (uint8_t)keyipc_get_number(c, 1);
    c->bad = c->bad || status->token_count > KEYIPC_TOKENS_MAX;
    for (size_t i = 0; i < KEYIPC_TOKENS_MAX; i++) {
        struct keyipc_token *t = &status->tokens[i];
        bool used = i < status->token_count;
        t->state = used ? keyipc_get_enum(c, KEYIPC_TOKEN_PIN) : (uint8_t)keyipc_get_number(c, 1);
        t->keys = (uint32_t)keyipc_get_number(c, 4);
        keyipc_get_text(c, t->label, KEYIPC_LABEL_BYTES);
        keyipc_get_text(c, t->serial, KEYIPC_SERIAL_BYTES);
        c->bad = c->bad ||
                 (!used && (t->state != 0 || t->keys != 0 || t->label[0] != '\0' || t->serial[0] != '\0'));
    }
}

void keyipc_get_status(struct cursor *c, struct keyipc_status_answer *status)
{
    status->token_state = keyipc_get_enum(c, KEYIPC_TOKEN_PIN);
    status->custody = keyipc_get_enum(c, KEYIPC_CUSTODY_SESSION);
    status->keys_live = (uint32_t)keyipc_get_number(c, 4);
    status->queue = (uint32_t)keyipc_get_number(c, 4);
    status->derives = keyipc_get_number(c, 8);
    status->generates = keyipc_get_number(c, 8);
    status->failures = keyipc_get_number(c, 8);
    status->audit_state = get_audit(c);
    status->audit_lines = keyipc_get_number(c, 8);
    status->audit_lost = keyipc_get_number(c, 8);
    keyipc_get_bytes(c, status->audit_head, sizeof status->audit_head);
    status->sign_state = get_audit(c);
    status->audit_signed = keyipc_get_number(c, 8);
    status->derive_ns = keyipc_get_number(c, 8);
    get_tokens(c, status);
    for (size_t op = 0; op < KEYIPC_TIMED_COUNT; op++) {
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            status->times[op].counts[i] = keyipc_get_number(c, 8);
        }
        status->times[op].sum_ns = keyipc_get_number(c, 8);
    }
}
