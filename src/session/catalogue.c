#include "session/catalogue.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "json/json.h"

#define MODELS_MAX 1024

struct catalogue {
    atomic_uint refs;
    int64_t fetched_ns;
    size_t count;
    struct catalogue_model models[];
};

static bool flag(const struct json_doc *doc, const struct json_node *capabilities, const char *name)
{
    bool value = false;
    return json_bool(json_member(doc, capabilities, name), &value) && value;
}

/* Ids go into URLs (escaped), logs and metric labels: any text without control characters. */
static bool id_is_plain(const char *id)
{
    bool plain = *id != '\0';
    for (; *id != '\0'; id++) {
        plain = plain && (unsigned char)*id >= ' ' && *id != 0x7f;
    }
    return plain;
}

static double price(const struct json_doc *doc, const struct json_node *pricing, const char *direction)
{
    double usd = -1;
    if (!json_double(doc, json_member(doc, json_member(doc, pricing, direction), "usd"), &usd)) {
        return -1;
    }
    return usd;
}

static bool read_model(struct catalogue_model *m, const struct json_doc *doc, const struct json_node *row)
{
    const struct json_node *spec = json_member(doc, row, "model_spec");
    const struct json_node *capabilities = json_member(doc, spec, "capabilities");
    bool offline = false;
    memset(m, 0, sizeof *m);
    if (!json_string_copy(doc, json_member(doc, row, "id"), m->id, sizeof m->id) || !id_is_plain(m->id) ||
        !flag(doc, capabilities, "supportsE2EE") || !flag(doc, capabilities, "supportsTeeAttestation") ||
        (json_bool(json_member(doc, spec, "offline"), &offline) && offline)) {
        return false;
    }
    if (!json_string_copy(doc, json_member(doc, spec, "name"), m->name, sizeof m->name)) {
        m->name[0] = '\0';
    }
    if (!json_string_copy(doc, json_member(doc, row, "owned_by"), m->owned_by, sizeof m->owned_by)) {
        m->owned_by[0] = '\0';
    }
    if (!json_u64(doc, json_member(doc, row, "created"), &m->created)) {
        m->created = 0;
    }
    if (!json_u64(doc, json_member(doc, spec, "availableContextTokens"), &m->context_tokens) &&
        !json_u64(doc, json_member(doc, row, "context_length"), &m->context_tokens)) {
        m->context_tokens = 0;
    }
    if (!json_u64(doc, json_member(doc, spec, "maxCompletionTokens"), &m->output_tokens)) {
        m->output_tokens = 0;
    }
    const struct json_node *pricing = json_member(doc, spec, "pricing");
    m->input_usd = price(doc, pricing, "input");
    m->output_usd = price(doc, pricing, "output");
    m->vision = flag(doc, capabilities, "supportsVision");
    m->reasoning = flag(doc, capabilities, "supportsReasoning");
    return true;
}

static struct catalogue *read_rows(const struct json_doc *doc, int64_t now_ns, struct err *err)
{
    const struct json_node *data = json_member(doc, json_root(doc), "data");
    if (data == NULL || data->type != JSON_ARRAY) {
        err_set(err, ERR_UPSTREAM, "the list of models has no data array");
        return NULL;
    }
    size_t room = data->count < MODELS_MAX ? data->count : MODELS_MAX;
    struct catalogue *catalogue = mem_calloc(1, sizeof *catalogue + room * sizeof *catalogue->models);
    if (catalogue == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the list of models");
        return NULL;
    }
    atomic_init(&catalogue->refs, 1);
    catalogue->fetched_ns = now_ns;
    for (const struct json_node *row = json_first(doc, data); row != NULL && catalogue->count < room;
         row = json_next(doc, row)) {
        struct catalogue_model *m = &catalogue->models[catalogue->count];
        if (read_model(m, doc, row) && catalogue_find(catalogue, m->id) == NULL) {
            catalogue->count++;
        }
    }
    return catalogue;
}

struct catalogue *catalogue_parse(const char *text, size_t len, int64_t now_ns, struct err *err)
{
    struct json_doc doc;
    struct catalogue *catalogue = NULL;
    json_doc_init(&doc);
    if (json_parse(&doc, text, len, LIMIT_JSON_NODES, err)) {
        catalogue = read_rows(&doc, now_ns, err);
    } else {
        if (err != NULL && err->kind == ERR_INVALID) {
            err->kind = ERR_UPSTREAM;
        }
        err_context(err, "the list of models");
    }
    json_doc_free(&doc);
    return catalogue;
}

struct catalogue *catalogue_ref(struct catalogue *catalogue)
{
    atomic_fetch_add(&catalogue->refs, 1);
    return catalogue;
}

void catalogue_unref(struct catalogue *catalogue)
{
    if (catalogue != NULL && atomic_fetch_sub(&catalogue->refs, 1) == 1) {
        mem_free(catalogue);
    }
}

size_t catalogue_count(const struct catalogue *catalogue)
{
    return catalogue->count;
}

const struct catalogue_model *catalogue_at(const struct catalogue *catalogue, size_t index)
{
    return index < catalogue->count ? &catalogue->models[index] : NULL;
}

const struct catalogue_model *catalogue_find(const struct catalogue *catalogue, const char *id)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        if (strcmp(catalogue->models[i].id, id) == 0) {
            return &catalogue->models[i];
        }
    }
    return NULL;
}

int64_t catalogue_fetched_ns(const struct catalogue *catalogue)
{
    return catalogue->fetched_ns;
}

bool catalogue_append_model(const struct catalogue_model *m, struct buf *out)
{
    buf_append_str(out, "{\"id\":");
    json_append_string(out, m->id, strlen(m->id));
    buf_appendf(out, ",\"object\":\"model\",\"created\":%llu,\"owned_by\":", (unsigned long long)m->created);
    json_append_string(out, m->owned_by, strlen(m->owned_by));
    if (m->name[0] != '\0') {
        buf_append_str(out, ",\"name\":");
        json_append_string(out, m->name, strlen(m->name));
    }
    if (m->context_tokens > 0) {
        buf_appendf(out, ",\"context_length\":%llu", (unsigned long long)m->context_tokens);
    }
    if (m->output_tokens > 0) {
        buf_appendf(out, ",\"max_completion_tokens\":%llu", (unsigned long long)m->output_tokens);
    }
    return buf_append_str(out, "}");
}

bool catalogue_append_list(const struct catalogue *catalogue, struct buf *out)
{
    buf_append_str(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < catalogue->count; i++) {
        if (i > 0) {
            buf_append_str(out, ",");
        }
        catalogue_append_model(&catalogue->models[i], out);
    }
    return buf_append_str(out, "]}");
}
