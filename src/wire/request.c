#include "wire/request.h"

#include <string.h>

#include "base/mem.h"
#include "wire/request_walk.h"

/* Room for the name of every droppable field of the table at once. */
#define DROPPED_BYTES 1024

struct chat_request {
    struct buf body; /* the client's text, which the plan points into */
    struct plan plan;
    struct walk_stops stops;
    struct request_info info;
    char dropped[DROPPED_BYTES];
};

void request_free(struct chat_request *r)
{
    if (r != NULL) {
        buf_free(&r->body);
        buf_free(&r->stops.text);
        plan_free(&r->plan);
        mem_free_wipe(r);
    }
}

const struct request_info *request_info(const struct chat_request *r)
{
    return &r->info;
}

/* "user, messages.name, 2 unknown": names from our own table only. */
static bool name_dropped(struct chat_request *r, const struct walk *w, struct err *err)
{
    size_t count;
    const struct fields_rule *rules = fields_rules(&count);
    struct buf names;
    buf_init(&names, DROPPED_BYTES - 1);
    for (size_t i = 0; i < count; i++) {
        if (w->dropped[i]) {
            const char *object = fields_where_name(rules[i].where);
            buf_appendf(&names, "%s%s%s%s", names.len > 0 ? ", " : "", object, *object != '\0' ? "." : "",
                        rules[i].name);
        }
    }
    if (w->unknown > 0) {
        buf_appendf(&names, "%s%zu unknown", names.len > 0 ? ", " : "", w->unknown);
    }
    if (names.failed) {
        return err_set(err, ERR_MEMORY, "no memory for the names of dropped fields");
    }
    if (names.len > 0) {
        memcpy(r->dropped, names.data, names.len);
    }
    r->dropped[names.len] = '\0';
    buf_free(&names);
    return true;
}

static bool read_body(struct chat_request *r, const struct json_doc *doc, char *param, struct err *err)
{
    const struct json_node *root = json_root(doc);
    if (root->type != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "the request body must be a JSON object");
    }
    struct walk w = {
        .doc = doc, .plan = &r->plan, .info = &r->info, .stops = &r->stops, .param = param, .err = err};
    r->info.choices = 1;
    if (!walk_request(&w, root)) {
        return false;
    }
    if (r->plan.failed) {
        return err_set(err, ERR_MEMORY, "no memory to plan the sealed request");
    }
    r->info.include_usage &= r->info.stream;
    r->info.stops = r->stops.texts;
    r->info.stop_lens = r->stops.lens;
    r->info.stop_count = r->stops.count;
    r->info.sealed_max = r->plan.out_max;
    r->info.dropped = r->dropped;
    return name_dropped(r, &w, err);
}

bool request_parse(struct chat_request **out, struct buf *body, char param[static REQUEST_PARAM_BYTES],
                   struct err *err)
{
    struct json_doc doc;
    bool ok = false;
    *out = NULL;
    param[0] = '\0';
    json_doc_init(&doc);
    struct chat_request *r = mem_calloc(1, sizeof *r);
    if (r == NULL) {
        buf_free(body);
        return err_set(err, ERR_MEMORY, "no memory for a request");
    }
    buf_init(&r->body, body->max);
    buf_init(&r->stops.text, 0);
    plan_init(&r->plan);
    buf_move(&r->body, body);
    /* Never NULL for the parser, also when the body is empty. */
    const char *text = r->body.len > 0 ? (const char *)r->body.data : "";
    if (!json_parse(&doc, text, r->body.len, LIMIT_JSON_NODES, err)) {
        err_context(err, "request body");
        goto out;
    }
    ok = read_body(r, &doc, param, err);
out:
    json_doc_free(&doc);
    if (ok) {
        *out = r;
    } else {
        request_free(r);
    }
    return ok;
}

bool request_seal(const struct chat_request *r, const char *upstream_model, struct aead *request_key,
                  const uint8_t client_point[static POINT_BYTES], struct buf *out, struct err *err)
{
    return plan_run(&r->plan, (const char *)r->body.data, upstream_model, request_key, client_point, out,
                    err);
}
