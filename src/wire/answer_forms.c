/* The forms that unsealed values of an upstream's event may have: wire/answer.h says where. */
#include <string.h>

#include "wire/answer_internal.h"

#define IDENTIFIER_MAX 128
#define FINISH_MAX 24

bool answer_point_valid(struct answer_parser *p, const uint8_t point[static POINT_BYTES])
{
    if (memcmp(p->point, point, POINT_BYTES) == 0) { /* points are public */
        return true;
    }
    if (!point_valid(point)) {
        return false;
    }
    memcpy(p->point, point, POINT_BYTES);
    return true;
}

bool answer_is_empty(const struct json_node *node)
{
    return node->type == JSON_NULL || node->type == JSON_FALSE ||
           (node->type == JSON_STRING && node->end - node->start == 2) ||
           (node->type >= JSON_ARRAY && node->count == 0);
}

bool answer_is_hollow(const struct json_doc *doc, const struct json_node *node)
{
    if (node->type < JSON_ARRAY || node->count == 0) {
        return answer_is_empty(node);
    }
    for (const struct json_node *child = json_first(doc, node); child != NULL;
         child = json_next(doc, child)) {
        if (!answer_is_hollow(doc, child)) {
            return false;
        }
    }
    return true;
}

static bool is_identifier_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= '-' && c <= ':') || (c >= '@' && c <= 'Z') || c == '_' ||
                    c == '+';
        if (!good) {
            return false;
        }
    }
    return len <= IDENTIFIER_MAX;
}

bool answer_is_identifier(const struct json_doc *doc, const struct json_node *node)
{
    const char *text;
    size_t len;
    return json_string_raw(doc, node, &text, &len) && is_identifier_text(text, len);
}

bool answer_is_figures(const struct json_doc *doc, const struct json_node *node, int depth)
{
    if (node->type == JSON_STRING) {
        return answer_is_identifier(doc, node);
    }
    if (node->type < JSON_ARRAY) {
        return node->end - node->start <= ANSWER_NUMBER_MAX;
    }
    if (depth == 0) {
        return false;
    }
    for (const struct json_node *child = json_first(doc, node); child != NULL;
         child = json_next(doc, child)) {
        bool key = node->type == JSON_ARRAY || is_identifier_text(doc->text + child->key_start + 1,
                                                                  child->key_end - child->key_start - 2);
        if (!key || !answer_is_figures(doc, child, depth - 1)) {
            return false;
        }
    }
    return true;
}

bool answer_is_finish(const struct json_doc *doc, const struct json_node *node)
{
    const char *text;
    size_t len;
    if (!json_string_raw(doc, node, &text, &len) || len > FINISH_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!(text[i] >= 'a' && text[i] <= 'z') && text[i] != '_') {
            return false;
        }
    }
    return true;
}
