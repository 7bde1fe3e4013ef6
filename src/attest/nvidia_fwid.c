/* The firmware that a GPU's leaf certificate was made for: TCG's DICE extensions (attestation.md section 5, step 5). */
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

#include "attest/nvidia_internal.h"

#define TAG_OID 0x06
#define TAG_OCTETS 0x04
#define TAG_SEQUENCE 0x30
#define TAG_FWIDS 0xa6 /* [6] of DiceTcbInfo */

struct der {
    const uint8_t *at, *end;
};

/* The next element: its tag, its contents in *in. False at the end or when it runs over. */
static bool der_next(struct der *r, unsigned *tag, struct der *in)
{
    if (r->end - r->at < 2) {
        return false;
    }
    size_t len = r->at[1], head = 2;
    *tag = r->at[0];
    if (len >= 0x80) {
        size_t count = len & 0x7f;
        if (count == 0 || count > 2 || (size_t)(r->end - r->at) < 2 + count) {
            return false;
        }
        len = r->at[2];
        if (count == 2) {
            len = len << 8 | r->at[3];
        }
        head += count;
    }
    if ((size_t)(r->end - r->at) - head < len) {
        return false;
    }
    in->at = r->at + head;
    in->end = in->at + len;
    r->at = in->end;
    return true;
}

/* FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }, of SHA-384. */
static bool is_fwid(struct der fwid, const uint8_t want[static SPDM_FWID_BYTES])
{
    static const uint8_t sha384[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};
    struct der oid, digest;
    unsigned tag;
    return der_next(&fwid, &tag, &oid) && tag == TAG_OID && oid.end - oid.at == (ptrdiff_t)sizeof sha384 &&
           memcmp(oid.at, sha384, sizeof sha384) == 0 && der_next(&fwid, &tag, &digest) &&
           tag == TAG_OCTETS && digest.end - digest.at == SPDM_FWID_BYTES && fwid.at == fwid.end &&
           memcmp(digest.at, want, SPDM_FWID_BYTES) == 0;
}

/* Hopper: SEQUENCE { version, deviceID, fwid }. */
static bool composite_has(struct der parts, const uint8_t want[static SPDM_FWID_BYTES])
{
    struct der part = {NULL, NULL};
    unsigned tag = 0;
    while (parts.at < parts.end) {
        if (!der_next(&parts, &tag, &part)) {
            return false;
        }
    }
    return tag == TAG_SEQUENCE && is_fwid(part, want);
}

/* Blackwell: DiceTcbInfo, whose [6] lists several; the first is the firmware's. */
static bool tcb_info_has(struct der parts, const uint8_t want[static SPDM_FWID_BYTES])
{
    struct der part, fwid;
    unsigned tag;
    while (der_next(&parts, &tag, &part)) {
        if (tag == TAG_FWIDS) {
            return der_next(&part, &tag, &fwid) && tag == TAG_SEQUENCE && is_fwid(fwid, want);
        }
    }
    return false;
}

/* The outer SEQUENCE of the extension named oid, which must be there exactly once. */
static bool extension_of(const X509 *leaf, const char *oid, struct der *out)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    bool ok = false;
    if (object != NULL) {
        int at = X509_get_ext_by_OBJ(leaf, object, -1);
        if (at >= 0 && X509_get_ext_by_OBJ(leaf, object, at) < 0) {
            const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509_get_ext(leaf, at));
            struct der all = {ASN1_STRING_get0_data(value), NULL};
            unsigned tag;
            all.end = all.at + ASN1_STRING_length(value);
            ok = der_next(&all, &tag, out) && tag == TAG_SEQUENCE && all.at == all.end;
        }
    }
    ASN1_OBJECT_free(object);
    return ok;
}

bool nvidia_leaf_has_fwid(const X509 *leaf, const uint8_t fwid[static SPDM_FWID_BYTES])
{
    struct der parts;
    if (extension_of(leaf, "2.23.133.5.4.1", &parts)) {
        return composite_has(parts, fwid);
    }
    return extension_of(leaf, "2.23.133.5.4.1.1", &parts) && tcb_info_has(parts, fwid);
}
