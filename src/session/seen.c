#include "session/seen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/text.h"
#include "session/seen_internal.h"

#define CACHE_BYTES_MAX (4 * COLLATERAL_ITEM_BYTES_MAX)
#define FLOOR_BYTES_MAX 16384
#define FLOOR_NAME_BYTES 32

void seen_path(const struct seen *seen, char path[static PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", seen->folder, name);
}

void seen_shared_path(const struct seen *seen, char *path, const char *name)
{
    snprintf(path, PATH_MAX, "%.*s/%s", (int)(strrchr(seen->folder, '/') - seen->folder), seen->folder, name);
}

void seen_key_name(const struct collateral_key *key, char out[static SEEN_KEY_NAME_BYTES])
{
    char fmspc[2 * FMSPC_BYTES + 1], number[16] = "";
    if (key->evaluation != 0) {
        snprintf(number, sizeof number, "-e%" PRIu32, key->evaluation);
    }
    snprintf(out, SEEN_KEY_NAME_BYTES, "%s-%s%s", hex_str(fmspc, key->fmspc, FMSPC_BYTES),
             key->processor_ca ? "processor" : "platform", number);
}

/* The same folder that the keyholder uses. */
static bool state_dir(char *out, size_t cap, const char *wanted, struct err *err)
{
    const char *systemd = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;
    if (wanted != NULL && wanted[0] != '\0') {
        n = snprintf(out, cap, "%s", wanted);
    } else if (systemd != NULL && systemd[0] != '\0') {
        n = snprintf(out, cap, "%.*s", (int)strcspn(systemd, ":"), systemd);
    } else if (xdg != NULL && xdg[0] != '\0') {
        n = snprintf(out, cap, "%s/e2ee-hsm-proxy", xdg);
    } else if (home != NULL && home[0] != '\0') {
        n = snprintf(out, cap, "%s/.local/state/e2ee-hsm-proxy", home);
    } else {
        return err_set(err, ERR_CONFIG, "no folder for pins and collateral is known: give --state-dir");
    }
    return (n > 0 && (size_t)n < cap) || err_set(err, ERR_CONFIG, "--state-dir is too long");
}

static bool make_folders(char *path, struct err *err)
{
    for (char *p = path + 1;; p++) {
        char end = *p;
        if (end != '/' && end != '\0') {
            continue;
        }
        *p = '\0';
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *p = end;
        if (!ok) {
            return err_errno(err, ERR_IO, errno, "cannot make the state folder %s", path);
        }
        if (end == '\0') {
            return true;
        }
    }
}

struct seen *seen_open(const char *wanted, const struct attest_root *root, struct err *err)
{
    char hash[2 * 16 + 1], dir[PATH_MAX - 256];
    struct seen *seen = NULL;
    if (!state_dir(dir, sizeof dir, wanted, err)) {
        return NULL;
    }
    seen = mem_calloc(1, sizeof *seen);
    if (seen == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the state folder's name");
        return NULL;
    }
    snprintf(seen->folder, sizeof seen->folder, "%s/attestation-%s", dir,
             hex_str(hash, root_sha256(root), 16));
    if (!make_folders(seen->folder, err)) {
        mem_free(seen);
        return NULL;
    }
    return seen;
}

void seen_close(struct seen *seen)
{
    mem_free(seen);
}

const char *seen_folder(const struct seen *seen)
{
    return seen->folder;
}

int seen_lock(const struct seen *seen, struct err *err)
{
    char path[PATH_MAX];
    seen_path(seen, path, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_errno(err, ERR_IO, errno, "cannot open %s", path);
        return -1;
    }
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            err_errno(err, ERR_IO, errno, "cannot lock %s", path);
            close(fd);
            return -1;
        }
    }
    return fd;
}

/* ---- the floor: lines "NAME NUMBER" ---- */

struct floors {
    struct {
        char name[FLOOR_NAME_BYTES];
        uint64_t number;
    } entry[SEEN_FLOORS_MAX];
    size_t count;
};

static uint64_t *floor_find(struct floors *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->entry[i].name, name) == 0) {
            return &f->entry[i].number;
        }
    }
    return NULL;
}

static bool floors_parse(struct floors *f, char *text)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *space = strchr(line, ' ');
        if (space == NULL || space - line >= FLOOR_NAME_BYTES || f->count == SEEN_FLOORS_MAX) {
            return false;
        }
        *space = '\0';
        snprintf(f->entry[f->count].name, FLOOR_NAME_BYTES, "%s", line);
        if (!text_u64(&f->entry[f->count].number, space + 1, 0, UINT64_MAX)) {
            return false;
        }
        f->count++;
    }
    return true;
}

static bool floors_load(const struct seen *seen, struct floors *f, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    memset(f, 0, sizeof *f);
    seen_path(seen, path, "floor");
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return true;
    }
    buf_init(&text, FLOOR_BYTES_MAX);
    bool ok = text_read_file(&text, path, err);
    char *content = ok ? (char *)(uintptr_t)buf_cstr(&text) : NULL;
    if (ok && content == NULL) {
        ok = err_set(err, ERR_MEMORY, "no memory for the rollback guard");
    } else if (ok && (strlen(content) != text.len || !floors_parse(f, content))) {
        ok = err_set(err, ERR_IO,
                     "%s is damaged; it guards against old collateral: remove it only if you know why", path);
    }
    buf_free(&text);
    return ok;
}

