#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define ENVIRONMENT_MAX 256

extern char **environ;

#define HIGH_FD 64 /* above every descriptor that a child is given */

/* The module's own variables go to the keyholder only; a vendor's further ones are named by --module-env. */
const char *const spawn_keyholder_variables[] = {"SOFTHSM2_CONF",
                                                 "YUBIHSM_PKCS11_CONF",
                                                 "OPENSC_CONF",
                                                 "PCSCLITE_CSOCK_NAME",
                                                 "P11NETHSM_CONFIG_FILE",
                                                 "HOME",
                                                 "PATH",
                                                 "LANG",
                                                 "TERM",
                                                 "TZ",
                                                 "XDG_RUNTIME_DIR",
                                                 "XDG_STATE_HOME",
                                                 "STATE_DIRECTORY",
                                                 "CREDENTIALS_DIRECTORY",
#ifdef E2EE_SANITIZED
                                                 "ASAN_OPTIONS",
                                                 "UBSAN_OPTIONS",
                                                 "TSAN_OPTIONS",
#endif
                                                 NULL};
const char *const spawn_proxy_variables[] = {"HTTPS_PROXY",
                                             "https_proxy",
                                             "ALL_PROXY",
                                             "all_proxy",
                                             "NO_PROXY",
                                             "no_proxy",
                                             "SSL_CERT_FILE",
                                             "SSL_CERT_DIR",
                                             "HOME",
                                             "PATH",
                                             "LANG",
                                             "TZ",
                                             "XDG_STATE_HOME",
                                             "STATE_DIRECTORY",
                                             "CREDENTIALS_DIRECTORY",
                                             "E2EE_PROXY_CONFIG",
#ifdef E2EE_SANITIZED
                                             "ASAN_OPTIONS",
                                             "UBSAN_OPTIONS",
                                             "TSAN_OPTIONS",
#endif
                                             NULL};

void spawn_arg(struct spawn_args *args, const char *text)
{
    if (args->count == SPAWN_ARGS_MAX) {
        args->full = true;
        return;
    }
    args->items[args->count++] = (char *)(uintptr_t)text; /* posix_spawn's signature predates const */
}

void spawn_option(struct spawn_args *args, const char *name, const char *value)
{
    if (value != NULL) {
        spawn_arg(args, name);
        spawn_arg(args, value);
    }
}

bool spawn_args_fit(const struct spawn_args *args, struct err *err)
{
    return !args->full || err_set(err, ERR_CONFIG, "too many arguments for %s", args->items[0]);
}

bool spawn_sibling(char *path, size_t cap, const char *name, struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", path, cap - 1);
    if (n <= 0) {
        return err_errno(err, ERR_IO, errno, "cannot find the running program's folder");
    }
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    size_t folder = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (folder + strlen(name) + 1 > cap) {
        return err_set(err, ERR_IO, "the program's path is too long");
    }
    memcpy(path + folder, name, strlen(name) + 1);
    if (access(path, X_OK) != 0) {
        return err_errno(err, ERR_CONFIG, errno, "cannot execute %s", path);
    }
    return true;
}

static bool variable_in(const char *entry, const char *name)
{
    size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static bool variable_allowed(const char *entry, const struct spawn *s)
{
    for (const char *const *name = s->allowed; *name != NULL; name++) {
        if (variable_in(entry, *name)) {
            return true;
        }
    }
    for (size_t i = 0; i < s->more_count; i++) {
        if (variable_in(entry, s->more[i])) {
            return true;
        }
    }
    return false;
}

static int add_descriptors(posix_spawn_file_actions_t *actions, int *high, const struct spawn *s)
{
    /* dup2 onto first + i could overwrite a source that comes later: all sources move above them first. */
    for (size_t i = 0; i < s->fd_count; i++) {
        high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
        if (high[i] < 0) {
            return errno;
        }
        int result = posix_spawn_file_actions_adddup2(actions, high[i], s->first + (int)i);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

bool spawn_process(pid_t *pid, const struct spawn *s, struct err *err)
{
    char *environment[ENVIRONMENT_MAX + 3];
    static char no_openssl_configuration[] = "OPENSSL_CONF=/dev/null";
    /* Debian's libcurl brings GnuTLS along, for protocols that we forbid: its start-up code need not run. */
    static char no_gnutls[] = "GNUTLS_NO_IMPLICIT_INIT=1";
    size_t count = 0;
    int high[SPAWN_FDS_MAX] = {-1, -1, -1, -1};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    if (s->fd_count > SPAWN_FDS_MAX) {
        return err_set(err, ERR_INTERNAL, "too many descriptors for %s", s->argv[0]);
    }
    for (char **entry = environ; *entry != NULL && count < ENVIRONMENT_MAX; entry++) {
        if (s->allowed == NULL || variable_allowed(*entry, s)) {
            environment[count++] = *entry;
        }
    }
    environment[count++] = no_openssl_configuration;
    environment[count++] = no_gnutls;
    environment[count] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int result = add_descriptors(&actions, high, s);
    if (result == 0) {
        result = posix_spawn(pid, s->argv[0], &actions, &attributes, s->argv, environment);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (size_t i = 0; i < SPAWN_FDS_MAX; i++) {
        if (high[i] >= 0) {
            close(high[i]);
        }
    }
    return result == 0 || err_errno(err, ERR_IO, result, "cannot start %s", s->argv[0]);
}
