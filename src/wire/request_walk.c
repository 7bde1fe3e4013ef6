#include "wire/request_walk.h"

#include <stdio.h>

#include "base/limits.h"

#define OPTIONS_SENT "{\"include_usage\":true}"
/* docs/PROTOCOL.md, "Request encryption": E2EE on, and nothing that Venice would add to or read from the prompt. */
#define VENICE_SENT                                                                                          \
    "{\"enable_e2ee\":true,\"include_venice_system_prompt\":false,\"enable_web_search\":\"off\"}"

enum verdict { VERDICT_FAIL, VERDICT_SKIP, VERDICT_KEEP };

static bool walk_members(struct walk *w, enum fields_where where, const struct json_node *object);

bool walk_fault(struct walk *w, enum err_kind kind, enum fields_where where, const char *name,
                const char *text)
{
    const char *dot = name[0] != '\0' ? "." : "";
    if (where == FIELDS_TOP) {
        snprintf(w->param, REQUEST_PARAM_BYTES, "%s", name);
    } else if (where == FIELDS_MESSAGE) {
        snprintf(w->param, REQUEST_PARAM_BYTES, "messages[%u]%s%s", (unsigned)w->message, dot, name);
    } else if (where == FIELDS_PART) {
        snprintf(w->param, REQUEST_PARAM_BYTES, "messages[%u].content.%s", (unsigned)w->message, name);
    } else {
        snprintf(w->param, REQUEST_PARAM_BYTES, "%s.%s", fields_where_name(where), name);
    }
    return err_set(w->err, kind, "%s %s", w->param, text);
}

bool walk_unsupported(struct walk *w, const struct fields_rule *rule)
{
    char text[300];
    snprintf(text, sizeof text, "is not supported: %s", rule->note);
    return walk_fault(w, ERR_UNSUPPORTED, rule->where, rule->name, text);
}

static enum verdict drop(struct walk *w, const struct fields_rule *rule)
{
    size_t count;
    w->dropped[rule - fields_rules(&count)] = true;
    return VERDICT_SKIP;
}

static bool check_type(struct walk *w, const struct fields_rule *rule, const struct json_node *value)
{
    if (fields_check(rule, w->doc, value)) {
        return true;
    }
    char text[200];
    if (rule->check == FIELDS_WORD) {
        snprintf(text, sizeof text, "must be one of %s", rule->words);
    } else {
        snprintf(text, sizeof text, "must be %s", fields_expected(rule));
    }
    return walk_fault(w, ERR_INVALID, rule->where, rule->name, text);
}

/* The members of an object that the proxy writes itself: checked, never planned. */
static bool check_members(struct walk *w, enum fields_where where, const struct json_node *object)
{
    w->plan->muted = true;
    bool ok = walk_members(w, where, object);
    w->plan->muted = false;
    return ok;
}

static bool judge_model(struct walk *w, const struct json_node *value)
{
    w->has_model = true;
    return json_string_copy(w->doc, value, w->info->model, sizeof w->info->model) ||
           walk_fault(w, ERR_NOT_FOUND, FIELDS_TOP, "model",
                      "is longer than any model's id; GET /v1/models lists them");
}

static bool judge_choices(struct walk *w, const struct json_node *value)
{
    uint64_t n;
    if (!json_u64(w->doc, value, &n) || n < 1 || n > LIMIT_ANSWER_CHOICES) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "n", "must be a whole number from 1 to 128");
    }
    w->info->choices = (uint32_t)n;
    return true;
}

/* Members of the request whose value means something to the proxy, beyond the table. */
static bool judge_top(struct walk *w, const struct json_node *m)
{
    if (json_key_is(w->doc, m, "model")) {
        return judge_model(w, m);
    }
    if (json_key_is(w->doc, m, "stream")) {
        w->has_stream = true;
        w->info->stream = m->type == JSON_TRUE;
    } else if (json_key_is(w->doc, m, "stream_options")) {
        w->has_options = true;
        return check_members(w, FIELDS_STREAM_OPTIONS, m);
    } else if (json_key_is(w->doc, m, "venice_parameters")) {
        w->has_venice = true;
        return check_members(w, FIELDS_VENICE, m);
    } else if (json_key_is(w->doc, m, "n")) {
        return judge_choices(w, m);
    } else if (json_key_is(w->doc, m, "stop")) {
        return walk_stop(w, m);
    }
    return true;
}

