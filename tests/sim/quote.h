/*
 * Evidence of a made-up TDX machine: a v4 quote laid out as Intel's (docs/PROTOCOL.md and the attestation notes give
 * the offsets), a dstack event log that replays to its RTMRs and a compose file that MRCONFIGID measures.
 *
 * Every signature in it is right, up to the simulator's own root (intel.h).
 */
#ifndef SIM_QUOTE_H
#define SIM_QUOTE_H

#include "fault.h"
#include "util.h"

/* Offsets within a v4 quote. */
enum {
    QUOTE_TEE_TYPE = 4,
    QUOTE_BODY = 48,
    QUOTE_TEE_TCB_SVN = 48,
    QUOTE_MRSEAM = 64,
    QUOTE_TDATTRIBUTES = 168,
    QUOTE_XFAM = 176,
    QUOTE_MRTD = 184,
    QUOTE_MRCONFIGID = 232,
    QUOTE_RTMR0 = 376,
    QUOTE_REPORTDATA = 568,
    QUOTE_SIG_LEN = 632,
    QUOTE_SIG = 636,
    QUOTE_SIGNED = 632, /* header and body: what the attestation key signs */
};

struct quote_request {
    uint8_t report_data[64];
    const char *app_name;
    const struct fault_use *fault; /* those of attestation that concern the quote; may be NULL */
};

struct quote {
    struct bytes raw;
    char *event_log;   /* JSON array */
    char *app_compose; /* as served: a fault may make it another than the measured one */
    uint8_t compose_hash[32], app_id[20], instance_id[20], os_image_hash[32];
    uint8_t mrtd[48], rtmr[4][48], mr_config_id[48];
    char *key_provider; /* JSON text */
};

void quote_make(const struct quote_request *request, struct quote *out);
void quote_free(struct quote *q);

#endif
