#include "model.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct model *models;
static size_t model_count;
static struct sim_key *gateway_key; /* all of PG's models */
static bool list_faults;

/* One of each kind that real catalogues have shown (docs/PROTOCOL.md sections 0, 1, 5). */
static const struct model builtin[] = {
    {.id = (char *)(uintptr_t) "sim-near",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .vision = true,
     .tools = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "sim-near-ca",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .behind_ca = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "sim-near-py",
     .flavour = FLAVOUR_NP,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .context = 64000},
    {.id = (char *)(uintptr_t) "sim-phala",
     .flavour = FLAVOUR_DV,
     .shape = SHAPE_PHALA,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .vision = true,
     .context = 40000},
    {.id = (char *)(uintptr_t) "sim-aci",
     .flavour = FLAVOUR_PG,
     .shape = SHAPE_ACI,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .vision = true,
     .context = 200000},
    {.id = (char *)(uintptr_t) "sim-aci-keyset",
     .flavour = FLAVOUR_PG,
     .shape = SHAPE_ACI,
     .e2ee = true,
     .tee = true,
     .keyset_only = true,
     .context = 200000},
    {.id = (char *)(uintptr_t) "e2ee-gpt-oss-120b-p",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "e2ee-gemma-3-27b-p",
     .flavour = FLAVOUR_DV,
     .shape = SHAPE_PHALA,
     .e2ee = true,
     .tee = true,
     .vision = true,
     .context = 40000},
    {.id = (char *)(uintptr_t) "e2ee-glm-5-2-p",
     .flavour = FLAVOUR_PG,
     .shape = SHAPE_ACI,
     .e2ee = true,
     .tee = true,
     .reasoning = true,
     .tools = true,
     .context = 524288},
    {.id = (char *)(uintptr_t) "odd/n\xc3\xa4me +v1.5?a=b&c#d%41\"e'<\\>",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .context = 32000},
    {.id = (char *)(uintptr_t) "sim-no-key",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .tee = true,
     .no_key = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "sim-tee-only",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .tee = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "e2ee-prefix-only",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .context = 128000},
    {.id = (char *)(uintptr_t) "sim-e2ee-without-tee",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .e2ee = true,
     .context = 128000},
    {.id = (char *)(uintptr_t) "llama-3.3-70b",
     .flavour = FLAVOUR_NR,
     .shape = SHAPE_NEAR,
     .tools = true,
     .context = 65536},
};

static struct sim_key *new_key(void)
{
    struct sim_key *key = sim_alloc(sizeof *key);
    sim_key_new(key);
    return key;
}

static void add_model(const struct model *from)
{
    models = sim_resize(models, (model_count + 1) * sizeof *models);
    struct model *m = &models[model_count++];
    *m = *from;
    m->id = sim_strdup(from->id);
    struct bytes upstream = {0};
    bytes_fmt(&upstream, "sim/%s", from->id);
    m->upstream = sim_strdup(from->upstream ? from->upstream : bytes_text(&upstream));
    bytes_free(&upstream);
    /* near-ai and phala do not follow the shape (section 0, item 1): one NEAR-shaped model says phala. */
    bool phala = m->flavour == FLAVOUR_DV || m->flavour == FLAVOUR_PG || strstr(m->id, "gpt-oss");
    m->provider = sim_strdup(from->provider ? from->provider : phala ? "phala" : "near-ai");
    m->key = m->flavour == FLAVOUR_PG ? gateway_key : new_key();
}

static const char *text_of(const cJSON *o, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static bool flag_of(const cJSON *o, const char *name, bool fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    return v ? cJSON_IsTrue(v) : fallback;
}

static bool add_from_json(const cJSON *o)
{
    static const char *const flavours[] = {"NR", "NP", "DV", "PG"}, *const shapes[] = {"near", "phala",
                                                                                       "aci"};
    const char *id = text_of(o, "id"), *flavour = text_of(o, "flavour"), *shape = text_of(o, "shape");
    struct model m = {.e2ee = flag_of(o, "e2ee", true),
                      .tee = flag_of(o, "tee", true),
                      .reasoning = flag_of(o, "reasoning", false),
                      .vision = flag_of(o, "vision", false),
                      .tools = flag_of(o, "tools", false),
                      .behind_ca = flag_of(o, "ca", false),
                      .keyset_only = flag_of(o, "keyset_only", false),
                      .no_key = flag_of(o, "no_key", false)};
    const cJSON *context = cJSON_GetObjectItemCaseSensitive(o, "context");
    if (!id || !*id)
        return false;
    for (int i = 0; i < 4; i++)
        if (flavour && !strcmp(flavour, flavours[i]))
            m.flavour = (enum flavour)i;
    m.shape = m.flavour == FLAVOUR_DV ? SHAPE_PHALA : m.flavour == FLAVOUR_PG ? SHAPE_ACI : SHAPE_NEAR;
    for (int i = 0; i < 3; i++)
        if (shape && !strcmp(shape, shapes[i]))
            m.shape = (enum shape)i;
    m.context = cJSON_IsNumber(context) ? (long)context->valuedouble : 32000;
    m.id = (char *)(uintptr_t)id;
    m.upstream = (char *)(uintptr_t)text_of(o, "upstream");
    m.provider = (char *)(uintptr_t)text_of(o, "provider");
    add_model(&m);
    return true;
}

static bool load_file(const char *file)
{
    struct bytes text = {0};
    char block[4096];
    size_t n;
    FILE *f = fopen(file, "rb");
    while (f && (n = fread(block, 1, sizeof block, f)) > 0)
        bytes_add(&text, block, n);
    if (f)
        fclose(f);
    cJSON *list = cJSON_Parse(bytes_text(&text));
    bytes_free(&text);
    bool ok = cJSON_IsArray(list);
    const cJSON *o;
    cJSON_ArrayForEach(o, list) ok = ok && add_from_json(o);
    cJSON_Delete(list);
    return ok && model_count > 0;
}

bool model_load(const char *file, bool with_faults)
{
    list_faults = with_faults;
    gateway_key = new_key();
    if (file)
        return load_file(file);
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++)
        add_model(&builtin[i]);
    return true;
}

