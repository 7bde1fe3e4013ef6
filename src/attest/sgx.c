#include "attest/sgx.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

#define SGX_OID "1.2.840.113741.1.13.1"

#define DER_INTEGER 0x02
#define DER_OCTETS 0x04
#define DER_OID 0x06
#define DER_SEQUENCE 0x30

/* Contents of the OID above; members have one or two arcs more, each below 128. */
static const uint8_t prefix[] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};

enum member { PPID = 1, TCB = 2, PCEID = 3, FMSPC = 4 };
enum tcb_member { PCESVN = 17, CPUSVN = 18 };

struct der {
    const uint8_t *p;
    size_t len;
};

/* One element: its tag, its contents, and *in moved behind it. Only definite lengths below 64 KiB, in their shortest
 * form. */
static bool der_next(struct der *in, uint8_t *tag, struct der *contents)
{
    if (in->len < 2 || (in->p[0] & 0x1f) == 0x1f) {
        return false;
    }
    size_t header = 2, len = in->p[1];
    if (len == 0x81) {
        if (in->len < 3 || in->p[2] < 0x80) {
            return false;
        }
        header = 3;
        len = in->p[2];
    } else if (len == 0x82) {
        if (in->len < 4 || in->p[2] == 0) {
            return false;
        }
        header = 4;
        len = (size_t)in->p[2] << 8 | in->p[3];
    } else if (len >= 0x80) {
        return false;
    }
    if (len > in->len - header) {
        return false;
    }
    *tag = in->p[0];
    *contents = (struct der){in->p + header, len};
    in->p += header + len;
    in->len -= header + len;
    return true;
}

/* SEQUENCE { OID, value }: the arcs behind the prefix (0, 0 for a foreign OID), and the value. */
static bool der_member(struct der *in, size_t arcs, unsigned arc[static 2], uint8_t *tag, struct der *value)
{
    struct der pair, oid;
    uint8_t kind;
    arc[0] = arc[1] = 0;
    if (!der_next(in, &kind, &pair) || kind != DER_SEQUENCE || !der_next(&pair, &kind, &oid) ||
        kind != DER_OID || !der_next(&pair, tag, value) || pair.len != 0) {
        return false;
    }
    if (oid.len == sizeof prefix + arcs && memcmp(oid.p, prefix, sizeof prefix) == 0) {
        for (size_t i = 0; i < arcs; i++) {
            arc[i] = oid.p[sizeof prefix + i];
        }
    }
    return true;
}

/* Non-negative, in its shortest form, at most 65535. */
static bool der_integer(struct der value, unsigned max, unsigned *out)
{
    *out = 0;
    if (value.len == 0 || value.len > 3 || (value.p[0] & 0x80) ||
        (value.len > 1 && value.p[0] == 0 && !(value.p[1] & 0x80))) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        *out = *out << 8 | value.p[i];
    }
    return *out <= max;
}

static bool copy_octets(uint8_t *out, size_t len, uint8_t tag, struct der value)
{
    if (tag != DER_OCTETS || value.len != len) {
        return false;
    }
    memcpy(out, value.p, len);
    return true;
}

static bool parse_tcb(struct sgx_extension *out, struct der in)
{
    uint32_t seen = 0;
    while (in.len > 0) {
        unsigned arc[2], number;
        struct der value;
        uint8_t tag;
        if (!der_member(&in, 2, arc, &tag, &value)) {
            return false;
        }
        if (arc[0] != TCB || arc[1] == 0 || arc[1] > CPUSVN) {
            continue;
        }
        if (seen & 1U << arc[1]) {
            return false;
        }
        seen |= 1U << arc[1];
        if (arc[1] == CPUSVN) {
            if (!copy_octets(out->cpusvn, sizeof out->cpusvn, tag, value)) {
                return false;
            }
        } else if (tag != DER_INTEGER || !der_integer(value, arc[1] == PCESVN ? 0xffff : 0xff, &number)) {
            return false;
        } else if (arc[1] == PCESVN) {
            out->pcesvn = number;
        } else {
            out->component[arc[1] - 1] = (uint8_t)number;
        }
    }
    return seen == ((1U << (CPUSVN + 1)) - 2) && memcmp(out->cpusvn, out->component, SGX_COMPONENTS) == 0;
}

bool sgx_parse(struct sgx_extension *out, const uint8_t *data, size_t len, struct err *err)
{
    struct der all = {data, len}, in;
    unsigned seen = 0;
    uint8_t tag;

    memset(out, 0, sizeof *out);
    if (!der_next(&all, &tag, &in) || tag != DER_SEQUENCE || all.len != 0) {
        goto bad;
    }
    while (in.len > 0) {
        unsigned arc[2];
        struct der value;
        bool good = true;
        if (!der_member(&in, 1, arc, &tag, &value)) {
            goto bad;
        }
        if (arc[0] < PPID || arc[0] > FMSPC) {
            continue;
        }
        if (seen & 1U << arc[0]) {
            goto bad;
        }
        seen |= 1U << arc[0];
        switch (arc[0]) {
        case PPID:
            good = copy_octets(out->ppid, sizeof out->ppid, tag, value);
            break;
        case TCB:
            good = tag == DER_SEQUENCE && parse_tcb(out, value);
            break;
        case PCEID:
            good = copy_octets(out->pceid, sizeof out->pceid, tag, value);
            break;
        default:
            good = copy_octets(out->fmspc, sizeof out->fmspc, tag, value);
            break;
        }
        if (!good) {
            goto bad;
        }
    }
    if (seen == (1U << PPID | 1U << TCB | 1U << PCEID | 1U << FMSPC)) {
        return true;
    }
bad:
    memset(out, 0, sizeof *out);
    return err_set(
        err, ERR_INVALID,
        "the SGX extension is malformed, incomplete, repeats a part, or CPUSVN is not its components");
}

bool sgx_of_cert(struct sgx_extension *out, const X509 *cert, struct err *err)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(SGX_OID, 1);
    bool ok = false;

    memset(out, 0, sizeof *out);
    if (oid == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for an OID");
    }
    int at = X509_get_ext_by_OBJ(cert, oid, -1);
    if (at < 0 || X509_get_ext_by_OBJ(cert, oid, at) >= 0) {
        err_set(err, ERR_INVALID, "the PCK certificate has not exactly one SGX extension");
    } else {
        const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509_get_ext(cert, at));
        ok = sgx_parse(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value), err);
    }
    ASN1_OBJECT_free(oid);
    ERR_clear_error();
    return ok;
}
