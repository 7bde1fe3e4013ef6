/* Which token: the one that the URI names, or the only one there is. */
#ifndef E2EE_HSM_SLOT_H
#define E2EE_HSM_SLOT_H

#include "hsm/module.h"
#include "hsm/uri.h"

/* The one initialised token among tokens[0..count) that uri (NULL: any) names. ERR_TOKEN when there is none, ERR_CONFIG
 * when there are several: the message names what was found. */
bool slot_choose(struct module_token *out, const struct module_token *tokens, size_t count,
                 const struct uri *uri, const CK_INFO *library, struct err *err) MUST_CHECK;

#endif