static enum verdict judge_message(struct walk *w, const struct fields_rule *rule, const struct json_node *m)
{
    if (json_key_is(w->doc, m, "refusal")) {
        return m == w->refusal ? VERDICT_KEEP : drop(w, rule);
    }
    if (json_key_is(w->doc, m, "tool_call_id") && !w->role_is_tool) {
        return drop(w, rule);
    }
    return VERDICT_KEEP;
}

/* What becomes of a member. Reads what the proxy needs of it, plans nothing. */
static enum verdict judge(struct walk *w, const struct fields_rule *rule, const struct json_node *m)
{
    bool absent;
    if (!fields_absent(rule, w->doc, m, &absent, w->err)) {
        return VERDICT_FAIL;
    }
    if (absent) {
        /* A message's content stays null, unless its refusal stands in. */
        bool content = rule->where == FIELDS_MESSAGE && rule->action == FIELDS_SEAL && rule->only_null;
        /* stream false is a value of its own to the proxy, which writes its own in the same place. */
        bool stream = rule->where == FIELDS_TOP && rule->check == FIELDS_BOOL && m->type == JSON_FALSE;
        if (!(content && w->refusal == NULL) && !stream) {
            return VERDICT_SKIP;
        }
    } else if (rule->action == FIELDS_DROP) {
        return drop(w, rule);
    } else if (rule->action == FIELDS_REFUSE) {
        walk_unsupported(w, rule);
        return VERDICT_FAIL;
    }
    if (rule->where == FIELDS_MESSAGE && judge_message(w, rule, m) == VERDICT_SKIP) {
        return VERDICT_SKIP;
    }
    if (!check_type(w, rule, m) || (rule->where == FIELDS_TOP && !judge_top(w, m))) {
        return VERDICT_FAIL;
    }
    if (rule->where == FIELDS_STREAM_OPTIONS) {
        w->info->include_usage = true;
    }
    return rule->action == FIELDS_LOCAL ? VERDICT_SKIP : VERDICT_KEEP;
}

static bool walk_message(struct walk *w, const struct json_node *message)
{
    if (message->type != JSON_OBJECT) {
        return walk_fault(w, ERR_INVALID, FIELDS_MESSAGE, "", "must be an object");
    }
    const struct json_node *role = json_present(w->doc, message, "role");
    if (role == NULL) {
        return walk_fault(w, ERR_INVALID, FIELDS_MESSAGE, "role", "is missing");
    }
    w->role_is_tool = json_string_is(w->doc, role, "tool");
    const struct json_node *id = json_present(w->doc, message, "tool_call_id");
    if (w->role_is_tool && (id == NULL || json_string_is(w->doc, id, ""))) {
        return walk_fault(w, ERR_INVALID, FIELDS_MESSAGE, "tool_call_id", "is missing from a tool's message");
    }
    const struct json_node *refusal = json_present(w->doc, message, "refusal");
    bool instead = json_present(w->doc, message, "content") == NULL && refusal != NULL &&
                   refusal->type == JSON_STRING && !json_string_is(w->doc, refusal, "");
    w->refusal = instead ? refusal : NULL;
    plan_copy(w->plan, message->start, message->start + 1);
    if (!walk_members(w, FIELDS_MESSAGE, message)) {
        return false;
    }
    plan_copy(w->plan, message->end - 1, message->end);
    return true;
}

static bool walk_messages(struct walk *w, const struct json_node *messages)
{
    size_t copied = messages->start;
    w->has_messages = true;
    w->message = 0;
    for (const struct json_node *m = json_first(w->doc, messages); m != NULL; m = json_next(w->doc, m)) {
        plan_copy(w->plan, copied, m->start);
        if (!walk_message(w, m)) {
            return false;
        }
        copied = m->end;
        w->message++;
    }
    plan_copy(w->plan, copied, messages->end);
    return true;
}