static bool floors_store(const struct seen *seen, const struct floors *f, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    seen_path(seen, path, "floor");
    buf_init(&text, FLOOR_BYTES_MAX);
    for (size_t i = 0; i < f->count; i++) {
        buf_appendf(&text, "%s %" PRIu64 "\n", f->entry[i].name, f->entry[i].number);
    }
    bool ok =
        buf_check(&text, "the rollback guard", err) && text_write_file_atomic(path, text.data, text.len, err);
    buf_free(&text);
    return ok;
}

/* The three numbers that concern key. Evaluation numbers go up for each FMSPC on its own day. */
struct floor_names {
    char tcb[FLOOR_NAME_BYTES];
    const char *pck, *root;
};

static struct floor_names names_of(const struct collateral_key *key)
{
    struct floor_names n = {.pck = key->processor_ca ? "crl-processor" : "crl-platform", .root = "crl-root"};
    char fmspc[2 * FMSPC_BYTES + 1];
    snprintf(n.tcb, sizeof n.tcb, "tcb-%s", hex_str(fmspc, key->fmspc, FMSPC_BYTES));
    return n;
}

bool seen_floor(const struct seen *seen, const struct collateral_key *key, struct attest_floor *out,
                struct err *err)
{
    struct floor_names n = names_of(key);
    memset(out, 0, sizeof *out);
    struct floors *f = mem_alloc(sizeof *f);
    if (f == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the rollback guard");
    }
    bool ok = floors_load(seen, f, err);
    if (ok) {
        const uint64_t *tcb = floor_find(f, n.tcb), *pck = floor_find(f, n.pck),
                       *root = floor_find(f, n.root);
        out->tcb_evaluation = tcb != NULL && key->evaluation == 0 ? *tcb : 0;
        out->pck_crl_number = pck != NULL ? *pck : 0;
        out->root_crl_number = root != NULL ? *root : 0;
    }
    mem_free(f);
    return ok;
}

static bool raise_one(struct floors *f, const char *name, uint64_t number, bool *changed, struct err *err)
{
    uint64_t *there = floor_find(f, name);
    if (number == 0 || (there != NULL && *there >= number)) {
        return true;
    }
    if (there == NULL) {
        if (f->count == SEEN_FLOORS_MAX) {
            return err_set(err, ERR_TOO_LARGE, "the rollback guard is full");
        }
        snprintf(f->entry[f->count].name, FLOOR_NAME_BYTES, "%s", name);
        there = &f->entry[f->count++].number;
    }
    *there = number;
    *changed = true;
    return true;
}

bool seen_raise(const struct seen *seen, const struct collateral_key *key, const struct attest_floor *got,
                struct err *err)
{
    struct floor_names n = names_of(key);
    bool changed = false, ok = false;
    int lock = -1;
    struct floors *f = mem_alloc(sizeof *f);
    if (f == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the rollback guard");
    }
    lock = seen_lock(seen, err);
    ok = lock >= 0 && floors_load(seen, f, err) &&
         raise_one(f, n.tcb, key->evaluation == 0 ? got->tcb_evaluation : 0, &changed, err) &&
         raise_one(f, n.pck, got->pck_crl_number, &changed, err) &&
         raise_one(f, n.root, got->root_crl_number, &changed, err) &&
         (!changed || floors_store(seen, f, err));
    if (lock >= 0) {
        close(lock);
    }
    mem_free(f);
    return ok;
}

/* ---- the cache ---- */

static void cache_path(const struct seen *seen, const struct collateral_key *key, char path[static PATH_MAX])
{
    char name[SEEN_KEY_NAME_BYTES], file[64];
    seen_key_name(key, name);
    snprintf(file, sizeof file, "%s.json", name);
    seen_path(seen, path, file);
}

bool seen_cache_load(const struct seen *seen, const struct collateral_key *key, struct collateral *out,
                     int64_t *written, struct err *err)
{
    char path[PATH_MAX];
    struct stat file;
    struct buf text;
    *written = 0;
    cache_path(seen, key, path);
    if (stat(path, &file) != 0) {
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "no cached collateral");
    }
    buf_init(&text, CACHE_BYTES_MAX);
    bool ok = text_read_file(&text, path, err) &&
              collateral_parse_json(out, (const char *)text.data, text.len, err);
    buf_free(&text);
    *written = ok ? (int64_t)file.st_mtime : 0;
    return ok;
}

bool seen_cache_save(const struct seen *seen, const struct collateral_key *key, const struct collateral *c,
                     struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    bool ok = false;
    cache_path(seen, key, path);
    buf_init(&text, CACHE_BYTES_MAX);
    int lock = seen_lock(seen, err);
    if (lock >= 0) {
        ok = collateral_write_json(c, &text, err) && text_write_file_atomic(path, text.data, text.len, err);
        close(lock);
    }
    buf_free(&text);
    return ok;
}
