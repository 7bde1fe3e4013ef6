/* The marker: see pin.h. */
#include "hsm/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "hsm/forked.h"

#define SERIAL_BYTES 32
#define PAUSE_MS 20

/* systemd makes a credential anew at each start: inode and time tell nothing of it. */
static bool is_credential(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    size_t len = folder != NULL ? strlen(folder) : 0;
    return len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* Inode, time and size of the PIN file (of a credential the size) as one line: a marker's first, and all of one that says
 * "refused". */
static bool describe_file(char *out, size_t cap, const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_errno(err, ERR_PIN, errno, "cannot look at the PIN file %s", path);
    }
    if (is_credential(path)) {
        snprintf(out, cap, "credential size=%lld\n", (long long)st.st_size);
        return true;
    }
    snprintf(out, cap, "inode=%llu mtime=%lld.%09ld size=%lld\n", (unsigned long long)st.st_ino,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size);
    return true;
}

/* A file of serial's in the state folder; the serial in hex, for it may hold any character. */
static bool state_path(char out[static PATH_MAX], const char *name, const struct pin_source *source,
                       const char *serial, struct err *err)
{
    char hex[2 * SERIAL_BYTES + 1];
    int n = snprintf(out, PATH_MAX, "%s/%s.%s", source->state_dir, name,
                     hex_str(hex, (const uint8_t *)serial, strnlen(serial, SERIAL_BYTES)));
    return n < PATH_MAX || err_set(err, ERR_PIN, "the path of the state folder is too long");
}

/* Keyholders that start together must not take each other's tries for their own that were broken off. */
static bool take_lock(struct pin_try *try, struct err *err)
{
    char path[PATH_MAX];
    if (!state_path(path, "pin-lock", try->source, try->serial, err)) {
        return false;
    }
    try->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (try->lock < 0) {
        return err_errno(err, ERR_TOKEN, errno, "no PIN is tried: cannot open %s", path);
    }
    forked_close(try->lock);
    int64_t deadline = clock_boot_ns() + LIMIT_TOKEN_CALL_S * CLOCK_NS_PER_S;
    while (flock(try->lock, LOCK_EX | LOCK_NB) != 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || clock_boot_ns() > deadline) {
            return err_errno(err, ERR_TOKEN, errno, "no PIN is tried: %s is held by another keyholder", path);
        }
        nanosleep(&(struct timespec){0, PAUSE_MS * CLOCK_NS_PER_MS}, NULL);
    }
    return true;
}

static void drop_lock(struct pin_try *try)
{
    if (try->lock >= 0) {
        forked_forget(try->lock);
        close(try->lock);
        try->lock = -1;
    }
}

static bool deny_refused(const struct pin_try *try, struct err *err)
{
    if (is_credential(try->source->file)) {
        return err_set(err, ERR_PIN,
                       "the token (serial %s) has refused the PIN in %s before; correct the credential, then "
                       "delete %s",
                       try->serial, try->source->file, try->marker);
    }
    return err_set(err, ERR_PIN,
                   "the token (serial %s) has refused the PIN in %s before; it is not tried again until that "
                   "file changes (marker: %s)",
                   try->serial, try->source->file, try->marker);
}

bool pin_try_deny(const struct pin_try *try, struct err *err)
{
    if (is_credential(try->source->file)) {
        return err_set(err, ERR_PIN,
                       "a login to the token (serial %s) broke off before it said whether the PIN in %s is "
                       "right; look at "
                       "the tries left with the token's own tool, then delete %s",
                       try->serial, try->source->file, try->marker);
    }
    return err_set(
        err, ERR_PIN,
        "a login to the token (serial %s) broke off before it said whether the PIN in %s is right; "
        "it is not tried again until that file changes: look at the tries left with the token's own "
        "tool, then touch the file (marker: %s)",
        try->serial, try->source->file, try->marker);
}

