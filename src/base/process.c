#include "base/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/mem.h"

extern char **environ;

bool process_harden(struct err *err)
{
    struct rlimit none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot forbid core dumps");
    }
#ifdef __linux__
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot make the process undumpable");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot give up new privileges");
    }
#endif
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return err_errno(err, ERR_IO, errno, "cannot ignore SIGPIPE");
    }
    return true;
}

static bool is_allowed(const char *entry, const char *const *allowed)
{
    size_t name = strcspn(entry, "=");
    for (; *allowed != NULL; allowed++) {
        if (strlen(*allowed) == name && strncmp(*allowed, entry, name) == 0) {
            return true;
        }
    }
    return false;
}

bool process_clean_environment(const char *const *allowed, struct err *err)
{
    for (size_t i = 0; environ != NULL && environ[i] != NULL;) {
        if (is_allowed(environ[i], allowed)) {
            i++;
            continue;
        }
        char *name = mem_strndup(environ[i], strcspn(environ[i], "="));
        if (name == NULL) {
            return err_set(err, ERR_MEMORY, "no memory to clean the environment");
        }
        /* An entry without '=' or with an empty name cannot be unset: drop it from the vector. */
        if (*name == '\0' || unsetenv(name) != 0) {
            for (size_t j = i; environ[j] != NULL; j++) {
                environ[j] = environ[j + 1];
            }
        }
        mem_free(name);
    }
    if (setenv("OPENSSL_CONF", "/dev/null", 1) != 0) {
        return err_errno(err, ERR_MEMORY, errno, "cannot set OPENSSL_CONF");
    }
    return true;
}
