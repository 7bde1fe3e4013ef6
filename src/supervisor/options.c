#include "supervisor/options.h"

#include <string.h>

#include "base/limits.h"
#include "base/text.h"

struct words {
    int argc, at;
    char **argv;
};

static char *next(struct words *w)
{
    return w->at < w->argc ? w->argv[w->at++] : NULL;
}

static bool number(struct words *w, uint64_t *out, uint64_t min, uint64_t max)
{
    const char *text = next(w);
    return text != NULL && text_u64(out, text, min, max);
}

/* The words of a child stay where they are. */
static bool child(struct words *w, char ***out)
{
    uint64_t count;
    if (!number(w, &count, 1, (uint64_t)(w->argc - w->at))) {
        return false;
    }
    *out = w->argv + w->at;
    w->at += (int)count;
    return true;
}

static bool is(const char *word, const char *name)
{
    return strcmp(word, name) == 0;
}

static bool take(struct words *w, const char *word, struct supervisor_options *o)
{
    uint64_t n = 0;
    bool ok = false;
    if (is(word, "--log-level") || is(word, "--log-format")) {
        const char *value = next(w);
        if (value == NULL) {
            return false;
        }
        o->log_json = o->log_json || is(value, "json");
        return is(word, "--log-format") || log_level_parse(&o->log_level, value);
    }
    if (is(word, "--workers")) {
        ok = number(w, &n, 1, LIMIT_KEYHOLDER_WORKERS);
        o->workers = (unsigned)n;
    } else if (is(word, "--announce-fd")) {
        ok = number(w, &n, 3, 1023);
        o->announce_fd = (int)n;
    } else if (is(word, "--reread")) {
        ok = (o->reread = next(w)) != NULL;
    } else if (is(word, "--api-key")) {
        ok = o->api_key = true;
    } else if (is(word, "--module-env") && o->module_env_count < SUPERVISOR_NAMES_MAX) {
        ok = (o->module_env[o->module_env_count++] = next(w)) != NULL;
    } else if (is(word, "--keyholder")) {
        ok = child(w, &o->keyholder) && w->at < w->argc && is(w->argv[w->at], "--proxy");
    } else if (is(word, "--proxy")) {
        w->argv[w->at - 1] = NULL; /* ends the keyholder's words; the proxy's end where argv does */
        ok = child(w, &o->proxy) && w->at == w->argc;
    }
    return ok;
}

bool supervisor_options_read(struct supervisor_options *o, int argc, char **argv)
{
    *o = (struct supervisor_options){.log_level = LOG_LEVEL_INFO};
    struct words w = {argc, 1, argv};
    for (char *word; (word = next(&w)) != NULL;) {
        if (!take(&w, word, o)) {
            return false;
        }
    }
    return o->workers > 0 && o->keyholder != NULL && o->proxy != NULL;
}
