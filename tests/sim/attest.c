#include "attest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intel.h"
#include "quote.h"

struct ctx {
    const struct attest_request *r;
    struct quote quote;
    struct sim_key other; /* a key the quote does not bind */
    uint8_t shown_nonce[32];
    char *quote_text, *key_text;
    char address[43];
};

static bool has(const struct ctx *c, enum fault_id id)
{
    return fault_is(&c->r->fault, id);
}

static void add_hex(cJSON *o, const char *name, const void *data, size_t len)
{
    struct bytes hex = {0};
    bytes_hex(&hex, data, len);
    cJSON_AddStringToObject(o, name, bytes_text(&hex));
    bytes_free(&hex);
}

static void make_report_data(const struct ctx *c, uint8_t out[64])
{
    uint8_t off_curve[SIM_POINT];
    memset(out, 0, 64);
    if (has(c, F_A_REPORT_ZERO))
        return;
    memcpy(off_curve, c->r->model->key->pub, SIM_POINT);
    off_curve[64] ^= 1;
    memcpy(out, has(c, F_A_REPORT_KEY) ? c->other.address : c->r->model->key->address, 20);
    if (has(c, F_A_KEY_OFF_CURVE))
        sim_address(off_curve, out);
    if (has(c, F_A_REPORT_PAD))
        out[25] = 1;
    memcpy(out + 32, c->r->nonce, 32);
    if (has(c, F_A_REPORT_NONCE))
        out[40] ^= 1;
    if (has(c, F_A_SERVER_NONCE))
        memcpy(out + 32, c->shown_nonce, 32);
}

static char *make_quote_text(const struct ctx *c)
{
    const struct bytes *raw = &c->quote.raw;
    if (has(c, F_A_QUOTE_NOT_HEX))
        return sim_strdup("this is *not* a quote");
    if (has(c, F_A_QUOTE_BASE64))
        return base64_encode(raw->p, raw->len);
    char *hex = sim_alloc(2 * raw->len + 1);
    hex_encode(raw->p, raw->len, hex);
    for (char *p = hex; has(c, F_A_QUOTE_UPPER) && *p; p++)
        if (*p >= 'a')
            *p = (char)(*p - 32);
    return hex;
}

static char *make_key_text(const struct ctx *c)
{
    uint8_t point[SIM_POINT];
    char hex[2 * SIM_POINT + 1];
    memcpy(point, has(c, F_A_KEY_OTHER) ? c->other.pub : c->r->model->key->pub, SIM_POINT);
    if (has(c, F_A_KEY_OFF_CURVE))
        point[64] ^= 1;
    hex_encode(point, SIM_POINT, hex);
    if (has(c, F_A_KEY_SHORT))
        hex[128] = 0;
    return sim_strdup(has(c, F_A_KEY_128) ? hex + 2 : hex);
}

static bool shows_key(const struct ctx *c)
{
    bool keyset = c->r->model->keyset_only || has(c, F_A_KEYSET_ONLY);
    return !c->r->model->no_key && !has(c, F_A_NO_KEY) && !(keyset && c->r->model->shape == SHAPE_ACI);
}

static void add_log(const struct ctx *c, cJSON *o, const char *name, bool as_string)
{
    if (has(c, F_A_NO_LOG))
        return;
    if (as_string || has(c, F_A_LOG_DOUBLE))
        cJSON_AddStringToObject(o, name, c->quote.event_log);
    else
        cJSON_AddRawToObject(o, name, c->quote.event_log);
}

static void add_quote(const struct ctx *c, cJSON *o, const char *name)
{
    if (!has(c, F_A_NO_QUOTE))
        cJSON_AddStringToObject(o, name, c->quote_text);
}

/* The ACI gateway has none (docs/PROTOCOL.md section 0, item 2). */
static size_t gpu_count(const struct ctx *c)
{
    return c->r->model->shape == SHAPE_ACI ? 0 : 2;
}

