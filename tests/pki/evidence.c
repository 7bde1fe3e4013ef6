/* Quotes, TCB info and QE identity. */
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "pki/internal.h"

void pki_spec_good(struct pki_spec *s, int64_t now)
{
    const int64_t day = 86400;
    memset(s, 0, sizeof *s);
    s->now = now;
    s->root_cn = "Intel SGX Root CA";
    s->ca_cn = "Intel SGX PCK Platform CA";
    s->pck_cn = "Intel SGX PCK Certificate";
    s->signer_cn = "Intel SGX TCB Signing";
    s->cert_until = now + 1000 * day;
    s->crl_number = 7;
    s->root_crl_from = s->pck_crl_from = s->tcb_from = s->qe_from = now - day;
    s->root_crl_until = s->pck_crl_until = s->tcb_until = s->qe_until = now + 29 * day;
    memcpy(s->fmspc, "\x90\xc0\x6f\0\0\0", 6);
    memset(s->component, 5, sizeof s->component);
    memset(s->cpusvn, 5, sizeof s->cpusvn);
    s->pcesvn = 13;
    s->levels[0] = (struct pki_level){5, 5, 13, "UpToDate", NULL};
    s->levels[1] = (struct pki_level){3, 3, 11, "OutOfDate", "INTEL-SA-00001"};
    s->level_count = 2;
    s->module_status[0] = "UpToDate";
    s->module_status[1] = "OutOfDate";
    s->tcb_evaluation = s->qe_evaluation = 19;
    s->qe_status = "UpToDate";
    s->version = 4;
    s->body_type = 2;
    memset(s->tee_tcb_svn, 5, sizeof s->tee_tcb_svn);
    s->tee_tcb_svn[1] = 1;
    memcpy(s->tee_tcb_svn2, s->tee_tcb_svn, sizeof s->tee_tcb_svn2);
    s->td_attributes[3] = 0x10;
    memset(s->mrtd, 0xa1, sizeof s->mrtd);
    s->qe_isvsvn = 4;
    s->qe_isvprodid = 2;
    s->auth_len = 32;
    s->padding = 16;
}

/* body with one text in it replaced, signed: {"NAME":body,"signature":"…"}. */
static struct pki_bytes sign_json(EVP_PKEY *key, const char *name, struct pki_bytes *body, const char *find,
                                  const char *replace)
{
    struct pki_bytes edited = {0}, out = {0};
    uint8_t signature[64];
    const char *text = (const char *)body->data, *at = find != NULL ? strstr(text, find) : NULL;
    MUST((find == NULL) == (at == NULL));
    if (at != NULL) {
        pki_append(&edited, text, (size_t)(at - text));
        pki_append(&edited, replace, strlen(replace));
        pki_append(&edited, at + strlen(find), strlen(at + strlen(find)));
    } else {
        pki_append(&edited, text, body->len);
    }
    pki_sign(key, edited.data, edited.len, signature);
    pki_appendf(&out, "{\"%s\":", name);
    pki_append(&out, edited.data, edited.len);
    pki_appendf(&out, ",\"signature\":\"");
    for (size_t i = 0; i < sizeof signature; i++) {
        pki_appendf(&out, "%02x", signature[i]);
    }
    pki_appendf(&out, "\"}");
    pki_bytes_free(&edited);
    pki_bytes_free(body);
    return out;
}

static void append_components(struct pki_bytes *b, const char *name, int svn, bool tdx)
{
    pki_appendf(b, "\"%s\":[", name);
    for (int i = 0; i < 16; i++) {
        /* The first two of TDX are the module's: irrelevant to the level where it has an identity of its own. */
        pki_appendf(b, "%s{\"svn\":%d}", i > 0 ? "," : "", tdx && i < 2 ? (i == 0 ? svn : 0) : svn);
    }
    pki_appendf(b, "]");
}