static bool walk_reasoning(struct walk *w, const struct json_node *object)
{
    plan_copy(w->plan, object->start, object->start + 1);
    if (!walk_members(w, FIELDS_REASONING, object)) {
        return false;
    }
    plan_copy(w->plan, object->end - 1, object->end);
    return true;
}

static void plan_ours(struct walk *w, const struct json_node *m)
{
    if (json_key_is(w->doc, m, "model")) {
        plan_model(w->plan);
    } else if (json_key_is(w->doc, m, "stream")) {
        plan_word(w->plan, "true");
    } else if (json_key_is(w->doc, m, "stream_options")) {
        plan_word(w->plan, OPTIONS_SENT);
    } else {
        plan_word(w->plan, VENICE_SENT);
    }
}

/* Plans the value of a member that is kept. */
static bool plan_value(struct walk *w, const struct fields_rule *rule, const struct json_node *m)
{
    if (rule->action == FIELDS_OURS) {
        plan_ours(w, m);
        return true;
    }
    if (rule->action == FIELDS_SEAL && rule->check != FIELDS_STRING) {
        return walk_content(w, rule, m);
    }
    if (rule->action == FIELDS_SEAL) {
        plan_seal(w->plan, m == w->refusal ? PLAN_SEAL_CONTENT : PLAN_SEAL_TEXT, m->start + 1, m->end - 1);
        return true;
    }
    if (rule->check == FIELDS_ARRAY) {
        return walk_messages(w, m);
    }
    if (rule->check == FIELDS_OBJECT) {
        return walk_reasoning(w, m);
    }
    if (rule->where == FIELDS_MESSAGE && json_string_is(w->doc, m, "developer")) {
        plan_word(w->plan, "\"system\"");
        return true;
    }
    plan_copy(w->plan, m->start, m->end);
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Plans a kept member with the white space around it. first: none was kept before it in its object. */
static bool plan_member(struct walk *w, const struct fields_rule *rule, const struct json_node *m, bool first)
{
    size_t from = m->key_start, to = m->end;
    while (is_space(w->doc->text[from - 1])) {
        from--;
    }
    while (is_space(w->doc->text[to])) {
        to++;
    }
    /* The byte before is this member's comma, unless it opens the object. */
    from -= first ? 0 : 1;
    if (m == w->refusal) {
        plan_copy(w->plan, from, m->key_start);
        plan_word(w->plan, "\"content\":");
    } else {
        plan_copy(w->plan, from, m->start);
    }
    if (!plan_value(w, rule, m)) {
        return false;
    }
    plan_copy(w->plan, m->end, to);
    return true;
}

static bool walk_members(struct walk *w, enum fields_where where, const struct json_node *object)
{
    bool first = true;
    for (const struct json_node *m = json_first(w->doc, object); m != NULL; m = json_next(w->doc, m)) {
        const struct fields_rule *rule = fields_find(where, w->doc, m);
        if (rule == NULL) {
            w->unknown += m->type != JSON_NULL && !fields_empty(m);
            continue;
        }
        enum verdict verdict = judge(w, rule, m);
        if (verdict == VERDICT_FAIL || (verdict == VERDICT_KEEP && !plan_member(w, rule, m, first))) {
            return false;
        }
        first &= verdict != VERDICT_KEEP;
    }
    return true;
}

bool walk_request(struct walk *w, const struct json_node *root)
{
    plan_copy(w->plan, root->start, root->start + 1);
    if (!walk_members(w, FIELDS_TOP, root)) {
        return false;
    }
    if (!w->has_model) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "model", "is missing; GET /v1/models lists the models");
    }
    if (!w->has_messages) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "messages", "is missing or empty");
    }
    if (!w->has_stream) {
        plan_word(w->plan, ",\"stream\":true");
    }
    if (!w->has_options) {
        plan_word(w->plan, ",\"stream_options\":" OPTIONS_SENT);
    }
    if (!w->has_venice) {
        plan_word(w->plan, ",\"venice_parameters\":" VENICE_SENT);
    }
    plan_copy(w->plan, root->end - 1, root->end);
    return true;
}
