/* GET /health and GET /metrics. Loop thread; both end the call. */
#ifndef E2EE_APP_STATUS_H
#define E2EE_APP_STATUS_H

#include "app/app.h"
#include "app/verifier.h"
#include "server/call.h"

/* 200 when the token is ready, else 503 with the reason; as JSON. Never waits. */
void status_reply_health(struct app *app, struct http_call *call);
void status_reply_metrics(struct app *app, struct http_call *call);
/* Their parts about the last verdicts: the array of /health, and the rows of /metrics. */
void status_append_attestations(struct verifier *verifier, struct buf *out);
void status_append_verdict_metrics(struct verifier *verifier, struct buf *out);

#endif
