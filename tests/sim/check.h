/*
 * The strict reading of POST /chat/completions: what the real servers refuse (docs/PROTOCOL.md section 2, per server)
 * and what a right client never sends. The first becomes the answer that server would give; the second is also
 * recorded as a violation and refused with 400, type "sim_violation".
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include <cjson/cJSON.h>

#include "http.h"
#include "model.h"

struct refusal {
    int status; /* 0: none */
    char *body;
};

struct chat {
    struct model *model;
    char *model_id;         /* as asked */
    struct fault_use fault; /* from the id's suffix */
    uint8_t client[SIM_POINT];
    cJSON *body;         /* the request with plaintext back in its place */
    struct bytes prompt; /* last user message's text, all text parts joined */
    char *parts;         /* words about its other parts, or NULL */
    char *sealed_sample; /* one sealed field as it came */
    int n;
    long max_tokens;                       /* 0: not given */
    uint8_t body_hash[32], plain_hash[32]; /* sha256 of the body as it came, and restored and compact (PG) */
};

struct check_policy {
    bool fail_open; /* missing header: plaintext processing with 200, as Venice does, instead of 400 */
    const char *api_key;
};
extern struct check_policy check_policy;

/* True when it may be answered; otherwise *refusal is filled. *plain tells of a request let through by fail_open. */
bool check_chat(const struct http_request *request, struct chat *chat, bool *plain, struct refusal *refusal);
/* What every request of a right client obeys: no odd headers, the API key. */
bool check_common(const struct http_request *request, bool key_needed, struct refusal *refusal);
void check_reset(void); /* forgets the nonces seen */
void chat_free(struct chat *chat);
void refusal_set(struct refusal *refusal, int status, const char *type, const char *code, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));

/* open.c: decrypts the messages in place as the model's server does; false fills refusal. */
bool open_messages(struct chat *chat, struct refusal *refusal);
void open_reset(void);
/* fields.c: keys and plain values at the top level and in venice_parameters. */
bool fields_check(struct chat *chat, struct refusal *refusal);
bool fields_no_duplicates(const cJSON *value, struct refusal *refusal);
bool fields_refuse(struct refusal *refusal, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
