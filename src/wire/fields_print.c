#include "wire/fields.h"

#include <string.h>

const char *fields_expected(const struct fields_rule *rule)
{
    switch (rule->check) {
    case FIELDS_NUMBER:
        return "a number";
    case FIELDS_BOOL:
        return "true or false";
    case FIELDS_WORD:
        return "one of the words it knows";
    case FIELDS_ID:
        return "an identifier of 1 to 128 letters, digits, underscores, dots, colons and hyphens";
    case FIELDS_STRING:
        return "a string";
    case FIELDS_OBJECT:
        return "an object";
    case FIELDS_ARRAY:
        return "an array";
    default:
        return "";
    }
}

static const char *action_text(const struct fields_rule *rule)
{
    switch (rule->action) {
    case FIELDS_FORWARD:
        return "forwarded";
    case FIELDS_SEAL:
        return "sealed";
    case FIELDS_OURS:
        return "written by the proxy";
    case FIELDS_LOCAL:
        return "applied by the proxy, not sent";
    case FIELDS_DROP:
        return "dropped, named in `X-E2EE-Dropped`";
    default:
        return "refused: 400 `unsupported_feature`";
    }
}

/* Words with the bars escaped, which would otherwise end the table's cell. */
static void print_words(struct buf *out, const char *words)
{
    buf_append_str(out, "`");
    for (; *words != '\0'; words++) {
        if (*words == '|') {
            buf_append_str(out, "`, `");
        } else {
            buf_append_byte(out, (uint8_t)*words);
        }
    }
    buf_append_str(out, "`");
}

static void print_rule(struct buf *out, const struct fields_rule *rule)
{
    buf_appendf(out, "| `%s` | %s | ", rule->name, action_text(rule));
    if (rule->words != NULL) {
        print_words(out, rule->words);
    } else {
        buf_append_str(out, fields_expected(rule));
    }
    buf_append_str(out, " | ");
    if (rule->where != FIELDS_PART) {
        const char *common = rule->only_null ? "`null`" : "`null`, `false`, empty";
        buf_append_str(out, common);
        if (rule->absent != NULL) {
            /* The array's elements without its brackets. */
            buf_append_str(out, ", `");
            buf_append(out, rule->absent + 1, strlen(rule->absent) - 2);
            buf_append_str(out, "`");
        }
    }
    buf_appendf(out, " | %s |\n", rule->note);
}

bool fields_print(struct buf *out)
{
    static const char *const titles[FIELDS_WHERE_COUNT] = {
        "The request",         "`stream_options`", "`reasoning`",
        "`venice_parameters`", "Each message",     "Parts of a content array, by their `type`"};
    size_t count;
    const struct fields_rule *rules = fields_rules(&count);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || rules[i].where != rules[i - 1].where) {
            buf_appendf(out, "%s### %s\n\n", i == 0 ? "" : "\n", titles[rules[i].where]);
            buf_append_str(
                out, "| field | what happens | must be | counts as absent | note |\n|---|---|---|---|---|\n");
        }
        print_rule(out, &rules[i]);
    }
    return !out->failed;
}
