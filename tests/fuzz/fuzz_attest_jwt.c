/* NVIDIA's tokens: a key set, a NUL byte, then a token or a whole answer of the service. What is accepted was signed by a
 * key of the set, and says so in claims that are a JSON object. */
#include <stdlib.h>
#include <string.h>

#include "attest/nras.h"

#define NOW 1790000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nonce[NRAS_NONCE_BYTES];
    const uint8_t *nul = memchr(data, 0, size);
    size_t keys_len = nul != NULL ? (size_t)(nul - data) : size;
    const char *text = (const char *)data + keys_len + (nul != NULL);
    size_t len = size - keys_len - (nul != NULL);
    struct nras_result result;
    struct err err = {0};
    struct jwks set;
    struct jwt token;

    if (!jwks_parse(&set, (const char *)data, keys_len, &err)) {
        require(set.keys == NULL && set.count == 0 && err.kind == ERR_INVALID);
        return 0;
    }
    jwt_init(&token);
    if (jwt_verify(&token, text, len, &set, &err)) {
        require(set.count > 0 && json_root(&token.claims)->type == JSON_OBJECT);
    } else {
        require(token.text.len == 0 && token.claims.count == 0 && err.kind == ERR_INVALID);
    }
    jwt_free(&token);
    if (nras_verify(&result, text, len, &set, nonce, 1, NOW, &err)) {
        require(result.gpus == 1 && result.expires > NOW);
    } else {
        require(result.gpus == 0 && (err.kind == ERR_INVALID || err.kind == ERR_EXPIRED));
    }
    jwks_free(&set);
    return 0;
}
