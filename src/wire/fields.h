/* The table of request fields: what happens to each, and why. The code of wire/request.c, the document
 * docs/PROTOCOL.md and the tests are all driven by it. A field that is not in the table is dropped and counted.
 *
 * The rule behind it: every string that the user wrote leaves sealed or not at all. So what is forwarded has a type
 * that cannot carry text: a number, a switch, a word of a closed list, or an identifier of narrow form. */
#ifndef E2EE_WIRE_FIELDS_H
#define E2EE_WIRE_FIELDS_H

#include "base/buf.h"
#include "json/json.h"

/* The table has at most this many rules. */
#define FIELDS_RULES_MAX 128

/* The objects whose members the table knows. */
enum fields_where {
    FIELDS_TOP,            /* the request */
    FIELDS_STREAM_OPTIONS, /* stream_options */
    FIELDS_REASONING,      /* reasoning */
    FIELDS_VENICE,         /* venice_parameters */
    FIELDS_MESSAGE,        /* each of messages */
    FIELDS_PART,           /* the types (not members) of the parts of a content array */
    FIELDS_WHERE_COUNT
};

enum fields_action {
    FIELDS_FORWARD, /* byte for byte, after its type was checked */
    FIELDS_SEAL,    /* encrypted */
    FIELDS_OURS,    /* read, and written anew by the proxy */
    FIELDS_LOCAL,   /* the proxy does it itself; not sent */
    FIELDS_DROP,    /* a hint: left out and named in X-E2EE-Dropped */
    FIELDS_REFUSE   /* cannot be carried and would change the answer: 400 unsupported_feature */
};

/* What a value must be. */
enum fields_check {
    FIELDS_ANY,    /* not looked at */
    FIELDS_NUMBER, /* at most LIMIT_REQUEST_NUMBER_BYTES long */
    FIELDS_BOOL,
    FIELDS_WORD, /* one of words */
    FIELDS_ID,   /* 1 to LIMIT_TOOL_CALL_ID_BYTES of A-Z a-z 0-9 _ . : - */
    FIELDS_STRING,
    FIELDS_OBJECT, /* its members follow their own part of the table */
    FIELDS_ARRAY
};

struct fields_rule {
    enum fields_where where;
    const char *name;
    enum fields_action action;
    enum fields_check check;
    const char *words; /* FIELDS_WORD: "low|medium|high" */
    const char
        *absent;    /* JSON array of values that count as absent beside null, false, "", [] and {}; or NULL */
    bool only_null; /* of those five only null counts as absent */
    const char *note; /* for the document; of FIELDS_REFUSE also the advice in the error */
};

/* All rules, grouped by where. */
const struct fields_rule *fields_rules(size_t *count);
/* The rule for the member of an object, NULL when unknown. */
const struct fields_rule *fields_find(enum fields_where where, const struct json_doc *doc,
                                      const struct json_node *member);
/* The rule for a part's type, a string node; NULL when unknown. */
const struct fields_rule *fields_find_part(const struct json_doc *doc, const struct json_node *type);
/* How the objects of where are called: "", "stream_options", "messages", … */
const char *fields_where_name(enum fields_where where);

/* True in *absent when value counts as not given. ERR_MEMORY. */
bool fields_absent(const struct fields_rule *rule, const struct json_doc *doc, const struct json_node *value,
                   bool *absent, struct err *err) MUST_CHECK;
/* False, "", [] and {}: what SDKs send for a member that was left out. */
bool fields_empty(const struct json_node *value);
/* True when value is what rule->check asks for. */
bool fields_check(const struct fields_rule *rule, const struct json_doc *doc, const struct json_node *value);
/* What rule->check asks for, in words: "a number". */
const char *fields_expected(const struct fields_rule *rule);

/* Appends the table as Markdown. */
bool fields_print(struct buf *out);

#endif
