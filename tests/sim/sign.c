#include "sign.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 1024

static struct answer {
    char id[64];
    char *model;
    char request[65], response[65];
} answers[KEPT];
static size_t next_answer;

void sign_store(const char *id, const struct model *model, const uint8_t request[static 32],
                const uint8_t response[static 32])
{
    struct answer *a = &answers[next_answer++ % KEPT];
    free(a->model);
    memset(a, 0, sizeof *a);
    memcpy(a->id, id, strnlen(id, sizeof a->id - 1));
    a->model = sim_strdup(model->id);
    hex_encode(request, 32, a->request);
    hex_encode(response, 32, a->response);
}

void sign_reset(void)
{
    for (size_t i = 0; i < KEPT; i++)
        free(answers[i].model);
    memset(answers, 0, sizeof answers);
}

static void make_text(struct bytes *text, const struct answer *a, const struct model *m,
                      const struct fault_use *fault)
{
    bool three = m->flavour == FLAVOUR_NR;
    if (fault_is(fault, F_S_ONE_HASH)) {
        bytes_str(text, a->response);
        return;
    }
    if (fault_is(fault, F_S_THREE))
        three = true;
    if (fault_is(fault, F_S_TWO))
        three = false;
    if (three)
        bytes_fmt(text, "%s:", m->upstream);
    bytes_fmt(text, "%s:%s", a->request, a->response);
}

char *sign_body(const char *id, const struct model *m, const struct fault_use *fault)
{
    const struct answer *a = NULL;
    struct bytes text = {0}, hex = {0};
    struct sim_key other;
    const struct sim_key *key = m->key, *shown = m->key;
    uint8_t sig[65];
    char address[43];
    for (size_t i = 0; i < KEPT; i++)
        if (answers[i].model && !strcmp(answers[i].id, id) && !strcmp(answers[i].model, m->id))
            a = &answers[i];
    if (!a)
        return NULL;
    sim_key_new(&other);
    if (fault_is(fault, F_S_KEY) || fault_is(fault, F_S_ADDRESS))
        key = &other;
    if (fault_is(fault, F_S_ADDRESS))
        shown = &other;
    make_text(&text, a, m, fault);
    sim_eip191_sign(key, bytes_text(&text), sig);
    if (fault_is(fault, F_S_FLIP))
        sig[40] ^= 1;
    if (fault_is(fault, F_S_RECID))
        sig[64] = (uint8_t)(sig[64] - 27);
    bytes_str(&hex, "0x");
    bytes_hex(&hex, sig, sizeof sig);
    if (fault_is(fault, F_S_NOT_HEX))
        hex.p[10] = 'z';
    sim_address_text(shown->address, m->flavour == FLAVOUR_DV, address);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "text", bytes_text(&text));
    cJSON_AddStringToObject(o, "signature", bytes_text(&hex));
    cJSON_AddStringToObject(o, "signing_address", address);
    cJSON_AddStringToObject(o, "signing_algo", "ecdsa");
    cJSON_AddStringToObject(o, "model", m->id);
    cJSON_AddStringToObject(o, "requested_request_id", fault_is(fault, F_S_ID) ? "chatcmpl-another" : id);
    cJSON_AddStringToObject(o, "tee_provider", m->provider);
    cJSON_AddStringToObject(o, "upstream_model", m->upstream);
    char *body = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    bytes_free(&text);
    bytes_free(&hex);
    return body;
}
