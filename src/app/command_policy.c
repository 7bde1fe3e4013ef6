#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "attest/policy.h"

#define POLICY_TEXT_BYTES_MAX 1048576

int command_policy(const struct config *config)
{
    struct err err = {0};
    struct attest_policy policy;
    struct buf out;
    if (config->word_count != 1 || strcmp(config->words[0], "show") != 0) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy policy show [--policy FILE]");
        return command_failed(&err);
    }
    policy_init(&policy);
    buf_init(&out, POLICY_TEXT_BYTES_MAX);
    bool ok = (config->policy == NULL || policy_load(&policy, config->policy, &err)) &&
              policy_show(&policy, &out, &err);
    if (ok) {
        fwrite(out.data, 1, out.len, stdout);
    }
    buf_free(&out);
    policy_free(&policy);
    return ok ? 0 : command_failed(&err);
}
