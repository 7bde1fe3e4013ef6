#include "session/nras_fetch.h"

#include <string.h>

#include "attest/body.h"
#include "base/limits.h"
#include "base/mem.h"
#include "upstream/config.h"
#include "upstream/fetch.h"
#include "json/json.h"

#define FETCH_TIMEOUT_S 20 /* each of the two requests */
#define ATTEST_PATH "/v3/attest/gpu"
#define KEYS_PATH "/.well-known/jwks.json"

struct nras_fetch {
    struct upstream_config *http;
};

struct nras_fetch *nras_fetch_new(const char *url, bool unsafe_http, struct err *err)
{
    const struct upstream_options options = {.base_url = url,
                                             .unsafe_http = unsafe_http,
                                             .silence_s = FETCH_TIMEOUT_S,
                                             .first_byte_s = FETCH_TIMEOUT_S};
    struct nras_fetch *f = mem_calloc(1, sizeof *f);
    if (f == NULL) {
        err_set(err, ERR_MEMORY, "no memory for NVIDIA's service");
        return NULL;
    }
    f->http = upstream_config_new(&options, err);
    if (f->http == NULL) {
        err_context(err, "nras_url");
        mem_free(f);
        f = NULL;
    }
    return f;
}

void nras_fetch_free(struct nras_fetch *f)
{
    if (f != NULL) {
        upstream_config_free(f->http);
        mem_free(f);
    }
}

void nras_fetch_abort(struct nras_fetch *f)
{
    if (f != NULL) {
        upstream_config_abort(f->http);
    }
}

void nras_got_init(struct nras_got *got)
{
    memset(got, 0, sizeof *got);
    buf_init(&got->answer, NRAS_ANSWER_BYTES_MAX);
    buf_init(&got->keys, JWKS_BYTES_MAX);
}

void nras_got_free(struct nras_got *got)
{
    buf_free(&got->answer);
    buf_free(&got->keys);
}

/* Whether the payload lists a GPU. What cannot be read is not sent: it is refused here. */
static bool lists_gpus(const struct buf *payload, struct err *err)
{
    struct json_doc doc;
    json_doc_init(&doc);
    bool ok = json_parse(&doc, (const char *)payload->data, payload->len, LIMIT_JSON_NODES, err);
    const struct json_node *list = ok ? json_present(&doc, json_root(&doc), "evidence_list") : NULL;
    ok = list != NULL && list->type == JSON_ARRAY && list->count > 0;
    json_doc_free(&doc);
    return ok;
}

static bool get(struct nras_fetch *f, const char *path, const struct buf *body, struct buf *out,
                struct err *err)
{
    const struct upstream_fetch_request request = {.path = path,
                                                   .timeout_s = FETCH_TIMEOUT_S,
                                                   .body = body != NULL ? body->data : NULL,
                                                   .body_len = body != NULL ? body->len : 0};
    int status = 0;
    if (!upstream_fetch(f->http, &request, out, &status, NULL, err)) {
        return false;
    }
    return (status == 200 && out->len > 0) || err_set(err, ERR_UPSTREAM, "it answered with status %d%s",
                                                      status, status == 200 ? " and nothing" : "");
}

void nras_fetch(struct nras_fetch *f, const struct buf *body, struct nras_got *got)
{
    struct attest_body parsed;
    struct err ignored = {0};
    nras_got_free(got);
    nras_got_init(got);
    body_init(&parsed);
    got->asked = body_parse(&parsed, (const char *)body->data, body->len, &ignored) &&
                 parsed.nvidia_payload.len > 0 && lists_gpus(&parsed.nvidia_payload, &ignored);
    if (got->asked && (!get(f, ATTEST_PATH, &parsed.nvidia_payload, &got->answer, &got->problem) ||
                       !get(f, KEYS_PATH, NULL, &got->keys, &got->problem))) {
        buf_free(&got->answer);
        buf_free(&got->keys);
    }
    body_free(&parsed);
}

const struct nras_evidence *nras_got_view(struct nras_got *got)
{
    got->view =
        (struct nras_evidence){.answer = (const char *)got->answer.data,
                               .keys = (const char *)got->keys.data,
                               .answer_len = got->answer.len,
                               .keys_len = got->keys.len,
                               .problem = got->problem.kind != ERR_NONE ? got->problem.message : NULL};
    return got->asked ? &got->view : NULL;
}
