/* Inside of an exchange: shared by exchange.c and exchange_end.c only. */
#ifndef E2EE_APP_EXCHANGE_INTERNAL_H
#define E2EE_APP_EXCHANGE_INTERNAL_H

#include "app/admission.h"
#include "app/exchange.h"
#include "app/relay.h"
#include "app/routes.h"
#include "upstream/transfer.h"
#include "wire/request.h"

struct exchange {
    struct call_owner owner;       /* first: the call's context */
    struct exchange *next, **link; /* in the worker's list */
    struct worker *worker;
    struct http_call *call;
    struct chat_request *request;
    const struct request_info *info;
    struct session_wait *wait;
    struct catalogue *catalogue; /* only until the model was found in it */
    struct session *session;
    struct transfer *transfer;
    struct claim claim;           /* on the token, until the end */
    struct relay *relay;          /* from the first attempt's sending on */
    struct signed_lookup *lookup; /* of the complete answer's signature */
    size_t sealed_charged;        /* bytes charged for the sealed copy */
    int upstream_status;          /* 0: none yet */
    int64_t retry_after_s;
    struct buf error_body; /* of an answer that is no 200, or no stream */
    bool event_stream;     /* so it says of itself */
    bool body_began;
    bool no_stream; /* a 200 that is a JSON object */
    bool repeated;  /* the one repetition was spent */
};

/* Frees it and all that it has begun. */
void exchange_destroy(struct exchange *x);
/* Each ends the exchange with an error: a status, or the last event of a stream. */
void exchange_fail_as(struct exchange *x, const struct openai_error *error);
void exchange_fail(struct exchange *x, const struct err *err);
void exchange_fail_upstream(struct exchange *x, const struct upstream_error *upstream);
/* Ends it with the complete answer, after what is to be asked of its signature. Called again meanwhile it waits. */
void exchange_complete(struct exchange *x);

#endif
