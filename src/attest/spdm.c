#include "attest/spdm.h"

#include <stdio.h>
#include <string.h>

/* Request: version, code, attributes, operation, nonce, slot. */
#define REQUEST_BYTES 37
#define SPDM_VERSION 0x11
#define GET_MEASUREMENTS 0xe0
#define MEASUREMENTS 0x60
#define WANTS_SIGNATURE 0x01
#define ALL_MEASUREMENTS 0xff
/* Response: version, code, two parameters, number of blocks, length of the record in three bytes. */
#define RESPONSE_HEADER_BYTES 8
#define BLOCK_DMTF 1
#define BLOCK_DIGEST_BYTES 48
#define BLOCK_VALUE_BYTES (3 + BLOCK_DIGEST_BYTES)
#define OPAQUE_HEADER_BYTES 4
#define OPAQUE_TYPE_MAX 255

/* Types of the opaque fields that are read: NVIDIA's, attestation.md section 5, step 4. */
enum { FIELD_DRIVER = 3, FIELD_VBIOS = 6, FIELD_FWID = 20 };

struct reader {
    const uint8_t *at;
    size_t left;
};

/* The next len bytes, or NULL. */
static const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *p = r->at;
    if (len > r->left) {
        return NULL;
    }
    r->at += len;
    r->left -= len;
    return p;
}

static unsigned le16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static bool read_request(struct spdm_report *out, struct reader *r, struct err *err)
{
    const uint8_t *p = take(r, REQUEST_BYTES);
    if (p == NULL || p[0] != SPDM_VERSION || p[1] != GET_MEASUREMENTS || p[2] != WANTS_SIGNATURE ||
        p[3] != ALL_MEASUREMENTS) {
        return err_set(err, ERR_INVALID, "the request is no SPDM 1.1 GET_MEASUREMENTS of all, signed");
    }
    out->nonce = p + 4;
    out->slot = p[4 + SPDM_NONCE_BYTES];
    return true;
}

static bool read_record(struct spdm_report *out, struct reader *r, size_t blocks, size_t len, struct err *err)
{
    const uint8_t *p = take(r, len);
    if (p == NULL || blocks == 0 || len != blocks * SPDM_BLOCK_BYTES) {
        return err_set(err, ERR_INVALID, "the record of %zu bytes is not %zu measurements", len, blocks);
    }
    for (size_t i = 0; i < blocks; i++) {
        const uint8_t *b = p + i * SPDM_BLOCK_BYTES;
        if (b[0] != i + 1 || b[1] != BLOCK_DMTF || le16(b + 2) != BLOCK_VALUE_BYTES ||
            le16(b + 5) != BLOCK_DIGEST_BYTES) {
            return err_set(err, ERR_INVALID, "measurement %zu is not a digest of %d bytes in its place",
                           i + 1, BLOCK_DIGEST_BYTES);
        }
    }
    out->record = p;
    out->blocks = blocks;
    return true;
}

/* A text of digits and dots, with or without its NUL. */
static bool read_version(char out[static SPDM_TEXT_BYTES], const uint8_t *p, size_t len)
{
    while (len > 0 && p[len - 1] == 0) {
        len--;
    }
    if (len == 0 || len >= SPDM_TEXT_BYTES) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((p[i] < '0' || p[i] > '9') && p[i] != '.') {
            return false;
        }
    }
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

static bool read_field(struct spdm_report *out, unsigned type, const uint8_t *p, size_t len, struct err *err)
{
    if (type == FIELD_DRIVER && !read_version(out->driver, p, len)) {
        return err_set(err, ERR_INVALID, "the driver's version is no version");
    }
    if (type == FIELD_VBIOS) {
        if (len != 8) {
            return err_set(err, ERR_INVALID, "the VBIOS version has %zu bytes", len);
        }
        snprintf(out->vbios, sizeof out->vbios, "%02X.%02X.%02X.%02X.%02X", p[3], p[2], p[1], p[0], p[4]);
    }
    if (type == FIELD_FWID) {
        if (len != SPDM_FWID_BYTES) {
            return err_set(err, ERR_INVALID, "the firmware's identity has %zu bytes", len);
        }
        out->fwid = p;
    }
    return true;
}

static bool read_opaque(struct spdm_report *out, struct reader r, struct err *err)
{
    bool seen[OPAQUE_TYPE_MAX + 1] = {false};
    while (r.left > 0) {
        const uint8_t *head = take(&r, OPAQUE_HEADER_BYTES);
        const uint8_t *p = head != NULL ? take(&r, le16(head + 2)) : NULL;
        if (p == NULL) {
            return err_set(err, ERR_INVALID, "a field of the opaque data runs over its end");
        }
        unsigned type = le16(head);
        if (type > OPAQUE_TYPE_MAX || seen[type]) {
            return err_set(err, ERR_INVALID, "opaque field %u is unknown or there twice", type);
        }
        seen[type] = true;
        if (!read_field(out, type, p, le16(head + 2), err)) {
            return false;
        }
    }
    return true;
}

static bool read_response(struct spdm_report *out, struct reader *r, struct err *err)
{
    const uint8_t *p = take(r, RESPONSE_HEADER_BYTES);
    if (p == NULL || p[0] != SPDM_VERSION || p[1] != MEASUREMENTS) {
        return err_set(err, ERR_INVALID, "the response is no SPDM 1.1 MEASUREMENTS");
    }
    if (!read_record(out, r, p[4], p[5] | (size_t)p[6] << 8 | (size_t)p[7] << 16, err)) {
        return false;
    }
    out->responder_nonce = take(r, SPDM_NONCE_BYTES);
    const uint8_t *opaque_len = take(r, 2);
    if (out->responder_nonce == NULL || opaque_len == NULL) {
        return err_set(err, ERR_INVALID, "the response ends within its nonce");
    }
    struct reader opaque = {.left = le16(opaque_len)};
    opaque.at = take(r, opaque.left);
    if (opaque.at == NULL) {
        return err_set(err, ERR_INVALID, "the opaque data runs over the end");
    }
    return read_opaque(out, opaque, err);
}

bool spdm_parse(struct spdm_report *out, const uint8_t *bytes, size_t len, struct err *err)
{
    struct reader r = {bytes, len};
    bool ok = false;

    memset(out, 0, sizeof *out);
    if (len > SPDM_BYTES_MAX) {
        err_set(err, ERR_INVALID, "the report has %zu bytes, more than %d", len, SPDM_BYTES_MAX);
    } else if (read_request(out, &r, err) && read_response(out, &r, err)) {
        /* Whatever follows a signature is not signed: nothing may. */
        ok = r.left == SPDM_SIGNATURE_BYTES ||
             err_set(err, ERR_INVALID, "%zu bytes are left for the signature, not %d", r.left,
                     SPDM_SIGNATURE_BYTES);
    }
    if (!ok) {
        memset(out, 0, sizeof *out);
        return false;
    }
    out->signature = r.at;
    out->message = bytes;
    out->message_len = len - SPDM_SIGNATURE_BYTES;
    return true;
}
