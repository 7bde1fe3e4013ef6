/* The table of request fields against the code: a canary in every field, alone and nested, in every form that JSON
 * has, and never one in what leaves. With --print it prints the table as Markdown instead. */
#include "sealing.h"

#include "fault.h"
#include "wire/fields.h"

#define CANARY "kanarienvogel-9c41"

static const struct fields_rule *rules;
static size_t rule_count;

/* Values that carry the canary, as a client may write it. */
static const char *const carriers[] = {
    "\"" CANARY "\"",
    "\"kan\\u0061rienvogel-9c41\"",
    "[\"" CANARY "\"]",
    "{\"" CANARY "\":1}",
    "{\"a\":{\"b\":[\"" CANARY "\"]}}",
    "{\"url\":\"data:" CANARY "\",\"effort\":\"" CANARY "\",\"type\":\"" CANARY "\"}",
    "[{\"type\":\"text\",\"text\":\"" CANARY "\",\"" CANARY "\":\"" CANARY "\"}]",
    "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://" CANARY "\"}}]",
    "{\"enable_e2ee\":true,\"x\":\"" CANARY "\"}",
    "{\"include_usage\":true,\"" CANARY "\":\"" CANARY "\"}",
};
#define CARRIERS (sizeof carriers / sizeof *carriers)

static struct sealing keys;
static size_t sealed_requests;

/* The request is refused without the canary in its error, or leaves without it. rule NULL: an unknown field. */
static void no_canary_leaves(const char *text, const struct fields_rule *rule)
{
    struct chat_request *r;
    struct err err = {0};
    char param[REQUEST_PARAM_BYTES];
    if (!sealing_parse(&r, text, param, &err)) {
        assert_null(strstr(err.message, CANARY));
        assert_null(strstr(param, CANARY));
        assert_true(err.kind == ERR_INVALID || err.kind == ERR_UNSUPPORTED);
        return;
    }
    assert_null(strstr(request_info(r)->dropped, CANARY));
    struct buf out;
    buf_init(&out, request_info(r)->sealed_max);
    assert_true(request_seal(r, "up", keys.client, keys.point, &out, &err));
    /* tool_call_id is the one identifier that leaves as it is, because Venice routes tool messages by it. */
    bool identifier = rule != NULL && rule->check == FIELDS_ID;
    if (!identifier && strstr(buf_cstr(&out), "vogel") != NULL) {
        fail_msg("%s leaves as %s", text, buf_cstr(&out));
    }
    buf_free(&out);
    request_free(r);
    sealed_requests++;
}

static void place(enum fields_where where, const char *name, const char *value, const char *role, char *text,
                  size_t cap)
{
    static const char message[] = "{\"role\":\"user\",\"content\":\"hi\"}";
    const char *object = fields_where_name(where);
    switch (where) {
    case FIELDS_TOP:
        snprintf(text, cap, "{\"model\":\"m\",\"messages\":[%s],\"%s\":%s}", message, name, value);
        break;
    case FIELDS_MESSAGE:
        snprintf(text, cap, "{\"model\":\"m\",\"messages\":[%s,{\"role\":\"%s\",\"%s\":%s%s}]}", message,
                 role, name, value,
                 strcmp(role, "tool") == 0 && strcmp(name, "tool_call_id") != 0 ? ",\"tool_call_id\":\"x\""
                                                                                : "");
        break;
    case FIELDS_PART:
        snprintf(
            text, cap,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"%s\",\"content\":[{\"type\":\"%s\",\"%s\":%s}]}]}",
            "user", name, name, value);
        break;
    default:
        snprintf(text, cap, "{\"model\":\"m\",\"messages\":[%s],\"%s\":{\"%s\":%s}}", message, object, name,
                 value);
    }
}

static void test_canary_in_every_field(void **state)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    char text[1024];
    for (size_t i = 0; i < rule_count; i++) {
        for (size_t c = 0; c < CARRIERS; c++) {
            for (size_t k = 0; k < (rules[i].where == FIELDS_MESSAGE ? 5 : 1); k++) {
                place(rules[i].where, rules[i].name, carriers[c], roles[k], text, sizeof text);
                /* Where the name is given already the text is refused as a duplicate: model, messages, role. */
                no_canary_leaves(text, &rules[i]);
            }
        }
    }
    for (int where = FIELDS_TOP; where < FIELDS_PART; where++) {
        for (size_t c = 0; c < CARRIERS; c++) {
            place((enum fields_where)where, CANARY, carriers[c], "user", text, sizeof text);
            no_canary_leaves(text, NULL);
            place((enum fields_where)where, "unheard_of", carriers[c], "user", text, sizeof text);
            no_canary_leaves(text, NULL);
        }
    }
    assert_true(sealed_requests > 200);
}

static void test_canary_as_model_role_and_messages(void **state)
{
    static const char *const texts[] = {
        "{\"model\":\"" CANARY "\",\"messages\":[{\"role\":\"user\",\"content\":\"" CANARY "\"}]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"" CANARY "\",\"content\":\"x\"}]}",
        "{\"model\":\"m\",\"messages\":{\"" CANARY "\":1}}",
        "{\"model\":\"m\",\"messages\":[\"" CANARY "\"]}",
        "{\"" CANARY "\":{},\"model\":\"m\",\"messages\":[{\"" CANARY
        "\":1,\"role\":\"user\",\"content\":\"x\"}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        no_canary_leaves(texts[i], NULL);
    }
}

