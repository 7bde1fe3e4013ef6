/* `audit verify FILE... [--key PEM] [--head HASH]`, for both programs that have it. */
#ifndef E2EE_CUSTODY_REPORT_H
#define E2EE_CUSTODY_REPORT_H

#include <stddef.h>

#include "base/err.h"

#define REPORT_KEYS_MAX 16

struct report_options {
    const char *const *files;
    size_t file_count;
    const char *const *keys; /* PEM files */
    size_t key_count;
    const char *head; /* 64 hex digits, NULL: none */
};

/* Prints what is wrong and what cannot be known. *good: nothing is wrong. False: it could not be judged (ERR_CONFIG, ERR_IO,
 * ERR_MEMORY). */
bool report_custody(bool *good, const struct report_options *o, struct err *err) MUST_CHECK;

#endif
