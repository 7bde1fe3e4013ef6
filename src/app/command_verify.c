#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/print_verdict.h"
#include "attest/attest.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "session/collateral_source.h"

#define QUOTE_FILE_BYTES_MAX 1048576

/* What lies at PATH, and how it is to be judged. */
struct saved {
    struct buf body, quote, nras, nras_keys;
    struct nras_evidence said;
    char model[LIMIT_MODEL_ID_BYTES + 1];
    struct collateral collateral;
    struct collateral_got got; /* by --collateral */
    struct attest_policy policy;
    struct attest_root *root;
    uint8_t nonce[ATTEST_NONCE_BYTES];
    struct attest_input input;
    int64_t at;
};

/* What NVIDIA's service said at that time, when it was asked. */
static bool load_nras(struct saved *s, const char *folder, struct err *err)
{
    char answer[PATH_MAX], keys[PATH_MAX];
    snprintf(answer, sizeof answer, "%s/nras.json", folder);
    snprintf(keys, sizeof keys, "%s/nras_keys.json", folder);
    if (access(answer, F_OK) != 0) {
        return true;
    }
    if (!text_read_file(&s->nras, answer, err) || !text_read_file(&s->nras_keys, keys, err)) {
        return false;
    }
    s->said = (struct nras_evidence){.answer = (const char *)s->nras.data,
                                     .keys = (const char *)s->nras_keys.data,
                                     .answer_len = s->nras.len,
                                     .keys_len = s->nras_keys.len};
    s->input.nras = &s->said;
    return true;
}

static bool load_evidence(struct saved *s, const char *folder, struct err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/attestation.json", folder);
    if (access(path, F_OK) == 0) {
        return text_read_file(&s->body, path, err) && load_nras(s, folder, err);
    }
    snprintf(path, sizeof path, "%s/quote.bin", folder);
    return text_read_file(&s->quote, path, err);
}

static bool load_root(struct saved *s, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, 65536);
    bool ok = text_read_file(&text, path, err) && (s->root = root_parse(text.data, text.len, err)) != NULL;
    buf_free(&text);
    return ok;
}

/* Whose evidence it is, as `attest --save` noted it. Without that only pins of every model count. */
static bool load_model(struct saved *s, const char *folder, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    buf_init(&text, LIMIT_MODEL_ID_BYTES + 2);
    bool ok = snprintf(path, sizeof path, "%s/model.txt", folder) < (int)sizeof path;
    if (!ok || access(path, F_OK) != 0) {
        return true;
    }
    ok = text_read_file(&text, path, err);
    const char *model = ok ? buf_cstr(&text) : NULL;
    if (model != NULL) {
        size_t len = strcspn(model, "\r\n");
        len = len <= LIMIT_MODEL_ID_BYTES ? len : LIMIT_MODEL_ID_BYTES;
        memcpy(s->model, model, len);
        s->model[len] = '\0';
        s->input.model = s->model;
    }
    buf_free(&text);
    return ok;
}

/* Nothing is pinned here: what a policy lists counts, and a policy that lists nothing says nothing of pins. */
static bool load_policy(struct saved *s, const char *path, struct err *err)
{
    if (!policy_load(&s->policy, path, err)) {
        return false;
    }
    if (s->policy.pins == POLICY_PINS_FIRST_USE) {
        s->policy.pins = s->policy.accepted_count > 0 ? POLICY_PINS_POLICY : POLICY_PINS_OFF;
    }
    return true;
}

