/* Requests that get a 400, with the field that the client is told. */
#include "sealing.h"

#define MSG "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void refuse(const char *text, enum err_kind kind, const char *param)
{
    struct chat_request *r;
    struct err err = {0};
    char at[REQUEST_PARAM_BYTES];
    if (sealing_parse(&r, text, at, &err)) {
        request_free(r);
        fail_msg("%s was taken", text);
    }
    assert_int_equal(err.kind, kind);
    assert_string_equal(at, param);
    assert_true(strlen(err.message) > 10);
    assert_null(strstr(err.message, "CANARY"));
}

static void test_refused(void **state)
{
    static const struct {
        const char *fields;
        enum err_kind kind;
        const char *param;
    } cases[] = {
        {"\"tools\":[{\"type\":\"function\"}]", ERR_UNSUPPORTED, "tools"},
        {"\"tool_choice\":\"required\"", ERR_UNSUPPORTED, "tool_choice"},
        {"\"function_call\":{\"name\":\"f\"}", ERR_UNSUPPORTED, "function_call"},
        {"\"response_format\":{\"type\":\"json_object\"}", ERR_UNSUPPORTED, "response_format"},
        {"\"response_format\":{\"type\":\"text\",\"x\":1}", ERR_UNSUPPORTED, "response_format"},
        {"\"logprobs\":true", ERR_UNSUPPORTED, "logprobs"},
        {"\"top_logprobs\":1", ERR_UNSUPPORTED, "top_logprobs"},
        {"\"audio\":{\"voice\":\"x\"}", ERR_UNSUPPORTED, "audio"},
        {"\"modalities\":[\"text\",\"audio\"]", ERR_UNSUPPORTED, "modalities"},
        {"\"web_search_options\":{}", ERR_UNSUPPORTED, "web_search_options"},
        {"\"venice_parameters\":{\"enable_e2ee\":false}", ERR_UNSUPPORTED, "venice_parameters.enable_e2ee"},
        {"\"venice_parameters\":{\"enable_web_search\":\"on\"}", ERR_UNSUPPORTED,
         "venice_parameters.enable_web_search"},
        {"\"venice_parameters\":{\"character_slug\":\"CANARY\"}", ERR_UNSUPPORTED,
         "venice_parameters.character_slug"},
        {"\"venice_parameters\":\"CANARY\"", ERR_INVALID, "venice_parameters"},
        {"\"temperature\":\"CANARY\"", ERR_INVALID, "temperature"},
        {"\"seed\":{\"CANARY\":1}", ERR_INVALID, "seed"},
        {"\"reasoning_effort\":\"CANARY\"", ERR_INVALID, "reasoning_effort"},
        {"\"reasoning_effort\":\"low|medium\"", ERR_INVALID, "reasoning_effort"},
        {"\"reasoning\":\"CANARY\"", ERR_INVALID, "reasoning"},
        {"\"reasoning\":{\"effort\":\"CANARY\"}", ERR_INVALID, "reasoning.effort"},
        {"\"stream\":\"CANARY\"", ERR_INVALID, "stream"},
        {"\"stream_options\":{\"include_usage\":\"CANARY\"}", ERR_INVALID, "stream_options.include_usage"},
        {"\"n\":0", ERR_INVALID, "n"},
        {"\"n\":129", ERR_INVALID, "n"},
        {"\"n\":1.5", ERR_INVALID, "n"},
        {"\"stop\":1", ERR_INVALID, "stop"},
        {"\"stop\":[\"a\",null]", ERR_INVALID, "stop"},
        {"\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\","
         "\"15\","
         "\"16\",\"17\"]",
         ERR_INVALID, "stop"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, "{%s," MSG "}", cases[i].fields);
        refuse(text, cases[i].kind, cases[i].param);
    }
}

static void test_refused_messages(void **state)
{
    static const struct {
        const char *message;
        enum err_kind kind;
        const char *param;
    } cases[] = {
        {"1", ERR_INVALID, "messages[1]"},
        {"{}", ERR_INVALID, "messages[1].role"},
        {"{\"role\":\"CANARY\"}", ERR_INVALID, "messages[1].role"},
        {"{\"role\":\"function\",\"content\":\"\"}", ERR_INVALID, "messages[1].role"},
        {"{\"role\":\"user\",\"content\":1}", ERR_INVALID, "messages[1].content"},
        {"{\"role\":\"user\",\"content\":{\"type\":\"text\"}}", ERR_INVALID, "messages[1].content"},
        {"{\"role\":\"user\",\"content\":false}", ERR_INVALID, "messages[1].content"},
        {"{\"role\":\"user\",\"content\":[\"CANARY\"]}", ERR_INVALID, "messages[1].content"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"CANARY\"}]}", ERR_UNSUPPORTED, "messages[1].content"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}", ERR_INVALID, "messages[1].content.text"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}", ERR_UNSUPPORTED,
         "messages[1].content.input_audio"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"file\"}]}", ERR_UNSUPPORTED,
         "messages[1].content.file"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:///"
         "CANARY\"}}]}",
         ERR_INVALID, "messages[1].content.image_url"},
        {"{\"role\":\"tool\",\"content\":\"x\"}", ERR_INVALID, "messages[1].tool_call_id"},
        {"{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"free CANARY\"}", ERR_INVALID,
         "messages[1].tool_call_id"},
        {"{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":7}", ERR_INVALID, "messages[1].tool_call_id"},
        {"{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"CANARY\"}]}", ERR_UNSUPPORTED,
         "messages[1].tool_calls"},
        {"{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"}}", ERR_UNSUPPORTED,
         "messages[1].function_call"},
        {"{\"role\":\"assistant\",\"audio\":{\"id\":\"f\"}}", ERR_UNSUPPORTED, "messages[1].audio"},
        {"{\"role\":\"assistant\",\"reasoning\":{\"a\":1}}", ERR_INVALID, "messages[1].reasoning"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},%s]}",
                 cases[i].message);
        refuse(text, cases[i].kind, cases[i].param);
    }
}

static void test_refused_whole(void **state)
{
    refuse("", ERR_INVALID, "");
    refuse("[]", ERR_INVALID, "");
    refuse("\"CANARY\"", ERR_INVALID, "");
    refuse("{}", ERR_INVALID, "model");
    refuse("{\"model\":\"\","
           "\"messages\":[{\"role\":\"user\"}]}",
           ERR_INVALID, "model");
    refuse("{\"model\":7}", ERR_INVALID, "model");
    refuse("{\"model\":\"m\"}", ERR_INVALID, "messages");
    refuse("{\"model\":\"m\",\"messages\":[]}", ERR_INVALID, "messages");
    refuse("{\"model\":\"m\",\"messages\":\"CANARY\"}", ERR_INVALID, "messages");
    refuse("{" MSG ",\"user\":1,\"\\u0075ser\":2}", ERR_INVALID, "");
    refuse("{" MSG "} x", ERR_INVALID, "");
    refuse("{" MSG ",\"user\":\"\\ud800\"}", ERR_INVALID, "");
    refuse("{" MSG ",\"user\":\"\xff\"}", ERR_INVALID, "");
    char text[400] = "{\"messages\":[{\"role\":\"user\"}],\"model\":\"";
    size_t len = strlen(text);
    memset(text + len, 'x', 129);
    memcpy(text + len + 129, "\"}", 3);
    refuse(text, ERR_NOT_FOUND, "model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_messages),
        cmocka_unit_test(test_refused_whole),
    };
    struct err err;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
