#include "wire/request_walk.h"

#include "base/limits.h"

/* An image's URL: in the part itself, or in the object that OpenAI has there. */
static bool check_image(const struct json_doc *doc, const struct json_node *part)
{
    const struct json_node *image = json_present(doc, part, "image_url");
    const struct json_node *url = image;
    if (image != NULL && image->type == JSON_OBJECT) {
        url = json_present(doc, image, "url");
    }
    return json_string_starts(doc, url, "data:") || json_string_starts(doc, url, "https://");
}

static bool check_part(struct walk *w, const struct json_node *part)
{
    const struct json_node *type = json_present(w->doc, part, "type");
    if (part->type != JSON_OBJECT || type == NULL || type->type != JSON_STRING) {
        return walk_fault(
            w, ERR_INVALID, FIELDS_MESSAGE, "content",
            "has a part that is not an object with a type; send {\"type\":\"text\",\"text\":...}");
    }
    const struct fields_rule *rule = fields_find_part(w->doc, type);
    if (rule == NULL) {
        return walk_fault(w, ERR_UNSUPPORTED, FIELDS_MESSAGE, "content",
                          "has a part of an unknown type; text and image_url can be sealed");
    }
    if (rule->action == FIELDS_REFUSE) {
        return walk_unsupported(w, rule);
    }
    if (json_string_is(w->doc, type, "image_url")) {
        return check_image(w->doc, part) ||
               walk_fault(w, ERR_INVALID, FIELDS_PART, rule->name, "must have a data: or https: URL");
    }
    const struct json_node *text = json_present(w->doc, part, rule->name);
    return (text != NULL && text->type == JSON_STRING) ||
           walk_fault(w, ERR_INVALID, FIELDS_PART, rule->name,
                      "must hold its text as a string of the part's own name");
}

bool walk_content(struct walk *w, const struct fields_rule *rule, const struct json_node *value)
{
    if (value->type == JSON_NULL) {
        plan_copy(w->plan, value->start, value->end);
        return true;
    }
    if (value->type == JSON_STRING) {
        plan_seal(w->plan, PLAN_SEAL_CONTENT, value->start + 1, value->end - 1);
        return true;
    }
    if (value->type != JSON_ARRAY) {
        return walk_fault(w, ERR_INVALID, rule->where, rule->name,
                          "must be a string, an array of parts, or null");
    }
    if (value->count == 0) {
        plan_seal(w->plan, PLAN_SEAL_TEXT, 0, 0);
        return true;
    }
    for (const struct json_node *part = json_first(w->doc, value); part != NULL;
         part = json_next(w->doc, part)) {
        if (!check_part(w, part)) {
            return false;
        }
    }
    plan_seal(w->plan, PLAN_SEAL_PARTS, value->start, value->end);
    return true;
}

static bool add_stop(struct walk *w, const struct json_node *value)
{
    struct walk_stops *stops = w->stops;
    const char *raw;
    size_t len, from = stops->text.len;
    if (!json_string_raw(w->doc, value, &raw, &len)) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "stop", "must be a string or an array of strings");
    }
    if (len == 0) {
        return true;
    }
    if (stops->count == LIMIT_STOP_SEQUENCES) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "stop", "has too many sequences; 16 is the most");
    }
    /* No escape is longer than six times what it stands for. */
    bool fits = len <= 6 * LIMIT_STOP_BYTES;
    if (fits && !json_string_get(w->doc, value, &stops->text)) {
        return err_set(w->err, ERR_MEMORY, "no memory for the stop sequences");
    }
    if (!fits || stops->text.len - from > LIMIT_STOP_BYTES) {
        return walk_fault(w, ERR_INVALID, FIELDS_TOP, "stop", "has a sequence of more than 1024 bytes");
    }
    stops->texts[stops->count] = (const char *)stops->text.data + from;
    stops->lens[stops->count++] = stops->text.len - from;
    return buf_append_byte(&stops->text, 0);
}

bool walk_stop(struct walk *w, const struct json_node *value)
{
    buf_init(&w->stops->text, LIMIT_STOP_SEQUENCES * (LIMIT_STOP_BYTES + 1) + 6 * LIMIT_STOP_BYTES);
    if (!buf_reserve(&w->stops->text, w->stops->text.max)) {
        return err_set(w->err, ERR_MEMORY, "no memory for the stop sequences");
    }
    if (value->type != JSON_ARRAY) {
        return add_stop(w, value);
    }
    for (const struct json_node *n = json_first(w->doc, value); n != NULL; n = json_next(w->doc, n)) {
        if (!add_stop(w, n)) {
            return false;
        }
    }
    return true;
}
