/* Drives the real e2ee-keyholder: a folder of its own with PIN, state and log, the process under the test as its
 * supervisor, connections, and single requests. Everything fails the test when it does not go as it must; nothing waits
 * for longer than HARNESS_WAIT_S. */
#ifndef E2EE_TESTS_HSM_HARNESS_H
#define E2EE_TESTS_HSM_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "keyipc/keyipc.h"
#include "keyipc/start.h"

#define HARNESS_WAIT_S 30
#define HARNESS_ARGS 40
#define HARNESS_YUBIHSM_PIN "0010password" /* a key's id and its password: mock/yubihsm */
#define HARNESS_SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"

struct kh {
    char dir[64];
    const char *program; /* NULL: e2ee-keyholder */
    pid_t pid;
    int channel;
    uint32_t last_request;
    const char *args[HARNESS_ARGS + 1];
    size_t arg_count;
    char report[600]; /* what came over the channel at start: "R", or "E" and why; "" when it said nothing */
};

/* A fresh folder with PIN file. module: "softhsm", one of real.h, or a mock's name. Environment variables for the mock are set with
 * kh_env, and passed on. */
void kh_prepare(struct kh *k, const char *module);
/* One more SoftHSM token; for the first one "softhsm" as module or kh_softhsm_folder makes the folder. */
void kh_softhsm_folder(struct kh *k);
void kh_softhsm_token(struct kh *k, const char *label, const char *pin);
/* A command line of the shell: its exit code. */
int kh_shell(const char *command);
/* An operator's key in it, by pkcs11-tool: type as that names it, id in hex; further options are its own, NULL none. */
void kh_softhsm_key(struct kh *k, const char *token, const char *pin, const char *type, const char *label,
                    const char *id, const char *option);
/* Its objects with that label, seen by pkcs11-tool. */
size_t kh_softhsm_objects(struct kh *k, const char *token, const char *pin, const char *label);
void kh_arg(struct kh *k, const char *name, const char *value);
void kh_env(struct kh *k, const char *name, const char *value);
/* Starts under supervision and waits for the report. True when it is ready. */
bool kh_start(struct kh *k);
/* Starts with the arguments given and no channel. */
void kh_spawn(struct kh *k, int stdout_fd);
/* Exit code; -signal when killed. */
int kh_wait(struct kh *k);
/* Closes the channel, waits, and removes unset variables; the folder stays for looking at. Returns the exit code. */
int kh_stop(struct kh *k);
/* Removes the folder. */
void kh_remove(struct kh *k);

/* A path inside the folder (of a rotating static buffer). */
const char *kh_path(const struct kh *k, const char *name);
void kh_write(const struct kh *k, const char *name, const char *text);
/* How often text occurs in the file; 0 when there is no file. */
size_t kh_count(const struct kh *k, const char *name, const char *text);
/* Waits until text is in the file. */
void kh_await(const struct kh *k, const char *name, const char *text);

/* A raw connection by the supervisor's channel, and by a socket. */
int kh_connect(struct kh *k);
int kh_connect_socket(const char *path);
/* With its HELLO done. join NULL: a client of its own. */
int kh_control(struct kh *k, const uint8_t *join);
int kh_worker(struct kh *k, const uint8_t *join);

void kh_send(int fd, const struct keyipc_message *m);
/* The next answer. False when the connection was closed instead. */
bool kh_receive(int fd, struct keyipc_message *m);
/* One request and its answer. */
void kh_call(struct kh *k, int fd, struct keyipc_message *request, struct keyipc_message *answer);
/* True when the peer has closed (waits for it). */
bool kh_closed(int fd);

/* A software key standing for a model or a server. */
struct kh_peer {
    struct secret scalar;
    uint8_t point[POINT_BYTES];
};
void kh_peer_new(struct kh_peer *peer);
void kh_peer_free(struct kh_peer *peer);

/* OPEN with model; asserts success and that the request key is the one the model would compute. */
void kh_open(struct kh *k, int fd, const struct kh_peer *model, uint64_t *key_id,
             uint8_t client_point[static POINT_BYTES]);
/* The same, but it may fail: ERR_NONE, or the error's kind with its message in why. */
enum err_kind kh_try_open(struct kh *k, int fd, const struct kh_peer *model, uint64_t *key_id,
                          uint8_t client_point[static POINT_BYTES], char why[241]);
/* DERIVE; ERR_NONE when it succeeded with the right key, else the error's kind (message in *why, may be NULL). */
enum err_kind kh_derive(struct kh *k, int fd, uint64_t key_id, uint64_t stream, const struct kh_peer *server,
                        const uint8_t client_point[static POINT_BYTES], char why[241]);
/* OPEN that must fail: its error's kind. */
enum err_kind kh_open_fails(struct kh *k, int fd, const uint8_t model[static POINT_BYTES], char why[241]);
void kh_close_key(struct kh *k, int fd, uint64_t key_id);
void kh_status(struct kh *k, int fd, struct keyipc_status_answer *status);

#endif
