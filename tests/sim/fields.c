#include <math.h>
#include <string.h>

#include "check.h"

enum kind { NUMBER, INTEGER, FLAG, TEXT, OBJECT, ARRAY };
enum verdict { OK, NEVER };

/*
 * Venice's schema as far as docs/PROTOCOL.md section 2 knows it. NEVER: Venice takes it, but it would carry plaintext or
 * asks for something that v1 cannot do, so a right client drops or refuses it. Any other key is unknown to Venice.
 */
static const struct {
    const char *name;
    enum kind kind;
    enum verdict verdict;
} top[] = {
    {"model", TEXT, OK},
    {"messages", ARRAY, OK},
    {"stream", FLAG, OK},
    {"stream_options", OBJECT, OK},
    {"temperature", NUMBER, OK},
    {"top_p", NUMBER, OK},
    {"top_k", INTEGER, OK},
    {"min_p", NUMBER, OK},
    {"max_tokens", INTEGER, OK},
    {"max_completion_tokens", INTEGER, OK},
    {"seed", INTEGER, OK},
    {"frequency_penalty", NUMBER, OK},
    {"presence_penalty", NUMBER, OK},
    {"repetition_penalty", NUMBER, OK},
    {"n", INTEGER, OK},
    {"reasoning", OBJECT, OK},
    {"reasoning_effort", TEXT, OK},
    {"venice_parameters", OBJECT, OK},
    {"stop", TEXT, NEVER},
    {"stop_token_ids", ARRAY, NEVER},
    {"tools", ARRAY, NEVER},
    {"tool_choice", TEXT, NEVER},
    {"parallel_tool_calls", FLAG, NEVER},
    {"functions", ARRAY, NEVER},
    {"function_call", TEXT, NEVER},
    {"response_format", OBJECT, NEVER},
    {"logprobs", FLAG, NEVER},
    {"top_logprobs", INTEGER, NEVER},
    {"logit_bias", OBJECT, NEVER},
    {"prompt_cache_key", TEXT, NEVER},
    {"prompt_cache_retention", TEXT, NEVER},
    {"metadata", OBJECT, NEVER},
    {"user", TEXT, NEVER},
    {"store", FLAG, NEVER},
    {"min_temp", NUMBER, NEVER},
    {"max_temp", NUMBER, NEVER},
};

static bool kind_fits(const cJSON *v, enum kind kind)
{
    switch (kind) {
    case NUMBER:
        return cJSON_IsNumber(v);
    case INTEGER: /* a seed beyond 2^53 is still whole as a double */
        return cJSON_IsNumber(v) && v->valuedouble == floor(v->valuedouble);
    case FLAG:
        return cJSON_IsBool(v);
    case TEXT:
        return cJSON_IsString(v);
    case OBJECT:
        return cJSON_IsObject(v);
    case ARRAY:
        return cJSON_IsArray(v);
    }
    return false;
}

bool fields_no_duplicates(const cJSON *value, struct refusal *r)
{
    for (const cJSON *a = value->child; a; a = a->next) {
        for (const cJSON *b = a->next; cJSON_IsObject(value) && b; b = b->next)
            if (!strcmp(a->string, b->string))
                return fields_refuse(r, "json_duplicate_key", "a key comes twice in one object");
        if (a->child && !fields_no_duplicates(a, r))
            return false;
    }
    return true;
}

static bool check_key(const cJSON *v, struct refusal *r)
{
    for (size_t i = 0; i < sizeof top / sizeof *top; i++) {
        if (strcmp(top[i].name, v->string))
            continue;
        if (top[i].verdict == NEVER)
            return fields_refuse(r, "forbidden_key", "%s must not leave the proxy", v->string);
        if (!kind_fits(v, top[i].kind))
            return fields_refuse(r, "wrong_type", "%s has the wrong type", v->string);
        return true;
    }
    return fields_refuse(r, "unknown_key", "Unrecognized key(s) in object: '%.60s'", v->string);
}

static bool one_of(const cJSON *v, const char *const *words)
{
    for (; cJSON_IsString(v) && *words; words++)
        if (!strcmp(*words, v->valuestring))
            return true;
    return false;
}

static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max", NULL};

