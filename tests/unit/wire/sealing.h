/* For the tests of the request side: the enclave's half with software keys, and bodies made readable. */
#ifndef E2EE_TESTS_SEALING_H
#define E2EE_TESTS_SEALING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "wire/field.h"
#include "wire/request.h"
#include "json/json.h"

/* What the API appends to a body that has none of these. */
#define TAIL                                                                                                 \
    ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"venice_parameters\":{\"enable_e2ee\":"   \
    "true,"                                                                                                  \
    "\"include_venice_system_prompt\":false,\"enable_web_search\":\"off\"}}"

/* Keys of docs/PROTOCOL.md's vector A: the model's scalar is 32 bytes of model, the client's 32 of client. */
struct sealing {
    struct aead *client, *enclave; /* one key, derived on both sides */
    uint8_t point[POINT_BYTES];    /* the client's */
};

static inline struct secret sealing_scalar(uint8_t byte)
{
    uint8_t bytes[SCALAR_BYTES];
    struct secret out = SECRET_EMPTY;
    memset(bytes, byte, sizeof bytes);
    assert_true(secret_copy(&out, bytes, sizeof bytes, NULL));
    return out;
}

static inline struct aead *sealing_key(struct secret *ours, const uint8_t theirs[static POINT_BYTES])
{
    struct err err = {0};
    struct secret z = SECRET_EMPTY, key = SECRET_EMPTY;
    struct aead *a = aead_new(&err);
    assert_non_null(a);
    assert_true(point_ecdh(&z, ours, theirs, &err) && hash_protocol_key(&key, &z, &err));
    assert_true(aead_set_key(a, &key, &err));
    secret_free(&z);
    secret_free(&key);
    return a;
}

static inline void sealing_open(struct sealing *s, uint8_t model, uint8_t client)
{
    struct err err = {0};
    uint8_t model_point[POINT_BYTES];
    struct secret m = sealing_scalar(model), c = sealing_scalar(client);
    assert_true(point_from_scalar(model_point, &m, &err) && point_from_scalar(s->point, &c, &err));
    s->client = sealing_key(&c, model_point);
    s->enclave = sealing_key(&m, s->point);
    secret_free(&m);
    secret_free(&c);
}

static inline void sealing_close(struct sealing *s)
{
    aead_free(s->client);
    aead_free(s->enclave);
}

/* Appends text to out with every sealed string, its quotes included, replaced by <plaintext>. */
static inline void sealing_read(struct sealing *s, const struct buf *text, struct buf *out)
{
    struct json_doc doc;
    struct err err = {0};
    json_doc_init(&doc);
    if (!json_parse(&doc, (char *)text->data, text->len, SIZE_MAX, &err)) {
        fail_msg("the sealed body is no JSON: %s", err.message);
    }
    size_t done = 0;
    for (size_t i = 0; i < doc.count; i++) {
        const char *raw;
        size_t len;
        if (!json_string_raw(&doc, &doc.nodes[i], &raw, &len) || !field_is_sealed(raw, len)) {
            continue;
        }
        struct field f;
        uint8_t *bytes = mem_alloc(len / 2);
        assert_non_null(bytes);
        assert_true(field_decode(&f, bytes, raw, len, &err));
        assert_memory_equal(f.point, s->point, POINT_BYTES);
        assert_true(aead_open(s->enclave, f.sealed, f.nonce, f.sealed, f.sealed_len, &err));
        buf_append(out, text->data + done, doc.nodes[i].start - done);
        buf_append_byte(out, '<');
        buf_append(out, f.sealed, f.sealed_len - AEAD_TAG_BYTES);
        buf_append_byte(out, '>');
        done = doc.nodes[i].end;
        mem_free(bytes);
    }
    buf_append(out, text->data + done, text->len - done);
    assert_false(out->failed);
    json_doc_free(&doc);
}

/* request_parse of a literal. */
static inline bool sealing_parse(struct chat_request **r, const char *text,
                                 char param[static REQUEST_PARAM_BYTES], struct err *err)
{
    struct buf body;
    buf_init(&body, 64 << 20);
    assert_true(buf_append_str(&body, text));
    bool ok = request_parse(r, &body, param, err);
    assert_true(ok == (*r != NULL));
    assert_int_equal(body.len, 0);
    buf_free(&body);
    return ok;
}

#endif