void model_unload(void)
{
    for (size_t i = 0; i < model_count; i++) {
        free(models[i].id);
        free(models[i].upstream);
        free(models[i].provider);
        if (models[i].key != gateway_key)
            free(models[i].key);
    }
    free(models);
    free(gateway_key);
    models = NULL;
    gateway_key = NULL;
    model_count = 0;
}

struct model *model_find(const char *id, struct fault_use *use)
{
    const char *suffix = NULL;
    if (use)
        memset(use, 0, sizeof *use);
    for (size_t i = 0; id && i < model_count; i++) {
        size_t len = strlen(models[i].id);
        if (strncmp(models[i].id, id, len))
            continue;
        if (!id[len])
            return &models[i];
        suffix = id[len] == '@' ? id + len + 1 : NULL;
        const struct fault *fault = suffix ? fault_find(suffix, strlen(suffix)) : NULL;
        if (!fault)
            continue;
        if (use)
            *use = (struct fault_use){fault, -1, fault->value};
        return &models[i];
    }
    return NULL;
}

bool model_rotate(const char *id)
{
    struct model *only = id ? model_find(id, NULL) : NULL;
    if (id && !only)
        return false;
    for (size_t i = 0; i < model_count; i++)
        if (models[i].key != gateway_key && (!only || only == &models[i]))
            sim_key_new(models[i].key);
    if (!only || only->key == gateway_key)
        sim_key_new(gateway_key);
    return true;
}

static void add_row(cJSON *data, const struct model *m, const char *id)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddItemToArray(data, row);
    cJSON_AddNumberToObject(row, "created", 1750000000);
    cJSON_AddStringToObject(row, "id", id);
    cJSON *spec = cJSON_AddObjectToObject(row, "model_spec");
    cJSON *price = cJSON_AddObjectToObject(spec, "pricing");
    cJSON *in = cJSON_AddObjectToObject(price, "input"), *out = cJSON_AddObjectToObject(price, "output");
    cJSON_AddNumberToObject(in, "usd", 0.182);
    cJSON_AddNumberToObject(in, "diem", 0.182);
    cJSON_AddNumberToObject(out, "usd", 0.373);
    cJSON_AddNumberToObject(out, "diem", 0.373);
    cJSON_AddNumberToObject(spec, "availableContextTokens", (double)m->context);
    cJSON_AddNumberToObject(spec, "maxCompletionTokens", (double)m->context / 4);
    cJSON *can = cJSON_AddObjectToObject(spec, "capabilities");
    cJSON_AddBoolToObject(can, "supportsFunctionCalling", m->tools);
    cJSON_AddBoolToObject(can, "supportsReasoning", m->reasoning);
    cJSON_AddBoolToObject(can, "supportsReasoningEffort", m->reasoning);
    cJSON_AddBoolToObject(can, "supportsVision", m->vision);
    cJSON_AddBoolToObject(can, "supportsResponseSchema", m->tools);
    cJSON_AddBoolToObject(can, "supportsWebSearch", false);
    /* Both ways in which a capability is absent are seen: false, and no member. */
    if (m->tee || m->tools)
        cJSON_AddBoolToObject(can, "supportsTeeAttestation", m->tee);
    if (m->e2ee || m->tools)
        cJSON_AddBoolToObject(can, "supportsE2EE", m->e2ee);
    cJSON_AddStringToObject(spec, "name", id);
    cJSON_AddStringToObject(spec, "description", "A model of the simulated enclave");
    cJSON_AddStringToObject(spec, "privacy", "private");
    cJSON_AddItemToObject(spec, "traits", cJSON_CreateArray());
    cJSON_AddStringToObject(row, "object", "model");
    cJSON_AddStringToObject(row, "owned_by", "venice.ai");
    cJSON_AddStringToObject(row, "type", "text");
    if (m->flavour == FLAVOUR_PG)
        cJSON_AddNumberToObject(row, "context_length", (double)m->context);
}

char *model_list(void)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "object", "list");
    cJSON_AddStringToObject(root, "type", "text");
    cJSON *data = cJSON_AddArrayToObject(root, "data");
    for (size_t i = 0; i < model_count; i++)
        add_row(data, &models[i], models[i].id);
    const struct fault *f;
    for (size_t i = 0; list_faults && model_count && (f = fault_nth(i)); i++) {
        struct bytes id = {0};
        bool aci = f->id == F_A_KEYSET_ONLY || f->id == F_A_STALE_PAST || f->id == F_A_STALE_SHORT;
        const struct model *m = aci ? model_find("sim-aci", NULL) : NULL;
        m = m ? m : &models[0];
        bytes_fmt(&id, "%s@%s", m->id, f->name);
        add_row(data, m, bytes_text(&id));
        bytes_free(&id);
    }
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

const char *model_flavour_name(enum flavour flavour)
{
    static const char *const names[] = {"NR", "NP", "DV", "PG"};
    return names[flavour];
}
