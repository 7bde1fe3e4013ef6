/* The PIN: from a file or a terminal straight into locked memory, and the memory of a refused one.
 *
 * A token counts wrong PINs and locks. So a refused PIN is never tried again, not after a restart either: a marker in the
 * state folder names the token's serial and the PIN file's inode, modification time and size (no hash: a hash of a
 * short PIN is the PIN). It holds until the file changes; for one below $CREDENTIALS_DIRECTORY, which is another file at each
 * start, until its size changes or somebody deletes the marker. */
#ifndef E2EE_HSM_PIN_H
#define E2EE_HSM_PIN_H

#include "base/err.h"
#include "base/secret.h"

struct pin_source {
    const char *file; /* NULL: ask on the terminal */
    const char *state_dir;
};

/* ERR_PIN when source's file is the one that serial's token refused. */
bool pin_not_refused(const struct pin_source *source, const char *serial, struct err *err) MUST_CHECK;
/* The PIN into *out, at most LIMIT_PIN_BYTES; one newline at the end of a file is not part of it. A file that others
 * can read is an error. ERR_PIN when there is neither file nor terminal. */
bool pin_read(struct secret *out, const struct pin_source *source, const char *label,
              struct err *err) MUST_CHECK;
/* Remembers that serial's token refused the PIN in source's file. A failure to write is logged: the caller stops
 * anyway. */
void pin_mark_refused(const struct pin_source *source, const char *serial);
/* Forgets it, after a login that went well. */
void pin_clear_refused(const struct pin_source *source, const char *serial);

#endif
