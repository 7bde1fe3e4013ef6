/* Paths, and the options of the custody log. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "hsm/options.h"
#include "hsm/signer.h"

#define CHECKPOINT_LINES_MAX 10000
#define SIZE_MIN 4096
#define SIZE_MAX_BYTES 1073741824

static bool copy(const char **slot, const char *value, struct err *err)
{
    *slot = mem_strdup(value);
    return *slot != NULL || err_set(err, ERR_MEMORY, "no memory for the options");
}

bool options_path(const char **slot, const char *value, struct err *err)
{
    char folder[PATH_MAX], path[2 * PATH_MAX];
    if (*value == '/' || *value == '\0') {
        return copy(slot, value, err);
    }
    if (getcwd(folder, sizeof folder) == NULL) {
        return err_errno(err, ERR_CONFIG, errno, "a relative path, and no working folder");
    }
    int n = snprintf(path, sizeof path, "%s/%s", folder, value);
    return n < (int)sizeof path ? copy(slot, path, err) : err_set(err, ERR_CONFIG, "the path is too long");
}

/* Reads one of two words: *second whether it is the second. */
static bool two_words(bool *second, const char *value, const char *one, const char *two, struct err *err)
{
    *second = strcmp(value, two) == 0;
    return *second || strcmp(value, one) == 0 || err_set(err, ERR_CONFIG, "must be %s or %s", one, two);
}

bool options_audit_log(struct options *o, const char *value, struct err *err)
{
    return options_path(&o->audit.path, value, err);
}

bool options_audit_full(struct options *o, const char *value, struct err *err)
{
    return two_words(&o->audit.go_on, value, "refuse", "continue", err);
}

bool options_audit_sync(struct options *o, const char *value, struct err *err)
{
    return two_words(&o->audit.no_sync, value, "always", "system", err);
}

bool options_audit_size(struct options *o, const char *value, struct err *err)
{
    return text_u64(&o->audit.max_bytes, value, SIZE_MIN, SIZE_MAX_BYTES) ||
           err_set(err, ERR_CONFIG, "must be a whole number from %d to %d", SIZE_MIN, SIZE_MAX_BYTES);
}

bool options_audit_key(struct options *o, const char *value, struct err *err)
{
    uint8_t id[INSTANCE_SPARE_BYTES];
    size_t len;
    return signer_spares(value, id, sizeof id, &len, err) && copy(&o->audit_key, value, err);
}

bool options_audit_checkpoint(struct options *o, const char *value, struct err *err)
{
    return text_u64(&o->audit_checkpoint, value, 1, CHECKPOINT_LINES_MAX) ||
           err_set(err, ERR_CONFIG, "must be a whole number from 1 to %d", CHECKPOINT_LINES_MAX);
}
