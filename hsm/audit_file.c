#include "hsm/audit_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hsm/forked.h"

#define TAIL_BYTES 65536 /* looked at for the last line */
_Static_assert(TAIL_BYTES > 2 * CHAIN_LINE_BYTES_MAX, "a whole line and a torn one");

/* New descriptor of f->name. create: it must not be there yet. */
static bool open_file(struct audit_file *f, bool create, struct err *err)
{
    struct stat st;
    int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_EXCL : 0);
    int fd = openat(f->folder, f->name, flags, 0600);
    if (fd < 0) {
        return err_errno(err, ERR_IO, errno, "cannot open the custody log");
    }
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!ok) {
        err_set(err, ERR_CONFIG, "the custody log is no ordinary file");
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ok = err_set(err, ERR_CONFIG, "another keyholder writes this custody log");
    }
    if (!ok) {
        close(fd);
        return false;
    }
    forked_close(fd);
    f->fd = fd;
    f->size = (uint64_t)st.st_size;
    f->first_seq = 0;
    return true;
}

static bool read_at(int fd, char *data, size_t len, uint64_t at, struct err *err)
{
    while (len > 0) {
        ssize_t n = pread(fd, data, len, (off_t)at);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return err_errno(err, ERR_IO, n < 0 ? errno : EIO, "cannot read the custody log");
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        at += n > 0 ? (uint64_t)n : 0;
    }
    return true;
}

static bool not_ours(const struct err *why, struct err *err)
{
    return err_set(err, ERR_CONFIG,
                   "the custody log does not end as one (%s): keep its files for a look, and name another "
                   "--audit-log",
                   why->message);
}

/* The head of the file of fd, and how much of it is whole lines. */
static bool read_head(int fd, uint64_t size, struct chain_head *head, uint64_t *whole, struct err *err)
{
    static char tail[TAIL_BYTES];
    struct chain_line line;
    struct err why = {0};
    size_t len = size < sizeof tail ? (size_t)size : sizeof tail;
    *whole = 0;
    if (!read_at(fd, tail, len, size - len, err)) {
        return false;
    }
    const char *end = memrchr(tail, '\n', len);
    if (end == NULL) {
        err_set(&why, ERR_INVALID, "no line in its last %zu bytes", len);
        return size < CHAIN_LINE_BYTES_MAX || not_ours(&why, err); /* a first line, torn */
    }
    const char *begin = end == tail ? NULL : memrchr(tail, '\n', (size_t)(end - tail));
    begin = begin != NULL ? begin + 1 : tail;
    if (!chain_parse(&line, begin, (size_t)(end - begin), &why)) {
        return not_ours(&why, err);
    }
    head->seq = line.seq;
    memcpy(head->hash, line.hash, sizeof head->hash);
    *whole = size - len + (size_t)(end - tail) + 1;
    return true;
}

static bool read_first(struct audit_file *f, struct err *err)
{
    static char text[CHAIN_LINE_BYTES_MAX + 1];
    struct chain_line line;
    struct err why = {0};
    size_t len = f->size < sizeof text ? (size_t)f->size : sizeof text;
    if (!read_at(f->fd, text, len, 0, err)) {
        return false;
    }
    const char *end = memchr(text, '\n', len);
    if (!chain_parse(&line, text, end != NULL ? (size_t)(end - text) : len, &why)) {
        return err_set(err, ERR_CONFIG, "the custody log's first line is none (%s)", why.message);
    }
    f->first_seq = line.seq;
    return true;
}

/* The number in NAME.NNNNNNNNNNNN, 0: it is another file. */
static uint64_t number_of(const struct audit_file *f, const char *entry)
{
    size_t len = strlen(f->name);
    if (strncmp(entry, f->name, len) != 0 || entry[len] != '.' ||
        strspn(entry + len + 1, "0123456789") != AUDIT_SUFFIX_DIGITS ||
        entry[len + 1 + AUDIT_SUFFIX_DIGITS] != '\0') {
        return 0;
    }
    return strtoull(entry + len + 1, NULL, 10);
}

/* f->previous: the file with the highest number. */
static bool find_previous(struct audit_file *f, struct err *err)
{
    int fd = openat(f->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    uint64_t highest = 0;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return err_errno(err, ERR_IO, errno, "cannot list the custody log's folder");
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t number = number_of(f, entry->d_name);
        if (number > highest) {
            highest = number;
            snprintf(f->previous, sizeof f->previous, "%s", entry->d_name);
        }
    }
    closedir(dir);
    return true;
}

