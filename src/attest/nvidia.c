#include "attest/nvidia.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

#define ARCH_BYTES 16

/* Which check each step of a device counts for. */
static const struct {
    const char *id, *done;
    unsigned steps; /* bits of enum nvidia_step */
} step_checks[] = {
    {"gpu.certificates", "each GPU's five certificates end in NVIDIA's root and are a GPU's",
     1U << NVIDIA_CERTIFICATES | 1U << NVIDIA_ARCH},
    {"gpu.report", "each report can be read to its last byte", 1U << NVIDIA_REPORT},
    {"gpu.signature", "each report is signed by the key of its GPU", 1U << NVIDIA_SIGNATURE},
    {"gpu.nonce", "each report was made for the nonce that was sent", 1U << NVIDIA_NONCE},
    {"gpu.firmware", "each GPU's key was made for the firmware that its report names", 1U << NVIDIA_FIRMWARE},
};

#define STEP_CHECKS (sizeof step_checks / sizeof step_checks[0])

static const char *const ids[] = {"gpu.evidence",   "gpu.certificates", "gpu.report",  "gpu.signature",
                                  "gpu.nonce",      "gpu.firmware",     "gpu.devices", "gpu.measurements",
                                  "gpu.revocation", "gpu.binding"};

#define IDS (sizeof ids / sizeof ids[0])

void nvidia_skip(struct attest_verdict *v, bool enforced, const char *why)
{
    verdict_skip_rest(v, ids, IDS, enforced, why);
}

struct gpus {
    struct attest_verdict *v;
    const uint8_t *nonce;
    const struct attest_root *root;   /* NULL: NVIDIA's */
    const struct nras_evidence *nras; /* NULL: not asked */
    bool enforced, required;
    struct err *err;
    struct json_doc doc;
    const struct json_node *list;
    char arch[ARCH_BYTES];
    struct nvidia_device *device; /* count of them */
    size_t count;
    char (*why)[sizeof((struct err *)0)->message]; /* of each that failed */
};

static bool fail(struct gpus *g, const char *id, const char *words)
{
    return verdict_add(g->v, id, CHECK_FAIL, g->enforced, "%s", words);
}

static bool is_fatal(const struct err *err)
{
    return err->kind == ERR_MEMORY || err->kind == ERR_CRYPTO || err->kind == ERR_INTERNAL;
}

/* A nonce in JSON is ours; absent is fine when optional. */
static bool nonce_is(const struct gpus *g, const struct json_node *node, bool optional)
{
    uint8_t nonce[SPDM_NONCE_BYTES];
    char hex[2 * SPDM_NONCE_BYTES + 1];
    if (node == NULL) {
        return optional;
    }
    return json_string_copy(&g->doc, node, hex, sizeof hex) && strlen(hex) == sizeof hex - 1 &&
           hex_decode(nonce, hex, sizeof hex - 1) && memcmp(nonce, g->nonce, sizeof nonce) == 0;
}

/* A member in base64 into out. False: err is ERR_INVALID or ERR_MEMORY. */
static bool read_base64(struct buf *out, const struct json_doc *doc, const struct json_node *entry,
                        const char *member, struct err *err)
{
    struct buf text;
    bool ok = false;

    buf_reset(out);
    buf_init(&text, LIMIT_ATTESTATION_BYTES);
    const struct json_node *node = json_present(doc, entry, member);
    if (!json_string_get(doc, node, &text)) {
        err_set(err, text.failed ? ERR_MEMORY : ERR_INVALID, "%s is no text", member);
    } else if (!buf_reserve(out, BASE64_DECODED_MAX(text.len))) {
        err_set(err, ERR_MEMORY, "no memory for %s", member);
    } else if (text.len == 0 ||
               !base64_decode(out->data, out->cap, &out->len, (const char *)text.data, text.len, false)) {
        out->len = 0;
        err_set(err, ERR_INVALID, "%s is no base64", member);
    } else {
        ok = true;
    }
    buf_free(&text);
    return ok;
}

