/* The messages between a proxy and its keyholder: bytes <-> struct, no descriptors. The only code both
 * processes share besides base and crypto. docs/PROTOCOL-KEYHOLDER.md is the prose.
 *
 * A frame is a 4-byte length of what follows, then version (1), op (1), flags (2, zero), request id (4),
 * body. All big-endian, fixed width. A request's body has exactly its op's length; trailing bytes, an unknown
 * version or op, an op that the connection's state does not permit: the connection is cut. Every answer
 * repeats its request's id; answers come in any order. Frames hold keys: both ends wipe them. */
#ifndef E2EE_KEYIPC_KEYIPC_H
#define E2EE_KEYIPC_KEYIPC_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"
#include "base/limits.h"
#include "base/secret.h"
#include "crypto/aead.h"
#include "crypto/point.h"

#define KEYIPC_VERSION 4
#define KEYIPC_HEADER_BYTES 12 /* length, version, op, flags, request id */
#define KEYIPC_JOIN_BYTES 32
#define KEYIPC_LABEL_BYTES 32  /* of a token */
#define KEYIPC_SERIAL_BYTES 16 /* of a token */
#define KEYIPC_TOKENS_MAX 8    /* of one keyholder */
#define KEYIPC_TOKEN_BYTES 53  /* of each in the answer to STATUS: state, keys, label, serial */
#define KEYIPC_TIMES_BYTES 512 /* of all histograms there */

enum keyipc_op {
    KEYIPC_HELLO = 1, /* first on each connection: role, join secret, wishes */
    KEYIPC_OPEN,      /* control only: model point -> key id, client point, request key */
    KEYIPC_DERIVE,    /* any: key id, stream id, server point -> response key */
    KEYIPC_CANCEL, /* any: stream id; what is queued for it on this connection is answered ERR_CANCELLED, then
                         the CANCEL itself with an empty body */
    KEYIPC_CLOSE,  /* control only: key id; destroy the key pair. Empty answer when it is destroyed */
    KEYIPC_STATUS, /* any -> token state and counters */
    KEYIPC_OP_COUNT
};
/* An answer carries its request's op with this bit set; KEYIPC_ERROR answers any request. */
#define KEYIPC_ANSWER 0x80
#define KEYIPC_ERROR 0xff

enum keyipc_role { KEYIPC_CONTROL = 1, KEYIPC_WORKER = 2 };
enum keyipc_custody { KEYIPC_CUSTODY_TOKEN = 1, KEYIPC_CUSTODY_SESSION = 2 };
enum keyipc_audit { KEYIPC_AUDIT_NONE, KEYIPC_AUDIT_WRITTEN, KEYIPC_AUDIT_FAILING }; /* WRITTEN: or signed */
enum keyipc_token_state { KEYIPC_TOKEN_READY = 1, KEYIPC_TOKEN_DOWN = 2, KEYIPC_TOKEN_PIN = 3 };

