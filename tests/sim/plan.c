#include "plan.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SYNTHETIC 10000000

struct plan_defaults plan_defaults = {.piece = 8};

/* Scripts, combining marks, joiners and pairs beyond the BMP: what breaks when bytes are cut in the wrong place. */
static const char unicode_text[] = "Gr\xc3\xbc\xc3\x9f"
                                   "e, \xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5, \xd0\xbc\xd0\xb8\xd1\x80, "
                                   "\xd8\xa7\xd9\x84\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85, "
                                   "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c, "
                                   "\xed\x95\x9c\xea\xb8\x80, e\xcc\x81, \xf0\x9f\x91\xa9\xe2\x80\x8d"
                                   "\xf0\x9f\x9a\x80 \xf0\x9f\x87\xab\xf0\x9f\x87\xb7 \xf0\x9d\x94\x98 "
                                   "\xe2\x80\xa8 \xef\xbb\xbf \xef\xbf\xbd \xf4\x8f\xbf\xbf.\n";
static const char json_text[] =
    "{\"a\": \"quote \\\" backslash \\\\ slash /\", \"b\": [1, 2.50, null]}\r\n\ttab \x01 \x1f \x7f "
    "data: [DONE]\n\ndata: {\"x\":1}\n</script> <b> & ' \" \\u0041\n";

static void repeat_text(struct bytes *out, const char *text, size_t at_least)
{
    do
        bytes_str(out, text);
    while (out->len < at_least);
}

static void make_text(struct plan *p, const struct chat *chat, const char *kind, size_t kind_len, long length)
{
    size_t least = length > 0 && length <= MAX_SYNTHETIC ? (size_t)length : 0;
    if (kind_len == 7 && !strncmp(kind, "unicode", 7)) {
        repeat_text(&p->text, unicode_text, least);
    } else if (kind_len == 4 && !strncmp(kind, "json", 4)) {
        repeat_text(&p->text, json_text, least);
    } else if (kind_len == 4 && !strncmp(kind, "long", 4)) {
        repeat_text(&p->text, "The quick brown fox jumps over the lazy dog. ", least ? least : 100000);
    } else if (kind_len == 8 && !strncmp(kind, "describe", 8)) {
        char *json = cJSON_PrintUnformatted(chat->body);
        bytes_str(&p->text, json);
        free(json);
    } else if (!(kind_len == 5 && !strncmp(kind, "empty", 5))) {
        bytes_str(&p->text, "You said: ");
        bytes_add(&p->text, chat->prompt.p, chat->prompt.len);
        if (chat->parts)
            bytes_fmt(&p->text, "\n[%s]", chat->parts);
        p->echo_limit = true;
    }
}

static void set_option(struct plan *p, const char *key, size_t key_len, const char *value, size_t len)
{
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {
        {"chunks", offsetof(struct plan, chunks)},     {"size", offsetof(struct plan, size)},
        {"delay_ms", offsetof(struct plan, delay_ms)}, {"first_ms", offsetof(struct plan, first_ms)},
        {"piece", offsetof(struct plan, piece)},
    };
    long n = strtol(value, NULL, 10);
#define IS(word) (key_len == sizeof(word) - 1 && !strncmp(key, word, key_len))
#define VALUE(word) (len == sizeof(word) - 1 && !strncmp(value, word, len))
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (key_len == strlen(numbers[i].name) && !strncmp(key, numbers[i].name, key_len) && n >= 0 &&
            n <= MAX_SYNTHETIC)
            memcpy((char *)p + numbers[i].offset, &n, sizeof n);
    if (IS("fault")) {
        const struct fault *f = fault_find(value, len);
        if (f && (f->where & IN_CHAT))
            p->fault = (struct fault_use){f, -1, f->value};
    }
    if (IS("at"))
        p->asked.at = n;
    if (IS("value"))
        p->asked.value = n;
    if (IS("key"))
        p->key = VALUE("response") ? KEY_PER_RESPONSE : KEY_PER_FIELD;
    if (IS("field"))
        p->reasoning_field = VALUE("reasoning") ? "reasoning" : VALUE("both") ? "both" : "reasoning_content";
    if (IS("finish") && len < sizeof p->finish) {
        memcpy(p->finish, value, len);
        p->finish[len] = 0;
    }
    if (IS("usage"))
        p->usage = n != 0;
    for (long i = 0; IS("reasoning") && i < n && i < 100000; i++)
        bytes_fmt(&p->reasoning, "step %ld. ", i);
#undef IS
#undef VALUE
}

