#include "app/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define DEFAULT_FILE "/etc/e2ee-hsm-proxy.conf"

static const struct {
    const char *name;
    unsigned bit;
} commands[] = {{"serve", FOR_SERVE},   {"attest", FOR_ATTEST}, {"verify", FOR_VERIFY}, {"check", FOR_CHECK},
                {"models", FOR_MODELS}, {"chat", FOR_CHAT},     {"policy", FOR_POLICY}, {"audit", FOR_AUDIT}};

static unsigned command_bit(const char *command)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, command) == 0) {
            return commands[i].bit;
        }
    }
    return 0;
}

static bool word_allowed(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = words; p != NULL; p = strchr(p, '|'), p = p != NULL ? p + 1 : NULL) {
        if (strcspn(p, "|") == len && strncmp(p, value, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool set_string(char **slot, const char *value, struct err *err)
{
    char *copy = mem_strdup(value);
    if (copy == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the configuration");
    }
    mem_free(*slot);
    *slot = copy;
    return true;
}

static void clear_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->items[i]);
    }
    list->count = 0;
}

/* The messages name the option, never the value: somebody will put a secret in the wrong place. */
static bool set_option(struct config *config, const struct option *option, const char *value, struct err *err)
{
    void *slot = (char *)config + option->offset;
    uint64_t number;
    switch (option->kind) {
    case OPTION_FLAG:
        if (!text_bool(slot, value)) {
            return err_set(err, ERR_CONFIG, "%s must be on or off", option->name);
        }
        return true;
    case OPTION_NUMBER:
        if (!text_u64(&number, value, option->min, option->max)) {
            return err_set(err, ERR_CONFIG, "%s must be a whole number from %llu to %llu", option->name,
                           (unsigned long long)option->min, (unsigned long long)option->max);
        }
        memcpy(slot, &number, sizeof number);
        return true;
    case OPTION_LIST: {
        struct config_list *list = slot;
        if (list->count == CONFIG_LIST_MAX) {
            return err_set(err, ERR_CONFIG, "%s is given more than %d times", option->name, CONFIG_LIST_MAX);
        }
        list->items[list->count] = NULL;
        return set_string(&list->items[list->count], value, err) && ++list->count > 0;
    }
    case OPTION_STRING:
        if (option->words != NULL && !word_allowed(option->words, value)) {
            return err_set(err, ERR_CONFIG, "%s must be one of %s", option->name, option->words);
        }
        if (*value == '\0') {
            return err_set(err, ERR_CONFIG, "%s is empty", option->name);
        }
        return set_string(slot, value, err);
    }
    return err_set(err, ERR_INTERNAL, "an option of no kind");
}

/* Compares an option's name with a file's key, '_' standing for '-'. */
static bool key_is(const char *name, const char *key)
{
    for (; *name != '\0' && *key != '\0'; name++, key++) {
        if (*key != (*name == '-' ? '_' : *name)) {
            return false;
        }
    }
    return *name == *key;
}

struct file_state {
    struct config *config;
    const char *path;
    struct err *err;
    bool failed;
};

/* [token] keys that only the keyholder reads (hsm/options.c). It gets the file too. */
static bool is_keyholders(const char *section, const char *name)
{
    static const char *const keys[] = {"sessions",    "token_timeout",   "allow_uid", "allow_gid",
                                       "max_key_age", "max_derives",     "max_keys",  "audit_sync",
                                       "audit_size",  "audit_checkpoint"};
    for (size_t i = 0; strcmp(section, "token") == 0 && i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int on_file_key(void *user, const char *section, const char *name, const char *value)
{
    struct file_state *state = user;
    if (state->failed) {
        return 1;
    }
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->section != NULL && strcmp(option->section, section) == 0 && key_is(option->name, name)) {
            if (!set_option(state->config, option, value, state->err)) {
                err_context(state->err, "%s, [%s]", state->path, section);
                state->failed = true;
            }
            return 1;
        }
    }
    if (is_keyholders(section, name)) {
        return 1;
    }
    err_set(state->err, ERR_CONFIG, "%s, [%s]: unknown key %.40s", state->path, section, name);
    state->failed = true;
    return 1;
}

static bool load_file(struct config *config, const char *path, struct err *err)
{
    struct file_state state = {config, path, err, false};
    int result = ini_parse(path, on_file_key, &state);
    if (state.failed) {
        return false;
    }
    if (result > 0) {
        return err_set(err, ERR_CONFIG, "%s, line %d is not a section, a comment or a key = value", path,
                       result);
    }
    if (result < 0) {
        return err_errno(err, ERR_CONFIG, errno, "cannot read %s", path);
    }
    return true;
}

