#include "fault.h"

#include <stdlib.h>
#include <string.h>

static const struct fault table[] = {
    /* ---- any endpoint ---- */
    {"http-400", F_HTTP, IN_ANY, 400, "status 400 with Venice's error body"},
    {"http-401", F_HTTP, IN_ANY, 401, "status 401"},
    {"http-402", F_HTTP, IN_ANY, 402, "status 402"},
    {"http-403", F_HTTP, IN_ANY, 403, "status 403"},
    {"http-404", F_HTTP, IN_ANY, 404, "status 404"},
    {"http-413", F_HTTP, IN_ANY, 413, "status 413"},
    {"http-422", F_HTTP, IN_ANY, 422, "status 422"},
    {"http-429", F_HTTP, IN_ANY, 429, "status 429 with Retry-After (value: seconds, 7)"},
    {"http-429-bare", F_HTTP_429_BARE, IN_ANY, 429, "status 429 without Retry-After"},
    {"http-500", F_HTTP, IN_ANY, 500, "status 500"},
    {"http-502", F_HTTP, IN_ANY, 502, "status 502"},
    {"http-503", F_HTTP, IN_ANY, 503, "status 503"},
    {"http-504", F_HTTP, IN_ANY, 504, "status 504"},
    {"redirect", F_REDIRECT, IN_ANY, 302,
     "302 to another path of this server (a request there is a violation)"},
    {"html", F_HTML, IN_ANY, 502, "502 with an HTML page, as a CDN makes it"},
    {"error-long", F_ERROR_LONG, IN_ANY, 400, "400 whose message is 20 kB and has control characters"},
    {"error-text", F_ERROR_TEXT, IN_ANY, 500, "500 with a body that is not JSON"},
    {"slow-headers", F_SLOW_HEADERS, IN_ANY, 100, "status line and headers byte by byte, value ms apart"},
    {"no-first-byte", F_SILENT, IN_ANY, 0, "takes the request and never answers"},
    {"headers-only", F_HEADERS_ONLY, IN_ANY, 0, "200 and headers, then silence"},
    {"close", F_CLOSE, IN_ANY, 0, "closes the connection instead of answering"},
    {"reset", F_RESET, IN_ANY, 0, "resets the connection instead of answering"},
    {"garbage", F_GARBAGE, IN_ANY, 0, "answers with bytes that are not HTTP"},
    {"huge-headers", F_HUGE_HEADERS, IN_ANY, 262144, "value bytes of response headers"},
    {"body-cut", F_BODY_CUT, IN_ANY, 0, "closes before Content-Length bytes were sent"},
    {"body-huge", F_BODY_HUGE, IN_ANY, 67108864, "200 with a JSON body of value bytes"},
    {"body-invalid", F_BODY_INVALID, IN_ANY, 0, "200 application/json that is cut JSON"},
    {"body-empty", F_BODY_EMPTY, IN_ANY, 0, "200 with an empty body"},
    {"delay", F_DELAY, IN_ANY, 2000, "the right answer after value ms"},
    /* ---- chat: refused before the stream ---- */
    {"key-mismatch", F_KEY_MISMATCH, IN_CHAT, 0, "400 e2ee_model_key_mismatch (DV, PG)"},
    {"key-421", F_KEY_421, IN_CHAT, 0, "421 the encryption key is no longer valid (CA)"},
    {"decryption-failed", F_DECRYPT_400, IN_CHAT, 0, "400 Decryption failed (NR)"},
    {"decryption-failed-np", F_DECRYPT_NP, IN_CHAT, 0, "400 {\"detail\":\"Failed to decrypt field\"} (NP)"},
    /* ---- chat: another answer ---- */
    {"content-type-json", F_CT_JSON, IN_CHAT, 0, "the stream under Content-Type application/json"},
    {"whole-json", F_WHOLE_JSON, IN_CHAT, 0, "one chat.completion instead of a stream, sealed"},
    {"error-200", F_ERROR_200, IN_CHAT, 0, "200 application/json with an error object"},
    {"no-events", F_NO_EVENTS, IN_CHAT, 0, "an event stream without one event"},
    /* ---- chat: fields ---- */
    {"plaintext-content", F_PLAIN_CONTENT, IN_CHAT, 0, "one content in plaintext"},
    {"plaintext-reasoning", F_PLAIN_REASONING, IN_CHAT, 0, "reasoning_content in plaintext"},
    {"plaintext-reasoning-field", F_PLAIN_REASONING_FIELD, IN_CHAT, 0,
     "reasoning in plaintext (DV does this)"},
    {"plaintext-whitespace", F_PLAIN_WHITESPACE, IN_CHAT, 0, "content of one space"},
    {"bad-tag", F_BAD_TAG, IN_CHAT, 0, "last bit of the tag flipped"},
    {"bad-point", F_BAD_POINT, IN_CHAT, 0, "server point off the curve"},
    {"point-prefix", F_PREFIX, IN_CHAT, 0, "server point with prefix 06 (hybrid)"},
    {"point-zero", F_ZERO_X, IN_CHAT, 0, "server point 04 and zeros"},
    {"short-field", F_SHORT_FIELD, IN_CHAT, 0, "field of 184 hex digits"},
    {"empty-field", F_EMPTY_AT_186, IN_CHAT, 0, "valid field of 186 digits, an empty text (not an error)"},
    {"odd-hex", F_ODD_HEX, IN_CHAT, 0, "field with an odd number of digits"},
    {"non-hex", F_NON_HEX, IN_CHAT, 0, "field with a letter that is no hex digit"},
    {"upper-hex", F_UPPER_HEX, IN_CHAT, 0, "field in upper-case hex (not an error)"},
    {"0x-hex", F_OX_HEX, IN_CHAT, 0, "field with 0x in front"},
    {"repeat", F_REPEAT, IN_CHAT, 0, "the previous field once more: same point and nonce"},
    {"replay", F_REPLAY, IN_CHAT, 0, "a field of the previous response to this client key"},
    {"reflect-client", F_REFLECT_CLIENT, IN_CHAT, 0, "the client's own point as server point"},
    {"reflect-model", F_REFLECT_MODEL, IN_CHAT, 0, "the model's point as server point"},
    {"reflect-request", F_REFLECT_REQUEST, IN_CHAT, 0, "a sealed field of the request sent back"},
    {"reflect-negated", F_REFLECT_NEGATED, IN_CHAT, 0,
     "the same with the other Y in its point: the same secret"},
    {"wrong-key", F_WRONG_KEY, IN_CHAT, 0, "field sealed to another client key"},
    {"sealed-bad-utf8", F_SEALED_BAD_UTF8, IN_CHAT, 0, "right field whose plaintext is not UTF-8"},
    {"sealed-nul", F_SEALED_NUL, IN_CHAT, 0,
     "right field whose plaintext has NUL and control characters (no error)"},
    {"key-change", F_KEY_CHANGE, IN_CHAT, 0, "one key per response, changed in the middle (not an error)"},
    /* ---- chat: events ---- */
    {"tool-calls", F_TOOL_CALLS, IN_CHAT, 0, "delta.tool_calls injected in plaintext"},
    {"function-call", F_FUNCTION_CALL, IN_CHAT, 0, "delta.function_call injected"},
    {"refusal", F_REFUSAL, IN_CHAT, 0, "delta.refusal in plaintext"},
    {"audio", F_AUDIO, IN_CHAT, 0, "delta.audio in plaintext"},
    {"extra-delta", F_EXTRA_DELTA, IN_CHAT, 0, "an unknown non-empty delta key"},
    {"empty-extras", F_EMPTY_EXTRAS, IN_CHAT, 0,
     "tool_calls [], refusal null, function_call null (not an error)"},
    {"message", F_MESSAGE, IN_CHAT, 0, "choices[].message with plaintext content beside delta"},
    {"choice-text", F_CHOICE_TEXT, IN_CHAT, 0, "choices[].text in plaintext"},
    {"logprobs", F_LOGPROBS, IN_CHAT, 0, "choices[].logprobs with tokens in plaintext"},
    {"top-string", F_TOP_STRING, IN_CHAT, 0, "a plaintext top-level member beside choices"},
    {"delta-null", F_DELTA_NULL, IN_CHAT, 0, "delta null in the finish chunk (not an error)"},
    {"delta-string", F_DELTA_STRING, IN_CHAT, 0, "delta is a string"},
    {"no-delta", F_NO_DELTA, IN_CHAT, 0, "finish chunk without delta (not an error)"},
    {"content-null", F_CONTENT_NULL, IN_CHAT, 0, "a chunk with content null (not an error)"},
    {"content-number", F_CONTENT_NUMBER, IN_CHAT, 0, "content is a number"},
    {"content-array", F_CONTENT_ARRAY, IN_CHAT, 0, "content is an array with plaintext"},
    {"content-empty", F_CONTENT_EMPTY, IN_CHAT, 0, "a chunk with content \"\" (not an error)"},
    {"content-deleted", F_CONTENT_DELETED, IN_CHAT, 0, "a chunk whose delta lost its key (not an error)"},
    {"reasoning-186", F_REASONING_186, IN_CHAT, 0,
     "reasoning_content sealed from \"\" (DV, PG; not an error)"},
    {"dup-key", F_DUP_KEY, IN_CHAT, 0, "content twice in one delta, sealed then plaintext"},
    {"dup-key-escaped", F_DUP_KEY_ESCAPED, IN_CHAT, 0, "content and con\\u0074ent"},
    {"dup-choices", F_DUP_CHOICES, IN_CHAT, 0, "choices twice in one chunk"},
    {"case-key", F_CASE_KEY, IN_CHAT, 0, "Content with plaintext beside content"},
    {"escaped-field", F_ESCAPED_FIELD, IN_CHAT, 0, "hex digits written as \\u escapes, as no server does"},
    {"invalid-json", F_INVALID_JSON, IN_CHAT, 0, "data: is not JSON"},
    {"not-object", F_NOT_OBJECT, IN_CHAT, 0, "data: is a JSON array"},
    {"invalid-utf8", F_INVALID_UTF8, IN_CHAT, 0, "data: has bytes that are not UTF-8"},
    {"deep", F_DEEP, IN_CHAT, 100000, "value nested arrays in one event"},
    {"trailing-json", F_TRAILING_JSON, IN_CHAT, 0, "a second JSON value in one data:"},
    {"choices-null", F_CHOICES_NULL, IN_CHAT, 0, "choices null (not an error)"},
    {"wrong-index", F_WRONG_INDEX, IN_CHAT, 99, "choice index value, never asked for"},
    {"no-index", F_NO_INDEX, IN_CHAT, 0, "choice without index"},
    {"extra-choice", F_EXTRA_CHOICE, IN_CHAT, 0, "one chunk with n + 1 choices"},
    {"id-changes", F_ID_CHANGES, IN_CHAT, 0, "another id in every chunk"},
    {"no-role", F_NO_ROLE, IN_CHAT, 0, "no role chunk (not an error)"},
    {"no-finish", F_NO_FINISH, IN_CHAT, 0, "[DONE] without a finish_reason"},
    {"finish-length", F_FINISH_LENGTH, IN_CHAT, 0, "finish_reason length"},
    {"finish-filter", F_FINISH_FILTER, IN_CHAT, 0, "finish_reason content_filter"},
    {"finish-tools", F_FINISH_TOOLS, IN_CHAT, 0, "finish_reason tool_calls without any"},
    {"finish-odd", F_FINISH_ODD, IN_CHAT, 0, "finish_reason is a plaintext sentence"},
    {"no-usage", F_NO_USAGE, IN_CHAT, 0, "no usage chunk (not an error)"},
    {"usage-early", F_USAGE_EARLY, IN_CHAT, 0, "usage beside choices in every chunk (not an error)"},
    {"pretty", F_PRETTY, IN_CHAT, 0, "JSON with white space, multi-line data (not an error)"},
    /* ---- chat: the event stream ---- */
    {"cut", F_CUT, IN_CHAT, 0, "the body ends properly but without [DONE]"},
    {"cut-hard", F_CUT_HARD, IN_CHAT, 0, "connection closed in the middle of the body"},
    {"cut-reset", F_CUT_RESET, IN_CHAT, 0, "connection reset in the middle of the body"},
    {"cut-event", F_CUT_EVENT, IN_CHAT, 0, "the body ends in the middle of an event"},
    {"cut-finished", F_CUT_FINISHED, IN_CHAT, 0, "everything but the last line, data: [DONE]"},
    {"error-overloaded", F_ERR_OVERLOADED, IN_CHAT, 11,
     "in-band model_overloaded with retry_after value, [DONE]"},
    {"error-upstream", F_ERR_UPSTREAM, IN_CHAT, 0, "in-band upstream_error, then [DONE]"},
    {"error-blocked", F_ERR_BLOCKED, IN_CHAT, 0, "in-band content_blocked_by_provider, then [DONE]"},
    {"error-string", F_ERR_STRING, IN_CHAT, 0, "in-band error that is a string, then [DONE]"},
    {"error-no-done", F_ERR_NO_DONE, IN_CHAT, 0, "in-band error and the end of the body"},
    {"error-first", F_ERR_FIRST, IN_CHAT, 11, "in-band model_overloaded as the very first event"},
    {"error-event", F_ERR_EVENT, IN_CHAT, 0, "an event of type error (event: error)"},
    {"stall", F_STALL, IN_CHAT, 0, "silence in the middle: for ever, or value ms"},
    {"huge-event", F_HUGE_EVENT, IN_CHAT, 33554432, "one event of value bytes"},
    {"endless-line", F_ENDLESS_LINE, IN_CHAT, 134217728, "value bytes without a line end"},
    {"comment-flood", F_COMMENT_FLOOD, IN_CHAT, 8388608, "value bytes of comments (not an error)"},
    {"cr", F_CR, IN_CHAT, 0, "line ends CR (not an error)"},
    {"crlf", F_CRLF, IN_CHAT, 0, "line ends CRLF (not an error)"},
    {"mixed-eol", F_MIXED_EOL, IN_CHAT, 0, "line ends change from event to event (not an error)"},
    {"comments", F_COMMENTS, IN_CHAT, 0, "comment lines between events (not an error)"},
    {"bom", F_BOM, IN_CHAT, 0, "a byte order mark in front (not an error)"},
    {"no-space", F_NO_SPACE, IN_CHAT, 0, "data: without the space (not an error)"},
    {"multi-line", F_MULTI_LINE, IN_CHAT, 0, "each event in several data: lines (not an error)"},
    {"bytes", F_BYTES, IN_CHAT, 0, "one HTTP chunk per byte (not an error)"},
    {"blank-lines", F_BLANK_LINES, IN_CHAT, 0, "extra blank lines (DV; not an error)"},
    {"event-fields", F_EVENT_FIELDS, IN_CHAT, 0, "event:, id:, retry: and unknown fields (not an error)"},
    {"done-twice", F_DONE_TWICE, IN_CHAT, 0, "two [DONE] (not an error)"},
    {"after-done", F_AFTER_DONE, IN_CHAT, 0, "a plaintext chunk after [DONE]"},
    {"linger", F_LINGER, IN_CHAT, 0, "after [DONE] the body stays open (not an error)"},
    /* ---- attestation ---- */
    {"verified-false", F_A_VERIFIED_FALSE, IN_ATTEST, 0, "200 with verified false"},
    {"verified-string", F_A_VERIFIED_STRING, IN_ATTEST, 0, "verified is the string \"true\""},
    {"verified-absent", F_A_VERIFIED_ABSENT, IN_ATTEST, 0, "no verified"},
    {"unverified-502", F_A_502_VERIFIED, IN_ATTEST, 0, "502 whose body has verified false"},
    {"server-nonce", F_A_SERVER_NONCE, IN_ATTEST, 0, "another nonce, honestly marked nonce_source server"},
    {"nonce-echo", F_A_NONCE_ECHO, IN_ATTEST, 0,
     "nonce and request_nonce differ from the request, quote is right"},
    {"report-nonce", F_A_REPORT_NONCE, IN_ATTEST, 0, "REPORTDATA binds another nonce"},
    {"report-key", F_A_REPORT_KEY, IN_ATTEST, 0, "REPORTDATA binds another key"},
    {"report-pad", F_A_REPORT_PAD, IN_ATTEST, 0, "one of REPORTDATA's twelve zero bytes is not zero"},
    {"report-zero", F_A_REPORT_ZERO, IN_ATTEST, 0, "REPORTDATA is zero"},
    {"debug", F_A_DEBUG, IN_ATTEST, 0, "TDATTRIBUTES with the debug bit"},
    {"no-key", F_A_NO_KEY, IN_ATTEST, 0, "verified true without any key"},
    {"keyset-only", F_A_KEYSET_ONLY, IN_ATTEST, 0,
     "ACI shape with the key only in the keyset (not an error)"},
    {"key-other", F_A_KEY_OTHER, IN_ATTEST, 0, "signing_public_key that the quote does not bind"},
    {"key-off-curve", F_A_KEY_OFF_CURVE, IN_ATTEST, 0,
     "signing_public_key off the curve, bound by REPORTDATA"},
    {"key-128", F_A_KEY_128, IN_ATTEST, 0, "signing_public_key as 128 digits without 04 (not an error)"},
    {"key-short", F_A_KEY_SHORT, IN_ATTEST, 0, "signing_public_key cut to 128 of its 130 digits"},
    {"address", F_A_ADDRESS, IN_ATTEST, 0, "signing_address of another key"},
    {"algo", F_A_ALGO, IN_ATTEST, 0, "signing_algo ed25519"},
    {"no-quote", F_A_NO_QUOTE, IN_ATTEST, 0, "no quote at all"},
    {"quote-base64", F_A_QUOTE_BASE64, IN_ATTEST, 0, "quote in base64, as the docs say (not an error)"},
    {"quote-upper", F_A_QUOTE_UPPER, IN_ATTEST, 0, "quote in upper-case hex (not an error)"},
    {"quote-cut", F_A_QUOTE_CUT, IN_ATTEST, 0, "quote cut after 600 bytes"},
    {"quote-length", F_A_QUOTE_LENGTH, IN_ATTEST, 0, "signature data length ffffffff"},
    {"quote-flip", F_A_QUOTE_FLIP, IN_ATTEST, 0, "one bit of MRTD flipped after signing"},
    {"quote-sgx", F_A_QUOTE_SGX, IN_ATTEST, 0, "tee_type 0"},
    {"quote-not-hex", F_A_QUOTE_NOT_HEX, IN_ATTEST, 0, "quote neither hex nor base64"},
    {"quote-huge", F_A_QUOTE_HUGE, IN_ATTEST, 4194304, "quote with value bytes of padding"},
    {"rtmr", F_A_RTMR, IN_ATTEST, 0, "event log that does not replay to the quote's RTMRs"},
    {"event-payload", F_A_EVENT_PAYLOAD, IN_ATTEST, 0,
     "compose-hash event whose payload is not its digest's"},
    {"event-dup", F_A_EVENT_DUP, IN_ATTEST, 0, "two compose-hash events, RTMR3 fits"},
    {"event-late", F_A_EVENT_LATE, IN_ATTEST, 0, "compose-hash only after system-ready, RTMR3 fits"},
    {"log-double", F_A_LOG_DOUBLE, IN_ATTEST, 0, "event log and tcb_info as JSON strings (not an error)"},
    {"no-log", F_A_NO_LOG, IN_ATTEST, 0, "no event log"},
    {"compose", F_A_COMPOSE, IN_ATTEST, 0, "app_compose other than the measured one"},
    {"no-compose", F_A_NO_COMPOSE, IN_ATTEST, 0, "no app_compose"},
    {"mrconfig", F_A_MRCONFIG, IN_ATTEST, 0, "MRCONFIGID of another compose file"},
    {"mixed-shape", F_A_MIXED, IN_ATTEST, 0, "an ACI evidence block with another quote beside a NEAR body"},
    {"attest-dup-key", F_A_DUP_KEY, IN_ATTEST, 0, "signing_public_key twice, the second not bound"},
    {"attest-invalid", F_A_INVALID, IN_ATTEST, 0, "body cut in the middle"},
    {"attest-not-object", F_A_NOT_OBJECT, IN_ATTEST, 0, "body is a JSON array"},
    {"attest-deep", F_A_DEEP, IN_ATTEST, 200000, "value nested arrays in the body"},
    {"attest-model", F_A_MODEL, IN_ATTEST, 0, "model names another model"},
    {"stale-past", F_A_STALE_PAST, IN_ATTEST, 60, "ACI freshness.stale_after value seconds ago"},
    {"stale-short", F_A_STALE_SHORT, IN_ATTEST, 5,
     "ACI freshness.stale_after in value seconds (not an error)"},
    {"gpu-nonce", F_A_GPU_NONCE, IN_ATTEST, 0, "nvidia_payload with another nonce"},
    {"no-gpu", F_A_NO_GPU, IN_ATTEST, 0, "no nvidia_payload"},
    {"gpu-empty", F_A_GPU_EMPTY, IN_ATTEST, 0, "no evidence of the GPUs that vm_config claims"},
    {"gpu-fewer", F_A_GPU_FEWER, IN_ATTEST, 0, "evidence of one GPU fewer than vm_config claims"},
    {"gpu-twice", F_A_GPU_TWICE, IN_ATTEST, 0, "the evidence of one GPU given for two"},
    {"gpu-flip", F_A_GPU_FLIP, IN_ATTEST, 0, "one bit of a GPU's measurement flipped after signing"},
    {"gpu-report", F_A_GPU_REPORT, IN_ATTEST, 0, "a GPU's report made for another nonce"},
    {"gpu-firmware", F_A_GPU_FIRMWARE, IN_ATTEST, 0, "a GPU with other firmware than its certificate names"},
    {"gpu-root", F_A_GPU_STRANGER, IN_ATTEST, 0, "GPUs under another root"},
    {"wrong-root", F_A_STRANGER, IN_ATTEST, 0, "a right quote of a machine under another root"},
    {"old-module", F_A_OLD_MODULE, IN_ATTEST, 0, "a machine with a TDX module that is out of date"},
    {"other-os", F_A_OTHER_OS, IN_ATTEST, 0, "a right quote of another OS image (not an error at first use)"},
    {"other-compose", F_A_OTHER_COMPOSE, IN_ATTEST, 0,
     "a right quote of another compose file (not an error at first use)"},
    /* ---- signatures ---- */
    {"sig-key", F_S_KEY, IN_SIGNATURE, 0, "signed by another key, address of the model's"},
    {"sig-flip", F_S_FLIP, IN_SIGNATURE, 0, "one bit of s flipped"},
    {"sig-address", F_S_ADDRESS, IN_SIGNATURE, 0, "signed by another key and saying so"},
    {"sig-recid", F_S_RECID, IN_SIGNATURE, 0, "v is 0 or 1 (not an error)"},
    {"sig-one-hash", F_S_ONE_HASH, IN_SIGNATURE, 0, "text is a single hash (legacy)"},
    {"sig-two-hash", F_S_TWO, IN_SIGNATURE, 0, "text is request:response (DV, NP, PG)"},
    {"sig-three-part", F_S_THREE, IN_SIGNATURE, 0, "text is model:request:response (NR)"},
    {"sig-not-hex", F_S_NOT_HEX, IN_SIGNATURE, 0, "signature is not hex"},
    {"sig-404", F_S_404, IN_SIGNATURE, 0, "404, as another node would say"},
    {"sig-id", F_S_ID, IN_SIGNATURE, 0, "requested_request_id of another answer"},
    /* ---- NVIDIA's service ---- */
    {"nras-down", F_N_DOWN, IN_NRAS, 0, "status 503"},
    {"nras-refuses", F_N_REFUSES, IN_NRAS, 0, "the overall result is false"},
    {"nras-nonce", F_N_NONCE, IN_NRAS, 0, "tokens for another nonce"},
    {"nras-key", F_N_KEY, IN_NRAS, 0, "tokens signed by another key of the set than they name"},
    {"nras-alg", F_N_ALG, IN_NRAS, 0, "tokens with alg none and no signature"},
    {"nras-expired", F_N_EXPIRED, IN_NRAS, 0, "tokens that ended an hour ago"},
    {"nras-fewer", F_N_FEWER, IN_NRAS, 0, "nothing said of the last GPU"},
    {"nras-digest", F_N_DIGEST, IN_NRAS, 0, "a GPU's token that the overall token does not name"},
    {"nras-measures", F_N_MEASURES, IN_NRAS, 0, "a GPU's measurements are not the golden ones"},
    {"nras-revoked", F_N_REVOKED, IN_NRAS, 0, "a GPU's certificate is revoked"},
    {"nras-old", F_N_OLD, IN_NRAS, 0, "tokens that do not speak of revocation (not an error)"},
};