/* Judges one entry of the list. False only for failures of ours. */
static bool check_entry(struct gpus *g, const struct json_node *entry, struct nvidia_device *device,
                        char *why, size_t cap)
{
    struct buf pem, report;
    struct err err = {0};
    char arch[ARCH_BYTES];
    bool fatal = false;

    buf_init(&pem, LIMIT_ATTESTATION_BYTES);
    buf_init(&report, LIMIT_ATTESTATION_BYTES);
    memset(device, 0, sizeof *device);
    if (!read_base64(&pem, &g->doc, entry, "certificate", &err)) {
        device->reached = NVIDIA_CERTIFICATES;
    } else if (json_present(&g->doc, entry, "arch") != NULL &&
               (!json_string_copy(&g->doc, json_member(&g->doc, entry, "arch"), arch, sizeof arch) ||
                strcmp(arch, g->arch) != 0)) {
        device->reached = NVIDIA_ARCH;
        err_set(&err, ERR_INVALID, "it is named with another architecture than the whole");
    } else if (!read_base64(&report, &g->doc, entry, "evidence", &err)) {
        device->reached = NVIDIA_REPORT;
    } else if (nvidia_device_check(device, report.data, report.len, (const char *)pem.data, pem.len, g->arch,
                                   g->nonce, g->root, g->v->at, &err) &&
               !nonce_is(g, json_present(&g->doc, entry, "nonce"), true)) {
        device->reached = NVIDIA_NONCE;
        err_set(&err, ERR_INVALID, "the body names another nonce for it");
    }
    if (device->reached != NVIDIA_VERIFIED) {
        fatal = is_fatal(&err);
        snprintf(why, cap, "%s", err.message);
        if (fatal) {
            err_set(g->err, err.kind, "%s", err.message);
        }
    }
    buf_free(&pem);
    buf_free(&report);
    return !fatal;
}

static bool check_entries(struct gpus *g)
{
    size_t i = 0;
    g->count = g->list->count;
    g->device = mem_calloc(g->count, sizeof *g->device);
    g->why = mem_calloc(g->count, sizeof *g->why);
    if (g->device == NULL || g->why == NULL) {
        return err_set(g->err, ERR_MEMORY, "no memory for %zu GPUs", g->count);
    }
    for (const struct json_node *n = json_first(&g->doc, g->list); n != NULL;
         n = json_next(&g->doc, n), i++) {
        if (!check_entry(g, n, &g->device[i], g->why[i], sizeof g->why[i])) {
            return false;
        }
    }
    return true;
}

/* One check for all GPUs: the first that failed at its steps, or that some never came so far, or that all passed. */
static void report_step(struct gpus *g, size_t check)
{
    const char *id = step_checks[check].id;
    size_t earlier = 0, absent = 0;
    for (size_t i = 0; i < g->count; i++) {
        unsigned bit = 1U << g->device[i].reached;
        if (step_checks[check].steps & bit) {
            verdict_add(g->v, id, CHECK_FAIL, g->enforced, "GPU %zu of %zu: %s", i, g->count, g->why[i]);
            return;
        }
        earlier += bit < step_checks[check].steps;
        absent += g->device[i].firmware_absent;
    }
    if (earlier > 0) {
        verdict_add(g->v, id, CHECK_NOT_CHECKED, g->enforced, "an earlier step failed for %zu of %zu GPUs",
                    earlier, g->count);
    } else if (absent > 0 && step_checks[check].steps == 1U << NVIDIA_FIRMWARE) {
        verdict_add(g->v, id, CHECK_NOT_CHECKED, false,
                    "the driver (535) of %zu of %zu GPUs does not report which firmware runs", absent,
                    g->count);
    } else {
        verdict_add(g->v, id, CHECK_PASS, g->enforced, "%s",
                    check == 0 && g->root != NULL
                        ? "each GPU's five certificates end in the root given by hand, which is NOT NVIDIA's"
                        : step_checks[check].done);
    }
}

