#include "hsm/options.h"

#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

#define SYSTEM_FILE "/etc/e2ee-hsm-proxy.conf"
#define DEFAULT_THREADS 4
#define MAX_KEY_AGE_S (LIMIT_SESSION_S + LIMIT_SESSION_GRACE_S)

typedef bool setter(struct options *o, const char *value, struct err *err);

static bool bad(struct err *err, const char *what)
{
    return err_set(err, ERR_CONFIG, "%s", what);
}

static bool set_text(const char **slot, const char *value, struct err *err)
{
    *slot = mem_strdup(value); /* lives as long as the process */
    return *slot != NULL || err_set(err, ERR_MEMORY, "no memory for the options");
}

static bool set_config(struct options *o, const char *value, struct err *err)
{
    return options_path(&o->config_file, value, err);
}

static bool set_socket(struct options *o, const char *value, struct err *err)
{
    return options_path(&o->server.socket_path, value, err);
}

static bool set_module(struct options *o, const char *value, struct err *err)
{
    return (*value == '/' || bad(err, "an absolute path is needed: a module is never searched for")) &&
           set_text(&o->token.module_path, value, err);
}

static bool set_token(struct options *o, const char *value, struct err *err)
{
    if (o->token.uri_count == KEYIPC_TOKENS_MAX) {
        return bad(err, "given too often");
    }
    for (size_t i = 0; i < o->token.uri_count; i++) {
        if (strcmp(o->token.uris[i], value) == 0) {
            return bad(err, "the same one twice");
        }
    }
    return set_text(&o->token.uris[o->token.uri_count], value, err) && ++o->token.uri_count > 0;
}

static bool set_pin_file(struct options *o, const char *value, struct err *err)
{
    return options_path(&o->token.pin_file, value, err);
}

static bool set_state_dir(struct options *o, const char *value, struct err *err)
{
    return options_path(&o->token.state_dir, value, err);
}

static bool set_custody(struct options *o, const char *value, struct err *err)
{
    bool session = strcmp(value, "session") == 0;
    o->server.custody = session ? KEYIPC_CUSTODY_SESSION : KEYIPC_CUSTODY_TOKEN;
    return session || strcmp(value, "token") == 0 || bad(err, "must be token or session");
}

static bool set_module_env(struct options *o, const char *value, struct err *err)
{
    if (o->module_env_count == OPTIONS_MODULE_ENV_MAX) {
        return bad(err, "given too often");
    }
    return set_text(&o->module_env[o->module_env_count], value, err) && ++o->module_env_count > 0;
}

static bool number(uint64_t *out, const char *value, uint64_t min, uint64_t max, struct err *err)
{
    return text_u64(out, value, min, max) ||
           err_set(err, ERR_CONFIG, "must be a whole number from %llu to %llu", (unsigned long long)min,
                   (unsigned long long)max);
}

/* From 1 on. */
static bool small_number(unsigned *out, const char *value, unsigned max, struct err *err)
{
    uint64_t n;
    bool ok = number(&n, value, 1, max, err);
    *out = ok ? (unsigned)n : *out;
    return ok;
}

static bool set_connections_fd(struct options *o, const char *value, struct err *err)
{
    uint64_t n;
    if (!number(&n, value, 3, 1023, err)) {
        return false;
    }
    o->server.channel = (int)n;
    return true;
}

static bool set_sessions(struct options *o, const char *value, struct err *err)
{
    return small_number(&o->threads, value, TOKEN_SESSIONS_MAX, err);
}

static bool set_token_timeout(struct options *o, const char *value, struct err *err)
{
    return small_number(&o->token_timeout_s, value, LIMIT_TOKEN_CALL_S, err);
}

static bool set_max_key_age(struct options *o, const char *value, struct err *err)
{
    return small_number(&o->server.max_key_age_s, value, MAX_KEY_AGE_S, err);
}

static bool set_max_derives(struct options *o, const char *value, struct err *err)
{
    return number(&o->server.max_derives, value, 1, UINT64_MAX, err);
}

static bool set_max_keys(struct options *o, const char *value, struct err *err)
{
    uint64_t n;
    if (!number(&n, value, 1, LIMIT_KEYHOLDER_KEYS, err)) {
        return false;
    }
    o->server.max_keys = (size_t)n;
    return true;
}

static bool set_allow_uid(struct options *o, const char *value, struct err *err)
{
    uint64_t n;
    const struct passwd *user = NULL;
    if (o->server.allow_uid_count == SERVER_ALLOW_MAX) {
        return bad(err, "given too often");
    }
    if (!text_u64(&n, value, 0, UINT_MAX - 1)) {
        user = getpwnam(value);
        if (user == NULL) {
            return bad(err, "no such user");
        }
        n = user->pw_uid;
    }
    o->server.allow_uid[o->server.allow_uid_count++] = (uid_t)n;
    return true;
}

