#include "hsm/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "crypto/hash.h"
#include "hsm/forked.h"

#define ID_BYTES 8
#define ID_CHARS (2 * ID_BYTES)

bool instance_state_dir(char *path, size_t cap, const char *wanted, struct err *err)
{
    const char *systemd = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;
    if (wanted != NULL && *wanted != '\0') {
        n = snprintf(path, cap, "%s", wanted);
    } else if (systemd != NULL && *systemd != '\0') {
        n = snprintf(path, cap, "%.*s", (int)strcspn(systemd, ":"), systemd);
    } else if (xdg != NULL && *xdg == '/') {
        n = snprintf(path, cap, "%s/e2ee-hsm-proxy", xdg);
    } else if (home != NULL && *home == '/') {
        n = snprintf(path, cap, "%s/.local/state/e2ee-hsm-proxy", home);
    } else {
        return err_set(err, ERR_CONFIG, "no folder for state: give --state-dir, or set HOME");
    }
    return (n > 0 && (size_t)n < cap) || err_set(err, ERR_CONFIG, "the path of the state folder is too long");
}

bool instance_make_dir(const char *path, struct err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof part) {
        return err_set(err, ERR_CONFIG, "the path of the state folder is too long");
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] == '/' || part[i] == '\0') {
            char kept = part[i];
            part[i] = '\0';
            if (mkdir(part, 0700) != 0 && errno != EEXIST) {
                return err_errno(err, ERR_IO, errno, "cannot make the state folder %s", path);
            }
            part[i] = kept;
        }
    }
    return true;
}

/* Reads the id of an instance's locked file, or gives it one. */
static bool read_id(int fd, char id[static ID_CHARS + 1], struct err *err)
{
    uint8_t random[ID_BYTES];
    ssize_t n = pread(fd, id, ID_CHARS, 0);
    if (n == ID_CHARS && hex_all(id, ID_CHARS)) {
        id[ID_CHARS] = '\0';
        return true;
    }
    if (!hash_random(random, sizeof random, err)) {
        return false;
    }
    hex_str(id, random, sizeof random);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, id, ID_CHARS, 0) != ID_CHARS || fsync(fd) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot write the instance file");
    }
    return true;
}

static int open_locked(const char *path, bool create)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
        errno = EWOULDBLOCK;
    }
    forked_close(fd);
    return fd;
}

bool instance_take(struct instance *out, const char *state_dir, struct err *err)
{
    *out = (struct instance){.lock = -1};
    if (!instance_make_dir(state_dir, err)) {
        return false;
    }
    for (int i = 0; i < INSTANCE_MAX; i++) {
        char path[PATH_MAX], id[ID_CHARS + 1];
        if (snprintf(path, sizeof path, "%s/instance-%d", state_dir, i) >= (int)sizeof path) {
            return err_set(err, ERR_CONFIG, "the path of the state folder is too long");
        }
        int fd = open_locked(path, out->lock < 0);
        if (fd < 0) {
            if (errno != EWOULDBLOCK && out->lock < 0) {
                return err_errno(err, ERR_IO, errno, "cannot open %s", path);
            }
            continue; /* its keyholder runs, or there is none of that number */
        }
        if (!read_id(fd, id, err)) {
            forked_forget(fd);
            close(fd);
            return false;
        }
        snprintf(out->dead[out->dead_count], sizeof out->dead[0], INSTANCE_PREFIX "%s", id);
        out->dead_locks[out->dead_count++] = out->lock < 0 ? -1 : fd;
        if (out->lock < 0) {
            out->lock = fd;
            memcpy(out->label, out->dead[0], sizeof out->label);
        }
    }
    return out->lock >= 0 ||
           err_set(err, ERR_BUSY, "%d keyholders use the state folder %s already", INSTANCE_MAX, state_dir);
}

void instance_swept(struct instance *instance)
{
    for (size_t i = 0; i < instance->dead_count; i++) {
        if (instance->dead_locks[i] >= 0) {
            forked_forget(instance->dead_locks[i]);
            close(instance->dead_locks[i]);
        }
    }
    instance->dead_count = instance->dead_count > 0 ? 1 : 0;
}
