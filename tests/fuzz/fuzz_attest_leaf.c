/* A GPU's leaf certificate: its name and its DICE extension, put into a certificate without key or signature, which OpenSSL
 * would take a tenth of a millisecond to read. Input: a byte whose lowest bit is the kind of the extension and whose next
 * five are the length of the name, the name, the extension. */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "attest/nvidia_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void add_extension(X509 *cert, const char *oid, const uint8_t *data, size_t len)
{
    /* A copy of its own size, so that a sanitizer sees a byte read behind it. */
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    uint8_t *copy = OPENSSL_malloc(len > 0 ? len : 1);
    require(value != NULL && object != NULL && copy != NULL);
    memcpy(copy, data, len);
    ASN1_STRING_set0(value, copy, (int)len);
    X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, object, 0, value);
    require(ext != NULL && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const kinds[] = {"2.23.133.5.4.1", "2.23.133.5.4.1.1"};
    uint8_t firmware[SPDM_FWID_BYTES];
    size_t name_len = size > 0 ? data[0] >> 1 & 31 : 0;
    if (size < 1 + name_len) {
        return 0;
    }
    const uint8_t *name = data + 1, *ext = name + name_len;
    size_t len = size - 1 - name_len;
    X509 *cert = X509_new();
    require(cert != NULL);
    if (name_len >
        0) { /* OpenSSL refuses what is no text of its kind, and the certificate then has no name */
        (void)X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName, MBSTRING_UTF8, name,
                                         (int)name_len, -1, 0);
    }
    add_extension(cert, kinds[data[0] & 1], ext, len);
    memset(firmware, 0xf3, sizeof firmware);
    require(!nvidia_leaf_is(cert, "HOPPER") || !nvidia_leaf_is(cert, "BLACKWELL"));
    require(!nvidia_leaf_has_fwid(cert, firmware) || memmem(ext, len, firmware, sizeof firmware) != NULL);
    X509_free(cert);
    return 0;
}