/* One "sim:" group up to white space; kind and length are kept for later, since they need the whole plan. */
static void read_group(struct plan *p, const char *at, size_t len, const char **kind, size_t *kind_len,
                       long *length)
{
    while (len) {
        size_t item = 0, name = 0;
        while (item < len && at[item] != ',')
            item++;
        while (name < item && at[name] != '=')
            name++;
        const char *value = name < item ? at + name + 1 : at + item;
        size_t value_len = (size_t)(at + item - value);
        if (name == 4 && !strncmp(at, "kind", 4)) {
            *kind = value;
            *kind_len = value_len;
        } else if (name == 6 && !strncmp(at, "length", 6)) {
            *length = strtol(value, NULL, 10);
        } else {
            set_option(p, at, name, value, value_len);
        }
        at += item < len ? item + 1 : item;
        len -= item < len ? item + 1 : item;
    }
}

static void read_prompt(struct plan *p, const struct chat *chat)
{
    const char *text = bytes_text(&chat->prompt), *kind = "", *reply = NULL;
    size_t kind_len = 0;
    long length = 0;
    for (const char *at = text; !reply && (at = strstr(at, "sim:")); at += 4) {
        if (at != text && !strchr(" \t\r\n\"", at[-1]))
            continue;
        if (!strncmp(at + 4, "reply=", 6))
            reply = at + 10;
        else
            read_group(p, at + 4, strcspn(at + 4, " \t\r\n\""), &kind, &kind_len, &length);
    }
    if (reply)
        bytes_str(&p->text, reply);
    else
        make_text(p, chat, kind, kind_len, length);
}

static void read_request(struct plan *p, const struct chat *chat)
{
    const cJSON *effort = cJSON_GetObjectItemCaseSensitive(chat->body, "reasoning_effort");
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(chat->body, "reasoning");
    if (!effort)
        effort = cJSON_GetObjectItemCaseSensitive(object, "effort");
    if (!p->reasoning.len && chat->model->reasoning && cJSON_IsString(effort) &&
        strcmp(effort->valuestring, "none")) {
        bytes_str(&p->reasoning, "Thinking about: ");
        bytes_add(&p->reasoning, chat->prompt.p, chat->prompt.len);
    }
    if (p->echo_limit && chat->max_tokens > 0 && !p->chunks) {
        size_t keep = utf8_prefix(bytes_text(&p->text), p->text.len, (size_t)(chat->max_tokens * p->piece));
        if (keep < p->text.len) {
            p->text.len = keep;
            memcpy(p->finish, "length", 7);
        }
    }
}

void plan_make(struct plan *p, const struct chat *chat)
{
    *p = (struct plan){.fault = chat->fault,
                       .asked = {NULL, -1, -1},
                       .delay_ms = plan_defaults.delay_ms,
                       .first_ms = plan_defaults.first_ms,
                       .piece = plan_defaults.piece,
                       .key = plan_defaults.key,
                       .size = 32,
                       .reasoning_field = "reasoning_content",
                       .finish = "stop",
                       .n = chat->n,
                       .usage = true};
    if (p->fault.fault && !(p->fault.fault->where & IN_CHAT))
        p->fault = (struct fault_use){0};
    if (p->key == KEY_BY_FLAVOUR)
        p->key = chat->model->flavour == FLAVOUR_DV ? KEY_PER_RESPONSE : KEY_PER_FIELD;
    read_prompt(p, chat);
    if (p->asked.at >= 0)
        p->fault.at = p->asked.at;
    if (p->asked.value >= 0)
        p->fault.value = p->asked.value;
    if (p->piece < 1)
        p->piece = 1;
    if (fault_is(&p->fault, F_KEY_CHANGE))
        p->key = KEY_PER_RESPONSE;
    bool reasoning_fault =
        fault_is(&p->fault, F_PLAIN_REASONING) || fault_is(&p->fault, F_PLAIN_REASONING_FIELD);
    if (reasoning_fault && !p->reasoning.len)
        bytes_str(&p->reasoning, "Thinking before the answer comes.");
    read_request(p, chat);
}

void plan_free(struct plan *p)
{
    bytes_free(&p->text);
    bytes_free(&p->reasoning);
}
