/* Intel's signed JSON answers: {"NAME":{…},"signature":"…"}. The signature covers the exact bytes of the value, so the
 * raw text is sliced and never written anew; duplicate keys anywhere refuse it, for readers disagree on which one
 * counts (attestation.md section 1, steps 5 and 6). */
#ifndef E2EE_ATTEST_SIGNED_JSON_H
#define E2EE_ATTEST_SIGNED_JSON_H

#include "attest/certs.h"
#include "attest/tcb.h"
#include "json/json.h"

#define SIGNED_JSON_NODES 65536

struct signed_json {
    struct json_doc doc;
    const struct json_node *value; /* the signed object */
    uint8_t signature[P256_SIGNATURE_BYTES];
};

/* A view of text[0..len), which must outlive it. */
bool signed_json_parse(struct signed_json *out, const char *text, size_t len, const char *name,
                       struct err *err) MUST_CHECK;
void signed_json_free(struct signed_json *s);
/* Checks the signature over the value's bytes. ERR_INVALID when it does not hold. */
bool signed_json_verify(const struct signed_json *s, const uint8_t key[static P256_KEY_BYTES],
                        struct err *err) MUST_CHECK;

/* Members of a signed object; false and ERR_INVALID naming the member. */
bool signed_json_hex(const struct json_doc *doc, const struct json_node *object, const char *name,
                     uint8_t *out, size_t len, struct err *err) MUST_CHECK;
bool signed_json_u64(const struct json_doc *doc, const struct json_node *object, const char *name,
                     uint64_t max, uint64_t *out, struct err *err) MUST_CHECK;
/* "2026-06-10T00:56:35Z" as seconds since 1970; text, when not NULL, gets the date itself (21 bytes). */
bool signed_json_date(const struct json_doc *doc, const struct json_node *object, const char *name,
                      int64_t *out, char *text, struct err *err) MUST_CHECK;
/* A TCB status of the given set of TCB_BITs. */
bool signed_json_status(const struct json_doc *doc, const struct json_node *object, unsigned allowed,
                        enum tcb_status *out, struct err *err) MUST_CHECK;
/* The list "advisoryIDs" is absent or an array of short names. Returns it in *out, NULL when absent. */
bool signed_json_advisories(const struct json_doc *doc, const struct json_node *object,
                            const struct json_node **out, struct err *err) MUST_CHECK;

#endif
