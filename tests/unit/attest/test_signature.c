/* Bodies of /tee/signature: forms, signers and malformed ones, made with a key of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <secp256k1_recovery.h>
#include <stdio.h>
#include <string.h>

#include "attest/signature.h"
#include "base/hex.h"
#include "fault.h"

#define H1 "0101010101010101010101010101010101010101010101010101010101010101"
#define H2 "a2A2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2"
#define ID "chatcmpl-1"

static secp256k1_context *ctx;
static const uint8_t scalar[32] = {[31] = 7}, stranger[32] = {[31] = 9};
static uint8_t address[ETH_ADDRESS_BYTES];
static char address_hex[2 * ETH_ADDRESS_BYTES + 3];

static void address_of(uint8_t out[static ETH_ADDRESS_BYTES], const uint8_t key[32])
{
    secp256k1_pubkey pub;
    uint8_t point[POINT_BYTES];
    size_t len = sizeof point;
    assert_int_equal(secp256k1_ec_pubkey_create(ctx, &pub, key), 1);
    secp256k1_ec_pubkey_serialize(ctx, point, &len, &pub, SECP256K1_EC_UNCOMPRESSED);
    point_eth_address(out, point);
}

/* EIP-191 over text; v counts from first (27, or 0 as some libraries do). */
static void sign(char out[133], const uint8_t key[32], const char *text, int first)
{
    secp256k1_ecdsa_recoverable_signature sig;
    char message[SIGNATURE_TEXT_BYTES_MAX + 64];
    uint8_t digest[KECCAK256_BYTES], bytes[65];
    int recid;
    int len = snprintf(message, sizeof message,
                       "\x19"
                       "Ethereum Signed Message:\n%zu%s",
                       strlen(text), text);
    hash_keccak256(digest, message, (size_t)len);
    assert_int_equal(secp256k1_ecdsa_sign_recoverable(ctx, &sig, digest, key, NULL, NULL), 1);
    secp256k1_ecdsa_recoverable_signature_serialize_compact(ctx, bytes, &recid, &sig);
    bytes[64] = (uint8_t)(recid + first);
    memcpy(out, "0x", 2);
    hex_str(out + 2, bytes, sizeof bytes);
}

static int setup(void **state)
{
    ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    address_of(address, scalar);
    memcpy(address_hex, "0x", 2);
    hex_str(address_hex + 2, address, sizeof address);
    return 0;
}

static int teardown(void **state)
{
    secp256k1_context_destroy(ctx);
    return 0;
}

/* A body with text signed by key, and more members behind. */
static void body_of(char out[8192], const uint8_t key[32], const char *text, const char *named,
                    const char *more)
{
    char hex[133];
    sign(hex, key, text, 27);
    snprintf(out, 8192, "{\"text\":\"%s\",\"signature\":\"%s\",\"signing_address\":\"%s\"%s}", text, hex,
             named, more);
}

static enum err_kind judge(struct signature_result *r, const char *body)
{
    struct err err = {0};
    bool ok = signature_check(r, body, strlen(body), ID, address, &err);
    assert_int_equal(ok, err.kind == ERR_NONE);
    if (!ok) {
        static const struct signature_result empty = {.form = SIGNATURE_SINGLE};
        assert_true(strlen(err.message) > 5);
        assert_memory_equal(r->signer, empty.signer, sizeof r->signer);
        assert_false(r->has_receipt);
    }
    return err.kind;
}