static void add_nvidia(const struct ctx *c, cJSON *o)
{
    struct pki_gpu_spec spec = {.another_payload_nonce = has(c, F_A_GPU_NONCE),
                                .another_nonce = has(c, F_A_GPU_REPORT),
                                .another_firmware = has(c, F_A_GPU_FIRMWARE),
                                .flipped = has(c, F_A_GPU_FLIP),
                                .twice = has(c, F_A_GPU_TWICE),
                                .stranger = has(c, F_A_GPU_STRANGER)};
    if (has(c, F_A_NO_GPU))
        return;
    memcpy(spec.nonce, c->shown_nonce, sizeof spec.nonce);
    char *payload = intel_gpus(has(c, F_A_GPU_EMPTY) ? 0 : gpu_count(c), &spec);
    cJSON_AddStringToObject(o, "nvidia_payload", payload);
    free(payload);
}

/* What the guest says of itself; nothing authenticates it. */
static void add_vm_config(const struct ctx *c, cJSON *o)
{
    char text[96];
    snprintf(text, sizeof text, "{\"spec_version\":1,\"cpu_count\":24,\"num_gpus\":%zu}",
             gpu_count(c) + has(c, F_A_GPU_FEWER));
    cJSON_AddStringToObject(o, "vm_config", text);
}

static void add_info(const struct ctx *c, cJSON *o)
{
    const struct quote *q = &c->quote;
    static const char *const rtmr[] = {"rtmr0", "rtmr1", "rtmr2", "rtmr3"};
    cJSON *info = cJSON_AddObjectToObject(o, "info"), *tcb = cJSON_CreateObject();
    add_hex(info, "app_id", q->app_id, 20);
    cJSON_AddStringToObject(info, "app_name", "simulated-enclave");
    add_hex(info, "compose_hash", q->compose_hash, 32);
    add_hex(info, "instance_id", q->instance_id, 20);
    cJSON_AddStringToObject(info, "key_provider_info", q->key_provider);
    add_hex(info, "os_image_hash", q->os_image_hash, 32);
    add_hex(tcb, "mrtd", q->mrtd, 48);
    for (int i = 0; i < 4; i++)
        add_hex(tcb, rtmr[i], q->rtmr[i], 48);
    if (!has(c, F_A_NO_COMPOSE))
        cJSON_AddStringToObject(tcb, "app_compose", q->app_compose);
    add_hex(tcb, "compose_hash", q->compose_hash, 32);
    add_log(c, tcb, "event_log", false);
    if (has(c, F_A_LOG_DOUBLE)) {
        char *text = cJSON_PrintUnformatted(tcb);
        cJSON_AddStringToObject(info, "tcb_info", text);
        cJSON_Delete(tcb);
        free(text);
    } else {
        cJSON_AddItemToObject(info, "tcb_info", tcb);
    }
    add_vm_config(c, info);
}

