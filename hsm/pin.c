#include "hsm/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"

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