struct keyipc_hello {
    uint8_t role;    /* enum keyipc_role; a control connection begins a client, workers join it */
    uint8_t custody; /* the custody wanted; the answer says what is in force: never weaker */
    uint8_t join[KEYIPC_JOIN_BYTES]; /* random, made by the proxy; a worker joins by the control's */
    uint32_t max_key_age_s;          /* the proxy's --rotate plus grace; the keyholder's own may be shorter */
};
struct keyipc_hello_answer {
    uint8_t custody;
    uint32_t max_key_age_s;
    uint32_t max_keys;
    uint32_t sessions; /* PKCS#11 sessions in the pool */
};
struct keyipc_open {
    uint8_t model_point[POINT_BYTES];
};
struct keyipc_open_answer {
    uint64_t key_id;                     /* random, never a PKCS#11 handle */
    uint8_t client_point[POINT_BYTES];   /* of the token's pair: belongs to request_key */
    uint8_t response_point[POINT_BYTES]; /* that answers are sealed to: with token custody the same */
    struct secret request_key;           /* AEAD_KEY_BYTES; owned by whoever holds the message */
};
struct keyipc_derive {
    uint64_t key_id;
    uint64_t stream_id;
    uint8_t server_point[POINT_BYTES];
};
struct keyipc_derive_answer {
    struct secret response_key; /* AEAD_KEY_BYTES */
};
/* What is measured, each once for every operation, successful or not. */
enum keyipc_timed {
    KEYIPC_TIMED_GENERATE, /* a key pair made and checked in the token */
    KEYIPC_TIMED_DERIVE,   /* ECDH in the token, with reading and destroying the secret and HKDF */
    KEYIPC_TIMED_DESTROY,  /* a key pair destroyed in the token */
    KEYIPC_TIMED_SOFTWARE, /* ECDH and HKDF in the keyholder: session custody */
    KEYIPC_TIMED_COUNT
};
struct keyipc_token {
    uint8_t state; /* enum keyipc_token_state */
    uint32_t keys; /* key pairs of ours in it */
    char label[KEYIPC_LABEL_BYTES + 1];
    char serial[KEYIPC_SERIAL_BYTES + 1];
};
struct keyipc_status_answer {
    uint8_t token_state; /* enum keyipc_token_state: READY when one of the tokens is */
    uint8_t custody;
    uint32_t keys_live;
    uint32_t queue; /* operations waiting for the token */
    uint64_t derives;
    uint64_t generates;
    uint64_t failures;
    uint8_t audit_state;    /* enum keyipc_audit */
    uint64_t audit_lines;   /* of the custody log: its last line's number */
    uint64_t audit_lost;    /* events that could not be kept, since the keyholder's start */
    uint8_t audit_head[32]; /* hash of the last line, zeros without one */
    uint8_t sign_state;     /* enum keyipc_audit of its checkpoints; NONE without --audit-key */
    uint64_t audit_signed;  /* the last line that a checkpoint signs, 0: none */
    uint64_t
        derive_ns; /* what one derivation costs at present when many wait, all tokens working; 0: unknown */
    uint8_t token_count;
    struct keyipc_token tokens[KEYIPC_TOKENS_MAX]; /* in the order of --token */
    struct histogram times[KEYIPC_TIMED_COUNT];    /* without the time in the queue */
};
struct keyipc_error {
    uint8_t kind;      /* enum err_kind */
    char message[241]; /* printable ASCII, terminated */
};

/* One decoded message, request or answer. Only the member of its op is meaningful. */
struct keyipc_message {
    uint8_t op;
    uint32_t request_id;
    union {
        struct keyipc_hello hello;
        struct keyipc_hello_answer hello_answer;
        struct keyipc_open open;
        struct keyipc_open_answer open_answer;
        struct keyipc_derive derive;
        struct keyipc_derive_answer derive_answer;
        uint64_t stream_id; /* CANCEL */
        uint64_t key_id;    /* CLOSE */
        struct keyipc_status_answer status_answer;
        struct keyipc_error error;
    } u;
};

/* Wipes and empties the message, its secrets included. */
void keyipc_message_clear(struct keyipc_message *m);

/* Appends the frame of m to out. ERR_INTERNAL for a message that has no form, ERR_TOO_LARGE when out is full.
 * The secret in an answer stays the caller's. */
bool keyipc_encode(struct buf *out, const struct keyipc_message *m, struct err *err) MUST_CHECK;

/* Decodes the first frame of in[0..len). *used is its size when complete, 0 when more bytes are needed (true,
 * with *m untouched). answers says which direction is read: requests (false) or answers (true). ERR_PROTOCOL
 * for anything else; the connection must then be cut. Secrets in *m go to the secure heap and become the
 * caller's. */
bool keyipc_decode(struct keyipc_message *m, size_t *used, const uint8_t *in, size_t len, bool answers,
                   struct err *err) MUST_CHECK;

/* True when a connection that has (hello_done) or has not said HELLO may send op: one table for both ends. */
bool keyipc_permitted(uint8_t op, uint8_t role, bool hello_done);

#endif