/* What text (of a marker) says. */
static bool read_marker(struct pin_try *try, const char *text, struct err *err)
{
    size_t line = strcspn(text, "\n") + 1;
    if ((strncmp(text, "inode=", 6) != 0 && strncmp(text, "credential ", 11) != 0) || line > strlen(text)) {
        return err_set(err, ERR_PIN,
                       "no PIN is tried: %s is damaged; look at the tries left with the token's own tool, "
                       "then remove it",
                       try->marker);
    }
    if (line != strlen(try->file) || memcmp(text, try->file, line) != 0) {
        return true; /* of another PIN file */
    }
    unsigned n = 0;
    if (sscanf(text + line, "unknown %2u", &n) != 1) {
        return deny_refused(try, err);
    }
    try->known = true;
    try->unknown = n;
    return n < PIN_UNKNOWN_MAX || pin_try_deny(try, err);
}

static bool look(struct pin_try *try, struct err *err)
{
    struct stat st;
    struct buf text;
    if (!describe_file(try->file, sizeof try->file, try->source->file, err)) {
        return false;
    }
    if (lstat(try->marker, &st) != 0) {
        return errno == ENOENT ||
               err_errno(err, ERR_PIN, errno, "no PIN is tried: cannot look at %s", try->marker);
    }
    buf_init(&text, 2 * sizeof try->file);
    bool ok = text_read_file(&text, try->marker, err);
    if (!ok) {
        err->kind = ERR_PIN;
        err_context(err, "no PIN is tried, for it may have been refused before");
    } else {
        const char *content = buf_cstr(&text);
        ok = content != NULL ? read_marker(try, content, err)
                             : err_set(err, ERR_PIN, "no PIN is tried: %s is too long", try->marker);
    }
    buf_free(&text);
    return ok;
}

bool pin_try_begin(struct pin_try *try, const struct pin_source *source, const char *serial, struct err *err)
{
    *try = (struct pin_try){.source = source, .serial = serial, .lock = -1};
    if (source->file == NULL) {
        return true;
    }
    bool ok =
        state_path(try->marker, "pin-refused", source, serial, err) && take_lock(try, err) && look(try, err);
    if (!ok) {
        drop_lock(try);
    }
    return ok;
}

bool pin_try_doubtful(const struct pin_try *try)
{
    return try->known;
}

/* A rename is on the disk when its folder is. */
static bool sync_folder(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok) {
        err_errno(err, ERR_IO, errno, "cannot sync %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* state: the second line; a refusal has none, so that an older keyholder reads it too. */
static bool write_marker(const struct pin_try *try, const char *state, struct err *err)
{
    char text[sizeof try->file + 32];
    snprintf(text, sizeof text, "%s%s", try->file, state);
    return text_write_file_atomic(try->marker, text, strlen(text), err) &&
           sync_folder(try->source->state_dir, err);
}

static bool write_unknown(const struct pin_try *try, unsigned unknown, struct err *err)
{
    char state[24];
    snprintf(state, sizeof state, "unknown %u\n", unknown);
    return write_marker(try, state, err);
}

bool pin_try_mark(struct pin_try *try, struct err *err)
{
    char now[sizeof try->file];
    if (try->marker[0] == '\0') {
        return true;
    }
    if (!describe_file(now, sizeof now, try->source->file, err)) {
        return false;
    }
    if (strcmp(now, try->file) != 0) {
        return err_set(err, ERR_TOKEN, "the PIN file changed while it was read");
    }
    try->written = write_unknown(try, try->unknown + 1, err);
    if (!try->written) {
        err->kind = ERR_TOKEN;
        err_context(err, "no PIN is tried, for a refusal could not be remembered");
    }
    return try->written;
}

static bool put(const struct pin_try *try, enum pin_outcome outcome, struct err *err)
{
    switch (outcome) {
    case PIN_UNKNOWN:
        return true; /* says so already */
    case PIN_REFUSED:
        return write_marker(try, "", err);
    case PIN_AWAY:
        return write_unknown(try, try->unknown, err);
    case PIN_NOT_JUDGED:
        if (try->known) {
            return write_unknown(try, try->unknown, err);
        }
        break;
    case PIN_ACCEPTED:
        break;
    }
    return unlink(try->marker) == 0 || errno == ENOENT ||
           err_errno(err, ERR_IO, errno, "cannot remove %s", try->marker);
}

void pin_try_end(struct pin_try *try, enum pin_outcome outcome)
{
    struct err err = {0};
    if (try->written && !put(try, outcome, &err)) {
        log_error("the marker of the last login stays (%s): %s", try->marker, err.message);
    }
    try->written = false;
    drop_lock(try);
}
