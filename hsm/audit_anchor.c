#include "hsm/audit_anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/text.h"

#define NAME_HASH_BYTES 8
#define ANCHOR_BYTES 128

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char file[PATH_MAX]; /* "": none */
static uint64_t from;
static uint64_t kept; /* number of the line in the file */

/* One for each log: by the hash of its path. */
static bool name_file(const char *state_dir, const char *path, struct err *err)
{
    uint8_t hash[SHA256_BYTES];
    char hex[2 * NAME_HASH_BYTES + 1];
    if (!hash_sha256(hash, path, strlen(path))) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    int n = snprintf(file, sizeof file, "%s/audit-log.%s", state_dir, hex_str(hex, hash, NAME_HASH_BYTES));
    return n < (int)sizeof file || err_set(err, ERR_CONFIG, "the path of the state folder is too long");
}

/* "FROM SEQ HASH\n". False with ERR_NONE when there is none. */
static bool read_anchor(uint64_t *known_from, struct chain_head *head, struct err *err)
{
    struct buf text;
    char hash[2 * SHA256_BYTES + 1];
    if (access(file, F_OK) != 0 && errno == ENOENT) {
        return false;
    }
    buf_init(&text, ANCHOR_BYTES);
    bool ok = text_read_file(&text, file, err);
    const char *line = ok ? buf_cstr(&text) : NULL;
    ok = line != NULL &&
         sscanf(line, "%20" SCNu64 " %20" SCNu64 " %64[0-9a-f]", known_from, &head->seq, hash) == 3 &&
         strlen(hash) == sizeof hash - 1 && hex_decode(head->hash, hash, sizeof hash - 1);
    buf_free(&text);
    return ok || err_set(err, ERR_CONFIG, "%s is not what a keyholder wrote", file);
}

/* Looks through an open file. */
static bool holds(FILE *in, const struct chain_head *wanted)
{
    char text[CHAIN_LINE_BYTES_MAX + 1];
    size_t len = 0;
    for (int c; (c = getc(in)) != EOF;) {
        if (c != '\n') {
            if (len < sizeof text) {
                text[len++] = (char)c;
            }
            continue;
        }
        struct chain_line line;
        struct err ignored;
        if (chain_parse(&line, text, len, &ignored) && line.seq == wanted->seq) {
            return memcmp(line.hash, wanted->hash, sizeof line.hash) == 0;
        }
        len = 0;
    }
    return false;
}

/* The line is in the newest file, or in the one before it: a checkpoint follows each rotation, and the anchor a checkpoint. */
static bool find_line(const struct audit_file *f, const struct chain_head *wanted)
{
    const char *const names[] = {f->name, f->previous};
    bool found = false;
    for (size_t i = 0; i < 2 && !found; i++) {
        int fd = names[i][0] != '\0' ? openat(f->folder, names[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
        if (in != NULL) {
            found = holds(in, wanted);
            fclose(in);
        } else if (fd >= 0) {
            close(fd);
        }
    }
    return found;
}

bool audit_anchor_open(const char *state_dir, const char *path, const struct audit_file *f, struct err *err)
{
    struct chain_head head = {0};
    uint64_t known_from = 0;
    err_clear(err);
    kept = 0;
    from = f->head.seq + 1;
    if (!name_file(state_dir, path, err)) {
        return false;
    }
    if (!read_anchor(&known_from, &head, err)) {
        if (err->kind == ERR_NONE && f->head.seq > 0) {
            log_warn("the custody log has %" PRIu64 " lines of which this keyholder knows nothing: they are "
                     "signed as found",
                     f->head.seq);
        }
        return err->kind == ERR_NONE;
    }
    if (head.seq == f->head.seq && memcmp(head.hash, f->head.hash, sizeof head.hash) == 0) {
        from = known_from;
        return true;
    }
    if (head.seq >= f->head.seq || !find_line(f, &head)) {
        return err_set(
            err, ERR_CONFIG,
            "the custody log has not the line %" PRIu64 " that was its last one when the keyholder "
            "looked last: it was cut, rewritten or replaced, or an older file is missing. Keep its "
            "files for a look, and name another --audit-log",
            head.seq);
    }
    log_warn("the last keyholder did not end in order: lines %" PRIu64 " to %" PRIu64
             " of the custody log are signed as found",
             head.seq + 1, f->head.seq);
    return true;
}

uint64_t audit_anchor_from(void)
{
    return from;
}

void audit_anchor_write(const struct chain_head *head)
{
    char text[ANCHOR_BYTES], hash[2 * SHA256_BYTES + 1];
    struct err err = {0};
    pthread_mutex_lock(&lock);
    if (file[0] != '\0' && head->seq > kept) {
        snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %s\n", from, head->seq,
                 hex_str(hash, head->hash, sizeof head->hash));
        if (text_write_file_atomic(file, text, strlen(text), &err)) {
            kept = head->seq;
        } else {
            log_warn("the next start will not know the custody log: %s", err.message);
        }
    }
    pthread_mutex_unlock(&lock);
}

void audit_anchor_close(void)
{
    pthread_mutex_lock(&lock);
    file[0] = '\0';
    pthread_mutex_unlock(&lock);
}
