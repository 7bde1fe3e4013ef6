/* The judgement of an upstream's event: wire/answer.h says the rules. */
#include <string.h>

#include "base/limits.h"
#include "wire/answer.h"
#include "wire/answer_internal.h"
#include "wire/field.h"

#define USAGE_DEPTH 4

enum verdict { REFUSE, KEEP, CUT };

/* One parse. */
struct judge {
    struct answer_parser *parser;
    struct answer_event *event;
    const struct json_doc *doc;
    struct err *err;
    uint32_t choice; /* the one being read */
    bool choices_seen;
};

typedef enum verdict judge_fn(struct judge *j, const struct json_node *member);

struct name {
    const char *text;
    uint8_t len; /* of text */
    uint8_t what;
};
#define NAME(text, what)                                                                                     \
    {                                                                                                        \
        text, sizeof(text) - 1, what                                                                         \
    }

/* The entry that a member's key names, or NULL. */
static const struct name *find_name(const struct judge *j, const struct json_node *member,
                                    const struct name *names, size_t count)
{
    size_t len = member->key_end - member->key_start - 2;
    const char *key = j->doc->text + member->key_start + 1;
    for (size_t i = 0; i < count; i++) {
        bool same = member->key_escaped ? json_key_is(j->doc, member, names[i].text)
                                        : names[i].len == len && memcmp(names[i].text, key, len) == 0;
        if (same) {
            return &names[i];
        }
    }
    return NULL;
}
#define FIND(j, member, names) find_name(j, member, names, sizeof(names) / sizeof((names)[0]))

static enum verdict plaintext(struct judge *j, const char *what)
{
    err_set(j->err, ERR_PLAINTEXT, "the upstream put something that is not sealed into %s of its answer",
            what);
    return REFUSE;
}

static bool insert_edit(struct judge *j, size_t at, struct answer_edit edit)
{
    struct answer_event *e = j->event;
    if (!answer_grow((void **)&e->edits, e->edit_count, &e->edit_cap, sizeof *e->edits, j->err)) {
        return false;
    }
    memmove(e->edits + at + 1, e->edits + at, (e->edit_count - at) * sizeof *e->edits);
    e->edits[at] = edit;
    e->edit_count++;
    return true;
}

static bool push_edit(struct judge *j, enum answer_edit_kind kind, uint32_t start, uint32_t end,
                      uint32_t which)
{
    return insert_edit(j, j->event->edit_count, (struct answer_edit){{start, end}, which, (uint8_t)kind});
}

/* Judges the members of an object in order; runs of members to be left out become edits, commas included. *kept:
 * whether any is left. */
static bool walk(struct judge *j, const struct json_node *object, judge_fn *judge, bool *kept)
{
    const struct json_node *last_kept = NULL, *run = NULL, *last = NULL;
    for (const struct json_node *m = json_first(j->doc, object); m != NULL; m = json_next(j->doc, m)) {
        size_t edits = j->event->edit_count;
        enum verdict verdict = judge(j, m);
        if (verdict == REFUSE) {
            return false;
        }
        last = m;
        if (verdict == CUT) {
            run = run != NULL ? run : m;
            continue;
        }
        struct answer_edit cut = {{run != NULL ? run->key_start : 0, m->key_start}, 0, ANSWER_EDIT_CUT};
        if (run != NULL && !insert_edit(j, edits, cut)) {
            return false;
        }
        run = NULL;
        last_kept = m;
    }
    *kept = last_kept != NULL;
    if (run == NULL) {
        return true;
    }
    return push_edit(j, ANSWER_EDIT_CUT, last_kept != NULL ? last_kept->end : run->key_start, last->end, 0);
}

static enum verdict sealed_member(struct judge *j, const struct json_node *node, const struct name *name)
{
    struct answer_event *e = j->event;
    if (node->type != JSON_STRING || answer_is_empty(node)) {
        return node->type == JSON_NULL || node->type == JSON_STRING ? KEEP
               : answer_is_hollow(j->doc, node)                     ? CUT
                                                                    : plaintext(j, name->text);
    }
    struct field sealed;
    struct err why = {0};
    /* Decoded over its own digits. An escape in it fails as what is no hex digit. */
    uint8_t *bytes = e->text.data + node->start + 1;
    if (!field_decode(&sealed, bytes, (const char *)bytes, node->end - node->start - 2, &why)) {
        if (why.kind == ERR_PLAINTEXT) {
            return plaintext(j, name->text);
        }
        err_set(j->err, why.kind, "%s: %s", name->text, why.message);
        return REFUSE;
    }
    if (!answer_point_valid(j->parser, sealed.point)) {
        err_set(j->err, ERR_DECRYPT, "%s: a sealed field's point is not on the curve", name->text);
        return REFUSE;
    }
    if (!answer_grow((void **)&e->fields, e->field_count, &e->field_cap, sizeof *e->fields, j->err) ||
        !push_edit(j, ANSWER_EDIT_FIELD, node->start, node->end, (uint32_t)e->field_count)) {
        return REFUSE;
    }
    e->fields[e->field_count++] = (struct answer_field){.point = sealed.point,
                                                        .nonce = sealed.nonce,
                                                        .sealed = sealed.sealed,
                                                        .sealed_len = sealed.sealed_len,
                                                        .span = {node->start, node->end},
                                                        .choice = j->choice,
                                                        .member = name->what};
    return KEEP;
}