struct pki_bytes pki_tcb_info(const struct pki *pki, const struct pki_spec *s)
{
    struct pki_bytes b = {0};
    char from[32], until[32], zeros[97];
    memset(zeros, '0', 96);
    zeros[96] = '\0';
    pki_date(s->tcb_from, from);
    pki_date(s->tcb_until, until);
    pki_appendf(&b, "{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"%s\",\"nextUpdate\":\"%s\",\"fmspc\":\"",
                from, until);
    for (int i = 0; i < 6; i++) {
        pki_appendf(&b, s->fmspc_lower ? "%02x" : "%02X", s->fmspc[i]);
    }
    pki_appendf(&b, "\",\"pceId\":\"%02x%02x\",\"tcbType\":0,\"tcbEvaluationDataNumber\":%u,", s->pceid[0],
                s->pceid[1], s->tcb_evaluation);
    pki_appendf(&b,
                "\"tdxModule\":{\"mrsigner\":\"%s\",\"attributes\":\"0000000000000000\","
                "\"attributesMask\":\"FFFFFFFFFFFFFFFF\"},",
                zeros);
    pki_appendf(
        &b,
        "\"tdxModuleIdentities\":[{\"id\":\"TDX_01\",\"mrsigner\":\"%s\",\"attributes\":\"0000000000000000\","
        "\"attributesMask\":\"FFFFFFFFFFFFFFFF\",\"tcbLevels\":[",
        zeros);
    for (int i = 0; i < 2; i++) {
        pki_appendf(&b,
                    "%s{\"tcb\":{\"isvsvn\":%d},\"tcbDate\":\"2025-0%d-01T00:00:00Z\",\"tcbStatus\":\"%s\"}",
                    i > 0 ? "," : "", 5 - 2 * i, 5 - i, s->module_status[i]);
    }
    pki_appendf(&b, "]}],\"tcbLevels\":[");
    for (size_t i = 0; i < s->level_count; i++) {
        const struct pki_level *l = &s->levels[i];
        pki_appendf(&b, "%s{\"tcb\":{", i > 0 ? "," : "");
        append_components(&b, "sgxtcbcomponents", l->sgx, false);
        pki_appendf(&b, ",\"pcesvn\":%u,", l->pcesvn);
        append_components(&b, "tdxtcbcomponents", l->tdx, true);
        pki_appendf(&b, "},\"tcbDate\":\"2025-0%zu-01T00:00:00Z\",\"tcbStatus\":\"%s\"", 9 - i, l->status);
        if (l->advisory != NULL) {
            pki_appendf(&b, ",\"advisoryIDs\":[\"%s\"]", l->advisory);
        }
        pki_appendf(&b, "}");
    }
    pki_appendf(&b, "]}");
    return sign_json(pki->signer_key, "tcbInfo", &b, s->tcb_find, s->tcb_replace);
}

static const uint8_t qe_mrsigner[32] = {0xdc, 0x9e, 0x2a, 0x7c};

struct pki_bytes pki_qe_identity(const struct pki *pki, const struct pki_spec *s)
{
    struct pki_bytes b = {0};
    char from[32], until[32];
    pki_date(s->qe_from, from);
    pki_date(s->qe_until, until);
    pki_appendf(&b,
                "{\"id\":\"TD_QE\",\"version\":2,\"issueDate\":\"%s\",\"nextUpdate\":\"%s\","
                "\"tcbEvaluationDataNumber\":%u,\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\","
                "\"attributes\":\"11000000000000000000000000000000\","
                "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"",
                from, until, s->qe_evaluation);
    for (size_t i = 0; i < sizeof qe_mrsigner; i++) {
        pki_appendf(&b, "%02X", qe_mrsigner[i]);
    }
    pki_appendf(
        &b,
        "\",\"isvprodid\":2,\"tcbLevels\":[{\"tcb\":{\"isvsvn\":4},\"tcbDate\":\"2025-05-01T00:00:00Z\","
        "\"tcbStatus\":\"%s\"}]}",
        s->qe_status);
    return sign_json(pki->signer_key, "enclaveIdentity", &b, s->qe_find, s->qe_replace);
}

