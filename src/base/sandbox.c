#include "base/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/log.h"

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

/* Folders in which files of many programs lie. */
static bool is_wide_folder(const char *folder)
{
    static const char *const wide[] = {"",         "/tmp",  "/var/tmp", "/run",   "/var",    "/var/lib",
                                       "/var/log", "/home", "/root",    "/dev",   "/proc",   "/sys",
                                       "/opt",     "/srv",  "/mnt",     "/media", "/dev/shm"};
    char home[PATH_MAX];
    const char *set = getenv("HOME");
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (strcmp(folder, wide[i]) == 0) {
            return true;
        }
    }
    return (strncmp(folder, "/home/", 6) == 0 && strchr(folder + 6, '/') == NULL) ||
           (set != NULL && realpath(set, home) != NULL && strcmp(folder, home) == 0);
}

/* The folder of a name, resolved; "" for the root, false when there is none. */
static bool folder_of(char out[static PATH_MAX], const char *file)
{
    char name[PATH_MAX];
    size_t len = strlen(file);
    if (len >= sizeof name) {
        return false;
    }
    memcpy(name, file, len + 1);
    char *slash = strrchr(name, '/');
    if (slash != NULL) {
        slash[slash == name] = '\0';
    }
    if (realpath(slash != NULL ? name : ".", out) == NULL) {
        return false;
    }
    if (strcmp(out, "/") == 0) {
        *out = '\0';
    }
    return true;
}

void sandbox_read_beside(struct sandbox *s, const char *file)
{
    char resolved[PATH_MAX], folder[PATH_MAX];
    if (file == NULL) {
        return;
    }
    if (folder_of(folder, file) && !is_wide_folder(folder)) {
        sandbox_read(s, folder);
    }
    if (realpath(file, resolved) != NULL) {
        sandbox_read(s, resolved);
        if (folder_of(folder, resolved) && !is_wide_folder(folder)) {
            sandbox_read(s, folder);
        }
    }
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool sandbox_follows(const struct sandbox *s, const char *file)
{
    char folder[PATH_MAX], path[PATH_MAX];
    struct stat st;
    bool is_link = lstat(file, &st) == 0 && S_ISLNK(st.st_mode) && realpath(file, path) != NULL;
    if (!folder_of(folder, is_link ? path : file)) {
        return false;
    }
    for (size_t i = 0; i < s->hidden_count; i++) {
        if (realpath(s->hidden[i], path) != NULL && is_below(path, folder)) {
            return false;
        }
    }
    for (size_t i = 0; i < s->read_count; i++) {
        if (realpath(s->read[i], path) != NULL && is_below(folder, path)) {
            return true;
        }
    }
    return false;
}

void sandbox_read_system(struct sandbox *s)
{
    static const char *const paths[] = {
        "/usr",       "/lib",         "/lib64",      "/etc",
        "/proc/self", "/dev/urandom", "/dev/random", "/sys/devices/system/cpu"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        sandbox_read(s, paths[i]);
    }
    if (sandbox_is_wide()) { /* their tracer is a process of its own */
        sandbox_read(s, "/proc");
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

void sandbox_announce(const struct sandbox_result *result, const char *profile)
{
    log_info("sandbox (%s): %s, %s %d", profile,
             result->seccomp ? "system calls filtered" : "system calls not filtered",
             result->landlock > 0 ? "files by Landlock" : "no Landlock:", result->landlock);
    if (!result->seccomp) {
        log_warn("this kernel or build has no seccomp filters: nothing but its user keeps this process from "
                 "starting programs");
    }
    if (result->landlock == 0) {
        log_warn("this kernel has no Landlock: only owner and mode keep files from this process");
    }
    if (sandbox_is_wide()) {
        log_warn("a build with sanitizers: its sandbox is wider than that of a release");
    }
}

bool sandbox_is_wide(void)
{
#ifdef E2EE_SANITIZED
    return true;
#else
    return false;
#endif
}
