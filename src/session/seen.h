/* What this machine has seen of one attestation root, on disk: the rollback guard's floor, the pins of first use, and
 * the cache of collateral. Kept apart by the root's SHA-256 (docs/ARCHITECTURE.md), so that a demo with its own root can
 * never disturb the real one. Any thread and any number of processes: each change is made under a lock file and replaces
 * a whole file at once. */
#ifndef E2EE_SESSION_SEEN_H
#define E2EE_SESSION_SEEN_H

#include <stdint.h>

#include "attest/attest.h"

#define SEEN_KEY_NAME_BYTES 40
#define SEEN_FLOORS_MAX 256 /* remembered numbers: one for each FMSPC, and the CRLs */

struct seen;

/* wanted: --state-dir, or NULL: STATE_DIRECTORY, XDG_STATE_HOME/e2ee-hsm-proxy or ~/.local/state/e2ee-hsm-proxy. The
 * folders are made (0700) where missing. ERR_CONFIG, ERR_IO: without them no pin and no floor would hold. */
struct seen *seen_open(const char *wanted, const struct attest_root *root, struct err *err) MUST_CHECK;
void seen_close(struct seen *seen);
/* A file of the state folder itself, which no root has for its own, into path[PATH_MAX]. */
void seen_shared_path(const struct seen *seen, char *path, const char *name);
/* Its own folder; lives as long as seen. */
const char *seen_folder(const struct seen *seen);

/* The lowest numbers still acceptable for collateral of key. The evaluation number of a numbered set is the policy's to
 * judge: it has no floor and raises none. ERR_IO for a file that is damaged: it is never taken for
 * empty. */
bool seen_floor(const struct seen *seen, const struct collateral_key *key, struct attest_floor *out,
                struct err *err) MUST_CHECK;
/* Raises the floor to the numbers in got that are higher; zeros raise nothing. Only for authenticated numbers. */
bool seen_raise(const struct seen *seen, const struct collateral_key *key, const struct attest_floor *got,
                struct err *err) MUST_CHECK;

/* The pins stored for model, as the accepted pins of *out (policy_init'ed here; policy_free also after a failure). */
bool seen_pins(const struct seen *seen, const char *model, struct attest_policy *out,
               struct err *err) MUST_CHECK;
/* Stores want beside those there are. first: only when nothing is stored, else ERR_ATTESTATION (another process was
 * first, with another value). Nothing happens when an equal pin is there. */
bool seen_pin(const struct seen *seen, const char *model, const struct attest_pin *want, bool first,
              struct err *err) MUST_CHECK;

/* SHA-256 that changes with any stored pin of any model: whether sessions may hold no longer. */
bool seen_pins_digest(const struct seen *seen, uint8_t out[static SHA256_BYTES], struct err *err) MUST_CHECK;

/* The cached collateral. ERR_NOT_FOUND when there is none, ERR_INVALID or ERR_IO when it cannot be read. */
bool seen_cache_load(const struct seen *seen, const struct collateral_key *key, struct collateral *out,
                     int64_t *written, struct err *err) MUST_CHECK;
bool seen_cache_save(const struct seen *seen, const struct collateral_key *key, const struct collateral *c,
                     struct err *err) MUST_CHECK;
/* "90c06f000000-platform", with "-e19" behind it for a numbered set: names the cache's files, also in a folder given as
 * --collateral. */
void seen_key_name(const struct collateral_key *key, char out[static SEEN_KEY_NAME_BYTES]);

#endif
