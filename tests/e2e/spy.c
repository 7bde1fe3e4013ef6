/* A PKCS#11 module for the memory test: SoftHSM, with private keys that the test knows. Key pairs are imported
 * instead of generated, and each private value and each shared secret that leaves the token is written in hex, one a
 * line, to the file SOFTHSM2_CONF.spy. The test then looks for them in the memory of the proxy, where none may be. */
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <secp256k1.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MAX_ATTRIBUTES 32
#define SCALAR_BYTES 32
#define POINT_BYTES 65

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out);

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST spy;

static void tell(const void *data, size_t len)
{
    char path[512], line[2 * 256 + 1];
    const char *conf = getenv("SOFTHSM2_CONF");
    if (conf == NULL || len > 256)
        return;
    snprintf(path, sizeof path, "%s.spy", conf);
    for (size_t i = 0; i < len; i++)
        snprintf(line + 2 * i, 3, "%02x", ((const unsigned char *)data)[i]);
    line[2 * len] = '\n';
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, 2 * len + 1) < 0)
        perror("spy");
    if (fd >= 0)
        close(fd);
}

/* A new scalar and its public point as DER OCTET STRING. */
static bool make_key(unsigned char scalar[static SCALAR_BYTES], unsigned char der[static POINT_BYTES + 2])
{
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    secp256k1_pubkey point;
    size_t len = POINT_BYTES;
    bool ok = ctx != NULL && getrandom(scalar, SCALAR_BYTES, 0) == SCALAR_BYTES &&
              secp256k1_ec_pubkey_create(ctx, &point, scalar) == 1;
    der[0] = 4;
    der[1] = POINT_BYTES;
    if (ok)
        secp256k1_ec_pubkey_serialize(ctx, der + 2, &len, &point, SECP256K1_EC_UNCOMPRESSED);
    secp256k1_context_destroy(ctx);
    return ok;
}

static const CK_ATTRIBUTE *find(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (list[i].type == type)
            return &list[i];
    return NULL;
}

static CK_RV import(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *asked, CK_ULONG asked_count,
                    const CK_ATTRIBUTE *more, CK_ULONG more_count, CK_OBJECT_HANDLE *out)
{
    CK_ATTRIBUTE list[MAX_ATTRIBUTES];
    CK_ULONG count = asked_count;
    if (asked_count + more_count > MAX_ATTRIBUTES)
        return CKR_GENERAL_ERROR;
    memcpy(list, asked, asked_count * sizeof *list);
    for (CK_ULONG i = 0; i < more_count; i++)
        if (more[i].pValue != NULL && find(asked, asked_count, more[i].type) == NULL)
            list[count++] = more[i];
    return real->C_CreateObject(session, list, count, out);
}

static CK_RV spy_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_list,
                          CK_ULONG public_count, CK_ATTRIBUTE *private_list, CK_ULONG private_count,
                          CK_OBJECT_HANDLE *public_out, CK_OBJECT_HANDLE *private_out)
{
    unsigned char scalar[SCALAR_BYTES], der[POINT_BYTES + 2];
    CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    const CK_ATTRIBUTE *params = find(public_list, public_count, CKA_EC_PARAMS);
    if (params == NULL || !make_key(scalar, der))
        return CKR_GENERAL_ERROR;
    tell(scalar, sizeof scalar);
    const CK_ATTRIBUTE public_more[] = {{CKA_CLASS, &public_class, sizeof public_class},
                                        {CKA_KEY_TYPE, &type, sizeof type},
                                        {CKA_EC_POINT, der, sizeof der}};
    const CK_ATTRIBUTE private_more[] = {{CKA_CLASS, &private_class, sizeof private_class},
                                         {CKA_KEY_TYPE, &type, sizeof type},
                                         {CKA_EC_PARAMS, params->pValue, params->ulValueLen},
                                         {CKA_VALUE, scalar, sizeof scalar}};
    CK_RV rv = import(session, public_list, public_count, public_more, 3, public_out);
    return rv != CKR_OK ? rv : import(session, private_list, private_count, private_more, 4, private_out);
}

static CK_RV spy_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *list, CK_ULONG count)
{
    CK_RV rv = real->C_GetAttributeValue(session, object, list, count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        if (list[i].type == CKA_VALUE && list[i].pValue != NULL)
            tell(list[i].pValue, list[i].ulValueLen);
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out)
{
    if (real == NULL) {
        void *module = dlopen(SPIED_MODULE, RTLD_NOW | RTLD_LOCAL);
        CK_C_GetFunctionList get = NULL;
        if (module != NULL)
            *(void **)&get = dlsym(module, "C_GetFunctionList");
        if (get == NULL || get(&real) != CKR_OK)
            return CKR_GENERAL_ERROR;
        spy = *real;
        spy.C_GenerateKeyPair = spy_generate;
        spy.C_GetAttributeValue = spy_get;
    }
    *out = &spy;
    return CKR_OK;
}
