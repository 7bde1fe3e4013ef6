/* Reads streamed answers: HTTP/1.1 head, chunked body, lines of server-sent events. It counts and times; that an answer
 * is whole shows in its lines, its last one and its length, which must be the same for all answers of a run. */
#ifndef E2EE_BENCH_CLIENT_ANSWER_H
#define E2EE_BENCH_CLIENT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer_state {
    ANSWER_HEAD,
    ANSWER_SIZE,
    ANSWER_DATA,
    ANSWER_DATA_END,
    ANSWER_TRAILER,
    ANSWER_END,
    ANSWER_BROKEN
};

struct answer {
    enum answer_state state;
    char head[4096]; /* head, then chunk size line */
    size_t head_len;
    uint64_t left; /* of the chunk */
    bool last_chunk;
    char line[24]; /* how the current line of the body begins */
    size_t line_len;
    long events; /* data lines */
    bool done;   /* data: [DONE] */
    bool error;  /* an error event */
    uint64_t bytes;
};

void answer_begin(struct answer *a);
/* Takes len bytes; answers how many of them belong to this answer. */
size_t answer_take(struct answer *a, const char *data, size_t len);

#endif
