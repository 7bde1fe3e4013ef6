#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "session/table.h"

struct session *session_build(const struct sessions_options *options, const char *model,
                              const struct session_evidence *evidence, struct keyholder_opened *opened,
                              struct err *err)
{
    struct session *s = mem_calloc(1, sizeof *s);
    void *shared = s != NULL && options->new_shared != NULL ? options->new_shared(options->arg) : NULL;
    if (s == NULL || (options->new_shared != NULL && shared == NULL)) {
        mem_free(s);
        err_set(err, ERR_MEMORY, "no memory for a session");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->control = options->control;
    s->key = opened->key;
    memcpy(s->model, model, strlen(model) + 1);
    memcpy(s->model_point, evidence->model_point, POINT_BYTES);
    memcpy(s->client_point, opened->client_point, POINT_BYTES);
    memcpy(s->response_point, opened->response_point, POINT_BYTES);
    memcpy(s->signing_address, evidence->signing_address, ETH_ADDRESS_BYTES);
    hex_str(s->model_key_hex, s->model_point, POINT_BYTES);
    hex_str(s->client_key_hex, s->response_point, POINT_BYTES);
    secret_move(&s->request_key, &opened->request_key);
    s->shared = shared;
    s->free_shared = options->free_shared;
    int64_t life = options->life_ns < evidence->fresh_for_ns ? options->life_ns : evidence->fresh_for_ns;
    s->created_ns = clock_boot_ns();
    s->rotate_ns = s->created_ns + life / 6 * 5;
    s->expires_ns = s->created_ns + life;
    s->deadline_ns = s->expires_ns + LIMIT_SESSION_GRACE_S * CLOCK_NS_PER_S;
    return s;
}
