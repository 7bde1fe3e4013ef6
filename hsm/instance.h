/* Who we are across restarts: objects left in a token by a killed keyholder are found by their label, and another
 * keyholder's must not be touched. So an instance is a file in the state folder that holds a random id and is locked
 * while its keyholder runs. */
#ifndef E2EE_HSM_INSTANCE_H
#define E2EE_HSM_INSTANCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define INSTANCE_LABEL_BYTES 40           /* at most, without the terminator: tokens.md, rule 5 */
#define INSTANCE_PREFIX "e2ee-keyholder " /* of every label */
#define INSTANCE_SPARE_BYTES 64
#define INSTANCE_MAX 16 /* keyholders on one state folder at a time */

struct instance {
    int lock;                             /* descriptor that holds the lock until the process ends */
    char label[INSTANCE_LABEL_BYTES + 1]; /* CKA_LABEL of everything that we make */
    /* Labels of keyholders that run no more (ours first): what they left may be swept while their locks are held. */
    char dead[INSTANCE_MAX][INSTANCE_LABEL_BYTES + 1];
    int dead_locks[INSTANCE_MAX];
    size_t dead_count;
    /* CKA_ID of the operator's key for --audit-key: no sweep touches it, whatever its label. We give no id to what we make. */
    uint8_t spare_id[INSTANCE_SPARE_BYTES];
    size_t spare_len;
};

/* mkdir -p with mode 0700. */
bool instance_make_dir(const char *path, struct err *err) MUST_CHECK;
/* Takes a free instance in state_dir, which is made (0700) when missing. ERR_IO, or ERR_BUSY when all are taken. */
bool instance_take(struct instance *out, const char *state_dir, struct err *err) MUST_CHECK;
/* Lets go of the dead instances: only out->label may be swept from then on. */
void instance_swept(struct instance *instance);

/* The state folder: wanted, else $STATE_DIRECTORY, else $XDG_STATE_HOME/e2ee-hsm-proxy, else
 * ~/.local/state/e2ee-hsm-proxy, into path[cap]. ERR_CONFIG when none is known. */
bool instance_state_dir(char *path, size_t cap, const char *wanted, struct err *err) MUST_CHECK;

#endif
