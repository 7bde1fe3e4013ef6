/*
 * What the simulator remembers for tests: every byte that clients sent (the control paths under /sim/ aside), what
 * a right client would never have sent, and counters.
 */
#ifndef SIM_RECORD_H
#define SIM_RECORD_H

#include "util.h"

struct stats {
    long requests, chat, models, attestations, signatures, plain, collateral, nras;
    long transfers_open;     /* answers not yet finished */
    long client_disconnects; /* connections that ended while their answer was not finished */
    long connections, connections_open, tls_connections;
    long streams_done, fields_sealed, fields_opened, faults;
    long attestations_peak; /* most in any 60 seconds */
};
extern struct stats sim_stats;

void record_limit(size_t max_bytes); /* 0: keep no requests */
/* The raw bytes of one request, whole or (complete false) cut off. */
void record_request(const char *method, const char *target, bool tls, bool complete, const struct bytes *raw);
/* fmt never gets plaintext: rule names and key names only. */
void record_violation(const char *rule, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
long record_violation_count(void);
void record_attestation(void);
void record_reset(void);

/* Bodies of the control paths; caller frees. */
char *record_violations_json(void);
char *record_requests_json(void);
void record_requests_raw(struct bytes *out);
char *record_stats_json(void);

#endif