/* The number that the body claims; false when it claims none. *bad: it cannot be read. */
static bool claimed_count(const struct buf *config, uint64_t *out, bool *bad, struct err *err)
{
    struct json_doc doc;
    struct err why = {0};
    bool found = false;

    *bad = false;
    if (config->len == 0) {
        return false;
    }
    json_doc_init(&doc);
    if (!json_parse(&doc, (const char *)config->data, config->len, LIMIT_JSON_NODES, &why)) {
        *bad = true;
        if (is_fatal(&why)) {
            err_set(err, why.kind, "%s", why.message);
        }
    } else {
        const struct json_node *node = json_present(&doc, json_root(&doc), "num_gpus");
        found = node != NULL && json_u64(&doc, node, out);
        *bad = node != NULL && !found;
    }
    json_doc_free(&doc);
    return found;
}

static bool keys_differ(const struct gpus *g)
{
    for (size_t i = 0; i < g->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (memcmp(g->device[i].key, g->device[j].key, P384_KEY_BYTES) == 0) {
                return false;
            }
        }
    }
    return true;
}

/* Number and difference of the GPUs. False only for failures of ours. */
static bool report_devices(struct gpus *g, const struct attest_body *body)
{
    struct err err = {0};
    uint64_t claimed = 0;
    bool bad, known = claimed_count(&body->vm_config, &claimed, &bad, &err);
    bool all = true;

    if (is_fatal(&err)) {
        return err_set(g->err, err.kind, "%s", err.message);
    }
    for (size_t i = 0; i < g->count; i++) {
        all = all && g->device[i].reached == NVIDIA_VERIFIED;
    }
    if (bad) {
        fail(g, "gpu.devices", "the body's vm_config cannot be read, so the number of GPUs is not known");
    } else if (known && claimed != g->count) {
        verdict_add(g->v, "gpu.devices", CHECK_FAIL, g->enforced,
                    "the body says that the guest has %llu GPUs, and has evidence for %zu",
                    (unsigned long long)claimed, g->count);
    } else if (g->count == 0) {
        verdict_add(g->v, "gpu.devices", CHECK_NOT_APPLICABLE, g->enforced, "%s",
                    known ? "the body says that the guest has no GPU" : "no GPU evidence");
    } else if (!all) {
        verdict_add(g->v, "gpu.devices", CHECK_NOT_CHECKED, g->enforced,
                    "the evidence of a GPU does not hold");
    } else if (!keys_differ(g)) {
        fail(g, "gpu.devices", "two of the GPUs have the same key: one was counted twice");
    } else {
        verdict_add(g->v, "gpu.devices", CHECK_PASS, g->enforced,
                    "%zu GPUs (%s), each with its own key%s; the first says driver %s, VBIOS %s", g->count,
                    g->arch, known ? ", as many as the body claims" : "; the body claims no number",
                    g->device[0].driver[0] != '\0' ? g->device[0].driver : "not stated",
                    g->device[0].vbios[0] != '\0' ? g->device[0].vbios : "not stated");
    }
    return true;
}

/* What nobody has vouched for. */
static void report_unproven(struct attest_verdict *v)
{
    if (verdict_find(v, "gpu.measurements") == NULL) {
        verdict_add(
            v, "gpu.measurements", CHECK_NOT_CHECKED, false,
            "whether driver and VBIOS are good ones: the reference values are with NVIDIA, whose service "
            "`nras = on` asks");
    }
    if (verdict_find(v, "gpu.revocation") == NULL) {
        verdict_add(v, "gpu.revocation", CHECK_NOT_CHECKED, false,
                    "whether NVIDIA has revoked or held a certificate: only its online service knows");
    }
    verdict_add(
        v, "gpu.binding", CHECK_NOT_CHECKED, false,
        "whether these GPUs are this guest's: the nonce shows that they are genuine and answered now, and a "
        "host could have asked those of another machine");
}

