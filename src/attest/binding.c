#include "attest/binding.h"

#include <string.h>

#define ADDRESS_PART 32 /* bytes of REPORTDATA before the nonce */
#define FUTURE_S 300    /* clocks may differ by so much */

static void check_nonce(struct attest_verdict *v, const struct attest_body *body, const uint8_t *nonce)
{
    if (nonce == NULL) {
        verdict_add(v, "nonce", CHECK_NOT_CHECKED, false,
                    "the nonce that was asked with is not known, so the evidence may be an old one replayed");
        return;
    }
    for (size_t i = 0; body != NULL && i < body->nonce_count; i++) {
        if (memcmp(body->nonces[i], nonce, BODY_NONCE_BYTES) != 0) {
            verdict_fail(v, "nonce", "the answer repeats another nonce than the one that was sent");
            return;
        }
    }
    if (memcmp(v->measurements.report_data + ADDRESS_PART, nonce, BODY_NONCE_BYTES) != 0) {
        verdict_fail(v, "nonce",
                     "the quote was not made for this request: its REPORTDATA ends with another nonce");
        return;
    }
    verdict_pass(v, "nonce", "the quote's REPORTDATA ends with the nonce that was sent");
}

/* Says which part of REPORTDATA differs, when no key gives the whole. */
static void refuse_binding(struct attest_verdict *v, const struct attest_body *body)
{
    static const uint8_t zeros[ADDRESS_PART - ETH_ADDRESS_BYTES];
    const uint8_t *data = v->measurements.report_data;
    uint8_t address[ETH_ADDRESS_BYTES];

    if (body->key_count == 0) {
        verdict_fail(v, "binding", "the body names no encryption key");
        return;
    }
    for (size_t i = 0; i < body->key_count; i++) {
        point_eth_address(address, body->keys[i].point);
        if (memcmp(address, data, sizeof address) == 0) {
            bool padded = memcmp(data + sizeof address, zeros, sizeof zeros) == 0;
            verdict_fail(v, "binding",
                         padded ? "REPORTDATA holds the key's address, but another nonce behind it"
                                : "REPORTDATA holds the key's address, but not twelve zero bytes behind it");
            return;
        }
    }
    verdict_fail(v, "binding", "the quote's REPORTDATA binds none of the %zu keys in the body",
                 body->key_count);
}

static void take_key(struct attest_verdict *v, const struct body_key *key, const uint8_t *address)
{
    v->has_point = true;
    memcpy(v->point, key->point, sizeof v->point);
    memcpy(v->point_hex, key->hex, sizeof v->point_hex);
    memcpy(v->address, address, sizeof v->address);
}

void binding_check(struct attest_verdict *v, const struct attest_body *body, const uint8_t *nonce)
{
    const uint8_t *data = v->measurements.report_data;

    check_nonce(v, body, nonce);
    if (body == NULL) {
        verdict_add(v, "binding", CHECK_NOT_APPLICABLE, true, "a bare quote comes with no key");
        return;
    }
    const uint8_t *expected_nonce = nonce != NULL           ? nonce
                                    : body->nonce_count > 0 ? body->nonces[0]
                                                            : data + ADDRESS_PART;
    for (size_t i = 0; i < body->key_count; i++) {
        uint8_t expected[sizeof v->measurements.report_data] = {0};
        point_eth_address(expected, body->keys[i].point);
        memcpy(expected + ADDRESS_PART, expected_nonce, BODY_NONCE_BYTES);
        if (memcmp(expected, data, sizeof expected) != 0) {
            continue;
        }
        if (body->has_address && memcmp(body->address, expected, ETH_ADDRESS_BYTES) != 0) {
            verdict_fail(v, "binding", "signing_address is not the address of the key that the quote binds");
            return;
        }
        take_key(v, &body->keys[i], expected);
        verdict_pass(v, "binding",
                     "REPORTDATA is the address of the key to seal to, twelve zero bytes and the nonce%s",
                     body->keys[i].from_keyset ? " (key taken from the workload's keyset)" : "");
        return;
    }
    refuse_binding(v, body);
}

void binding_freshness(struct attest_verdict *v, const struct attest_body *body)
{
    if (body == NULL || (body->stale_after == 0 && body->keyset_not_after == 0)) {
        verdict_add(v, "freshness", CHECK_NOT_APPLICABLE, true, "the body states no end of its own");
        return;
    }
    verdict_limit(v, body->stale_after);
    verdict_limit(v, body->keyset_not_after);
    if (body->fetched_at > v->at + FUTURE_S) {
        verdict_fail(v, "freshness", "the body says it was made in the future");
    } else if (body->stale_after > 0 && body->stale_after <= v->at) {
        verdict_fail(v, "freshness", "the body says that it is stale since %lld s",
                     (long long)(v->at - body->stale_after));
    } else if (body->keyset_not_after > 0 && body->keyset_not_after <= v->at) {
        verdict_fail(v, "freshness", "the keyset's epoch has ended");
    } else {
        verdict_pass(v, "freshness", "the body says it holds for another %lld s",
                     (long long)(v->not_after - v->at));
    }
}
