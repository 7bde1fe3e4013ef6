#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/evidence.h"
#include "app/print_verdict.h"
#include "app/verifier.h"
#include "base/mem.h"

/* --pin: shows what differs, then accepts it. */
static bool pin(struct verifier *verifier, const char *model, struct verification *v, struct err *err)
{
    const struct verdict_check *check = verdict_find(&v->verdict, "pins");
    if (check != NULL) {
        fprintf(stderr, "%s: %s\n", check->result == CHECK_FAIL ? "before" : "pins", check->detail);
    }
    return verifier_pin(verifier, model, v, err);
}

/* --pin, --save and --write-policy, and the verdict on standard output. */
static int report(const struct config *config, struct verifier *verifier, struct verification *v)
{
    const char *model = config->words[0];
    struct err err = {0};
    bool done = (!config->pin || pin(verifier, model, v, &err)) &&
                (config->save == NULL || evidence_save(config->save, model, v, &err)) &&
                (config->write_policy == NULL || evidence_write_policy(config->write_policy, model, v, &err));
    int code = print_verdict(&v->verdict, config->json);
    if (!done) {
        int failed = command_failed(&err);
        code = err.kind == ERR_ATTESTATION ? 1 : failed;
    }
    return code;
}

int command_attest(const struct config *config)
{
    struct err err = {0};
    if (config->word_count != 1) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy attest MODEL [options]");
        return command_failed(&err);
    }
    struct upstream_config *upstream = command_upstream(config, &err);
    struct verifier *verifier = upstream != NULL ? verifier_new(config, upstream, &err) : NULL;
    struct verification *verification = verifier != NULL ? mem_alloc(sizeof *verification) : NULL;
    int code;
    if (verification == NULL) {
        code = command_failed(&err);
    } else {
        verification_init(verification);
        code = verifier_verify(verifier, config->words[0], verification, &err)
                   ? report(config, verifier, verification)
                   : command_failed(&err);
        verification_free(verification);
    }
    mem_free(verification);
    verifier_free(verifier);
    upstream_config_free(upstream);
    return code;
}
