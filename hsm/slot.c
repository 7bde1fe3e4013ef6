#include "hsm/slot.h"

#include <stdio.h>

static bool usable(const struct module_token *token)
{
    return (token->info.flags & CKF_TOKEN_INITIALIZED) != 0;
}

bool slot_choose(struct module_token *out, const struct module_token *tokens, size_t count,
                 const struct uri *uri, const CK_INFO *library, struct err *err)
{
    const struct module_token *found = NULL;
    size_t initialised = 0;
    for (size_t i = 0; i < count; i++) {
        if (!usable(&tokens[i])) {
            continue;
        }
        initialised++;
        if (uri != NULL && !uri_matches(uri, &tokens[i], library)) {
            continue;
        }
        if (found != NULL) {
            return err_set(err, ERR_CONFIG,
                           "two tokens match: \"%s\" (serial %s, slot %lu) and \"%s\" (serial %s, slot %lu); "
                           "name one by "
                           "--token 'pkcs11:serial=…'",
                           found->label, found->serial, found->slot, tokens[i].label, tokens[i].serial,
                           tokens[i].slot);
        }
        found = &tokens[i];
    }
    if (found != NULL) {
        *out = *found;
        return true;
    }
    if (uri == NULL || initialised == 0) {
        return err_set(err, ERR_TOKEN,
                       "the PKCS#11 module shows no initialised token in %zu slot%s with a token; insert or "
                       "initialise one (docs/tokens)",
                       count, count == 1 ? "" : "s");
    }
    return err_set(err, ERR_TOKEN,
                   "no token matches --token; the module shows %zu initialised, the first is \"%s\"",
                   initialised, tokens[0].label);
}