static void add_evidence_aci(const struct ctx *c, cJSON *o)
{
    const struct sim_key *key = has(c, F_A_KEY_OTHER) ? &c->other : c->r->model->key;
    int64_t now = now_unix();
    long age = has(c, F_A_STALE_PAST)    ? -c->r->fault.value
               : has(c, F_A_STALE_SHORT) ? c->r->fault.value
                                         : c->r->stale_after;
    uint8_t report_data[64];
    cJSON *att = cJSON_AddObjectToObject(o, "attestation");
    cJSON_AddStringToObject(att, "vendor", "e2ee-sim");
    cJSON_AddStringToObject(att, "tee_type", "tdx");
    cJSON *set = cJSON_AddObjectToObject(att, "workload_keyset");
    cJSON *epoch = cJSON_AddObjectToObject(set, "keyset_epoch");
    cJSON_AddNumberToObject(epoch, "version", 1);
    cJSON_AddNumberToObject(epoch, "not_after", (double)(now + 172800));
    cJSON *keys = cJSON_AddArrayToObject(set, "e2ee_public_keys");
    for (int i = 0; i < 3; i++) {
        static const char *const algos[] = {"x25519-aes-256-gcm-hkdf-sha256",
                                            "secp256k1-aes-256-gcm-hkdf-sha256", "ecdsa"};
        if (i && (has(c, F_A_NO_KEY) || c->r->model->no_key))
            continue;
        cJSON *k = cJSON_CreateObject();
        cJSON_AddItemToArray(keys, k);
        cJSON_AddStringToObject(k, "key_id", i ? "sim-e2ee-v1" : "sim-e2ee-x25519-v1");
        cJSON_AddStringToObject(k, "algo", algos[i]);
        /* 32 bytes of X25519, 65 with 04, 64 without (docs/PROTOCOL.md section 1, fallback for ACI). */
        add_hex(k, "public_key",
                i == 0   ? c->other.priv
                : i == 1 ? key->pub
                         : key->pub + 1,
                i == 0   ? 32
                : i == 1 ? 65
                         : 64);
    }
    make_report_data(c, report_data);
    add_hex(att, "report_data", report_data, 64);
    cJSON *fresh = cJSON_AddObjectToObject(att, "freshness");
    cJSON_AddNumberToObject(fresh, "fetched_at", (double)(now + (age < 0 ? age - 3600 : 0)));
    cJSON_AddNumberToObject(fresh, "stale_after", (double)(now + age));
    cJSON *evidence = cJSON_AddObjectToObject(att, "evidence");
    add_quote(c, evidence, "quote");
    add_hex(evidence, "quote_report_data", report_data, 64);
    add_log(c, evidence, "event_log", true);
    if (!has(c, F_A_NO_COMPOSE))
        cJSON_AddStringToObject(evidence, "app_compose", c->quote.app_compose);
    add_vm_config(c, evidence);
}

/* What each server says by itself; Venice's own members follow. */
static void add_shape(const struct ctx *c, cJSON *o)
{
    enum shape shape = c->r->model->shape;
    if (shape == SHAPE_NEAR)
        cJSON_AddStringToObject(o, "model_name", c->r->model->upstream);
    if (shape == SHAPE_ACI)
        cJSON_AddStringToObject(o, "api_version", "aci/1");
    cJSON_AddStringToObject(o, "signing_address", c->address);
    cJSON_AddStringToObject(o, "signing_algo", has(c, F_A_ALGO) ? "ed25519" : "ecdsa");
    if (shows_key(c)) {
        cJSON_AddStringToObject(o, "signing_public_key", c->key_text);
        if (shape == SHAPE_NEAR)
            cJSON_AddStringToObject(o, "signing_key", c->key_text);
    }
    if (shape != SHAPE_ACI)
        add_hex(o, "request_nonce", c->shown_nonce, 32);
    add_quote(c, o, "intel_quote");
    add_nvidia(c, o);
    if (shape == SHAPE_ACI) {
        add_evidence_aci(c, o);
        return;
    }
    add_info(c, o);
    add_log(c, o, "event_log", shape == SHAPE_PHALA);
    if (shape == SHAPE_PHALA) {
        add_quote(c, o, "quote");
        add_vm_config(c, o);
    } else {
        cJSON *ohttp = cJSON_AddObjectToObject(o, "ohttp_attestation");
        cJSON_AddStringToObject(ohttp, "signing_algo", "ed25519");
    }
    if (has(c, F_A_MIXED)) {
        cJSON *evidence = cJSON_AddObjectToObject(cJSON_AddObjectToObject(o, "attestation"), "evidence");
        cJSON_AddStringToObject(o, "api_version", "aci/1");
        cJSON_AddStringToObject(evidence, "quote", "04000200");
    }
}

