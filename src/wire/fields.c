#include "wire/fields.h"

#include <string.h>

#include "base/limits.h"

/* Longer than any name of the table, shorter than what is worth comparing. */
#define NAME_MAX_BYTES 40

#define TOP(name, action, ...)                                                                               \
    {                                                                                                        \
        FIELDS_TOP, name, FIELDS_##action, __VA_ARGS__                                                       \
    }
#define OPTION(name, action, ...)                                                                            \
    {                                                                                                        \
        FIELDS_STREAM_OPTIONS, name, FIELDS_##action, __VA_ARGS__                                            \
    }
#define REASON(name, action, ...)                                                                            \
    {                                                                                                        \
        FIELDS_REASONING, name, FIELDS_##action, __VA_ARGS__                                                 \
    }
#define VENICE(name, action, ...)                                                                            \
    {                                                                                                        \
        FIELDS_VENICE, name, FIELDS_##action, __VA_ARGS__                                                    \
    }
#define MESSAGE(name, action, ...)                                                                           \
    {                                                                                                        \
        FIELDS_MESSAGE, name, FIELDS_##action, __VA_ARGS__                                                   \
    }
#define PART(name, action, ...)                                                                              \
    {                                                                                                        \
        FIELDS_PART, name, FIELDS_##action, __VA_ARGS__                                                      \
    }

#define EFFORTS "none|minimal|low|medium|high|xhigh|max"
#define NO_TOOLS                                                                                             \
    "tools cannot be sealed in this version of the protocol; leave them out, or describe them in a message " \
    "and read "                                                                                              \
    "the call from the answer's text"
#define NO_GRAMMAR "the server would have to read it in plaintext; ask for the form you need in a message"
#define NO_AUDIO "only text and images can be sealed; send a transcript as text"