/* Every droppable field at once fits the header, and each is named by the table's own name. */
static void test_all_dropped_at_once(void **state)
{
    struct buf text;
    struct chat_request *r;
    struct err err = {0};
    char param[REQUEST_PARAM_BYTES];
    buf_init(&text, 1 << 16);
    buf_append_str(
        &text, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\",\"tool_call_id\":\"a\","
               "\"refusal\":\"b\"");
    for (int where = FIELDS_MESSAGE; where >= FIELDS_TOP; where--) {
        for (size_t i = 0; i < rule_count; i++) {
            if ((int)rules[i].where == where && rules[i].action == FIELDS_DROP) {
                buf_appendf(&text, ",\"%s\":7", rules[i].name);
            }
        }
        if (where == FIELDS_MESSAGE) {
            buf_append_str(&text, "}],\"stream_options\":{\"include_usage\":true");
            where = FIELDS_REASONING;
        } else if (where == FIELDS_STREAM_OPTIONS) {
            buf_append_str(&text, "}");
        }
    }
    buf_append_str(&text, ",\"who\":1,\"knows\":2}");
    if (!sealing_parse(&r, buf_cstr(&text), param, &err)) {
        fail_msg("%s: %s", buf_cstr(&text), err.message);
    }
    const char *dropped = request_info(r)->dropped;
    for (size_t i = 0; i < rule_count; i++) {
        char name[128];
        const char *object = fields_where_name(rules[i].where);
        snprintf(name, sizeof name, "%s%s%s", object, *object != '\0' ? "." : "", rules[i].name);
        assert_true(rules[i].action != FIELDS_DROP || strstr(dropped, name) != NULL);
    }
    assert_non_null(strstr(dropped, ", 2 unknown"));
    assert_true(strlen(dropped) < 1000);
    for (const char *p = dropped; *p != '\0'; p++) {
        assert_true(*p >= 0x20 && *p < 0x7f);
    }
    request_free(r);
    buf_free(&text);
}

/* What counts as absent never refuses and is never named. */
static void test_absent_is_silent(void **state)
{
    static const char *const common[] = {"null", "false", "\"\"", "[]", "{}"};
    for (size_t i = 0; i < rule_count; i++) {
        if (rules[i].action != FIELDS_REFUSE && rules[i].action != FIELDS_DROP) {
            continue;
        }
        for (size_t c = 0; c < (rules[i].where == FIELDS_PART ? 0 : rules[i].only_null ? 1 : 5); c++) {
            char text[512], param[REQUEST_PARAM_BYTES];
            struct chat_request *r;
            struct err err = {0};
            place(rules[i].where, rules[i].name, common[c], "user", text, sizeof text);
            if (!sealing_parse(&r, text, param, &err)) {
                fail_msg("%s: %s", text, err.message);
            }
            assert_string_equal(request_info(r)->dropped, "");
            request_free(r);
        }
        struct json_doc doc;
        struct err err = {0};
        json_doc_init(&doc);
        assert_true(rules[i].absent == NULL ||
                    (json_parse(&doc, rules[i].absent, strlen(rules[i].absent), 100, &err) &&
                     json_root(&doc)->type == JSON_ARRAY));
        json_doc_free(&doc);
    }
}

/* What may be forwarded cannot carry text. */
static void test_forwarded_types_are_closed(void **state)
{
    for (size_t i = 0; i < rule_count; i++) {
        const struct fields_rule *r = &rules[i];
        assert_true(r->action != FIELDS_FORWARD || (r->check != FIELDS_ANY && r->check != FIELDS_STRING));
        assert_true((r->check == FIELDS_WORD) == (r->words != NULL));
        assert_true(r->action != FIELDS_REFUSE || strlen(r->note) > 10);
        assert_true(strlen(r->name) <= 40 && strpbrk(r->name, "\"\\|`") == NULL);
        assert_true(i == 0 || r->where >= rules[i - 1].where);
        for (size_t k = 0; k < i; k++) {
            assert_true(rules[k].where != r->where || strcmp(rules[k].name, r->name) != 0);
        }
    }
}

static void test_document(void **state)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(fields_print(&out));
    const char *text = buf_cstr(&out);
    size_t rows = 0;
    for (const char *p = text; (p = strstr(p, "\n| `")) != NULL; p++) {
        rows++;
    }
    assert_int_equal(rows, rule_count);
    assert_non_null(
        strstr(text, "| `seed` | forwarded | a number | `null`, `false`, empty | all digits survive |"));
    /* Each row has five cells. */
    for (const char *p = text, *end; *p != '\0'; p = end + 1) {
        size_t bars = 0;
        for (end = p; *end != '\n'; end++) {
            bars += *end == '|';
        }
        assert_true(*p != '|' || bars == 6);
    }
    buf_free(&out);
    buf_init(&out, 10);
    assert_false(fields_print(&out));
    buf_free(&out);
}

/* The table as docs/PROTOCOL.md has it. */
static int print_table(void)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    bool ok = fields_print(&out) && fwrite(out.data, 1, out.len, stdout) == out.len;
    buf_free(&out);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        return print_table();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canary_in_every_field),
        cmocka_unit_test(test_canary_as_model_role_and_messages),
        cmocka_unit_test(test_all_dropped_at_once),
        cmocka_unit_test(test_absent_is_silent),
        cmocka_unit_test(test_forwarded_types_are_closed),
        cmocka_unit_test(test_document),
    };
    struct err err;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    rules = fields_rules(&rule_count);
    sealing_open(&keys, 0x11, 0x22);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sealing_close(&keys);
    return failed;
}