static void add_verification(const struct ctx *c, cJSON *o)
{
    bool right = !has(c, F_A_VERIFIED_FALSE) && !has(c, F_A_502_VERIFIED);
    uint8_t report_data[64];
    make_report_data(c, report_data);
    cJSON *v = cJSON_AddObjectToObject(o, "server_verification");
    cJSON *tdx = cJSON_AddObjectToObject(v, "tdx");
    cJSON_AddBoolToObject(tdx, "valid", right);
    cJSON_AddBoolToObject(tdx, "signatureValid", right);
    cJSON_AddBoolToObject(tdx, "certificateChainValid", right);
    add_hex(tdx, "reportData", report_data, 64);
    cJSON *binding = cJSON_AddObjectToObject(v, "signingAddressBinding");
    cJSON_AddBoolToObject(binding, "bound", right);
    cJSON_AddStringToObject(binding, "reportDataAddress", c->address);
    cJSON *nonce = cJSON_AddObjectToObject(v, "nonceBinding");
    cJSON_AddBoolToObject(nonce, "bound", right);
    cJSON_AddStringToObject(nonce, "method", "raw");
}

static void add_venice(const struct ctx *c, cJSON *o)
{
    bool server = c->r->server_nonce || has(c, F_A_SERVER_NONCE);
    if (has(c, F_A_VERIFIED_STRING))
        cJSON_AddStringToObject(o, "verified", "true");
    else if (!has(c, F_A_VERIFIED_ABSENT))
        cJSON_AddBoolToObject(o, "verified", !has(c, F_A_VERIFIED_FALSE) && !has(c, F_A_502_VERIFIED));
    cJSON_AddStringToObject(o, "model", has(c, F_A_MODEL) ? "another-model" : c->r->model_id);
    add_hex(o, "nonce", c->shown_nonce, 32);
    cJSON_AddStringToObject(o, "nonce_source", server ? "server" : "client");
    cJSON_AddStringToObject(o, "tee_provider", c->r->model->provider);
    cJSON_AddStringToObject(o, "tee_hardware", "intel-tdx");
    cJSON_AddStringToObject(o, "upstream_model", c->r->model->upstream);
    if (c->r->model->shape != SHAPE_ACI)
        add_verification(c, o);
    cJSON_AddNumberToObject(o, "candidates_evaluated", 1);
    cJSON_AddNumberToObject(o, "candidates_available", 1);
}

static char *damage_text(const struct ctx *c, char *text)
{
    struct bytes b = {0};
    if (has(c, F_A_INVALID)) {
        text[strlen(text) / 2] = 0;
    } else if (has(c, F_A_NOT_OBJECT)) {
        bytes_fmt(&b, "[%s]", text);
    } else if (has(c, F_A_DUP_KEY)) {
        bytes_add(&b, text, strlen(text) - 1);
        bytes_str(&b, ",\"signing_public_key\":\"");
        bytes_hex(&b, c->other.pub, SIM_POINT);
        bytes_str(&b, "\"}");
    } else if (has(c, F_A_DEEP)) {
        bytes_add(&b, text, strlen(text) - 1);
        bytes_str(&b, ",\"deep\":");
        for (long i = 0; i < c->r->fault.value; i++)
            bytes_str(&b, "[");
        for (long i = 0; i < c->r->fault.value; i++)
            bytes_str(&b, "]");
        bytes_str(&b, "}");
    }
    if (!b.len)
        return text;
    free(text);
    return (char *)b.p;
}

char *attest_body(const struct attest_request *r)
{
    struct ctx c = {.r = r};
    struct quote_request wanted = {.app_name = r->model->upstream, .fault = &r->fault};
    sim_key_new(&c.other);
    memcpy(c.shown_nonce, r->nonce, 32);
    if (has(&c, F_A_NONCE_ECHO) || has(&c, F_A_SERVER_NONCE))
        c.shown_nonce[31] ^= 1;
    make_report_data(&c, wanted.report_data);
    quote_make(&wanted, &c.quote);
    c.quote_text = make_quote_text(&c);
    c.key_text = make_key_text(&c);
    sim_address_text(has(&c, F_A_ADDRESS) ? c.other.address : r->model->key->address,
                     r->model->shape == SHAPE_PHALA, c.address);
    cJSON *o = cJSON_CreateObject();
    add_shape(&c, o);
    add_venice(&c, o);
    char *text = damage_text(&c, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    quote_free(&c.quote);
    free(c.quote_text);
    free(c.key_text);
    return text;
}
