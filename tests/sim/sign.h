/*
 * Signatures of answers (docs/PROTOCOL.md section 4), kept for the last answers.
 */
#ifndef SIM_SIGN_H
#define SIM_SIGN_H

#include "model.h"

/* Files the pair of hashes under the answer's id, signed in the words of the model's server. */
void sign_store(const char *id, const struct model *model, const uint8_t request[static 32],
                const uint8_t response[static 32]);
/* Body of GET /tee/signature, NULL when there is none. Caller frees. */
char *sign_body(const char *id, const struct model *model, const struct fault_use *fault);
void sign_reset(void);

#endif
