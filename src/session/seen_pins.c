/* Pins of first use: one policy file of pins for each model, named by the hash of its id (ids are the provider's text). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attest/pins.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/text.h"
#include "session/seen_internal.h"

static bool pins_path(const struct seen *seen, const char *model, char path[static PATH_MAX], struct err *err)
{
    uint8_t hash[SHA256_BYTES];
    char hex[2 * 8 + 1], file[64];
    if (!hash_sha256(hash, model, strlen(model))) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    snprintf(file, sizeof file, "pins-%s.ini", hex_str(hex, hash, 8));
    seen_path(seen, path, file);
    return true;
}

bool seen_pins(const struct seen *seen, const char *model, struct attest_policy *out, struct err *err)
{
    char path[PATH_MAX];
    policy_init(out);
    if (!pins_path(seen, model, path, err)) {
        return false;
    }
    return (access(path, F_OK) != 0 && errno == ENOENT) || policy_load(out, path, err);
}

/* Whether two pins have the same values, whatever they are called. */
static bool same_pin(bool *same, const struct attest_pin *a, const struct attest_pin *b, struct err *err)
{
    struct attest_pin x = *a, y = *b;
    struct buf one, other;
    snprintf(x.label, sizeof x.label, "x");
    snprintf(y.label, sizeof y.label, "x");
    snprintf(x.model, sizeof x.model, "*");
    snprintf(y.model, sizeof y.model, "*");
    buf_init(&one, POLICY_FILE_BYTES);
    buf_init(&other, POLICY_FILE_BYTES);
    pins_write(&one, &x);
    pins_write(&other, &y);
    bool ok = buf_check(&one, "a pin", err) && buf_check(&other, "a pin", err);
    *same = ok && one.len == other.len && memcmp(one.data, other.data, one.len) == 0;
    buf_free(&one);
    buf_free(&other);
    return ok;
}

/* The model's id for a person who opens the file: what is no plain character becomes a question mark. */
static void write_head(struct buf *out, const char *model)
{
    buf_append_str(out, "; Software accepted for the model ");
    for (const char *p = model; *p != '\0'; p++) {
        buf_append_byte(out, *p >= ' ' && *p <= '~' ? (uint8_t)*p : '?');
    }
    buf_append_str(out, ".\n; Remove a section, or the file, to forget it.\n\n");
}

static void make_label(struct attest_pin *named, bool first, size_t number)
{
    time_t now = (time_t)clock_wall_s();
    struct tm day;
    char date[32] = "";
    if (gmtime_r(&now, &day) != NULL) {
        strftime(date, sizeof date, "%Y-%m-%d", &day);
    }
    if (first) {
        snprintf(named->label, sizeof named->label, "first use %s", date);
    } else {
        snprintf(named->label, sizeof named->label, "attest --pin %s %zu", date, number);
    }
    snprintf(named->model, sizeof named->model, "*");
}

static bool store(const char *path, const char *model, const struct attest_policy *there,
                  const struct attest_pin *want, bool first, struct err *err)
{
    struct attest_pin named = *want;
    struct buf out;
    make_label(&named, first, there->accepted_count + 1);
    buf_init(&out, POLICY_FILE_BYTES);
    write_head(&out, model);
    for (size_t i = 0; i < there->accepted_count; i++) {
        pins_write(&out, &there->accepted[i]);
        buf_append_byte(&out, '\n');
    }
    pins_write(&out, &named);
    bool ok = buf_check(&out, "the stored pins", err) && text_write_file_atomic(path, out.data, out.len, err);
    buf_free(&out);
    return ok;
}

static bool pin_locked(const struct seen *seen, const char *model, const struct attest_pin *want, bool first,
                       struct attest_policy *there, struct err *err)
{
    char path[PATH_MAX];
    if (!seen_pins(seen, model, there, err) || !pins_path(seen, model, path, err)) {
        return false;
    }
    for (size_t i = 0; i < there->accepted_count; i++) {
        bool same;
        if (!same_pin(&same, &there->accepted[i], want, err)) {
            return false;
        }
        if (same) {
            return true;
        }
    }
    if (first && there->accepted_count > 0) {
        return err_set(err, ERR_ATTESTATION,
                       "pins: other software was stored for this model a moment ago; see `attest MODEL`");
    }
    if (there->accepted_count == POLICY_PINS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "%d pins are stored for this model: remove some from %s",
                       POLICY_PINS_MAX, path);
    }
    return store(path, model, there, want, first, err);
}

bool seen_pin(const struct seen *seen, const char *model, const struct attest_pin *want, bool first,
              struct err *err)
{
    struct attest_policy *there = mem_alloc(sizeof *there);
    if (there == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the stored pins");
    }
    policy_init(there);
    int lock = seen_lock(seen, err);
    bool ok = lock >= 0 && pin_locked(seen, model, want, first, there, err);
    if (lock >= 0) {
        close(lock);
    }
    policy_free(there);
    mem_free(there);
    return ok;
}

/* The sum over the files does not depend on the order in which the folder names them. */
static bool add_file(const struct seen *seen, const char *name, uint8_t sum[static SHA256_BYTES],
                     struct err *err)
{
    char path[PATH_MAX];
    uint8_t hash[SHA256_BYTES];
    struct buf text;
    buf_init(&text, 2 * POLICY_FILE_BYTES);
    seen_path(seen, path, name);
    bool ok = text_read_file(&text, path, err);
    if (ok) {
        buf_append(&text, name, strlen(name));
        ok = buf_check(&text, "the stored pins", err) &&
             (hash_sha256(hash, text.data, text.len) || err_set(err, ERR_CRYPTO, "SHA-256 failed"));
    }
    for (size_t i = 0; ok && i < SHA256_BYTES; i++) {
        sum[i] ^= hash[i];
    }
    buf_free(&text);
    return ok;
}

bool seen_pins_digest(const struct seen *seen, uint8_t out[static SHA256_BYTES], struct err *err)
{
    bool ok = true;
    memset(out, 0, SHA256_BYTES);
    DIR *dir = opendir(seen->folder);
    if (dir == NULL) {
        return err_errno(err, ERR_IO, errno, "cannot read %s", seen->folder);
    }
    for (const struct dirent *entry = readdir(dir); ok && entry != NULL; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);
        if (strncmp(entry->d_name, "pins-", 5) == 0 && len > 4 &&
            strcmp(entry->d_name + len - 4, ".ini") == 0) {
            ok = add_file(seen, entry->d_name, out, err);
        }
    }
    closedir(dir);
    return ok;
}
