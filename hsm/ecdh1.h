/* CK_ECDH1_DERIVE_PARAMS as PKCS#11 2.40 lays it out. p11-kit's header has it under other member names in 0.24 (Debian 12) than
 * in 0.25 (Debian 13). For modules of tests, too. */
#ifndef E2EE_HSM_ECDH1_H
#define E2EE_HSM_ECDH1_H

#include <p11-kit/pkcs11.h>

struct ecdh1_params {
    CK_ULONG kdf; /* CKD_NULL */
    CK_ULONG shared_len;
    CK_BYTE *shared;
    CK_ULONG public_len;
    CK_BYTE *public_point;
};

#endif