struct queued {
    struct fault_use use;
    unsigned where;
    char *model;
    long count;
};
static struct queued *queue;
static size_t queue_len;

const struct fault *fault_nth(size_t i)
{
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const struct fault *fault_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == len && !strncmp(table[i].name, name, len))
            return &table[i];
    return NULL;
}

bool fault_is(const struct fault_use *use, enum fault_id id)
{
    return use->fault && use->fault->id == id;
}

unsigned fault_where_of(const char *endpoint)
{
    static const struct {
        const char *name;
        unsigned where;
    } names[] = {{"models", IN_MODELS},
                 {"attestation", IN_ATTEST},
                 {"chat", IN_CHAT},
                 {"signature", IN_SIGNATURE},
                 {"nras", IN_NRAS}};
    for (size_t i = 0; endpoint && i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].name, endpoint))
            return names[i].where;
    return 0;
}

bool fault_push(const char *endpoint, const char *name, const char *model, long count, long at, long value,
                const char **why)
{
    unsigned where = fault_where_of(endpoint);
    const struct fault *fault = name ? fault_find(name, strlen(name)) : NULL;
    if (!where || !fault || !(fault->where & where)) {
        *why = !where   ? "endpoint is not one of models, attestation, chat, signature, nras"
               : !fault ? "no such fault"
                        : "that fault is not one of this endpoint";
        return false;
    }
    queue = sim_resize(queue, (queue_len + 1) * sizeof *queue);
    queue[queue_len++] = (struct queued){
        .use = {fault, at, value >= 0 ? value : fault->value},
        .where = where,
        .model = model ? sim_strdup(model) : NULL,
        .count = count,
    };
    return true;
}

static void queue_remove(size_t i)
{
    free(queue[i].model);
    memmove(queue + i, queue + i + 1, (--queue_len - i) * sizeof *queue);
}

struct fault_use fault_take(unsigned where, const char *model)
{
    struct fault_use none = {0};
    for (size_t i = 0; i < queue_len; i++) {
        if (queue[i].where != where || (queue[i].model && (!model || strcmp(queue[i].model, model))))
            continue;
        struct fault_use use = queue[i].use;
        if (--queue[i].count <= 0)
            queue_remove(i);
        return use;
    }
    return none;
}

void fault_clear(void)
{
    while (queue_len)
        queue_remove(queue_len - 1);
    free(queue);
    queue = NULL;
}
