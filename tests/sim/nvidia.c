#include "nvidia.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "nras.h"
#include "record.h"
#include "server.h"

static struct pki_nras *service;

static struct pki_nras_spec spec_of(const struct fault_use *use)
{
    return (struct pki_nras_spec){.now = now_unix(),
                                  .ocsp = !fault_is(use, F_N_OLD),
                                  .overall_false = fault_is(use, F_N_REFUSES),
                                  .another_nonce = fault_is(use, F_N_NONCE),
                                  .another_key = fault_is(use, F_N_KEY),
                                  .alg_none = fault_is(use, F_N_ALG),
                                  .expired = fault_is(use, F_N_EXPIRED),
                                  .fewer = fault_is(use, F_N_FEWER),
                                  .another_digest = fault_is(use, F_N_DIGEST),
                                  .gpu_measres = fault_is(use, F_N_MEASURES),
                                  .ocsp_revoked = fault_is(use, F_N_REVOKED)};
}

/* The tokens for a payload; NULL when it is none. */
static char *answer_for(const struct http_request *q, const struct fault_use *use)
{
    struct pki_nras_spec spec = spec_of(use);
    cJSON *o = cJSON_ParseWithLength(bytes_text(&q->body), q->body.len);
    const char *nonce = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "nonce"));
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, "evidence_list");
    bool ok = nonce && hex_decode(nonce, strlen(nonce), spec.nonce, 32) && cJSON_GetArraySize(list) > 0;
    spec.gpus = (size_t)cJSON_GetArraySize(list);
    cJSON_Delete(o);
    return ok ? (char *)pki_nras_answer(service, &spec).data : NULL;
}

static void attest_gpus(struct http_conn *conn, const struct http_request *q)
{
    struct fault_use use = fault_take(IN_NRAS, NULL);
    char *answer = answer_for(q, &use);
    sim_stats.nras++;
    if (fault_is(&use, F_N_DOWN))
        reply_json(conn, 503, sim_strdup("{}"));
    else if (answer)
        reply_json(conn, 200, sim_strdup(answer));
    else
        reply_json(conn, 400, sim_strdup("{\"errorCode\":4000}"));
    free(answer);
}

bool nras_handle(struct http_conn *conn, const struct http_request *q)
{
    bool keys = !strcmp(q->path, "/.well-known/jwks.json");
    int credentials = 0;
    if (!keys && strcmp(q->path, "/v3/attest/gpu") != 0)
        return false;
    if (!service)
        service = pki_nras_new();
    http_header_get(q, "Authorization", &credentials);
    if (credentials)
        record_violation("nras_credentials", "the API key goes to NVIDIA");
    if (strcmp(q->method, keys ? "GET" : "POST") != 0)
        reply_json(conn, 405, sim_strdup("{}"));
    else if (keys)
        reply_json(conn, 200, (char *)pki_nras_keys(service).data);
    else
        attest_gpus(conn, q);
    return true;
}

void nras_stop(void)
{
    pki_nras_free(service);
    service = NULL;
}