static void append_u16(struct pki_bytes *b, unsigned v)
{
    pki_append(b, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8)}, 2);
}

static void append_u32(struct pki_bytes *b, size_t v)
{
    append_u16(b, (unsigned)(v & 0xffff));
    append_u16(b, (unsigned)(v >> 16));
}

static void append_header(struct pki_bytes *b, const struct pki_spec *s)
{
    static const uint8_t vendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                       0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};
    uint8_t user_data[20] = {0};
    append_u16(b, s->version);
    append_u16(b, 2);
    append_u32(b, 0x81);
    append_u32(b, 0);
    pki_append(b, vendor, sizeof vendor);
    pki_append(b, user_data, sizeof user_data);
}

static void append_report(struct pki_bytes *b, const struct pki_spec *s)
{
    uint8_t zeros[48] = {0};
    pki_append(b, s->tee_tcb_svn, 16);
    pki_append(b, zeros, 48); /* MRSEAM */
    pki_append(b, s->mr_signer_seam, 48);
    pki_append(b, s->seam_attributes, 8);
    pki_append(b, s->td_attributes, 8);
    pki_append(b, (uint8_t[]){0xe7, 2, 6, 0, 0, 0, 0, 0}, 8); /* XFAM */
    pki_append(b, s->mrtd, 48);
    pki_append(b, s->mr_config_id, 48);
    pki_append(b, s->mr_owner, 48);
    pki_append(b, zeros, 48); /* MROWNERCONFIG */
    pki_append(b, s->rtmr, sizeof s->rtmr);
    pki_append(b, s->report_data, 64);
    if (s->body_type == 3) {
        pki_append(b, s->tee_tcb_svn2, 16);
        pki_append(b, s->mr_service_td, 48);
    }
}

static void make_qe_report(uint8_t report[static 384], const struct pki_spec *s, const uint8_t key[static 64],
                           const uint8_t *auth)
{
    struct pki_bytes bound = {0};
    memset(report, 0, 384);
    report[48] = 0x11 ^ s->qe_attributes0;
    memcpy(report + 128, qe_mrsigner, sizeof qe_mrsigner);
    report[128] ^= s->qe_mrsigner0;
    report[256] = (uint8_t)s->qe_isvprodid;
    report[258] = (uint8_t)s->qe_isvsvn;
    pki_append(&bound, key, 64);
    pki_append(&bound, auth, s->auth_len);
    MUST(SHA256(bound.data, bound.len, report + 320) != NULL);
    report[383] = s->qe_report_data_tail;
    pki_bytes_free(&bound);
}

struct pki_bytes pki_quote(const struct pki *pki, const struct pki_spec *s)
{
    struct pki_bytes q = {0}, pem = pki_pck_chain(pki);
    uint8_t signature[64], key[64], report[384], *auth = calloc(1, s->auth_len + s->padding + 1);
    MUST(auth != NULL);
    append_header(&q, s);
    if (s->version == 5) {
        append_u16(&q, s->body_type);
        append_u32(&q, s->body_type == 3 ? 648 : 584);
    }
    append_report(&q, s);
    pki_sign(pki->attestation_key, q.data, q.len, signature);
    pki_public(pki->attestation_key, key);
    size_t inner = 384 + 64 + 2 + s->auth_len + 6 + pem.len;
    append_u32(&q, 64 + 64 + 6 + inner);
    pki_append(&q, signature, sizeof signature);
    pki_append(&q, key, sizeof key);
    append_u16(&q, 6);
    append_u32(&q, inner);
    make_qe_report(report, s, key, auth);
    pki_sign(pki->pck_key, report, sizeof report, signature);
    pki_append(&q, report, sizeof report);
    pki_append(&q, signature, sizeof signature);
    append_u16(&q, (unsigned)s->auth_len);
    pki_append(&q, auth, s->auth_len);
    append_u16(&q, 5);
    append_u32(&q, pem.len);
    pki_append(&q, pem.data, pem.len);
    pki_append(&q, auth, s->padding);
    pki_bytes_free(&pem);
    free(auth);
    return q;
}
