/* Errors in OpenAI's form, and what each kind of failure is called over HTTP (docs of the interface, "HTTP"). */
#ifndef E2EE_WIRE_OPENAI_ERROR_H
#define E2EE_WIRE_OPENAI_ERROR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/upstream_error.h"

struct openai_error {
    uint16_t status;        /* HTTP */
    uint16_t retry_after_s; /* Retry-After; 0 = no such header. Each 503 has one */
    bool no_retry;          /* x-should-retry: false */
    const char *type;       /* never NULL */
    const char *code;       /* NULL: null */
    const char *param;      /* NULL: null */
    const char *message;    /* NULL: "" */
};

/* The row of a kind, message and param still NULL. Any value of kind, ERR_NONE included, gives a row. */
struct openai_error openai_error_of_kind(enum err_kind kind);
/* The row of err's kind with its message, which err must outlive, and with err's Retry-After and upstream status where it has them. */
struct openai_error openai_error_of(const struct err *err);
/* An upstream's error, which must outlive the row. */
struct openai_error openai_error_of_upstream(const struct upstream_error *error);

/* Appends {"error":{"message":...,"type":...,"param":...,"code":...}}. Bytes of message that are no UTF-8 become
 * U+FFFD. False when out is full (buf_check). */
bool openai_error_json(struct buf *out, const struct openai_error *error);
/* The same as the last event of a stream: "data: {...}\n\n", with no [DONE] after it. */
bool openai_error_event(struct buf *out, const struct openai_error *error);

#endif