static bool check_reasoning(const cJSON *v, struct refusal *r)
{
    static const char *const summaries[] = {"auto", "concise", "detailed", "none", NULL};
    const cJSON *o;
    cJSON_ArrayForEach(o, v)
    {
        bool ok = !strcmp(o->string, "effort")    ? one_of(o, efforts)
                  : !strcmp(o->string, "summary") ? one_of(o, summaries)
                  : !strcmp(o->string, "enabled") ? cJSON_IsBool(o)
                                                  : !strcmp(o->string, "max_tokens") && cJSON_IsNumber(o);
        if (!ok)
            return fields_refuse(r, "reasoning_object", "reasoning has a member or value that is not known");
    }
    return true;
}

static bool check_stream_options(const cJSON *v, struct refusal *r)
{
    const cJSON *o;
    cJSON_ArrayForEach(o, v) if (strcmp(o->string, "include_usage") || !cJSON_IsBool(o)) return fields_refuse(
        r, "stream_options", "stream_options has more than a boolean include_usage");
    return true;
}

/* enable_e2ee true and Venice's own prompt off, said aloud; nothing that adds to or changes the prompt. */
static bool check_venice(const cJSON *v, struct refusal *r)
{
    static const char *const off[] = {"off", NULL};
    static const char *const stays_false[] = {"enable_web_scraping",
                                              "enable_web_citations",
                                              "enable_x_search",
                                              "include_search_results_in_stream",
                                              "return_search_results_as_documents",
                                              "enable_venice_e2ee_debug",
                                              NULL};
    const cJSON *o;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(v, "enable_e2ee")))
        return fields_refuse(r, "venice_parameters", "enable_e2ee is not true");
    if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(v, "include_venice_system_prompt")))
        return fields_refuse(r, "venice_parameters", "include_venice_system_prompt is not false");
    cJSON_ArrayForEach(o, v)
    {
        bool ok = !strcmp(o->string, "enable_e2ee") || !strcmp(o->string, "include_venice_system_prompt");
        if (!strcmp(o->string, "enable_web_search"))
            ok = one_of(o, off);
        if (!strcmp(o->string, "strip_thinking_response") || !strcmp(o->string, "disable_thinking"))
            ok = cJSON_IsBool(o);
        for (int i = 0; stays_false[i]; i++)
            ok = ok || (!strcmp(o->string, stays_false[i]) && cJSON_IsFalse(o));
        if (!ok)
            return fields_refuse(r, "venice_parameters", "%.60s is not allowed or has another value",
                                 o->string);
    }
    return true;
}

static long number_of(const cJSON *body, const char *name, long fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(body, name);
    return v ? (long)v->valuedouble : fallback;
}

bool fields_check(struct chat *chat, struct refusal *r)
{
    const cJSON *v;
    cJSON_ArrayForEach(v, chat->body) if (!check_key(v, r)) return false;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(chat->body, "stream")))
        return fields_refuse(r, "stream_not_true", "E2EE requires streaming");
    const cJSON *venice = cJSON_GetObjectItemCaseSensitive(chat->body, "venice_parameters");
    if (!venice)
        return fields_refuse(r, "venice_parameters", "no venice_parameters");
    const cJSON *reasoning = cJSON_GetObjectItemCaseSensitive(chat->body, "reasoning"),
                *effort = cJSON_GetObjectItemCaseSensitive(chat->body, "reasoning_effort"),
                *options = cJSON_GetObjectItemCaseSensitive(chat->body, "stream_options");
    if (!check_venice(venice, r) || (reasoning && !check_reasoning(reasoning, r)) ||
        (options && !check_stream_options(options, r)))
        return false;
    if (effort && !one_of(effort, efforts))
        return fields_refuse(r, "reasoning_effort", "reasoning_effort is not a known word");
    chat->n = (int)number_of(chat->body, "n", 1);
    chat->max_tokens = number_of(chat->body, "max_tokens", number_of(chat->body, "max_completion_tokens", 0));
    if (chat->n < 1 || chat->n > 16) {
        refusal_set(r, 400, "invalid_request_error", NULL, "n must be between 1 and 16");
        return false;
    }
    return true;
}