/* An empty file goes on where the one before it ended. */
static bool head_of_previous(struct audit_file *f, struct err *err)
{
    struct stat st;
    uint64_t whole = 0;
    if (f->previous[0] == '\0') {
        return true;
    }
    int fd = openat(f->folder, f->previous, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (!ok) {
        err_errno(err, ERR_IO, errno, "cannot open the custody log's file before this one");
    }
    ok = ok && read_head(fd, (uint64_t)st.st_size, &f->head, &whole, err);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool open_folder(struct audit_file *f, const char *path, struct err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    if (*name == '\0' || strlen(name) + 1 + AUDIT_SUFFIX_DIGITS > NAME_MAX || strlen(path) >= sizeof folder) {
        return err_set(err, ERR_CONFIG, "--audit-log does not name a file");
    }
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(folder, sizeof folder, "%.*s",
             slash == NULL   ? 1
             : slash == path ? 1
                             : (int)(slash - path),
             slash == NULL ? "." : path);
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder < 0) {
        return err_errno(err, ERR_CONFIG, errno, "cannot open the custody log's folder");
    }
    forked_close(f->folder);
    return true;
}

bool audit_file_open(struct audit_file *f, const char *path, struct err *err)
{
    uint64_t whole = 0;
    *f = (struct audit_file){.folder = -1, .fd = -1};
    if (!open_folder(f, path, err) || !open_file(f, false, err) || !find_previous(f, err) ||
        (f->size > 0 && !read_head(f->fd, f->size, &f->head, &whole, err))) {
        return false;
    }
    f->torn = f->size - whole;
    if (f->torn > 0 && (ftruncate(f->fd, (off_t)whole) != 0 || fsync(f->fd) != 0)) {
        return err_errno(err, ERR_IO, errno, "cannot cut the custody log's torn last line");
    }
    f->size = whole;
    return f->size > 0 ? read_first(f, err) : head_of_previous(f, err);
}

void audit_file_close(struct audit_file *f)
{
    int *const fds[] = {&f->fd, &f->folder};
    for (size_t i = 0; i < 2; i++) {
        if (*fds[i] >= 0) {
            forked_forget(*fds[i]);
            close(*fds[i]);
            *fds[i] = -1;
        }
    }
}

/* Somebody who renames or removes the file would have us write where nobody looks. */
static bool still_there(const struct audit_file *f, struct err *err)
{
    struct stat by_name, own;
    if (fstat(f->fd, &own) != 0 || fstatat(f->folder, f->name, &by_name, AT_SYMLINK_NOFOLLOW) != 0 ||
        own.st_ino != by_name.st_ino || own.st_dev != by_name.st_dev) {
        return err_set(err, ERR_IO, "the custody log was moved or removed by somebody else: put it back");
    }
    /* What an earlier failure could not take back. */
    return (uint64_t)own.st_size == f->size || ftruncate(f->fd, (off_t)f->size) == 0 ||
           err_errno(err, ERR_IO, errno, "cannot cut the custody log");
}

bool audit_file_write(struct audit_file *f, const void *lines, size_t len, const struct chain_head *head,
                      bool sync, struct err *err)
{
    const uint8_t *data = lines;
    size_t left = len;
    if ((f->fd < 0 && !open_file(f, true, err)) || !still_there(f, err)) {
        return false;
    }
    while (left > 0) {
        ssize_t n = write(f->fd, data, left);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        data += n;
        left -= (size_t)n;
    }
    if (left > 0 || (sync && fdatasync(f->fd) != 0)) {
        err_errno(err, ERR_IO, errno, "cannot write the custody log");
        if (ftruncate(f->fd, (off_t)f->size) != 0) {
            return false; /* the next write tries again */
        }
        return false;
    }
    if (f->first_seq == 0) {
        f->first_seq = f->head.seq + 1;
    }
    f->size += len;
    f->head = *head;
    return true;
}

bool audit_file_rotate(struct audit_file *f, struct err *err)
{
    char to[NAME_MAX + 1];
    struct stat st;
    snprintf(to, sizeof to, "%.*s.%0*" PRIu64, NAME_MAX - AUDIT_SUFFIX_DIGITS - 1, f->name,
             AUDIT_SUFFIX_DIGITS, f->first_seq);
    if (fstatat(f->folder, to, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) {
        return err_set(err, ERR_IO, "the custody log is not rotated: there is a file of the new name");
    }
    if (fsync(f->fd) != 0 || renameat(f->folder, f->name, f->folder, to) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot rename the custody log");
    }
    snprintf(f->previous, sizeof f->previous, "%s", to);
    forked_forget(f->fd);
    close(f->fd);
    f->fd = -1;
    f->size = f->first_seq = 0;
    return open_file(f, true, err) &&
           (fsync(f->folder) == 0 || err_errno(err, ERR_IO, errno, "the custody log's folder"));
}