/* Without entries. False only for failures of ours. */
static bool report_none(struct gpus *g, const struct attest_body *body)
{
    verdict_add(
        g->v, "gpu.evidence", g->required ? CHECK_FAIL : CHECK_NOT_CHECKED, g->required,
        "no GPU evidence%s: nothing shows where, or whether on a GPU in confidential mode, the model runs",
        g->required ? ", which the policy requires" : "");
    if (!report_devices(g, body)) {
        return false;
    }
    verdict_skip_rest(g->v, ids, IDS, false, "no GPU evidence");
    return true;
}

/* The payload's own members. False: the check failed, or (fatal) err is set. */
static bool read_payload(struct gpus *g, const struct attest_body *body, bool *fatal)
{
    struct err why = {0};
    *fatal = false;
    if (!json_parse(&g->doc, (const char *)body->nvidia_payload.data, body->nvidia_payload.len,
                    LIMIT_JSON_NODES, &why)) {
        *fatal = is_fatal(&why);
        return *fatal ? err_set(g->err, why.kind, "%s", why.message)
                      : verdict_add(g->v, "gpu.evidence", CHECK_FAIL, g->enforced, "nvidia_payload: %s",
                                    why.message);
    }
    const struct json_node *root = json_root(&g->doc);
    g->list = json_present(&g->doc, root, "evidence_list");
    if (g->list == NULL || g->list->type != JSON_ARRAY || g->list->count > NVIDIA_GPUS_MAX) {
        return fail(g, "gpu.evidence", "nvidia_payload has no list of evidence, or one of too many GPUs");
    }
    if (!nonce_is(g, json_present(&g->doc, root, "nonce"), g->list->count == 0)) {
        return fail(g, "gpu.nonce", "nvidia_payload was made for another nonce than the one that was sent");
    }
    if (g->list->count > 0 &&
        !json_string_copy(&g->doc, json_present(&g->doc, root, "arch"), g->arch, sizeof g->arch)) {
        return fail(g, "gpu.evidence", "nvidia_payload names no architecture");
    }
    return true;
}

static bool check_payload(struct gpus *g, const struct attest_body *body)
{
    bool fatal;
    if (!read_payload(g, body, &fatal)) {
        nvidia_skip(g->v, false, "the evidence cannot be judged");
        return !fatal;
    }
    if (g->list->count == 0) {
        return report_none(g, body);
    }
    if (!check_entries(g)) {
        return false;
    }
    verdict_add(g->v, "gpu.evidence", CHECK_PASS, g->enforced, "evidence of %zu GPUs", g->count);
    for (size_t i = 0; i < STEP_CHECKS; i++) {
        report_step(g, i);
    }
    if (!report_devices(g, body) ||
        (g->nras != NULL && !nras_check(g->v, g->nras, g->nonce, g->count, g->enforced, g->err))) {
        return false;
    }
    report_unproven(g->v);
    return true;
}

bool nvidia_check(struct attest_verdict *v, const struct attest_body *body, const struct nvidia_terms *terms,
                  struct err *err)
{
    struct gpus g = {.v = v,
                     .root = terms->root,
                     .nras = terms->nras,
                     .enforced = terms->enforced,
                     .required = terms->required,
                     .err = err};
    bool ok;

    if (body == NULL && terms->required) {
        verdict_fail(v, "gpu.evidence", "a bare quote comes without GPU evidence, which the policy requires");
        nvidia_skip(v, true, "no GPU evidence");
        return true;
    }
    if (body == NULL) {
        for (size_t i = 0; i < IDS; i++) {
            verdict_add(v, ids[i], CHECK_NOT_APPLICABLE, terms->enforced,
                        "a bare quote comes without GPU evidence");
        }
        return true;
    }
    g.nonce = terms->nonce != NULL ? terms->nonce : v->measurements.report_data + BODY_NONCE_BYTES;
    json_doc_init(&g.doc);
    ok = body->nvidia_payload.len == 0 ? report_none(&g, body) : check_payload(&g, body);
    json_doc_free(&g.doc);
    mem_free(g.device);
    mem_free(g.why);
    return ok;
}
