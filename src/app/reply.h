/* Answers to the client in the forms that OpenAI's SDKs read. Loop thread; every function but reply_stream_begin ends
 * the call. */
#ifndef E2EE_APP_REPLY_H
#define E2EE_APP_REPLY_H

#include "base/buf.h"
#include "server/call.h"
#include "wire/openai_error.h"

/* An error as an HTTP status with OpenAI's object. */
void reply_error(struct http_call *call, const struct openai_error *error);
/* The same as the last event of a stream that has begun; the body then ends properly, without [DONE]. */
void reply_error_event(struct http_call *call, const struct openai_error *error);
/* The head of a streamed answer. dropped is the value of X-E2EE-Dropped, "" for none. */
void reply_stream_begin(struct http_call *call, const char *dropped);
void reply_json(struct http_call *call, int status, const char *dropped, const struct buf *body);

#endif
