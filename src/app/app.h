/* What the proxy process is made of: shared, read-only after start, by all workers. */
#ifndef E2EE_APP_APP_H
#define E2EE_APP_APP_H

#include <stdatomic.h>

#include "app/admission.h"
#include "app/config.h"
#include "app/signed.h"
#include "keyholder/control.h"
#include "server/listener.h"
#include "server/worker.h"
#include "session/sessions.h"
#include "upstream/config.h"

struct worker;
struct verifier;

struct app {
    const struct config *config;
    struct upstream_config *upstream;
    struct keyholder_control *control;
    struct verifier *verifier; /* attests models: app/verifier.h */
    struct sessions *sessions;
    struct signed_answers signed_answers;
    struct inflight inflight;
    struct admission admission;
    struct origin_policy *origins;
    struct secret client_token;
    struct http_config http;
    struct listener *listener;
    struct worker *workers;
    unsigned worker_count;
    size_t derives_high; /* of one worker: past it an answer awaits one key at a time */
    atomic_bool stopping;
};

#endif
