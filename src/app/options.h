/* The table of options: private to config.c, its help, and their tests. */
#ifndef E2EE_APP_OPTIONS_H
#define E2EE_APP_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum option_kind { OPTION_STRING, OPTION_LIST, OPTION_NUMBER, OPTION_FLAG };

/* Which commands take an option. */
enum {
    FOR_SERVE = 1,
    FOR_ATTEST = 2,
    FOR_VERIFY = 4,
    FOR_CHECK = 8,
    FOR_MODELS = 16,
    FOR_CHAT = 32,
    FOR_POLICY = 64,
    FOR_AUDIT = 128,
    FOR_UPSTREAM = FOR_SERVE | FOR_ATTEST | FOR_CHECK | FOR_MODELS | FOR_CHAT,
    FOR_TOKEN = FOR_SERVE | FOR_CHECK | FOR_CHAT,
    FOR_ALL = FOR_UPSTREAM | FOR_VERIFY | FOR_POLICY,
    FILE_ONLY = 1024, /* no flag, a key of the file */
    HIDDEN = 2048     /* internal, not in the help, not in the file */
};

struct option {
    const char *name;    /* with dashes; the file's key has underscores */
    const char *section; /* of the file; NULL: not in the file */
    enum option_kind kind;
    size_t offset; /* in struct config */
    unsigned commands;
    uint64_t min, max;    /* OPTION_NUMBER */
    const char *words;    /* OPTION_STRING: the allowed values, separated by '|'; NULL: any */
    const char *fallback; /* default, as text; NULL: none */
    const char *argument; /* its name in the help; NULL for flags */
    const char *help;
};

extern const struct option option_table[];
extern const size_t option_count;

#endif
