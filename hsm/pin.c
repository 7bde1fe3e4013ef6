#include "hsm/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"

/* systemd makes a credential anew at each start: inode and time tell nothing of it. */
static bool is_credential(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    size_t len = folder != NULL ? strlen(folder) : 0;
    return len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* Inode, time and size of the PIN file as one line: what the marker holds. Of a credential the size. */
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

/* One marker for each token; the serial in hex, for it may hold any character. */
static bool marker_path(char out[static PATH_MAX], const struct pin_source *source, const char *serial)
{
    char hex[2 * 32 + 1];
    size_t len = strnlen(serial, 32);
    return snprintf(out, PATH_MAX, "%s/pin-refused.%s", source->state_dir,
                    hex_str(hex, (const uint8_t *)serial, len)) < PATH_MAX;
}

bool pin_not_refused(const struct pin_source *source, const char *serial, struct err *err)
{
    char path[PATH_MAX], now[128];
    struct buf then;
    if (source->file == NULL || !marker_path(path, source, serial)) {
        return true;
    }
    if (!describe_file(now, sizeof now, source->file, err)) {
        return false;
    }
    buf_init(&then, sizeof now);
    bool same = access(path, F_OK) == 0 && text_read_file(&then, path, err) && then.len == strlen(now) &&
                memcmp(then.data, now, then.len) == 0;
    buf_free(&then);
    if (same && is_credential(source->file)) {
        return err_set(err, ERR_PIN,
                       "the token (serial %s) has refused the PIN in %s before; correct the credential, then "
                       "delete %s",
                       serial, source->file, path);
    }
    return !same ||
           err_set(err, ERR_PIN,
                   "the token (serial %s) has refused the PIN in %s before; it is not tried again until that "
                   "file changes (marker: %s)",
                   serial, source->file, path);
}

void pin_mark_refused(const struct pin_source *source, const char *serial)
{
    char path[PATH_MAX], now[128];
    struct err err = {0};
    if (source->file == NULL) {
        return;
    }
    if (!marker_path(path, source, serial) || !describe_file(now, sizeof now, source->file, &err) ||
        !text_write_file_atomic(path, now, strlen(now), &err)) {
        log_error("cannot note that the PIN was refused, do not start again before it is corrected: %s",
                  err.message);
    }
}

void pin_clear_refused(const struct pin_source *source, const char *serial)
{
    char path[PATH_MAX];
    if (source->file != NULL && marker_path(path, source, serial) && unlink(path) != 0 && errno != ENOENT) {
        log_warn("cannot remove %s", path);
    }
}

static bool read_file(struct secret *out, const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO) & ~S_IRGRP) != 0) {
        return err_set(err, ERR_PIN, "the PIN file %s can be read or written by others: chmod 600 it", path);
    }
    if (!text_read_secret(out, path, LIMIT_PIN_BYTES, err)) {
        err->kind = err->kind == ERR_MEMORY ? ERR_MEMORY : ERR_PIN;
        return err_context(err, "PIN");
    }
    return true;
}

/* A line without its newline, read straight into locked memory. */
static bool read_line(struct secret *out, int terminal, struct err *err)
{
    size_t len = 0;
    ssize_t n;
    if (!secret_new(out, LIMIT_PIN_BYTES + 1, err)) {
        return false;
    }
    for (;;) {
        n = read(terminal, out->data + len, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || out->data[len] == '\n' || len == LIMIT_PIN_BYTES) {
            break;
        }
        len++;
    }
    bool line = n == 1 && out->data[len] == '\n' && len > 0;
    secret_truncate(out, len);
    if (!line) {
        secret_free(out);
        return err_set(err, ERR_PIN, "no PIN was typed");
    }
    return true;
}

static bool prompt(struct secret *out, const char *label, struct err *err)
{
    struct termios before, silent;
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) {
        return err_set(err, ERR_PIN,
                       "no PIN: give --pin-file FILE (mode 0600) or pin-source in the URI; there is no "
                       "terminal to ask on");
    }
    bool ok = false;
    if (tcgetattr(terminal, &before) == 0) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        silent.c_lflag |= ICANON;
        dprintf(terminal, "PIN of the token \"%s\": ", label);
        if (tcsetattr(terminal, TCSAFLUSH, &silent) == 0) {
            ok = read_line(out, terminal, err);
            tcsetattr(terminal, TCSAFLUSH, &before);
            dprintf(terminal, "\n");
        } else {
            err_errno(err, ERR_PIN, errno, "cannot switch the terminal's echo off");
        }
    } else {
        err_errno(err, ERR_PIN, errno, "cannot ask for the PIN on the terminal");
    }
    close(terminal);
    return ok;
}

bool pin_read(struct secret *out, const struct pin_source *source, const char *label, struct err *err)
{
    *out = SECRET_EMPTY;
    return source->file != NULL ? read_file(out, source->file, err) : prompt(out, label, err);
}