static void test_forms(void **state)
{
    static const struct {
        const char *text;
        enum signature_form form;
    } forms[] = {
        {H2, SIGNATURE_SINGLE},
        {H1 ":" H2, SIGNATURE_PAIR},
        {"model:" H1 ":" H2, SIGNATURE_MODEL_PAIR},
        {"a/b:c.d:" H1 ":" H2, SIGNATURE_MODEL_PAIR},
        {H2 ":" H1 ":" H2, SIGNATURE_MODEL_PAIR},
    };
    struct signature_result r;
    char body[8192];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        body_of(body, scalar, forms[i].text, address_hex, ",\"signing_algo\":\"ecdsa\",\"receipt\":{}");
        assert_int_equal(judge(&r, body), ERR_NONE);
        assert_int_equal(r.form, forms[i].form);
        assert_memory_equal(r.signer, address, sizeof address);
        assert_int_equal(r.response_hash[0], 0xa2);
        assert_int_equal(r.request_hash[0], forms[i].form == SIGNATURE_SINGLE ? 0 : 1);
        assert_true(r.has_receipt);
        assert_non_null(strstr(signature_meaning(&r), "nothing about the text"));
    }
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {"",        "x",           H1 "0",        ":" H1,   H1 H2,
                                        H1 ";" H2, ":" H1 ":" H2, "m" H1 ":" H2, "m::" H1, "z" H1};
    static const char *const more[] = {",\"signing_algo\":\"ed25519\"", ",\"requested_request_id\":\"other\"",
                                       ",\"requested_request_id\":7", ",\"text\":\"" H1 "\""};
    static const char *const bodies[] = {"",     "[]", "7", "{}", "{\"text\":\"" H1 "\"}", "{\"text\":7}",
                                         "null", "{"};
    struct signature_result r;
    char body[8192];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        body_of(body, scalar, texts[i], address_hex, "");
        assert_int_equal(judge(&r, body), ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        body_of(body, scalar, H1 ":" H2, address_hex, more[i]);
        assert_int_equal(judge(&r, body), ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        assert_int_equal(judge(&r, bodies[i]), ERR_INVALID);
    }
    body_of(body, scalar, H1 ":" H2, address_hex, ",\"requested_request_id\":\"" ID "\"");
    assert_int_equal(judge(&r, body), ERR_NONE);
    *(strstr(body, "signature\":\"0x") + 14) = 'z';
    assert_int_equal(judge(&r, body), ERR_INVALID);
}

static void test_signers(void **state)
{
    struct signature_result r;
    uint8_t other[ETH_ADDRESS_BYTES];
    char other_hex[2 * ETH_ADDRESS_BYTES + 3] = "0x", body[8192], hex[133];
    address_of(other, stranger);
    hex_str(other_hex + 2, other, sizeof other);
    body_of(body, stranger, H1 ":" H2, other_hex, "");
    assert_int_equal(judge(&r, body), ERR_ATTESTATION); /* honest, but not the attested key */
    body_of(body, stranger, H1 ":" H2, address_hex, "");
    assert_int_equal(judge(&r, body), ERR_ATTESTATION);
    body_of(body, scalar, H1 ":" H2, other_hex, "");
    assert_int_equal(judge(&r, body), ERR_ATTESTATION);

    sign(hex, scalar, H1 ":" H2, 0); /* v of 0 or 1, no 0x, capitals */
    snprintf(body, sizeof body, "{\"text\":\"%s\",\"signature\":\"%s\",\"signing_address\":\"%s\"}",
             H1 ":" H2, hex + 2, address_hex + 2);
    assert_int_equal(judge(&r, body), ERR_NONE);

    /* No bit of the signature can change: another signer, or none. */
    body_of(body, scalar, H1 ":" H2, address_hex, "");
    char *digit = strstr(body, "signature\":\"0x") + 14;
    for (int i = 0; i < 130; i++) {
        char kept = digit[i];
        digit[i] = kept == '0' ? '1' : '0';
        assert_int_not_equal(judge(&r, body), ERR_NONE);
        digit[i] = kept;
    }
    assert_int_equal(judge(&r, body), ERR_NONE);
}

static void test_no_memory(void **state)
{
    char body[8192];
    bool ok = false;
    body_of(body, scalar, H1 ":" H2, address_hex, ",\"receipt\":{}");
    for (size_t n = 1; !ok; n++) {
        struct signature_result r;
        struct err err = {0};
        fault_alloc_at(n);
        ok = signature_check(&r, body, strlen(body), ID, address, &err);
        assert_int_equal(ok, !fault_alloc_hit());
        fault_alloc_at(0);
        assert_true(ok || err.kind == ERR_MEMORY);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_signers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
