/*
 * One streamed answer on its connection, with its faults.
 */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H

#include <openssl/evp.h>

#include "plan.h"
#include "seal.h"

enum phase { PHASE_ROLE, PHASE_REASONING, PHASE_CONTENT, PHASE_FINISH, PHASE_USAGE, PHASE_DONE, PHASE_OVER };

struct stream {
    struct event_base *base;
    struct http_conn *conn;
    struct event *timer;
    struct chat chat;
    struct plan plan;
    struct sealer sealer;
    enum phase phase;
    int choice;
    long piece;    /* fields sealed so far, in plan order */
    long pieces;   /* of content, one choice: an estimate for clamping the fault's place */
    size_t offset; /* in the text of the current phase */
    long fault_at;
    bool fault_spent, waiting, started, stalled;
    size_t flood_left; /* bytes of a flood still to be written */
    const char *flood_unit;
    long completion_tokens, events;
    char id[48];
    struct bytes json, event, field, last_field, head; /* work buffers, reused */
    EVP_MD_CTX *hash;                                  /* of all emitted bytes; NULL in prepared mode */
};

/* Takes over chat. mode is for requests without E2EE; otherwise the plan decides. */
void stream_start(struct event_base *base, struct http_conn *conn, struct chat *chat, const struct plan *plan,
                  enum seal_mode mode);

/* event.c: appends the next part of the answer's bytes (whole events) to s->event; false when nothing is left. */
bool event_next(struct stream *s);
/* The framing of one event by the SSE rules, with the wire faults. */
void event_frame(struct stream *s, const char *json, size_t len);
/* piece.c: one sealed piece as an event, with the field and event faults. */
void piece_event(struct stream *s, int choice, const char *field, const char *text, size_t len);
void piece_head(struct stream *s, struct bytes *b);
void piece_tail(struct stream *s, struct bytes *b);
bool stream_fault(const struct stream *s, enum fault_id id);
/* True for this fault when its place is reached; only once. */
bool stream_fault_now(struct stream *s, enum fault_id id);

#endif
