#include "app/evidence.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attest/body.h"
#include "attest/pins.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/text.h"

#define VERDICT_BYTES_MAX 1048576

static bool write_file(const char *folder, const char *name, const void *data, size_t len, struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
        return err_set(err, ERR_CONFIG, "the folder's path is too long");
    }
    return text_write_file_atomic(path, data, len, err);
}

/* Only bodies that can be read have a quote to show. */
static bool write_quote(const char *folder, const struct verification *v, struct err *err)
{
    struct attest_body body;
    struct err ignored = {0};
    body_init(&body);
    bool ok = true;
    if (body_parse(&body, (const char *)v->body.data, v->body.len, &ignored)) {
        ok = write_file(folder, "quote.bin", body.quote.data, body.quote.len, err);
    } else {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/quote.bin", folder) < (int)sizeof path) {
            unlink(path);
        }
    }
    body_free(&body);
    return ok;
}

static bool write_texts(const char *folder, const char *model, const struct verification *v, struct err *err)
{
    char nonce[2 * ATTEST_NONCE_BYTES + 1];
    struct buf text;
    buf_init(&text, VERDICT_BYTES_MAX);
    hex_str(nonce, v->nonce, sizeof v->nonce);
    bool ok = write_file(folder, "model.txt", model, strlen(model), err) &&
              write_file(folder, "nonce.txt", nonce, strlen(nonce), err) &&
              verdict_to_json(&v->verdict, &text, err) && buf_append_byte(&text, '\n') &&
              write_file(folder, "verdict.json", text.data, text.len, err);
    buf_reset(&text);
    buf_append_str(&text, "Evidence of the enclave that serves the model ");
    for (const char *p = model; *p != '\0'; p++) {
        buf_append_byte(&text, *p >= ' ' && *p <= '~' ? (uint8_t)*p : '?');
    }
    buf_appendf(
        &text,
        ".\nTo judge it again as at the moment it was fetched:\n\n"
        "    e2ee-hsm-proxy verify . --at %" PRId64 " --nonce %s\n\n"
        "(with --root FILE where another root than Intel's was trusted, with --policy FILE to judge by a "
        "policy)\n",
        v->verdict.at, nonce);
    ok = ok && buf_check(&text, "README.txt", err) &&
         write_file(folder, "README.txt", text.data, text.len, err);
    buf_free(&text);
    return ok;
}

/* What NVIDIA's service said; nothing of an earlier set may lie there instead. */
static bool write_nras(const char *folder, const struct nras_got *nras, struct err *err)
{
    static const char *const names[] = {"nras.json", "nras_keys.json"};
    const struct buf *const texts[] = {&nras->answer, &nras->keys};
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        if (nras->asked && texts[i]->len > 0) {
            if (!write_file(folder, names[i], texts[i]->data, texts[i]->len, err)) {
                return false;
            }
        } else if (snprintf(path, sizeof path, "%s/%s", folder, names[i]) < (int)sizeof path) {
            unlink(path);
        }
    }
    return true;
}

bool evidence_save(const char *folder, const char *model, const struct verification *v, struct err *err)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return err_errno(err, ERR_IO, errno, "cannot make the folder %s", folder);
    }
    return write_file(folder, "attestation.json", v->body.data, v->body.len, err) &&
           write_quote(folder, v, err) && collateral_save_folder(&v->got.collateral, folder, err) &&
           write_nras(folder, &v->nras, err) && write_texts(folder, model, v, err);
}

/* "20261124T105800Z-sim-near-verified-1f3a9c02"; what is no plain character of the model's id becomes "_". */
static void make_name(char *out, size_t cap, const char *model, const struct verification *v)
{
    time_t at = (time_t)v->verdict.at;
    struct tm day;
    char date[32] = "", id[65], nonce[9];
    size_t n = 0;
    if (gmtime_r(&at, &day) != NULL) {
        strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &day);
    }
    for (; model[n] != '\0' && n + 1 < sizeof id; n++) {
        bool plain = (model[n] >= 'a' && model[n] <= 'z') || (model[n] >= 'A' && model[n] <= 'Z') ||
                     (model[n] >= '0' && model[n] <= '9') || model[n] == '-';
        id[n] = plain ? model[n] : '_';
    }
    id[n] = '\0';
    snprintf(out, cap, "%s-%s-%s-%s", date, id, v->verdict.verified ? "verified" : "refused",
             hex_str(nonce, v->nonce, 4));
}

/* A set that could not be written whole: a full disk must not collect halves. */
static void discard(const char *folder)
{
    char path[PATH_MAX];
    DIR *dir = opendir(folder);
    for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        if (e->d_type == DT_REG &&
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path) {
            unlink(path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
        rmdir(folder);
    }
}

bool evidence_keep(const char *dir, const char *model, const struct verification *v, struct err *err)
{
    char name[160], temporary[PATH_MAX], path[PATH_MAX];
    make_name(name, sizeof name, model, v);
    if (snprintf(temporary, sizeof temporary, "%s/.%s.tmp", dir, name) >= (int)sizeof temporary ||
        snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) {
        return err_set(err, ERR_CONFIG, "evidence_dir: the path is too long");
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return err_errno(err, ERR_IO, errno, "cannot make the folder %s", dir);
    }
    bool ok =
        evidence_save(temporary, model, v, err) &&
        (rename(temporary, path) == 0 || err_errno(err, ERR_IO, errno, "cannot name the folder %s", path));
    if (!ok) {
        discard(temporary);
    }
    return ok;
}

/* A policy that cannot be read back is not written. */
static bool readable(struct buf *text, const char *path, struct err *err)
{
    struct attest_policy policy;
    const char *cstr = buf_cstr(text);
    policy_init(&policy);
    bool ok = cstr != NULL ? policy_parse(&policy, path, cstr, err)
                           : err_set(err, ERR_MEMORY, "no memory for a policy");
    policy_free(&policy);
    return ok;
}

bool evidence_write_policy(const char *path, const char *model, const struct verification *v, struct err *err)
{
    struct attest_pin seen;
    struct buf text;
    bool ok;
    if (!v->verdict.verified || !pins_from_verdict(&seen, &v->verdict, model)) {
        return err_set(err, ERR_ATTESTATION, "no policy is written: %s", v->verdict.reason);
    }
    if (access(path, F_OK) == 0) {
        return err_set(err, ERR_CONFIG, "%s exists: name another file, and copy its [pin] section over",
                       path);
    }
    buf_init(&text, POLICY_FILE_BYTES);
    buf_appendf(&text,
                "; What was verified at %" PRId64
                " (seconds since 1970). Nobody vouched for it: compare it with what\n"
                "; the provider publishes.\n[pins]\nmode = policy\n\n",
                v->verdict.at);
    pins_write(&text, &seen);
    ok = buf_check(&text, "policy", err) && readable(&text, path, err) &&
         text_write_file_atomic(path, text.data, text.len, err);
    buf_free(&text);
    return ok;
}
