/* A PKCS#11 token in the memory of the process that loads it: secp256k1 key pairs and ECDH by libsecp256k1. It passes the
 * ordinary suite itself. A misbehaving token is one small file beside it that defines mock_override and replaces what
 * it misbehaves in; the rest is this.
 *
 * Read from the environment (the keyholder passes them on with --module-env NAME):
 *   MOCK_LOG        file; a line for each login try, and the counts at C_Finalize
 *   MOCK_STORE      file that keeps objects with CKA_TOKEN true across processes
 *   MOCK_SECRETS    file; every private scalar and shared secret in hex, for tests that search memory
 *   MOCK_DERIVE_MS  how long a C_DeriveKey takes, in parallel on several sessions
 *   MOCK_GENERATE_MS, and MOCK_DESTROY_MS for a half of a key pair
 *   MOCK_FLAGS      further flags of the token (hex)
 *   MOCK_SESSIONS   how many sessions the token has (0 or unset: no limit)
 *   MOCK_FAIL_AT    the how manieth call of all (1 upwards) fails; MOCK_FAIL_RV its value (hex, CKR_DEVICE_ERROR);
 *                   MOCK_FAIL_COUNT how many in a row (1); MOCK_FAIL_LATE 1: the call does its work first;
 *                   MOCK_FAIL_NAME counts calls of this function only; MOCK_FAIL_HANG 1: it never returns
 *   MOCK_AFTER      where a fault begins, for those that work at first */
#ifndef E2EE_TESTS_MOCK_H
#define E2EE_TESTS_MOCK_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hsm/ecdh1.h"

#define MOCK_SLOT 7
#define MOCK_PIN "1234"

/* Each module's own: changes what it wants. base is the unchanged list, to call on. */
void mock_override(CK_FUNCTION_LIST *list);
extern CK_FUNCTION_LIST mock_base;

/* A number from the environment. */
unsigned long mock_env(const char *name, unsigned long otherwise);
/* A line to MOCK_LOG. */
void mock_log(const char *text);
/* True from the (MOCK_AFTER + 1)th time on that this is asked; otherwise is MOCK_AFTER's default. */
bool mock_after(unsigned long otherwise);

#endif
