/* Evidence kept for an auditor: a folder that `verify PATH --at EPOCH --nonce HEX` judges again, years later and without
 * network. Holds no secret and no prompt. Blocking; any thread but a loop. */
#ifndef E2EE_APP_EVIDENCE_H
#define E2EE_APP_EVIDENCE_H

#include "app/verifier.h"

/* Writes attestation.json, quote.bin, the collateral, nras.json and nras_keys.json (where asked), nonce.txt, verdict.json and README.txt (the command that judges
 * them) into folder, which is made (0700) when missing. What is there by these names is replaced. */
bool evidence_save(const char *folder, const char *model, const struct verification *v,
                   struct err *err) MUST_CHECK;
/* The same in a new folder below dir, named by time, model and verdict, which appears whole or not at all. */
bool evidence_keep(const char *dir, const char *model, const struct verification *v,
                   struct err *err) MUST_CHECK;
/* What was verified as a policy file with pins = policy. ERR_CONFIG when the file exists, or the model's id cannot
 * stand in a policy; ERR_ATTESTATION when the verdict is a refusal. */
bool evidence_write_policy(const char *path, const char *model, const struct verification *v,
                           struct err *err) MUST_CHECK;

#endif