static const struct option *find_flag(const char *arg, size_t len, unsigned command)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if ((option->commands & command) != 0 && (option->commands & FILE_ONLY) == 0 &&
            strlen(option->name) == len && strncmp(option->name, arg, len) == 0) {
            return option;
        }
    }
    return NULL;
}

/* One flag: the value after '=' or in the next argument. A list given here replaces the file's. */
static bool load_flag(struct config *config, int argc, char **argv, int *i, unsigned command, bool *seen,
                      struct err *err)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const struct option *option = find_flag(name, len, command);
    if (option == NULL) {
        return err_set(err, ERR_CONFIG, "unknown option --%.*s; see `e2ee-hsm-proxy %s --help`",
                       (int)(len < 40 ? len : 40), name, argv[0]);
    }
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (option->kind == OPTION_FLAG) {
        if (value != NULL) {
            return err_set(err, ERR_CONFIG, "--%s takes no value", option->name);
        }
        value = "on";
    } else if (value == NULL) {
        if (*i + 1 >= argc) {
            return err_set(err, ERR_CONFIG, "--%s needs a value", option->name);
        }
        value = argv[++*i];
    }
    if (option->kind == OPTION_LIST && !seen[option - option_table]) {
        clear_list((struct config_list *)((char *)config + option->offset));
    }
    seen[option - option_table] = true;
    config->log_level_given = config->log_level_given || option->offset == offsetof(struct config, log_level);
    return set_option(config, option, value, err);
}

static bool load_flags(struct config *config, int argc, char **argv, struct err *err)
{
    unsigned command = command_bit(argv[0]);
    bool *seen = mem_calloc(option_count, sizeof *seen);
    bool ok = seen != NULL || err_set(err, ERR_MEMORY, "no memory for the configuration");
    for (int i = 1; ok && i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            config->help = true;
        } else if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
            ok = load_flag(config, argc, argv, &i, command, seen, err);
        } else if (config->word_count < sizeof config->words / sizeof *config->words) {
            config->words[config->word_count++] = argv[i];
        } else {
            ok = err_set(err, ERR_CONFIG, "too many arguments");
        }
    }
    mem_free(seen);
    return ok;
}

/* --config must be known before the other flags, which win over the file. */
static const char *find_config_flag(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            path = argv[i + 1];
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            path = argv[i] + 9;
        }
    }
    return path;
}

bool config_load(struct config *config, int argc, char **argv, struct err *err)
{
    *config = (struct config){0};
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].fallback != NULL &&
            !set_option(config, &option_table[i], option_table[i].fallback, err)) {
            return false;
        }
    }
    const char *path = find_config_flag(argc, argv);
    if (path == NULL) {
        path = getenv("E2EE_PROXY_CONFIG");
    }
    if (path == NULL && access(DEFAULT_FILE, F_OK) == 0) {
        path = DEFAULT_FILE;
    }
    if (path != NULL && (!set_string(&config->config_file, path, err) || !load_file(config, path, err))) {
        return false;
    }
    if (command_bit(argv[0]) == FOR_VERIFY) {
        /* Saved evidence has its own collateral; the file's key says where the proxy's comes from. */
        mem_free(config->collateral);
        config->collateral = NULL;
    }
    return load_flags(config, argc, argv, err);
}

void config_reload_log_level(const struct config *config)
{
    if (config->config_file != NULL && !config->log_level_given) {
        log_level_reread(config->config_file);
    }
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < option_count; i++) {
        void *slot = (char *)config + option_table[i].offset;
        if (option_table[i].kind == OPTION_STRING) {
            char **text = slot;
            mem_free(*text);
            *text = NULL;
        } else if (option_table[i].kind == OPTION_LIST) {
            clear_list(slot);
        }
    }
}

void config_print_options(FILE *out, const char *command)
{
    unsigned bit = command_bit(command);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if ((option->commands & bit) == 0 || (option->commands & (FILE_ONLY | HIDDEN)) != 0) {
            continue;
        }
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument != NULL ? " " : "",
                 option->argument != NULL ? option->argument : "");
        fprintf(out, "  %-34s %s%s%s%s\n", left, option->help, option->fallback != NULL ? " (" : "",
                option->fallback != NULL ? option->fallback : "", option->fallback != NULL ? ")" : "");
    }
}

bool config_host_is_loopback(const char *host)
{
    char name[256];
    size_t len = strlen(host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof name) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        name[i] = (char)tolower((unsigned char)host[i]);
    }
    name[len] = '\0';
    if (strcmp(name, "localhost") == 0 || strcmp(name, "::1") == 0) {
        return true;
    }
    unsigned a, b, c, d;
    char rest;
    return sscanf(name, "%u.%u.%u.%u%c", &a, &b, &c, &d, &rest) == 4 && a == 127 && b < 256 && c < 256 &&
           d < 256;
}