enum { DELTA_EMPTY = ANSWER_MEMBER_COUNT, DELTA_ROLE };

static enum verdict judge_delta(struct judge *j, const struct json_node *member)
{
    static const struct name names[] = {
        NAME("content", ANSWER_CONTENT),
        NAME("role", DELTA_ROLE),
        NAME("reasoning_content", ANSWER_REASONING_CONTENT),
        NAME("reasoning", ANSWER_REASONING),
        NAME("tool_calls", DELTA_EMPTY),
        NAME("function_call", DELTA_EMPTY),
        NAME("refusal", DELTA_EMPTY),
        NAME("annotations", DELTA_EMPTY),
        NAME("audio", DELTA_EMPTY),
    };
    const struct name *name = FIND(j, member, names);
    if (name == NULL) {
        return answer_is_hollow(j->doc, member) ? CUT : plaintext(j, "an unknown member of a message");
    }
    if (name->what < ANSWER_MEMBER_COUNT) {
        return sealed_member(j, member, name);
    }
    if (answer_is_empty(member)) {
        return KEEP;
    }
    if (name->what == DELTA_ROLE) {
        return json_string_is(j->doc, member, "assistant") ? KEEP : plaintext(j, name->text);
    }
    return answer_is_hollow(j->doc, member) ? CUT : plaintext(j, name->text);
}

enum { CHOICE_INDEX, CHOICE_MESSAGE, CHOICE_FINISH, CHOICE_FINISH_KIN, CHOICE_LOGPROBS };

static enum verdict judge_finish(struct judge *j, const struct json_node *member, const struct name *name)
{
    struct answer_choice *choice = &j->event->choices[j->choice];
    bool kin = name->what == CHOICE_FINISH_KIN;
    if (member->type != JSON_NULL && !answer_is_finish(j->doc, member) &&
        !(kin && member->type == JSON_NUMBER)) {
        return plaintext(j, name->text);
    }
    if (kin) {
        return KEEP;
    }
    choice->finish = (struct answer_span){member->start, member->end};
    choice->finished = !answer_is_empty(member);
    return push_edit(j, ANSWER_EDIT_FINISH, member->start, member->end, j->choice) ? KEEP : REFUSE;
}

static enum verdict judge_choice(struct judge *j, const struct json_node *member)
{
    static const struct name names[] = {
        NAME("index", CHOICE_INDEX),
        NAME("delta", CHOICE_MESSAGE),
        NAME("finish_reason", CHOICE_FINISH),
        NAME("logprobs", CHOICE_LOGPROBS),
        NAME("message", CHOICE_MESSAGE),
        NAME("stop_reason", CHOICE_FINISH_KIN),
        NAME("matched_stop", CHOICE_FINISH_KIN),
        NAME("native_finish_reason", CHOICE_FINISH_KIN),
    };
    const struct name *name = FIND(j, member, names);
    bool any, bare = member->type == JSON_NUMBER || member->type == JSON_TRUE;
    if (name == NULL) {
        return bare || answer_is_hollow(j->doc, member) ? CUT : plaintext(j, "an unknown member of a choice");
    }
    switch (name->what) {
    case CHOICE_INDEX:
        return KEEP; /* parse_choice has looked at it */
    case CHOICE_MESSAGE:
        if (member->type == JSON_OBJECT) {
            return walk(j, member, judge_delta, &any) ? KEEP : REFUSE;
        }
        break;
    case CHOICE_LOGPROBS:
        break;
    default:
        return judge_finish(j, member, name);
    }
    if (answer_is_empty(member)) {
        return KEEP;
    }
    return answer_is_hollow(j->doc, member) ? CUT : plaintext(j, name->text);
}

static bool parse_choice(struct judge *j, const struct json_node *node)
{
    struct answer_event *e = j->event;
    if (node->type != JSON_OBJECT) {
        plaintext(j, "choices");
        return false;
    }
    if (e->choice_count == LIMIT_ANSWER_CHOICES) {
        return err_set(j->err, ERR_UPSTREAM, "an event of the upstream's has more than %d choices",
                       LIMIT_ANSWER_CHOICES);
    }
    if (!answer_grow((void **)&e->choices, e->choice_count, &e->choice_cap, sizeof *e->choices, j->err)) {
        return false;
    }
    const struct json_node *index = json_member(j->doc, node, "index");
    uint64_t number = e->choice_count;
    if (index != NULL && (!json_u64(j->doc, index, &number) || number >= LIMIT_ANSWER_CHOICES)) {
        return err_set(j->err, ERR_UPSTREAM, "a choice's index is not a number below %d",
                       LIMIT_ANSWER_CHOICES);
    }
    j->choice = (uint32_t)e->choice_count++;
    e->choices[j->choice] =
        (struct answer_choice){.span = {node->start, node->end}, .index = (uint32_t)number};
    if (json_member(j->doc, node, "finish_reason") == NULL &&
        !push_edit(j, ANSWER_EDIT_FINISH_INSERT, node->start + 1, node->start + 1, j->choice)) {
        return false;
    }
    bool kept = false;
    if (!walk(j, node, judge_choice, &kept)) {
        return false;
    }
    e->choices[j->choice].bare = !kept;
    return true;
}

