/* The files of the custody log: PATH, which is written, and PATH.NNNNNNNNNNNN, which were. One thread at a time. */
#ifndef E2EE_HSM_AUDIT_FILE_H
#define E2EE_HSM_AUDIT_FILE_H

#include <limits.h>

#include "keyipc/chain.h"

#define AUDIT_SUFFIX_DIGITS 12

struct audit_file {
    int folder; /* descriptors; -1: none */
    int fd;     /* locked as long as it is open */
    char name[NAME_MAX + 1];
    char previous[NAME_MAX + 1]; /* the file before, "" none */
    uint64_t size;               /* of good lines */
    uint64_t first_seq;          /* of its first line, 0: it has none */
    struct chain_head head;      /* of the last line on the disk */
    uint64_t torn;               /* bytes that were cut off at the start */
};

/* Opens path (made 0600 when missing), locks it, finds its head, in the file before when it is empty. A torn last line goes.
 * audit_file_close in any case. */
bool audit_file_open(struct audit_file *f, const char *path, struct err *err) MUST_CHECK;
void audit_file_close(struct audit_file *f);
/* Appends whole lines, of which the last is head, all or none: after a failure the file is as before, and it may be tried
 * again. sync: on the disk when it returns. ERR_IO. */
bool audit_file_write(struct audit_file *f, const void *lines, size_t len, const struct chain_head *head,
                      bool sync, struct err *err) MUST_CHECK;
/* Renames the file by its first line and begins an empty one. After a failure the old one goes on, or (f->fd < 0) the next write
 * makes the new one. */
bool audit_file_rotate(struct audit_file *f, struct err *err) MUST_CHECK;

#endif
