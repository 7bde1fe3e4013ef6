/*
 * Everything the simulator can do wrong on purpose. One table (fault.c) makes the list of --help, of GET /sim/faults
 * and of the catalogue entries under --fault-models. Three ways to ask for one, see README.md: a model id's suffix
 * "@NAME", a queue filled by POST /sim/fault, or "sim:fault=NAME" in the prompt (chat only).
 */
#ifndef SIM_FAULT_H
#define SIM_FAULT_H

#include "util.h"

enum fault_where { IN_MODELS = 1, IN_ATTEST = 2, IN_CHAT = 4, IN_SIGNATURE = 8, IN_ANY = 15, IN_NRAS = 16 };

enum fault_id {
    F_NONE,
    /* any endpoint: the transport and the status */
    F_HTTP,
    F_HTTP_429_BARE,
    F_REDIRECT,
    F_HTML,
    F_ERROR_LONG,
    F_ERROR_TEXT,
    F_SLOW_HEADERS,
    F_SILENT,
    F_HEADERS_ONLY,
    F_CLOSE,
    F_RESET,
    F_GARBAGE,
    F_HUGE_HEADERS,
    F_BODY_CUT,
    F_BODY_HUGE,
    F_BODY_INVALID,
    F_BODY_EMPTY,
    F_DELAY,
    /* chat: refused before the stream begins */
    F_KEY_MISMATCH,
    F_KEY_421,
    F_DECRYPT_400,
    F_DECRYPT_NP,
    /* chat: a whole other answer */
    F_CT_JSON,
    F_WHOLE_JSON,
    F_ERROR_200,
    F_NO_EVENTS,
    /* chat: what stands in a field */
    F_PLAIN_CONTENT,
    F_PLAIN_REASONING,
    F_PLAIN_REASONING_FIELD,
    F_PLAIN_WHITESPACE,
    F_BAD_TAG,
    F_BAD_POINT,
    F_PREFIX,
    F_ZERO_X,
    F_SHORT_FIELD,
    F_EMPTY_AT_186,
    F_ODD_HEX,
    F_NON_HEX,
    F_UPPER_HEX,
    F_OX_HEX,
    F_REPEAT,
    F_REPLAY,
    F_REFLECT_CLIENT,
    F_REFLECT_MODEL,
    F_REFLECT_NEGATED,
    F_REFLECT_REQUEST,
    F_WRONG_KEY,
    F_SEALED_BAD_UTF8,
    F_SEALED_NUL,
    F_KEY_CHANGE,
    /* chat: what stands in an event */
    F_TOOL_CALLS,
    F_FUNCTION_CALL,
    F_REFUSAL,
    F_AUDIO,
    F_EXTRA_DELTA,
    F_EMPTY_EXTRAS,
    F_MESSAGE,
    F_CHOICE_TEXT,
    F_LOGPROBS,
    F_TOP_STRING,
    F_DELTA_NULL,
    F_DELTA_STRING,
    F_NO_DELTA,
    F_CONTENT_NULL,
    F_CONTENT_NUMBER,
    F_CONTENT_ARRAY,
    F_CONTENT_EMPTY,
    F_CONTENT_DELETED,
    F_REASONING_186,
    F_DUP_KEY,
    F_DUP_KEY_ESCAPED,
    F_DUP_CHOICES,
    F_CASE_KEY,
    F_ESCAPED_FIELD,
    F_INVALID_JSON,
    F_NOT_OBJECT,
    F_INVALID_UTF8,
    F_DEEP,
    F_TRAILING_JSON,
    F_CHOICES_NULL,
    F_WRONG_INDEX,
    F_NO_INDEX,
    F_EXTRA_CHOICE,
    F_ID_CHANGES,
    F_NO_ROLE,
    F_NO_FINISH,
    F_FINISH_LENGTH,
    F_FINISH_FILTER,
    F_FINISH_TOOLS,
    F_FINISH_ODD,
    F_NO_USAGE,
    F_USAGE_EARLY,
    F_PRETTY,
    /* chat: the event stream */
    F_CUT,
    F_CUT_HARD,
    F_CUT_RESET,
    F_CUT_EVENT,
    F_CUT_FINISHED,
    F_ERR_OVERLOADED,
    F_ERR_UPSTREAM,
    F_ERR_BLOCKED,
    F_ERR_STRING,
    F_ERR_NO_DONE,
    F_ERR_FIRST,
    F_ERR_EVENT,
    F_STALL,
    F_HUGE_EVENT,
    F_ENDLESS_LINE,
    F_COMMENT_FLOOD,
    F_CR,
    F_CRLF,
    F_MIXED_EOL,
    F_COMMENTS,
    F_BOM,
    F_NO_SPACE,
    F_MULTI_LINE,
    F_BYTES,
    F_BLANK_LINES,
    F_EVENT_FIELDS,
    F_DONE_TWICE,
    F_AFTER_DONE,
    F_LINGER,
    /* attestation */
    F_A_VERIFIED_FALSE,
    F_A_VERIFIED_STRING,
    F_A_VERIFIED_ABSENT,
    F_A_502_VERIFIED,
    F_A_SERVER_NONCE,
    F_A_NONCE_ECHO,
    F_A_REPORT_NONCE,
    F_A_REPORT_KEY,
    F_A_REPORT_PAD,
    F_A_REPORT_ZERO,
    F_A_DEBUG,
    F_A_NO_KEY,
    F_A_KEYSET_ONLY,
    F_A_KEY_OTHER,
    F_A_KEY_OFF_CURVE,
    F_A_KEY_128,
    F_A_KEY_SHORT,
    F_A_ADDRESS,
    F_A_ALGO,
    F_A_NO_QUOTE,
    F_A_QUOTE_BASE64,
    F_A_QUOTE_UPPER,
    F_A_QUOTE_CUT,
    F_A_QUOTE_LENGTH,
    F_A_QUOTE_FLIP,
    F_A_QUOTE_SGX,
    F_A_QUOTE_NOT_HEX,
    F_A_QUOTE_HUGE,
    F_A_RTMR,
    F_A_EVENT_PAYLOAD,
    F_A_EVENT_DUP,
    F_A_EVENT_LATE,
    F_A_LOG_DOUBLE,
    F_A_NO_LOG,
    F_A_COMPOSE,
    F_A_NO_COMPOSE,
    F_A_MRCONFIG,
    F_A_MIXED,
    F_A_DUP_KEY,
    F_A_INVALID,
    F_A_NOT_OBJECT,
    F_A_DEEP,
    F_A_MODEL,
    F_A_STALE_PAST,
    F_A_STALE_SHORT,
    F_A_GPU_NONCE,
    F_A_NO_GPU,
    F_A_GPU_EMPTY,
    F_A_GPU_FEWER,
    F_A_GPU_TWICE,
    F_A_GPU_FLIP,
    F_A_GPU_REPORT,
    F_A_GPU_FIRMWARE,
    F_A_GPU_STRANGER,
    F_A_STRANGER,
    F_A_OLD_MODULE,
    F_A_OTHER_OS,
    F_A_OTHER_COMPOSE,
    /* signatures of answers */
    F_S_KEY,
    F_S_FLIP,
    F_S_ADDRESS,
    F_S_RECID,
    F_S_ONE_HASH,
    F_S_TWO,
    F_S_THREE,
    F_S_NOT_HEX,
    F_S_404,
    F_S_ID,
    /* NVIDIA's service */
    F_N_DOWN,
    F_N_REFUSES,
    F_N_NONCE,
    F_N_KEY,
    F_N_ALG,
    F_N_EXPIRED,
    F_N_FEWER,
    F_N_DIGEST,
    F_N_MEASURES,
    F_N_REVOKED,
    F_N_OLD,
};

struct fault {
    const char *name;
    enum fault_id id;
    unsigned where;
    long value; /* default of the fault's own number: a status, milliseconds, bytes */
    const char *help;
};

/* A fault asked for. at: which content piece it befalls (0 is the first). fault == NULL: none. */
struct fault_use {
    const struct fault *fault;
    long at, value;
};

const struct fault *fault_find(const char *name, size_t len);
const struct fault *fault_nth(size_t i); /* NULL past the end */
bool fault_is(const struct fault_use *use, enum fault_id id);

/* The queue of POST /sim/fault. model NULL: whichever. False when the fault is not of that endpoint. */
bool fault_push(const char *endpoint, const char *name, const char *model, long count, long at, long value,
                const char **why);
/* Takes the next fault for an endpoint (one enum fault_where bit), if any. */
struct fault_use fault_take(unsigned where, const char *model);
void fault_clear(void);
unsigned fault_where_of(const char *endpoint); /* 0: unknown */

#endif