/* PATH's own collateral, unless --collateral names other: all of it then, for pieces of two sets belong to no moment. */
static bool load_collateral(struct saved *s, const struct config *config, const char *folder, struct err *err)
{
    if (config->collateral == NULL) {
        if (collateral_load_folder(&s->collateral, folder, err)) {
            s->input.collateral = &s->collateral;
            return true;
        }
        return err->kind == ERR_NOT_FOUND; /* judged without: the verdict says what that leaves open */
    }
    const struct collateral_source_options options = {.where = config->collateral};
    struct collateral_source *source = collateral_source_new(&options, err);
    struct collateral_key key;
    struct err ignored = {0};
    bool ok = source != NULL &&
              (!collateral_source_online(source) ||
               err_set(err, ERR_CONFIG, "--collateral: verify asks no service; give a file or a folder"));
    /* Evidence that names no platform is refused for that, whatever collateral there is. */
    if (ok && attest_collateral_key(&s->input, &key, &ignored)) {
        collateral_source_get(source, &key, s->at, false, &s->got);
        s->input.collateral = &s->got.collateral;
        ok = s->got.origin != COLLATERAL_NONE ||
             err_set(err, s->got.problem.kind, "%s", s->got.problem.message);
    }
    collateral_source_free(source);
    return ok;
}

static bool read_options(struct saved *s, const struct config *config, struct err *err)
{
    uint64_t at = 0;
    s->at = clock_wall_s();
    if (config->at != NULL) {
        if (!text_u64(&at, config->at, 0, INT64_MAX / 2)) {
            return err_set(err, ERR_CONFIG, "--at takes seconds since 1970");
        }
        s->at = (int64_t)at;
    }
    if (config->nonce != NULL) {
        if (strlen(config->nonce) != sizeof s->nonce * 2 ||
            !hex_decode(s->nonce, config->nonce, sizeof s->nonce * 2)) {
            return err_set(err, ERR_CONFIG, "--nonce takes 64 hex digits");
        }
        s->input.nonce = s->nonce;
    }
    if (config->policy != NULL) {
        return load_policy(s, config->policy, err);
    }
    s->policy.pins = POLICY_PINS_OFF;
    return true;
}

static bool load(struct saved *s, const struct config *config, struct err *err)
{
    const char *folder = config->words[0];
    if (!read_options(s, config, err) || !load_evidence(s, folder, err) || !load_model(s, folder, err) ||
        (config->root != NULL && !load_root(s, config->root, err))) {
        return false;
    }
    s->input.root = s->root;
    if (s->body.len > 0) {
        s->input.body = (const char *)s->body.data;
        s->input.body_len = s->body.len;
    } else {
        s->input.quote = s->quote.data;
        s->input.quote_len = s->quote.len;
    }
    return load_collateral(s, config, folder, err);
}

int command_verify(const struct config *config)
{
    struct err err = {0};
    struct saved s;
    if (config->word_count != 1) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy verify PATH [options]");
        return command_failed(&err);
    }
    memset(&s, 0, sizeof s);
    buf_init(&s.body, LIMIT_ATTESTATION_BYTES);
    buf_init(&s.quote, QUOTE_FILE_BYTES_MAX);
    buf_init(&s.nras, NRAS_ANSWER_BYTES_MAX);
    buf_init(&s.nras_keys, JWKS_BYTES_MAX);
    collateral_init(&s.collateral);
    collateral_got_init(&s.got);
    policy_init(&s.policy);
    struct attest_verdict *verdict = mem_calloc(1, sizeof *verdict);
    int code;
    if (verdict == NULL) {
        err_set(&err, ERR_MEMORY, "no memory for a verdict");
        code = command_failed(&err);
    } else if (!load(&s, config, &err)) {
        code = command_failed(&err);
    } else {
        bool judged = attest_verify(&s.input, &s.policy, s.at, verdict, &err);
        /* What is no evidence at all is refused too: exit 1, with the reason in the verdict. */
        code =
            judged || err.kind == ERR_INVALID ? print_verdict(verdict, config->json) : command_failed(&err);
    }
    mem_free(verdict);
    root_free(s.root);
    policy_free(&s.policy);
    collateral_free(&s.collateral);
    collateral_got_free(&s.got);
    buf_free(&s.nras_keys);
    buf_free(&s.nras);
    buf_free(&s.quote);
    buf_free(&s.body);
    return code;
}
