/* The guest's software as dstack measured it (attestation.md section 4): event log against the quote's four RTMRs, the
 * compose file against its event and MRCONFIGID. Who chose that software is for pins to say: MRCONFIGID is the host's
 * choice, and means something only because a pinned OS image refuses to boot on a mismatch. */
#ifndef E2EE_ATTEST_DSTACK_H
#define E2EE_ATTEST_DSTACK_H

#include "attest/body.h"
#include "attest/event_log.h"

/* Appends guest.event-log, guest.events, guest.compose, guest.config-id, guest.key-provider and guest.os-image, and fills
 * v->guest from authenticated events. body NULL: a bare quote, for which they are not applicable. v->measurements must be
 * filled. False only for ERR_MEMORY, ERR_CRYPTO and ERR_INTERNAL. */
bool dstack_check(struct attest_verdict *v, const struct attest_body *body, struct err *err) MUST_CHECK;
/* Appends those checks as not-checked and enforced. */
void dstack_skip(struct attest_verdict *v, const char *why);

/* MRCONFIGID versions 1 to 3 from what they cover; document: of version 3, exact bytes. */
struct dstack_config {
    const uint8_t *compose_hash; /* SHA256_BYTES */
    const uint8_t *app_id;       /* APP_ID_BYTES */
    const char *key_provider;    /* name in the event */
    const uint8_t *key_provider_id;
    size_t key_provider_id_len;
};
void dstack_config_id_v1(uint8_t out[static MEASUREMENT_BYTES], const struct dstack_config *c);
bool dstack_config_id_v2(uint8_t out[static MEASUREMENT_BYTES], const struct dstack_config *c,
                         struct err *err) MUST_CHECK;
bool dstack_config_id_v3(uint8_t out[static MEASUREMENT_BYTES], const void *document, size_t len,
                         struct err *err) MUST_CHECK;

#endif
