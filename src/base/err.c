#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RETRY_MAX_S 65535

static void set_kind(struct err *err, enum err_kind kind)
{
    err->kind = kind;
    err->upstream_status = 0;
    err->retry_after_s = 0;
}

static void PRINTF_LIKE(2, 0) set_message(struct err *err, const char *fmt, va_list args)
{
    vsnprintf(err->message, sizeof err->message, fmt, args);
}

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        set_kind(err, kind);
        va_start(args, fmt);
        set_message(err, fmt, args);
        va_end(args);
    }
    return false;
}

bool err_context(struct err *err, const char *fmt, ...)
{
    if (err != NULL) {
        char old[sizeof err->message];
        va_list args;
        memcpy(old, err->message, sizeof old);
        va_start(args, fmt);
        set_message(err, fmt, args);
        va_end(args);
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, ": %s", old);
    }
    return false;
}

bool err_errno(struct err *err, enum err_kind kind, int errnum, const char *fmt, ...)
{
    if (err != NULL) {
        char reason[128] = "unknown error";
        va_list args;
        /* POSIX strerror_r is hidden by _GNU_SOURCE; the GNU one may return a static string. */
        const char *text = strerror_r(errnum, reason, sizeof reason);
        set_kind(err, kind);
        va_start(args, fmt);
        set_message(err, fmt, args);
        va_end(args);
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, ": %s", text);
    }
    return false;
}

void err_clear(struct err *err)
{
    if (err != NULL) {
        set_kind(err, ERR_NONE);
        err->message[0] = '\0';
    }
}

bool err_retry_after(struct err *err, int64_t seconds)
{
    if (err != NULL) {
        err->retry_after_s = (uint16_t)(seconds < 0 ? 0 : seconds < RETRY_MAX_S ? seconds : RETRY_MAX_S);
    }
    return false;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[ERR_KIND_COUNT] = {
        [ERR_NONE] = "none",
        [ERR_INVALID] = "invalid",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_TOO_LARGE] = "too_large",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_AUTH] = "auth",
        [ERR_FORBIDDEN] = "forbidden",
        [ERR_BUSY] = "busy",
        [ERR_MEMORY] = "memory",
        [ERR_CONFIG] = "config",
        [ERR_IO] = "io",
        [ERR_CRYPTO] = "crypto",
        [ERR_TOKEN] = "token",
        [ERR_PIN] = "pin",
        [ERR_KEY_GONE] = "key_gone",
        [ERR_ATTESTATION] = "attestation",
        [ERR_PLAINTEXT] = "plaintext",
        [ERR_DECRYPT] = "decrypt",
        [ERR_TIMEOUT] = "timeout",
        [ERR_UNREACHABLE] = "unreachable",
        [ERR_UPSTREAM] = "upstream",
        [ERR_EXPIRED] = "expired",
        [ERR_PROTOCOL] = "protocol",
        [ERR_CANCELLED] = "cancelled",
        [ERR_INTERNAL] = "internal",
    };
    return kind < ERR_KIND_COUNT && names[kind] != NULL ? names[kind] : "unknown";
}
