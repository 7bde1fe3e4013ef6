/* What is known of devices that do not tell it themselves (docs/tokens), by the manufacturer that C_GetTokenInfo names. */
#ifndef E2EE_HSM_DEVICE_H
#define E2EE_HSM_DEVICE_H

#include <stddef.h>

#include "hsm/module.h"

/* Objects that the module has places for, public halves and derived secrets included; past them it fails as if the card were broken,
 * and derives no more. 0: no such limit is known. */
size_t device_places(const CK_TOKEN_INFO *info);
/* Of these, how many stay free for derived secrets, one for each thread. */
#define DEVICE_PLACES_FREE 8
/* Key pairs that it holds, 0: not known. */
size_t device_pairs(const CK_TOKEN_INFO *info);

#endif
