/* A dstack event log (attestation.md section 4): what was measured into RTMR0 to RTMR3, one event after the other. The
 * log is the host's word until its replay gives the registers of a verified quote; then every event digest is genuine,
 * and those of runtime events are computed here from name and payload, so that both are genuine too. Any thread. */
#ifndef E2EE_ATTEST_EVENT_LOG_H
#define E2EE_ATTEST_EVENT_LOG_H

#include <stdint.h>

#include "attest/verdict.h"
#include "base/err.h"

#define EVENT_LOG_EVENTS_MAX 4096
#define EVENT_NAME_BYTES_MAX 256
#define EVENT_PAYLOAD_BYTES_MAX 65536
#define EVENT_VALUE_BYTES_MAX 1024 /* payload of an event of the system's own */
#define EVENT_INIT_SCRIPTS_MAX 16
#define APP_ID_BYTES 20

/* What dstack's own system writes into RTMR3 before it starts the application. */
enum event_id {
    EVENT_SYSTEM_PREPARING,
    EVENT_APP_ID,       /* 20 bytes */
    EVENT_COMPOSE_HASH, /* 32 */
    EVENT_INSTANCE_ID,  /* 20, or none */
    EVENT_BOOT_MR_DONE,
    EVENT_MR_KMS,          /* 32 */
    EVENT_OS_IMAGE_HASH,   /* 32 */
    EVENT_KEY_PROVIDER,    /* JSON {"name","id"} */
    EVENT_GPU_POLICY_HASH, /* 32 */
    EVENT_GPU_ATTESTATION, /* JSON */
    EVENT_STORAGE_FS,
    EVENT_SYSTEM_READY,
    EVENT_ID_COUNT
};

/* The first event of a name, when it came before system-ready. */
struct event_value {
    bool has;
    size_t len;
    uint8_t data[EVENT_VALUE_BYTES_MAX];
};

struct event_log {
    uint8_t rtmr[4][MEASUREMENT_BYTES];        /* as replayed from zeros */
    size_t events, runtime_events, app_events; /* all; of dstack; of those, behind system-ready */
    bool has_version_2;                        /* some digest is of the second form */
    struct event_value value[EVENT_ID_COUNT];
    enum event_id repeated;                                    /* EVENT_ID_COUNT: none */
    uint8_t init_script[EVENT_INIT_SCRIPTS_MAX][SHA256_BYTES]; /* init-script-hash events, in their order */
    size_t init_scripts;
};

/* text is the JSON array. Digests of runtime events are computed (V1, or V2 where the event says "version":2) and must
 * be the claimed ones where the log has any; those of other events must be 48 bytes. ERR_INVALID names the event by
 * its number and the rule; *out is zero then. About 13 kB: keep it off small stacks. */
bool event_log_read(struct event_log *out, const char *text, size_t len, struct err *err) MUST_CHECK;
/* "app-id". */
const char *event_log_name(enum event_id id);
/* SHA-384 of LE32(0x08000001) ":" name ":" payload, or (version 2) of the canonical JSON of the three. */
bool event_log_digest(uint8_t out[static SHA384_BYTES], unsigned version, const char *name, size_t name_len,
                      const uint8_t *payload, size_t len, struct err *err) MUST_CHECK;

#endif
