/* Shared by keyipc.c and keyipc_status.c only. */
#ifndef E2EE_KEYIPC_INTERNAL_H
#define E2EE_KEYIPC_INTERNAL_H

#include "keyipc/keyipc.h"

/* Reads past the end give zeros and set bad: one check when all is read. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool bad;
};

void keyipc_put_number(struct buf *out, uint64_t value, int bytes);
void keyipc_get_bytes(struct cursor *c, void *out, size_t len);
uint64_t keyipc_get_number(struct cursor *c, size_t bytes);
/* 1 to max. */
uint8_t keyipc_get_enum(struct cursor *c, uint8_t max);
/* Printable ASCII, filled up with zeros to len; out[len] is the terminator. */
void keyipc_get_text(struct cursor *c, char *out, size_t len);

/* False for a label or serial number that does not fit, or too many tokens. */
bool keyipc_put_status(struct buf *out, const struct keyipc_status_answer *status);
void keyipc_get_status(struct cursor *c, struct keyipc_status_answer *status);

#endif
