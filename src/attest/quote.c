#include "attest/quote.h"

#include <string.h>

#define TEE_TYPE_TDX 0x81
#define KEY_TYPE_ECDSA_P256 2
#define CERT_TYPE_PCK_PEM 5
#define CERT_TYPE_QE_REPORT 6
#define BODY_TD10 2
#define BODY_TD15 3

static const uint8_t intel_vendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                         0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

/* After a read past the end the cursor stays failed and gives zeros, so that one check at the end of a section
 * suffices; a length is checked before it is used. */
struct cursor {
    const uint8_t *data;
    size_t len, pos;
    bool failed;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    if (c->failed || n > c->len - c->pos) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->data + c->pos;
    c->pos += n;
    return p;
}

static unsigned take_u16(struct cursor *c)
{
    const uint8_t *p = take(c, 2);
    return p != NULL ? (unsigned)p[0] | (unsigned)p[1] << 8 : 0;
}

static uint32_t take_u32(struct cursor *c)
{
    const uint8_t *p = take(c, 4);
    return p != NULL ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static struct cursor take_section(struct cursor *c, size_t len)
{
    const uint8_t *p = take(c, len);
    return p != NULL ? (struct cursor){p, len, 0, false} : (struct cursor){NULL, 0, 0, true};
}

static bool parse_header(struct quote *q, struct cursor *c, struct err *err)
{
    q->version = take_u16(c);
    unsigned key_type = take_u16(c);
    uint32_t tee_type = take_u32(c);
    take(c, 4);
    const uint8_t *vendor = take(c, sizeof intel_vendor);
    take(c, 20);
    if (c->failed) {
        return err_set(err, ERR_INVALID, "quote is shorter than its header");
    }
    if (q->version != 4 && q->version != 5) {
        return err_set(err, ERR_UNSUPPORTED, "quote version %u is neither 4 nor 5", q->version);
    }
    if (key_type != KEY_TYPE_ECDSA_P256) {
        return err_set(err, ERR_UNSUPPORTED, "attestation key type %u is not ECDSA P-256", key_type);
    }
    if (tee_type != TEE_TYPE_TDX) {
        return err_set(err, ERR_UNSUPPORTED, "TEE type 0x%x is not TDX", tee_type);
    }
    if (memcmp(vendor, intel_vendor, sizeof intel_vendor) != 0) {
        return err_set(err, ERR_UNSUPPORTED, "the quoting enclave's vendor is not Intel");
    }
    return true;
}

static bool parse_body(struct quote *q, struct cursor *c, struct err *err)
{
    size_t size = QUOTE_TD10_BYTES;
    q->body_type = BODY_TD10;
    if (q->version == 5) {
        q->body_type = take_u16(c);
        uint32_t stated = take_u32(c);
        if (c->failed) {
            return err_set(err, ERR_INVALID, "quote ends before its body");
        }
        if (q->body_type != BODY_TD10 && q->body_type != BODY_TD15) {
            return err_set(err, ERR_UNSUPPORTED, "quote body type %u is no TD report of version 1.0 or 1.5",
                           q->body_type);
        }
        size = q->body_type == BODY_TD15 ? QUOTE_TD15_BYTES : QUOTE_TD10_BYTES;
        if (stated != size) {
            return err_set(err, ERR_INVALID, "quote body states %u bytes where its type has %zu", stated,
                           size);
        }
    }
    q->body = take(c, size);
    if (q->body == NULL) {
        return err_set(err, ERR_INVALID, "quote ends within its body");
    }
    q->signed_len = c->pos;
    return true;
}

/* The QE report with its certification data must fill the outer certification data, and the PEM chain must fill
 * the inner: nothing unsigned may hide between. */
static bool parse_certification(struct quote *q, struct cursor *c, struct err *err)
{
    q->qe_report = take(c, QUOTE_QE_REPORT_BYTES);
    q->qe_signature = take(c, QUOTE_SIGNATURE_BYTES);
    q->qe_auth_len = take_u16(c);
    q->qe_auth = take(c, q->qe_auth_len);
    unsigned type = take_u16(c);
    uint32_t size = take_u32(c);
    if (c->failed) {
        return err_set(err, ERR_INVALID, "QE certification data is cut short");
    }
    if (type != CERT_TYPE_PCK_PEM) {
        return err_set(err, ERR_UNSUPPORTED, "inner certification data type %u is no PCK chain in PEM (5)",
                       type);
    }
    if (size != c->len - c->pos) {
        return err_set(err, ERR_INVALID, "PCK chain states %u bytes where %zu are left", size,
                       c->len - c->pos);
    }
    q->pck_pem = (const char *)take(c, size);
    q->pck_pem_len = size;
    return true;
}

static bool parse_signature(struct quote *q, struct cursor *c, struct err *err)
{
    uint32_t size = take_u32(c);
    struct cursor data = take_section(c, size);
    if (c->failed) {
        return err_set(err, ERR_INVALID, "signature data states %u bytes, which the quote does not have",
                       size);
    }
    q->used = c->pos;
    q->signature = take(&data, QUOTE_SIGNATURE_BYTES);
    q->attestation_key = take(&data, QUOTE_KEY_BYTES);
    unsigned type = take_u16(&data);
    uint32_t outer = take_u32(&data);
    if (data.failed) {
        return err_set(err, ERR_INVALID, "signature data is cut short");
    }
    if (type != CERT_TYPE_QE_REPORT) {
        return err_set(err, ERR_UNSUPPORTED, "outer certification data type %u is no QE report (6)", type);
    }
    if (outer != data.len - data.pos) {
        return err_set(err, ERR_INVALID, "QE certification data states %u bytes where %zu are left", outer,
                       data.len - data.pos);
    }
    struct cursor inner = take_section(&data, outer);
    return parse_certification(q, &inner, err);
}

bool quote_parse(struct quote *out, const uint8_t *bytes, size_t len, struct err *err)
{
    struct quote q;
    struct cursor c = {bytes, len, 0, false};

    memset(out, 0, sizeof *out);
    memset(&q, 0, sizeof q);
    if (len > QUOTE_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "quote has %zu bytes, more than %d", len, QUOTE_BYTES_MAX);
    }
    q.bytes = bytes;
    if (!parse_header(&q, &c, err) || !parse_body(&q, &c, err) || !parse_signature(&q, &c, err)) {
        return false;
    }
    *out = q;
    return true;
}
