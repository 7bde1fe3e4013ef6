/* Errors: a function that can fail returns false (or NULL) and fills the caller's struct err.
 * The message says what failed, why, and where it helps what to do. It never contains input bytes, keys,
 * PINs, prompts or answers: callers pass names, sizes and numbers only. */
#ifndef E2EE_BASE_ERR_H
#define E2EE_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* What kind of failure it is: decides HTTP status and code (app), retry and log level. */
enum err_kind {
    ERR_NONE = 0,
    ERR_INVALID,     /* input breaks a rule of its format (a client's: 400) */
    ERR_UNSUPPORTED, /* valid, but this protocol version cannot carry it (400 unsupported_feature) */
    ERR_TOO_LARGE,   /* past a named limit (413 from a client) */
    ERR_NOT_FOUND,   /* no such model, path or object (404) */
    ERR_AUTH,        /* the client's key is missing or wrong (401) */
    ERR_FORBIDDEN,   /* origin, host or peer not allowed (403) */
    ERR_BUSY,        /* a bounded queue is full or would wait too long (503, Retry-After) */
    ERR_MEMORY,      /* an allocation or a memory lock failed */
    ERR_CONFIG,      /* configuration, command line or environment */
    ERR_IO,          /* file, socket or system call */
    ERR_CRYPTO,      /* a cryptographic library refused what should have worked */
    ERR_TOKEN,       /* token or keyholder absent, failed or hung (503 token_unavailable) */
    ERR_PIN,         /* PIN refused, locked or missing: never retried */
    ERR_KEY_GONE,    /* the token key of a session no longer exists: open a new session */
    ERR_ATTESTATION, /* an enforced check of the evidence failed (502 attestation_failed) */
    ERR_PLAINTEXT,   /* plaintext where ciphertext belongs (502 plaintext_from_upstream) */
    ERR_DECRYPT,     /* tag, point, length or repeated nonce (502 decryption_failed) */
    ERR_TIMEOUT,     /* upstream silent for too long (504 upstream_timeout) */
    ERR_UNREACHABLE, /* no connection to the upstream (502 upstream_unreachable) */
    ERR_UPSTREAM,    /* the upstream answered with an error, or broke its protocol */
    ERR_EXPIRED,     /* the key outlived its grace (session_expired) */
    ERR_PROTOCOL,    /* a keyipc peer broke the message format */
    ERR_CANCELLED,   /* the requester went away */
    ERR_INTERNAL,    /* a defect of ours */
    ERR_KIND_COUNT
};

struct err {
    enum err_kind kind;
    /* What belongs to it in HTTP, where it is known; set after err_set, which clears both. */
    uint16_t
        upstream_status; /* that the upstream answered with, with ERR_UPSTREAM; 0: none that a client should see */
    uint16_t retry_after_s; /* until another try makes sense; 0: not known */
    char message[480];
};

/* Sets kind and message (cut to fit, always terminated). Returns false so that `return err_set(...)` fails.
 * err may be NULL. Any thread. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " in front of the message, keeping the kind. Returns false. */
bool err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* As err_set, with ": " and strerror(errnum) appended. */
bool err_errno(struct err *err, enum err_kind kind, int errnum, const char *fmt, ...) PRINTF_LIKE(4, 5);

void err_clear(struct err *err);

/* Adds when another try makes sense, 65535 s at most; 0 and less: not known. Returns false. */
bool err_retry_after(struct err *err, int64_t seconds);

/* Short stable name of a kind, e.g. "token". */
const char *err_kind_name(enum err_kind kind);

#endif
