/* One received field. The quick test, the decoder and the cipher agree on what a sealed field is; each way of being none
 * has its one error; a field that we sealed opens to what went in, and with any bit changed to nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "wire/field.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static struct aead *fixed_key(void)
{
    static struct aead *key;
    if (key == NULL) {
        struct secret bytes = SECRET_EMPTY;
        require(secret_heap_init(NULL) && secret_new(&bytes, AEAD_KEY_BYTES, NULL));
        key = aead_new(NULL);
        require(key != NULL && aead_set_key(key, &bytes, NULL));
        secret_free(&bytes);
    }
    return key;
}

static bool lower_equal(const char *hex, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];
        if (hex[i] != c) {
            return false;
        }
    }
    return true;
}

/* A stranger's point: ECDH says of it what point_valid says, and the software side never makes a key of a bad one. */
static void check_point(const uint8_t *point)
{
    uint8_t one[SCALAR_BYTES] = {[SCALAR_BYTES - 1] = 1};
    struct secret scalar = SECRET_EMPTY, z = SECRET_EMPTY;
    struct err err = {0};
    require(secret_copy(&scalar, one, sizeof one, NULL));
    bool ok = point_ecdh(&z, &scalar, point, &err);
    require(ok == point_valid(point) && ok == (err.kind == ERR_NONE));
    require(!ok || (z.len == ECDH_BYTES && memcmp(z.data, point + 1, ECDH_BYTES) == 0));
    secret_free(&scalar);
    secret_free(&z);
}

static void check_received(const char *text, size_t len)
{
    struct field f;
    struct err err = {0};
    struct aead *key = fixed_key();
    uint8_t *bytes = mem_alloc(len / 2);
    require(bytes != NULL);
    bool ok = field_decode(&f, bytes, text, len, &err);
    require(ok == field_is_sealed(text, len));
    if (!ok) {
        bool hex_of_a_point = len >= POINT_HEX_CHARS && memcmp(text, "04", 2) == 0 && hex_all(text, len);
        require(err.kind == (hex_of_a_point ? ERR_DECRYPT : ERR_PLAINTEXT));
        require(f.point == NULL && f.nonce == NULL && f.sealed == NULL && f.sealed_len == 0);
    } else {
        char *again = mem_alloc(len);
        require(again != NULL && f.point == bytes && f.sealed + f.sealed_len == bytes + len / 2);
        require(f.point[0] == 4 && f.sealed_len >= AEAD_TAG_BYTES);
        hex_encode(again, bytes, len / 2);
        require(lower_equal(again, text, len));
        mem_free(again);
        check_point(f.point);
        require(!aead_open(key, f.sealed, f.nonce, f.sealed, f.sealed_len, &err) && err.kind == ERR_DECRYPT);
        for (size_t i = 0; i + AEAD_TAG_BYTES < f.sealed_len; i++) {
            require(f.sealed[i] == 0);
        }
    }
    mem_free(bytes);
}

/* The input as plaintext; which bit is changed follows from it too. */
static void check_sealed(const uint8_t *data, size_t size)
{
    static const uint8_t point[POINT_BYTES] = {4, 1, 2, 3};
    struct buf out;
    struct field f;
    struct err err = {0};
    buf_init(&out, FIELD_CHARS(size));
    require(field_seal(&out, fixed_key(), point, data, size, &err) && out.len == FIELD_CHARS(size));
    require(field_is_sealed((char *)out.data, out.len));
    uint8_t *bytes = mem_alloc(out.len / 2);
    require(bytes != NULL);
    for (int changed = 0; changed < 2; changed++) {
        require(field_decode(&f, bytes, (char *)out.data, out.len, &err));
        require(memcmp(f.point, point, sizeof point) == 0 && f.sealed_len == size + AEAD_TAG_BYTES);
        if (changed) {
            size_t bit = size > 0 ? (data[0] + 256 * data[size - 1]) % (8 * f.sealed_len) : 0;
            f.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        bool ok = aead_open(fixed_key(), f.sealed, f.nonce, f.sealed, f.sealed_len, &err);
        require(ok == !changed && (changed || size == 0 || memcmp(f.sealed, data, size) == 0));
    }
    mem_free(bytes);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_received((const char *)data, size);
    check_sealed(data, size);
    return 0;
}