static const struct fields_rule rules[] = {
    TOP("model", OURS, FIELDS_STRING, NULL, NULL, false,
        "looked up in the catalogue; the catalogue's id is sent"),
    TOP("messages", FORWARD, FIELDS_ARRAY, NULL, NULL, false, "each message by its own table below"),
    TOP("stream", OURS, FIELDS_BOOL, NULL, NULL, false,
        "always sent as true; false is gathered by the proxy"),
    TOP("stream_options", OURS, FIELDS_OBJECT, NULL, NULL, false, "always sent as {\"include_usage\":true}"),
    TOP("venice_parameters", OURS, FIELDS_OBJECT, NULL, NULL, false,
        "written by the proxy; a differing one is refused"),
    TOP("stop", LOCAL, FIELDS_ANY, NULL, NULL, false,
        "a string or up to 16; applied by the proxy to the opened text"),
    TOP("temperature", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("top_p", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("top_k", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("min_p", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("max_tokens", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("max_completion_tokens", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("seed", FORWARD, FIELDS_NUMBER, NULL, NULL, false, "all digits survive"),
    TOP("frequency_penalty", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("presence_penalty", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("repetition_penalty", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    TOP("n", FORWARD, FIELDS_NUMBER, NULL, NULL, false, "1 to 128"),
    TOP("reasoning", FORWARD, FIELDS_OBJECT, NULL, NULL, false, "its members by their own table below"),
    TOP("reasoning_effort", FORWARD, FIELDS_WORD, EFFORTS, NULL, false, ""),
    TOP("tools", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_TOOLS),
    TOP("tool_choice", REFUSE, FIELDS_ANY, NULL, "[\"auto\",\"none\"]", false, NO_TOOLS),
    TOP("functions", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_TOOLS),
    TOP("function_call", REFUSE, FIELDS_ANY, NULL, "[\"auto\",\"none\"]", false, NO_TOOLS),
    TOP("response_format", REFUSE, FIELDS_ANY, NULL, "[{\"type\":\"text\"}]", false, NO_GRAMMAR),
    TOP("guided_json", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_GRAMMAR),
    TOP("guided_regex", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_GRAMMAR),
    TOP("guided_choice", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_GRAMMAR),
    TOP("guided_grammar", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_GRAMMAR),
    TOP("structured_outputs", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_GRAMMAR),
    TOP("logprobs", REFUSE, FIELDS_ANY, NULL, NULL, false, "they would come back as plaintext; leave it out"),
    TOP("top_logprobs", REFUSE, FIELDS_ANY, NULL, "[0]", false,
        "they would come back as plaintext; leave it out"),
    TOP("logit_bias", REFUSE, FIELDS_ANY, NULL, NULL, false,
        "Venice does not take it with sealed messages; leave it out"),
    TOP("audio", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_AUDIO),
    TOP("modalities", REFUSE, FIELDS_ANY, NULL, "[[\"text\"]]", false, NO_AUDIO),
    TOP("prediction", REFUSE, FIELDS_ANY, NULL, NULL, false, "it would leave in plaintext; leave it out"),
    TOP("web_search_options", REFUSE, FIELDS_ANY, NULL, NULL, true,
        "a web search needs the prompt in plaintext; leave it out"),
    TOP("user", DROP, FIELDS_ANY, NULL, NULL, false, "names the user"),
    TOP("safety_identifier", DROP, FIELDS_ANY, NULL, NULL, false, "names the user"),
    TOP("metadata", DROP, FIELDS_ANY, NULL, NULL, false, "free text"),
    TOP("store", DROP, FIELDS_ANY, NULL, NULL, false, "nothing is stored"),
    TOP("service_tier", DROP, FIELDS_ANY, NULL, "[\"auto\",\"default\"]", false, "a hint"),
    TOP("prompt_cache_key", DROP, FIELDS_ANY, NULL, NULL, false,
        "free text; a sealed prompt is never cached"),
    TOP("prompt_cache_retention", DROP, FIELDS_ANY, NULL, NULL, false, "a sealed prompt is never cached"),
    TOP("parallel_tool_calls", DROP, FIELDS_ANY, NULL, "[true]", false, "means nothing without tools"),
    TOP("verbosity", DROP, FIELDS_ANY, NULL, "[\"medium\"]", false, "a hint"),
    TOP("chat_template_kwargs", DROP, FIELDS_ANY, NULL, NULL, false, "free form; not in Venice's schema"),
    TOP("thinking", DROP, FIELDS_ANY, NULL, NULL, false, "not in Venice's schema; use reasoning"),
    TOP("enable_thinking", DROP, FIELDS_ANY, NULL, "[true]", true, "not in Venice's schema; use reasoning"),
    TOP("provider", DROP, FIELDS_ANY, NULL, NULL, false, "not in Venice's schema"),
    OPTION("include_usage", LOCAL, FIELDS_BOOL, NULL, NULL, false,
           "decides whether the client sees the usage chunk"),
    OPTION("include_obfuscation", DROP, FIELDS_ANY, NULL, NULL, false, "a hint"),
    REASON("effort", FORWARD, FIELDS_WORD, EFFORTS, NULL, false, ""),
    REASON("enabled", FORWARD, FIELDS_BOOL, NULL, NULL, true, ""),
    REASON("exclude", FORWARD, FIELDS_BOOL, NULL, NULL, true, ""),
    REASON("max_tokens", FORWARD, FIELDS_NUMBER, NULL, NULL, false, ""),
    REASON("summary", FORWARD, FIELDS_WORD, "auto|concise|detailed", NULL, false, ""),
    VENICE("enable_e2ee", REFUSE, FIELDS_ANY, NULL, "[true]", true, "this proxy sends sealed messages only"),
    VENICE("include_venice_system_prompt", REFUSE, FIELDS_ANY, NULL, NULL, false, "always sent as false"),
    VENICE("enable_web_search", REFUSE, FIELDS_ANY, NULL, "[\"off\"]", false,
           "it needs the prompt in plaintext"),
    VENICE("enable_web_scraping", REFUSE, FIELDS_ANY, NULL, NULL, false, "it needs the prompt in plaintext"),
    VENICE("enable_web_citations", REFUSE, FIELDS_ANY, NULL, NULL, false, "there is no web search to cite"),
    VENICE("include_search_results_in_stream", REFUSE, FIELDS_ANY, NULL, NULL, false,
           "there is no web search"),
    VENICE("character_slug", REFUSE, FIELDS_ANY, NULL, NULL, false,
           "Venice cannot add a character to a sealed prompt; describe it in a system message"),
    VENICE("strip_thinking_response", REFUSE, FIELDS_ANY, NULL, NULL, false,
           "Venice cannot read a sealed answer; leave out reasoning_content yourself"),
    VENICE("disable_thinking", REFUSE, FIELDS_ANY, NULL, NULL, false,
           "use reasoning_effort or reasoning instead"),
    MESSAGE("role", FORWARD, FIELDS_WORD, "system|developer|user|assistant|tool", NULL, false,
            "developer is sent as system, the name that every server knows"),
    MESSAGE("content", SEAL, FIELDS_ANY, NULL, NULL, true,
            "a string, also an empty one, or an array of parts as compact JSON; text that looks like a JSON "
            "array as "
            "one text part, so that it comes back as text; null stays"),
    MESSAGE("reasoning_content", SEAL, FIELDS_STRING, NULL, NULL, false, ""),
    MESSAGE("reasoning", SEAL, FIELDS_STRING, NULL, NULL, false, ""),
    MESSAGE("refusal", SEAL, FIELDS_STRING, NULL, NULL, false,
            "sealed as the content of a message that has none"),
    MESSAGE("tool_call_id", FORWARD, FIELDS_ID, NULL, NULL, false,
            "of role tool only, where Venice requires it"),
    MESSAGE("tool_calls", REFUSE, FIELDS_ANY, NULL, NULL, false,
            "calls cannot be sealed; write the call and its result into the messages' text"),
    MESSAGE("function_call", REFUSE, FIELDS_ANY, NULL, NULL, false,
            "calls cannot be sealed; write the call and its result into the messages' text"),
    MESSAGE("audio", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_AUDIO),
    MESSAGE("name", DROP, FIELDS_ANY, NULL, NULL, false, "free text that servers leave unsealed"),
    MESSAGE("annotations", DROP, FIELDS_ANY, NULL, NULL, false, "comes from an earlier answer"),
    MESSAGE("reasoning_details", DROP, FIELDS_ANY, NULL, NULL, false, "servers leave it unsealed"),
    MESSAGE("cache_control", DROP, FIELDS_ANY, NULL, NULL, false, "a sealed prompt is never cached"),
    PART("text", SEAL, FIELDS_ANY, NULL, NULL, false, "member text: a string"),
    PART("image_url", SEAL, FIELDS_ANY, NULL, NULL, false, "member image_url: a data: or https: URL"),
    PART("refusal", SEAL, FIELDS_ANY, NULL, NULL, false, "member refusal: a string"),
    PART("input_audio", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_AUDIO),
    PART("audio_url", REFUSE, FIELDS_ANY, NULL, NULL, false, NO_AUDIO),
    PART("video_url", REFUSE, FIELDS_ANY, NULL, NULL, false, "only text and images can be sealed"),
    PART("file", REFUSE, FIELDS_ANY, NULL, NULL, false,
         "only text and images can be sealed; send the file's text"),
};

#define RULE_COUNT (sizeof rules / sizeof *rules)
_Static_assert(RULE_COUNT <= FIELDS_RULES_MAX, "callers keep one flag for each rule");

const struct fields_rule *fields_rules(size_t *count)
{
    *count = RULE_COUNT;
    return rules;
}

const char *fields_where_name(enum fields_where where)
{
    static const char *const names[FIELDS_WHERE_COUNT] = {
        "", "stream_options", "reasoning", "venice_parameters", "messages", "content"};
    return names[where];
}

/* The rule of this name; name[0..len) is not terminated. */
static const struct fields_rule *find(enum fields_where where, const char *name, size_t len)
{
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (rules[i].where == where && strncmp(rules[i].name, name, len) == 0 && rules[i].name[len] == '\0') {
            return &rules[i];
        }
    }
    return NULL;
}

const struct fields_rule *fields_find(enum fields_where where, const struct json_doc *doc,
                                      const struct json_node *member)
{
    const char *raw = doc->text + member->key_start + 1;
    size_t len = member->key_end - member->key_start - 2;
    if (!member->key_escaped) {
        return len <= NAME_MAX_BYTES && memchr(raw, '\0', len) == NULL ? find(where, raw, len) : NULL;
    }
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (rules[i].where == where && json_key_is(doc, member, rules[i].name)) {
            return &rules[i];
        }
    }
    return NULL;
}

const struct fields_rule *fields_find_part(const struct json_doc *doc, const struct json_node *type)
{
    char name[NAME_MAX_BYTES + 1];
    return json_string_copy(doc, type, name, sizeof name) ? find(FIELDS_PART, name, strlen(name)) : NULL;
}

/* True when the value of the table (strings without escapes) and the client's are the same JSON value. */
static bool same_value(const struct json_doc *ours, const struct json_node *a, const struct json_doc *theirs,
                       const struct json_node *b)
{
    double x, y;
    char text[NAME_MAX_BYTES + 1];
    if (a->type != b->type || a->count != b->count) {
        return false;
    }
    switch (a->type) {
    case JSON_NUMBER:
        return json_double(ours, a, &x) && json_double(theirs, b, &y) && x == y;
    case JSON_STRING:
        return json_string_copy(ours, a, text, sizeof text) && json_string_is(theirs, b, text);
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    default:
        return true;
    }
    const struct json_node *y_node = json_first(theirs, b);
    for (const struct json_node *n = json_first(ours, a); n != NULL; n = json_next(ours, n)) {
        if (a->type == JSON_OBJECT) {
            size_t len = n->key_end - n->key_start - 2;
            memcpy(text, ours->text + n->key_start + 1, len);
            text[len] = '\0';
            y_node = json_member(theirs, b, text);
        }
        if (y_node == NULL || !same_value(ours, n, theirs, y_node)) {
            return false;
        }
        y_node = json_next(theirs, y_node);
    }
    return true;
}

bool fields_empty(const struct json_node *value)
{
    switch (value->type) {
    case JSON_FALSE:
        return true;
    case JSON_STRING:
        return value->end - value->start == 2;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return value->count == 0;
    default:
        return false;
    }
}

bool fields_absent(const struct fields_rule *rule, const struct json_doc *doc, const struct json_node *value,
                   bool *absent, struct err *err)
{
    *absent = value->type == JSON_NULL || (!rule->only_null && fields_empty(value));
    if (*absent || rule->absent == NULL) {
        return true;
    }
    struct json_doc ours;
    json_doc_init(&ours);
    if (!json_parse(&ours, rule->absent, strlen(rule->absent), LIMIT_JSON_NODES, err)) {
        return false;
    }
    const struct json_node *n = json_first(&ours, json_root(&ours));
    for (; n != NULL && !*absent; n = json_next(&ours, n)) {
        *absent = same_value(&ours, n, doc, value);
    }
    json_doc_free(&ours);
    return true;
}

static bool is_word(const char *words, const struct json_doc *doc, const struct json_node *value)
{
    char word[NAME_MAX_BYTES + 1];
    if (!json_string_copy(doc, value, word, sizeof word) || word[0] == '\0' || strchr(word, '|') != NULL) {
        return false;
    }
    size_t len = strlen(word);
    for (const char *p = words; p != NULL; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, word, len) == 0 && (p[len] == '|' || p[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool is_id(const struct json_doc *doc, const struct json_node *value)
{
    const char *raw;
    size_t len;
    if (!json_string_raw(doc, value, &raw, &len) || value->escaped || len < 1 ||
        len > LIMIT_TOOL_CALL_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = raw[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("_.:-", c) == NULL)) {
            return false;
        }
    }
    return true;
}

bool fields_check(const struct fields_rule *rule, const struct json_doc *doc, const struct json_node *value)
{
    switch (rule->check) {
    case FIELDS_NUMBER:
        return value->type == JSON_NUMBER && value->end - value->start <= LIMIT_REQUEST_NUMBER_BYTES;
    case FIELDS_BOOL:
        return value->type == JSON_TRUE || value->type == JSON_FALSE;
    case FIELDS_WORD:
        return is_word(rule->words, doc, value);
    case FIELDS_ID:
        return is_id(doc, value);
    case FIELDS_STRING:
        return value->type == JSON_STRING;
    case FIELDS_OBJECT:
        return value->type == JSON_OBJECT;
    case FIELDS_ARRAY:
        return value->type == JSON_ARRAY;
    default:
        return true;
    }
}
