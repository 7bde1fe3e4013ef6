/* Card verifiable certificates (BSI TR-03110 part 3, appendices C and D) with signatures that verify under no key: nothing in OpenSC's
 * driver looks at them. */
#ifndef E2EE_TESTS_SIMCARD_CERTIFICATE_H
#define E2EE_TESTS_SIMCARD_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "curve.h"

/* The authenticated request (tag 67) that answers a key generation: request is the command's data, the domain
 * parameters included, point the new public key. */
bool certificate_request(const uint8_t *request, size_t request_len, const uint8_t point[CURVE_POINT],
                         uint8_t *out, size_t cap, size_t *len);
/* The device's own certificate (file 2F02), whose holder is the serial number and five digits. */
bool certificate_device(const char *holder, uint8_t *out, size_t cap, size_t *len);

#endif
