#include "base/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static bool add(struct sandbox *s, const char **list, size_t *count, const char *path)
{
    size_t len = path != NULL ? strlen(path) : 0;
    if (len == 0) {
        return true;
    }
    if (*count == SANDBOX_PATHS_MAX || len + 1 > sizeof s->texts - s->texts_len) {
        return false;
    }
    char *copy = s->texts + s->texts_len;
    memcpy(copy, path, len + 1);
    s->texts_len += len + 1;
    list[(*count)++] = copy;
    return true;
}

void sandbox_read(struct sandbox *s, const char *path)
{
    (void)add(s, s->read, &s->read_count, path);
}

void sandbox_write(struct sandbox *s, const char *path)
{
    (void)add(s, s->write, &s->write_count, path);
}

void sandbox_hide(struct sandbox *s, const char *path)
{
    s->hidden_overflow = !add(s, s->hidden, &s->hidden_count, path) || s->hidden_overflow;
}

void sandbox_read_beside(struct sandbox *s, const char *file)
{
    char folder[PATH_MAX], home[PATH_MAX];
    if (file == NULL || realpath(file, folder) == NULL) {
        return;
    }
    sandbox_read(s, folder);
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    const char *set = getenv("HOME");
    if (set == NULL || realpath(set, home) == NULL) {
        home[0] = '\0';
    }
    if (folder[0] != '\0' && strcmp(folder, "/tmp") != 0 && strcmp(folder, home) != 0) {
        sandbox_read(s, folder);
    }
}

void sandbox_read_system(struct sandbox *s)
{
    static const char *const paths[] = {
        "/usr",       "/lib",         "/lib64",      "/etc",
        "/proc/self", "/dev/urandom", "/dev/random", "/sys/devices/system/cpu"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        sandbox_read(s, paths[i]);
    }
    sandbox_write(s, "/dev/null");
}

bool sandbox_enter(const struct sandbox *s, struct sandbox_result *result, struct err *err)
{
    *result = (struct sandbox_result){0};
    if (s->hidden_overflow) {
        return err_set(err, ERR_CONFIG, "too many files to hide from the process");
    }
#ifdef __linux__
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot give up new privileges");
    }
#endif
    /* Landlock first: its calls are not in the filter's list. */
    return sandbox_landlock(s, &result->landlock, err) && sandbox_seccomp(s, &result->seccomp, err);
}

bool sandbox_is_wide(void)
{
#ifdef E2EE_SANITIZED
    return true;
#else
    return false;
#endif
}
