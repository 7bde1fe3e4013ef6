#include "attest/signed_json.h"

#include <string.h>
#include <time.h>

#include "attest/proven.h"
#include "attest/verdict.h"
#include "base/hex.h"

bool signed_json_parse(struct signed_json *out, const char *text, size_t len, const char *name,
                       struct err *err)
{
    memset(out, 0, sizeof *out);
    json_doc_init(&out->doc);
    if (!json_parse(&out->doc, text, len, SIGNED_JSON_NODES, err)) {
        signed_json_free(out);
        return false;
    }
    const struct json_node *root = json_root(&out->doc);
    out->value = json_present(&out->doc, root, name);
    if (root->count != 2 || out->value == NULL || out->value->type != JSON_OBJECT ||
        !signed_json_hex(&out->doc, root, "signature", out->signature, sizeof out->signature, err)) {
        signed_json_free(out);
        return err_set(err, ERR_INVALID, "is not {\"%s\":{…},\"signature\":\"128 hex digits\"}", name);
    }
    return true;
}

void signed_json_free(struct signed_json *s)
{
    json_doc_free(&s->doc);
    s->value = NULL;
}

bool signed_json_verify(const struct signed_json *s, const uint8_t key[static P256_KEY_BYTES],
                        struct err *err)
{
    uint8_t digest[SHA256_BYTES];
    if (!hash_sha256(digest, s->doc.text + s->value->start, s->value->end - s->value->start)) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    const struct hash_part parts[] = {{"signed JSON", 11},
                                      {key, P256_KEY_BYTES},
                                      {s->signature, sizeof s->signature},
                                      {digest, sizeof digest}};
    struct proven name;
    bool valid, named = proven_name(&name, parts, sizeof parts / sizeof parts[0]);
    if (named && proven_has(&name)) {
        return true;
    }
    if (!ecdsa_verify_digest(ECDSA_P256, &valid, key, s->signature, digest, err)) {
        return false;
    }
    if (valid && named) {
        proven_add(&name);
    }
    return valid || err_set(err, ERR_INVALID, "Intel's signature does not cover these bytes");
}

bool signed_json_hex(const struct json_doc *doc, const struct json_node *object, const char *name,
                     uint8_t *out, size_t len, struct err *err)
{
    const char *text;
    size_t digits;
    memset(out, 0, len);
    const struct json_node *node = json_member(doc, object, name);
    if (node == NULL || !json_string_raw(doc, node, &text, &digits) || digits != 2 * len ||
        !hex_decode(out, text, digits)) {
        memset(out, 0, len);
        return err_set(err, ERR_INVALID, "%s is not %zu hex digits", name, 2 * len);
    }
    return true;
}

bool signed_json_u64(const struct json_doc *doc, const struct json_node *object, const char *name,
                     uint64_t max, uint64_t *out, struct err *err)
{
    *out = 0;
    const struct json_node *node = json_member(doc, object, name);
    if (node == NULL || !json_u64(doc, node, out) || *out > max) {
        *out = 0;
        return err_set(err, ERR_INVALID, "%s is no number up to %llu", name, (unsigned long long)max);
    }
    return true;
}

/* Digits at fixed places; gmtime of the result must give them back, so that the 31st of February is refused. */
static bool parse_date(const char *text, int64_t *out)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    int field[6] = {0}, at = 0;
    if (strlen(text) != sizeof shape - 1) {
        return false;
    }
    for (size_t i = 0; shape[i] != '\0'; i++) {
        if (shape[i] != 'd') {
            if (text[i] != shape[i]) {
                return false;
            }
            at++;
        } else if (text[i] < '0' || text[i] > '9') {
            return false;
        } else {
            field[at] = field[at] * 10 + (text[i] - '0');
        }
    }
    struct tm tm = {.tm_year = field[0] - 1900,
                    .tm_mon = field[1] - 1,
                    .tm_mday = field[2],
                    .tm_hour = field[3],
                    .tm_min = field[4],
                    .tm_sec = field[5]};
    struct tm again;
    time_t t = timegm(&tm);
    if (gmtime_r(&t, &again) == NULL || again.tm_year != field[0] - 1900 || again.tm_mon != field[1] - 1 ||
        again.tm_mday != field[2] || again.tm_hour != field[3] || again.tm_min != field[4] ||
        again.tm_sec != field[5]) {
        return false;
    }
    *out = (int64_t)t;
    return true;
}

bool signed_json_date(const struct json_doc *doc, const struct json_node *object, const char *name,
                      int64_t *out, char *text, struct err *err)
{
    char date[VERDICT_DATE_BYTES];
    *out = 0;
    if (!json_string_copy(doc, json_member(doc, object, name), date, sizeof date) || !parse_date(date, out)) {
        return err_set(err, ERR_INVALID, "%s is no date in UTC", name);
    }
    if (text != NULL) {
        memcpy(text, date, strlen(date) + 1);
    }
    return true;
}

bool signed_json_status(const struct json_doc *doc, const struct json_node *object, unsigned allowed,
                        enum tcb_status *out, struct err *err)
{
    char word[64];
    *out = TCB_NONE;
    if (!json_string_copy(doc, json_member(doc, object, "tcbStatus"), word, sizeof word) ||
        !tcb_status_parse(out, word) || !(TCB_BIT(*out) & allowed)) {
        *out = TCB_NONE;
        return err_set(err, ERR_INVALID, "a level has a tcbStatus that is not known");
    }
    return true;
}

bool signed_json_advisories(const struct json_doc *doc, const struct json_node *object,
                            const struct json_node **out, struct err *err)
{
    const struct json_node *list = json_present(doc, object, "advisoryIDs");
    *out = NULL;
    if (list == NULL) {
        return true;
    }
    bool good = list->type == JSON_ARRAY && list->count <= VERDICT_ADVISORIES_MAX;
    for (const struct json_node *n = json_first(doc, list); good && n != NULL; n = json_next(doc, n)) {
        char name[VERDICT_ADVISORY_BYTES];
        good = json_string_copy(doc, n, name, sizeof name);
    }
    if (!good) {
        return err_set(err, ERR_INVALID, "advisoryIDs is no list of short names");
    }
    *out = list;
    return true;
}
