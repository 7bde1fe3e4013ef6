#include "wire/upstream_error.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MAX_S 86400
#define MESSAGE_MAX LIMIT_UPSTREAM_MESSAGE_BYTES

/* Codes by which the proxy speaks of itself: an upstream may not. */
static const char *const own_codes[] = {
    "attestation_failed", "plaintext_from_upstream", "decryption_failed", "token_unavailable",
    "session_expired",    "unsupported_feature",     "request_too_large", "forbidden_origin",
    "upstream_timeout",   "upstream_unreachable",    "upstream_error"};

/* A changed enclave key, in the words of each server (docs/PROTOCOL.md section 2, "Errors"). */
static const char *const key_changed_codes[] = {"e2ee_model_key_mismatch", "e2ee_decryption_failed"};
static const char *const key_changed_words[] = {"Decryption failed", "Failed to decrypt field",
                                                "encryption key is no longer valid"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Characters that end lines, move the cursor, hide, or turn the direction of what follows. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

/* The next character of valid UTF-8. */
static uint32_t next_char(const uint8_t *s, size_t *len)
{
    if (s[0] < 0x80) {
        *len = 1;
        return s[0];
    }
    *len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = s[0] & (0x7fu >> *len);
    for (size_t i = 1; i < *len; i++) {
        c = c << 6 | (s[i] & 0x3f);
    }
    return c;
}

static void set_words(struct upstream_error *out, const uint8_t *text, size_t len)
{
    size_t used = sizeof UPSTREAM_ERROR_PREFIX - 1, end = used + MESSAGE_MAX, n;
    memcpy(out->message, UPSTREAM_ERROR_PREFIX, used);
    for (size_t i = 0; i < len; i += n) {
        uint32_t c = next_char(text + i, &n);
        bool unsafe = is_unsafe(c);
        if (used + (unsafe ? 1 : n) > end) {
            break;
        }
        if (unsafe) {
            out->message[used++] = ' ';
        } else {
            memcpy(out->message + used, text + i, n);
            used += n;
        }
    }
    out->message[used] = '\0';
}

/* A short word of [A-Za-z0-9_.-]; false leaves out empty. */
static bool get_token(char out[static UPSTREAM_ERROR_TOKEN_BYTES], const struct json_doc *doc,
                      const struct json_node *node)
{
    if (!json_string_copy(doc, node, out, UPSTREAM_ERROR_TOKEN_BYTES)) {
        out[0] = '\0';
        return false;
    }
    for (const char *p = out; *p != '\0'; p++) {
        bool good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                    *p == '_' || *p == '.' || *p == '-';
        if (!good) {
            out[0] = '\0';
            return false;
        }
    }
    return out[0] != '\0';
}

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The object that holds message, type, code: the member "error" where it is an object, else the root. */
static const struct json_node *error_object(const struct json_doc *doc)
{
    const struct json_node *root = json_root(doc), *error = json_present(doc, root, "error");
    return error != NULL && error->type == JSON_OBJECT ? error : root;
}

static const struct json_node *find_words(const struct json_doc *doc, const struct json_node *object)
{
    static const char *const names[] = {"message", "error", "detail"};
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct json_node *words = json_member(doc, object, names[i]);
        if (words != NULL && words->type == JSON_STRING && words->end - words->start > 2) {
            return words;
        }
    }
    return NULL;
}

static void read_words(struct upstream_error *out, const struct json_doc *doc, const struct json_node *object)
{
    const struct json_node *words = object->type == JSON_STRING ? object : find_words(doc, object);
    struct buf text;
    buf_init(&text, LIMIT_SSE_EVENT_BYTES);
    if (words != NULL && json_string_get(doc, words, &text)) {
        set_words(out, text.data, text.len);
        const char *whole = buf_cstr(&text);
        for (size_t i = 0; whole != NULL && i < COUNT(key_changed_words); i++) {
            out->key_changed |= strstr(whole, key_changed_words[i]) != NULL;
        }
    }
    buf_free(&text);
}

static void read_retry_after(struct upstream_error *out, const struct json_doc *doc,
                             const struct json_node *object)
{
    const struct json_node *node = json_present(doc, object, "retry_after");
    double seconds;
    if (node == NULL) {
        node = json_present(doc, json_root(doc), "retry_after");
    }
    if (node != NULL && json_double(doc, node, &seconds) && seconds > 0) {
        uint32_t whole = seconds >= RETRY_MAX_S ? RETRY_MAX_S : (uint32_t)seconds;
        out->retry_after_s = whole + (whole < seconds && whole < RETRY_MAX_S);
    }
}

/* An in-band error's status: its own code, 429 for an overload, else 502 (docs of the interface, "HTTP"). */
static uint16_t in_band_status(const struct json_doc *doc, const struct json_node *object, const char *code,
                               const char *type)
{
    static const char *const names[] = {"code", "status", "status_code"};
    static const char *const overload[] = {"model_overloaded", "overloaded", "overloaded_error",
                                           "rate_limit_exceeded", "rate_limit_error"};
    for (size_t i = 0; i < COUNT(names); i++) {
        uint64_t number;
        if (json_u64(doc, json_member(doc, object, names[i]), &number) && number >= 400 && number <= 599) {
            return (uint16_t)number;
        }
    }
    return is_one_of(code, overload, COUNT(overload)) || is_one_of(type, overload, COUNT(overload)) ? 429
                                                                                                    : 502;
}

static void start(struct upstream_error *out, uint16_t status)
{
    memset(out, 0, sizeof *out);
    out->status = status >= 400 && status <= 599 ? status : 502;
    if (status != 0) {
        snprintf(out->message, sizeof out->message, UPSTREAM_ERROR_PREFIX "HTTP status %u", (unsigned)status);
    } else {
        snprintf(out->message, sizeof out->message, UPSTREAM_ERROR_PREFIX "an error without a message");
    }
}

void upstream_error_read(struct upstream_error *out, const struct json_doc *doc, uint16_t status)
{
    start(out, status);
    out->key_changed = status == 421;
    const struct json_node *object = error_object(doc);
    if (object != NULL && object->type == JSON_OBJECT) {
        get_token(out->type, doc, json_member(doc, object, "type"));
        get_token(out->code, doc, json_member(doc, object, "code"));
        read_words(out, doc, object);
        read_retry_after(out, doc, object);
        out->key_changed |= is_one_of(out->type, key_changed_codes, COUNT(key_changed_codes)) ||
                            is_one_of(out->code, key_changed_codes, COUNT(key_changed_codes));
        if (status == 0) {
            out->status = in_band_status(doc, object, out->code, out->type);
        }
    } else if (object != NULL && object->type == JSON_STRING) {
        read_words(out, doc, object);
    }
    if (is_one_of(out->code, own_codes, COUNT(own_codes))) {
        out->code[0] = '\0';
    }
    if (out->type[0] == '\0') {
        memcpy(out->type, "upstream_error", sizeof "upstream_error");
    }
}

void upstream_error_body(struct upstream_error *out, struct json_doc *doc, const char *body, size_t len,
                         uint16_t status)
{
    struct json_doc none;
    json_doc_init(&none);
    bool parsed = len > 0 && json_parse(doc, body, len, LIMIT_ANSWER_NODES, NULL);
    upstream_error_read(out, parsed ? doc : &none, status);
}