static enum verdict parse_choices(struct judge *j, const struct json_node *member)
{
    if (member->type != JSON_ARRAY) {
        return answer_is_hollow(j->doc, member) ? CUT : plaintext(j, "choices");
    }
    for (const struct json_node *m = json_first(j->doc, member); m != NULL; m = json_next(j->doc, m)) {
        if (!parse_choice(j, m)) {
            return REFUSE;
        }
    }
    j->choices_seen = true;
    return KEEP;
}

enum { TOP_OBJECT = ANSWER_META_COUNT, TOP_CHOICES };

static enum verdict judge_top(struct judge *j, const struct json_node *member)
{
    static const struct name names[] = {
        NAME("id", ANSWER_ID),
        NAME("object", TOP_OBJECT),
        NAME("created", ANSWER_CREATED),
        NAME("model", ANSWER_MODEL),
        NAME("choices", TOP_CHOICES),
        NAME("usage", ANSWER_USAGE_OBJECT),
        NAME("system_fingerprint", ANSWER_FINGERPRINT),
        NAME("service_tier", ANSWER_SERVICE_TIER),
        NAME("cost", ANSWER_COST),
    };
    const struct name *name = FIND(j, member, names);
    if (name == NULL) {
        return CUT;
    }
    if (name->what == TOP_CHOICES) {
        return parse_choices(j, member);
    }
    if (member->type == JSON_NULL) {
        return KEEP;
    }
    bool fit = name->what == ANSWER_CREATED
                   ? member->type == JSON_NUMBER && member->end - member->start <= ANSWER_NUMBER_MAX
               : name->what == ANSWER_USAGE_OBJECT
                   ? member->type == JSON_OBJECT && answer_is_figures(j->doc, member, USAGE_DEPTH)
               : name->what == ANSWER_COST ? answer_is_figures(j->doc, member, USAGE_DEPTH)
                                           : answer_is_identifier(j->doc, member);
    if (fit && name->what < ANSWER_META_COUNT) {
        j->event->meta[name->what] = (struct answer_span){member->start, member->end};
    }
    return fit ? KEEP : CUT;
}

static bool is_error(const struct json_doc *doc, const struct json_node *root)
{
    const struct json_node *error = json_present(doc, root, "error");
    return (error != NULL && !answer_is_hollow(doc, error)) ||
           json_string_is(doc, json_member(doc, root, "object"), "error");
}

static bool judge_event(struct judge *j, const struct json_node *root)
{
    struct answer_event *e = j->event;
    bool kept;
    if (root->type != JSON_OBJECT) {
        return err_set(j->err, ERR_UPSTREAM, "an event of the upstream's stream is no JSON object");
    }
    if (is_error(j->doc, root)) {
        e->kind = ANSWER_ERROR;
        upstream_error_read(&e->error, j->doc, 0);
        return true;
    }
    if (!walk(j, root, judge_top, &kept)) {
        return false;
    }
    if (e->choice_count > 0) {
        e->kind = ANSWER_CHUNK;
        return true;
    }
    const struct answer_span *usage = &e->meta[ANSWER_USAGE_OBJECT];
    if (usage->start == usage->end) {
        return true;
    }
    e->kind = ANSWER_USAGE;
    struct answer_edit insert = {{root->start + 1, root->start + 1}, 0, ANSWER_EDIT_CHOICES_INSERT};
    return j->choices_seen || insert_edit(j, 0, insert);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool answer_parse(struct answer_parser *p, struct answer_event *event, const char *data, size_t len,
                  struct err *err)
{
    answer_event_reset(event);
    while (len > 0 && is_space(data[len - 1])) {
        len--;
    }
    while (len > 0 && is_space(*data)) {
        data++;
        len--;
    }
    if (len == 0) {
        return true;
    }
    if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
        event->kind = ANSWER_DONE;
        return true;
    }
    if (len > event->text.max) {
        return err_set(err, ERR_UPSTREAM, "an event of the upstream's stream has %zu bytes", len);
    }
    struct err why = {0};
    struct judge j = {.parser = p, .event = event, .doc = &p->doc, .err = err};
    bool ok = false;
    if (!buf_append(&event->text, data, len)) {
        err_set(err, ERR_MEMORY, "no memory for an event of %zu bytes", len);
    } else if (!json_parse(&p->doc, (const char *)event->text.data, len, LIMIT_ANSWER_NODES, &why)) {
        err_set(err, why.kind == ERR_MEMORY ? ERR_MEMORY : ERR_UPSTREAM,
                "an event of the upstream's stream: %s", why.message);
    } else {
        event->multiline = memchr(data, '\n', len) != NULL || memchr(data, '\r', len) != NULL;
        ok = judge_event(&j, json_root(&p->doc));
    }
    if (!ok) {
        answer_event_reset(event);
    }
    return ok;
}