static bool set_allow_gid(struct options *o, const char *value, struct err *err)
{
    uint64_t n;
    const struct group *group = NULL;
    if (o->server.allow_gid_count == SERVER_ALLOW_MAX) {
        return bad(err, "given too often");
    }
    if (!text_u64(&n, value, 0, UINT_MAX - 1)) {
        group = getgrnam(value);
        if (group == NULL) {
            return bad(err, "no such group");
        }
        n = group->gr_gid;
    }
    o->server.allow_gid[o->server.allow_gid_count++] = (gid_t)n;
    return true;
}

static bool set_log_level(struct options *o, const char *value, struct err *err)
{
    return log_level_parse(&o->log_level, value) || bad(err, "must be error, warn, info or debug");
}

static bool set_log_format(struct options *o, const char *value, struct err *err)
{
    o->log_json = strcmp(value, "json") == 0;
    return o->log_json || strcmp(value, "text") == 0 || bad(err, "must be text or json");
}

/* section: where the file has it; NULL: command line only. */
static const struct row {
    const char *name, *section, *argument, *help;
    setter *set;
} rows[] = {
    {"config", NULL, "FILE", "INI file (else E2EE_PROXY_CONFIG, else " SYSTEM_FILE " if there)", set_config},
    {"socket", NULL, "PATH", "listen here for clients of our own user", set_socket},
    {"connections-fd", NULL, "N", "descriptor over which a supervisor sends connections", set_connections_fd},
    {"pkcs11-module", "token", "PATH", "PKCS#11 module (SoftHSM2's)", set_module},
    {"token", "token", "URI", "RFC 7512 URI of the token; repeatable, then keys are spread over them",
     set_token},
    {"pin-file", "token", "FILE", "the PIN (else the URI's pin-source, else asked on the terminal)",
     set_pin_file},
    {"custody", "token", "token|session",
     "where answers are opened: by the token, or by a key in the keyholder's memory that the token roots "
     "(token)",
     set_custody},
    {"sessions", "token", "N", "sessions that derive, one thread each (4)", set_sessions},
    {"token-timeout", "token", "SECONDS", "a call to the token that takes longer ends the keyholder (20)",
     set_token_timeout},
    {"module-env", "token", "NAME", "environment variable that the module may see; repeatable",
     set_module_env},
    {"allow-uid", "token", "USER", "further user whose processes may connect to --socket; repeatable",
     set_allow_uid},
    {"allow-gid", "token", "GROUP", "group whose processes may connect to --socket; repeatable",
     set_allow_gid},
    {"max-key-age", "token", "SECONDS", "a key is destroyed then (4200)", set_max_key_age},
    {"max-derives", "token", "N", "derivations of one key (no limit)", set_max_derives},
    {"max-keys", "token", "N", "keys at a time (256)", set_max_keys},
    {"audit-log", "token", "FILE", "the custody log (none)", options_audit_log},
    {"audit-full", "token", "WORD", "when it cannot be written: refuse or continue (refuse)",
     options_audit_full},
    {"audit-sync", "token", "WORD", "always, or system: the kernel decides when (always)",
     options_audit_sync},
    {"audit-size", "token", "BYTES", "a file past it is renamed (16777216)", options_audit_size},
    {"audit-key", "token", "URI",
     "your own key in a token, which signs checkpoints of the custody log (none)", options_audit_key},
    {"audit-checkpoint", "token", "LINES", "lines after which one is signed (1000)",
     options_audit_checkpoint},
    {"token-network", "token", "HOST:PORT", "where the module may connect to; repeatable (no network)",
     options_token_network},
    {"state-dir", "server", "DIR",
     "instance id and refused-PIN marker (STATE_DIRECTORY, else ~/.local/state/e2ee-hsm-proxy)",
     set_state_dir},
    {"log-level", "server", "LEVEL", "error, warn, info or debug (info)", set_log_level},
    {"log-format", "server", "FORMAT", "text or json (text)", set_log_format},
};
#define ROWS (sizeof rows / sizeof *rows)

static const struct {
    const char *name, *help;
    size_t offset;
} switches[] = {
    {"check", "test the token, measure it, and end", offsetof(struct options, check)},
    {"json", "with --check: the result as JSON", offsetof(struct options, json)},
    {"help", "print this", offsetof(struct options, help)},
    {"version", "print the version", offsetof(struct options, version)},
};
#define SWITCHES (sizeof switches / sizeof *switches)

void options_print_help(void)
{
    printf("e2ee-keyholder " E2EE_VERSION ": holds the keys of e2ee-hsm-proxy in a PKCS#11 token\n\n");
    for (size_t i = 0; i < ROWS; i++) {
        printf("  --%s %s\n        %s\n", rows[i].name, rows[i].argument, rows[i].help);
    }
    for (size_t i = 0; i < SWITCHES; i++) {
        printf("  --%s\n        %s\n", switches[i].name, switches[i].help);
    }
}

/* What the file sets must not override the command line: remembered by row. */
struct file_reader {
    struct options *options;
    const bool *given;
    struct err *err;
    bool failed;
};

