#include "hsm/unit.h"

#include <string.h>

#include "base/log.h"
#include "hsm/selftest.h"

/* A token that cannot be used now, but perhaps later. What is wrong in the configuration ends the start. */
static bool may_come(const struct err *err)
{
    return err->kind == ERR_TOKEN || err->kind == ERR_BUSY || err->kind == ERR_PIN ||
           err->kind == ERR_KEY_GONE;
}

static bool open_one(struct unit *u, const struct instance *instance, struct err *err)
{
    if (!token_login(&u->token, err)) {
        return false;
    }
    for (size_t i = 0; i < instance->dead_count; i++) {
        key_sweep(&u->token, &u->keys, instance->dead[i]);
    }
    u->token.tested = selftest_token(&u->token, &u->keys, NULL, err);
    return u->token.tested;
}

bool units_open(struct unit *units, size_t *count, const struct token_options *options,
                struct instance *instance, struct err *err)
{
    size_t wanted = options->uri_count > 0 ? options->uri_count : 1, working = 0;
    *count = 0;
    for (size_t i = 0; i < wanted; i++) {
        struct unit *u = &units[i];
        if (!token_load(&u->token, options, i, instance, err)) {
            return false;
        }
        *count = i + 1;
        if (open_one(u, instance, &u->down)) {
            working++;
            err_clear(&u->down);
            continue;
        }
        if (wanted == 1 || !may_come(&u->down)) {
            *err = u->down;
            return false;
        }
        log_error("token %zu of %zu cannot be used: %s", i + 1, wanted, u->down.message);
        /* When none works: one that may come back by itself decides how the process ends. */
        if (err->kind == ERR_NONE || (err->kind == ERR_PIN && u->down.kind != ERR_PIN)) {
            *err = u->down;
        }
    }
    instance_swept(instance);
    if (working > 0) {
        err_clear(err);
    }
    return working > 0;
}

/* Pairs that the token kept unseen: only a module that starts afresh finds them. */
static void sweep_unseen(struct unit *u)
{
    struct err err = {0};
    if (u->token.unseen == 0) {
        return;
    }
    module_recovery_begin(u->token.module); /* the audit key's thread may be in the module */
    bool back = token_recover(&u->token, true, &err);
    module_recovery_end(u->token.module);
    if (back) {
        key_sweep(&u->token, &u->keys, u->token.instance->label);
    } else {
        log_warn("pairs that could not be made may be on the token until the next start: %s", err.message);
    }
}

void units_empty(struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct unit *u = &units[i];
        key_destroy_all(&u->token, &u->keys);
        if (u->token.session != CK_INVALID_HANDLE) {
            key_sweep(&u->token, &u->keys, u->token.instance->label);
            sweep_unseen(u);
        }
    }
}

void units_close(struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        token_close(&units[i].token);
    }
}

size_t units_choose(const struct unit *units, size_t count, size_t last)
{
    size_t best = last % count;
    bool found = false;
    for (size_t n = 1; n <= count; n++) {
        size_t i = (last + n) % count;
        struct pool_state state;
        pool_state(units[i].pool, &state);
        if (state.token == KEYIPC_TOKEN_READY && (!found || units[i].held < units[best].held)) {
            best = i;
            found = true;
        }
    }
    return best;
}

void units_state(const struct unit *units, size_t count, struct pool_state *out)
{
    double a_second = 0; /* derivations */
    *out = (struct pool_state){.token = KEYIPC_TOKEN_PIN};
    for (size_t i = 0; i < count; i++) {
        struct pool_state state;
        pool_state(units[i].pool, &state);
        if (state.token == KEYIPC_TOKEN_READY || out->token == KEYIPC_TOKEN_PIN) {
            out->token = state.token;
        }
        out->sessions += state.sessions;
        out->derives += state.derives;
        out->generates += state.generates;
        out->failures += state.failures;
        out->queued += state.queued;
        for (int op = 0; op < KEYIPC_TIMED_COUNT; op++) {
            histogram_merge(&out->times[op], &state.times[op]);
        }
        if (state.token == KEYIPC_TOKEN_READY && state.derive_ns > 0 && units[i].held > 0) {
            a_second += 1e9 / (double)state.derive_ns;
        }
    }
    out->derive_ns = a_second > 0 ? (int64_t)(1e9 / a_second) : 0;
}
