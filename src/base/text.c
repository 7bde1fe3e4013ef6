#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_regular(const char *path, off_t *size, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        err_errno(err, ERR_IO, errno, "cannot open %s", path);
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        err_set(err, ERR_IO, "%s is not a regular file", path);
        return -1;
    }
    *size = st.st_size;
    return fd;
}

static ssize_t read_some(int fd, void *data, size_t len)
{
    ssize_t n;
    do {
        n = read(fd, data, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

bool text_read_file(struct buf *out, const char *path, struct err *err)
{
    off_t size;
    int fd = open_regular(path, &size, err);
    if (fd < 0) {
        return false;
    }
    buf_reset(out);
    bool ok = true;
    for (;;) {
        size_t room = (size_t)size > out->len ? (size_t)size - out->len + 1 : 4096;
        if (room > out->max - out->len) {
            room = out->max - out->len; /* one more byte than max shows as a full buffer below */
        }
        if (room == 0) {
            uint8_t more;
            ok = read_some(fd, &more, 1) == 0 ||
                 err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, out->max);
            break;
        }
        if (!buf_reserve(out, room)) {
            ok = err_set(err, ERR_MEMORY, "no memory to read %s", path);
            break;
        }
        ssize_t n = read_some(fd, out->data + out->len, room);
        if (n <= 0) {
            ok = n == 0 || err_errno(err, ERR_IO, errno, "cannot read %s", path);
            break;
        }
        out->len += (size_t)n;
    }
    close(fd);
    if (!ok) {
        buf_reset(out);
    }
    return ok;
}

static size_t without_newline(const uint8_t *data, size_t len)
{
    if (len > 0 && data[len - 1] == '\n') {
        len--;
        if (len > 0 && data[len - 1] == '\r') {
            len--;
        }
    }
    return len;
}

bool text_read_secret(struct secret *out, const char *path, size_t max, struct err *err)
{
    *out = SECRET_EMPTY;
    off_t size;
    size_t len = 0;
    ssize_t n = 0;
    int fd = open_regular(path, &size, err);
    if (fd < 0) {
        return false;
    }
    if (!secret_new(out, max + 3, err)) {
        close(fd);
        return false;
    }
    while (len < max + 3 && (n = read_some(fd, out->data + len, max + 3 - len)) > 0) {
        len += (size_t)n;
    }
    int read_errno = errno;
    close(fd);
    if (n < 0) {
        secret_free(out);
        return err_errno(err, ERR_IO, read_errno, "cannot read %s", path);
    }
    size_t kept = without_newline(out->data, len);
    if (kept == 0 || kept > max) {
        secret_free(out);
        return err_set(err, ERR_CONFIG, kept == 0 ? "%s is empty" : "%s holds more than %zu bytes", path,
                       max);
    }
    secret_truncate(out, kept);
    return true;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool text_write_file_atomic(const char *path, const void *data, size_t len, struct err *err)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof temporary) {
        return err_set(err, ERR_IO, "path too long");
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_errno(err, ERR_IO, errno, "cannot create %s", temporary);
    }
    bool ok = write_all(fd, data, len) && fsync(fd) == 0;
    int write_errno = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        write_errno = errno;
    }
    if (ok && rename(temporary, path) != 0) {
        ok = false;
        write_errno = errno;
    }
    if (!ok) {
        unlink(temporary);
        return err_errno(err, ERR_IO, write_errno, "cannot write %s", path);
    }
    return true;
}
