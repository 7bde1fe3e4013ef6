/* The PIN: from a file or a terminal straight into locked memory, and the memory of what became of it.
 *
 * A token counts wrong PINs and locks. So a refused PIN is never tried again, not after a restart either, and a module may
 * crash or hang before it says what it thinks of one. A marker in the state folder, named by the token's serial, holds the
 * PIN file's inode, modification time and size (no hash: a hash of a short PIN is the PIN) and what is known:
 *
 *   refused     not tried again until the file changes; one below $CREDENTIALS_DIRECTORY is another file at each start, and of it
 *               only the size counts, so that somebody must delete the marker
 *   unknown N   N logins ended without a word on the PIN: crash, hang, power cut, an ambiguous code. Tried again while N is
 *               below PIN_UNKNOWN_MAX, and only when the token's flags show no lost try
 *
 * "unknown N + 1" is on the disk before C_Login is called, and what came of it replaces it: nothing when the PIN was right; what
 * stood there before when it was not judged; "unknown N" when the token went away in that moment (a YubiHSM whose
 * connector is down says so at each try, which must not add up); "refused" when it was wrong. Where the marker cannot
 * be read or written, nothing is tried. A PIN from a terminal or from the token's own keypad has a human at each try and no
 * marker. */
#ifndef E2EE_HSM_PIN_H
#define E2EE_HSM_PIN_H

#include <limits.h>

#include "base/err.h"
#include "base/secret.h"

#define PIN_UNKNOWN_MAX 2

struct pin_source {
    const char *file; /* NULL: ask on the terminal */
    const char *state_dir;
};

/* One login, from the look at the marker to the token's word. Caller's memory. */
struct pin_try {
    const struct pin_source *source;
    const char *serial;
    char marker[PATH_MAX]; /* "": no file, nothing is remembered */
    char file[128];        /* the PIN file as it is */
    int lock;              /* keeps other keyholders' tries apart; -1: none */
    bool known;            /* there was a marker of this file: unknown */
    unsigned unknown;      /* logins without an outcome before */
    bool written;
};

enum pin_outcome {
    PIN_ACCEPTED,
    PIN_NOT_JUDGED, /* certainly */
    PIN_AWAY,       /* the token vanished */
    PIN_UNKNOWN,
    PIN_REFUSED,
};

/* Whether source's PIN may be tried on serial's token: ERR_PIN when not; ERR_TOKEN when another keyholder tries all the
 * time. When true pin_try_end must follow; texts are kept by reference until then. Waits LIMIT_TOKEN_CALL_S at most. */
bool pin_try_begin(struct pin_try *try, const struct pin_source *source, const char *serial,
                   struct err *err) MUST_CHECK;
/* True when an earlier try may have been a wrong one: go on only when the token's flags are clear. */
bool pin_try_doubtful(const struct pin_try *try);
/* ERR_PIN, in words, when they are not. Returns false. */
bool pin_try_deny(const struct pin_try *try, struct err *err);
/* Writes the marker: to be called after the PIN was read and before C_Login. ERR_TOKEN (worth another attempt later) when it
 * cannot be written or the PIN file changed meanwhile. */
bool pin_try_mark(struct pin_try *try, struct err *err) MUST_CHECK;
/* What came of it; PIN_NOT_JUDGED when C_Login was not called. A marker that cannot be changed stays, and is logged. */
void pin_try_end(struct pin_try *try, enum pin_outcome outcome);

/* The PIN into *out, at most LIMIT_PIN_BYTES; one newline at the end of a file is not part of it. A file that others
 * can read is an error. ERR_PIN when there is neither file nor terminal. */
bool pin_read(struct secret *out, const struct pin_source *source, const char *label,
              struct err *err) MUST_CHECK;

#endif