static bool same_name(const char *option, const char *key)
{
    while (*option != '\0' && (*option == *key || (*option == '-' && *key == '_'))) {
        option++;
        key++;
    }
    return *option == *key;
}

static int on_file_line(void *user, const char *section, const char *key, const char *value)
{
    struct file_reader *r = user;
    if (r->failed) {
        return 0; /* inih reads on: the first wrong line's error stays */
    }
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].section != NULL && strcmp(rows[i].section, section) == 0 &&
            same_name(rows[i].name, key)) {
            if (!r->given[i] && !rows[i].set(r->options, value, r->err)) {
                r->failed = true;
                err_context(r->err, "%s in [%s]", rows[i].name, section);
            }
            return !r->failed;
        }
    }
    if (strcmp(section, "token") != 0 || strcmp(key, "keyholder_socket") == 0) {
        return 1; /* the proxy's */
    }
    r->failed = true;
    err_set(r->err, ERR_CONFIG, "[token] has a key that is not known");
    return 0;
}

static bool read_file(struct options *o, const bool *given, struct err *err)
{
    const char *path = o->config_file;
    if (path == NULL && o->server.channel < 0) {
        path = getenv("E2EE_PROXY_CONFIG");
        if (path == NULL && access(SYSTEM_FILE, R_OK) == 0) {
            path = SYSTEM_FILE;
        }
    }
    if (path == NULL) {
        return true;
    }
    if (o->config_file == NULL && !set_config(o, path, err)) {
        return false;
    }
    struct file_reader reader = {o, given, err, false};
    int line = ini_parse(path, on_file_line, &reader);
    if (reader.failed) {
        return err_context(err, "%s, line %d", path, line);
    }
    return line == 0 || (line < 0 ? err_errno(err, ERR_CONFIG, errno, "cannot read %s", path)
                                  : err_set(err, ERR_CONFIG, "%s, line %d: not \"key = value\"", path, line));
}

static bool read_switch(struct options *o, const char *name)
{
    for (size_t i = 0; i < SWITCHES; i++) {
        if (strcmp(switches[i].name, name) == 0) {
            *(bool *)((char *)o + switches[i].offset) = true;
            return true;
        }
    }
    return false;
}

/* `--name value` or `--name=value`. */
static bool read_argument(struct options *o, char **argv, int *at, bool *given, struct err *err)
{
    const char *name = argv[*at];
    if (strncmp(name, "--", 2) != 0) {
        return err_set(err, ERR_CONFIG, "argument %d is no option; try --help", *at);
    }
    name += 2;
    if (read_switch(o, name)) {
        return true;
    }
    size_t len = strcspn(name, "=");
    for (size_t i = 0; i < ROWS; i++) {
        if (strlen(rows[i].name) != len || strncmp(rows[i].name, name, len) != 0) {
            continue;
        }
        const char *value = name[len] == '=' ? name + len + 1 : argv[++*at];
        if (value == NULL) {
            return err_set(err, ERR_CONFIG, "--%s needs a value", rows[i].name);
        }
        given[i] = true;
        o->log_level_given = o->log_level_given || rows[i].set == set_log_level;
        return rows[i].set(o, value, err) || err_context(err, "--%s", rows[i].name);
    }
    return err_set(err, ERR_CONFIG, "argument %d is an option that is not known; try --help", *at);
}

bool options_read(struct options *o, int argc, char **argv, struct err *err)
{
    bool given[ROWS] = {false};
    *o = (struct options){
        .server = {.channel = -1,
                   .listener = -1,
                   .custody = KEYIPC_CUSTODY_TOKEN,
                   .signals = -1,
                   .max_key_age_s = MAX_KEY_AGE_S,
                   .max_keys = LIMIT_KEYHOLDER_KEYS},
        .audit = {.max_bytes = LIMIT_AUDIT_FILE_BYTES},
        .audit_checkpoint = LIMIT_AUDIT_CHECKPOINT,
        .threads = DEFAULT_THREADS,
        .token_timeout_s = LIMIT_TOKEN_CALL_S,
        .log_level = LOG_LEVEL_INFO,
    };
    for (int i = 1; i < argc; i++) {
        if (!read_argument(o, argv, &i, given, err)) {
            return false;
        }
    }
    if (o->help || o->version) {
        return true;
    }
    if (!read_file(o, given, err)) {
        return false;
    }
    if (o->audit_key != NULL && o->audit.path == NULL && !o->check) {
        return err_set(err, ERR_CONFIG, "--audit-key signs a custody log: name it by --audit-log");
    }
    if (o->check && o->token.uri_count > 1) {
        return err_set(err, ERR_CONFIG, "--check tests one token at a time: name it by --token");
    }
    int modes = (o->server.socket_path != NULL) + (o->server.channel >= 0) + o->check;
    return modes == 1 || err_set(err, ERR_CONFIG, "one of --socket, --connections-fd and --check is needed");
}
