/*
 * A blocking client for the simulator's own tests: starts the program, sends bytes, takes answers apart.
 */
#ifndef SIM_PROBE_H
#define SIM_PROBE_H

#include <sys/types.h>

#include "crypto.h"

struct probe {
    pid_t pid;
    int stdin_fd, port, tls_port;
};

struct answer {
    int status;
    struct bytes head, body; /* body without the chunked framing */
    bool complete;           /* Content-Length reached, or the last chunk seen */
};

/* program with further arguments (NULL-terminated), --port 0 and --exit-with-stdin are added. */
bool probe_start(struct probe *p, const char *program, const char *const *more);
int probe_stop(struct probe *p); /* closes stdin; the exit status */

int probe_connect(const struct probe *p);
/* Sends raw bytes on a new connection and reads to the end, or for at most seconds. */
void probe_raw(const struct probe *p, const void *data, size_t len, int seconds, struct answer *a);
/* A request with Connection: close; headers: further lines with CRLF, body may be NULL. */
void probe_send(const struct probe *p, const char *method, const char *path, const char *headers,
                const char *body, struct answer *a);
void answer_free(struct answer *a);

/* A sealed field from a fresh key to a point; caller frees. */
char *probe_seal(const uint8_t point[static SIM_POINT], const char *text);
/* The model's key from an attestation body, with its REPORTDATA checked against nonce and key. */
bool probe_attest(const struct probe *p, const char *model_escaped, uint8_t point[static SIM_POINT]);
/* The texts of one member (content, reasoning_content, …) of all deltas, opened, concatenated. False: one did not open. */
bool probe_open(const struct answer *a, const struct sim_key *client, const char *member, int choice,
                struct bytes *out);

#endif
