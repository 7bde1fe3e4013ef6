#include "app/command.h"
#include "app/print_verdict.h"
#include "app/verifier.h"
#include "base/mem.h"

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
                   ? print_verdict(&verification->verdict, config->json)
                   : command_failed(&err);
        verification_free(verification);
    }
    mem_free(verification);
    verifier_free(verifier);
    upstream_config_free(upstream);
    return code;
}
