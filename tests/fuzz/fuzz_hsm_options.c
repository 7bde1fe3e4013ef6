/* The keyholder's part of the configuration file. What is taken lies within its bounds and is no weaker than the command
 * line; a second reading gives the same; no error repeats a value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "config_file.h"
#include "hsm/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "31415926535897"

/* Options live as long as the process, which no fuzzer's process may wait for. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static bool read_options(struct options *o, const void *data, size_t size, struct err *err)
{
    char path[CONFIG_FILE_PATH_BYTES];
    int fd = config_file(data, size, path);
    char name[] = "e2ee-keyholder", config_flag[] = "--config", socket_flag[] = "--socket=/run/s";
    char custody[] = "--custody=token", age[] = "--max-key-age=60";
    char *argv[] = {name, config_flag, path, socket_flag, custody, age, NULL};
    if (__lsan_disable != NULL) {
        __lsan_disable();
    }
    bool ok = options_read(o, 6, argv, err);
    if (__lsan_enable != NULL) {
        __lsan_enable();
    }
    close(fd);
    return ok;
}

static void free_texts(struct options *o)
{
    const char *texts[] = {o->config_file,    o->server.socket_path, o->token.module_path,
                           o->token.pin_file, o->token.state_dir,    o->audit.path};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mem_free((void *)(uintptr_t)texts[i]);
    }
    for (size_t i = 0; i < o->token.uri_count; i++) {
        mem_free((void *)(uintptr_t)o->token.uris[i]);
    }
    for (size_t i = 0; i < o->module_env_count; i++) {
        mem_free((void *)(uintptr_t)o->module_env[i]);
    }
}

static void check_bounds(const struct options *o)
{
    require(strcmp(o->server.socket_path, "/run/s") == 0 && o->server.channel < 0);
    require(o->server.custody == KEYIPC_CUSTODY_TOKEN && o->server.max_key_age_s == 60);
    require(o->server.max_keys >= 1 && o->server.max_keys <= LIMIT_KEYHOLDER_KEYS);
    require(o->threads >= 1 && o->threads <= TOKEN_SESSIONS_MAX);
    require(o->token_timeout_s >= 1 && o->token_timeout_s <= LIMIT_TOKEN_CALL_S);
    require(o->server.allow_uid_count <= SERVER_ALLOW_MAX && o->server.allow_gid_count <= SERVER_ALLOW_MAX);
    require(o->token.uri_count <= KEYIPC_TOKENS_MAX && o->module_env_count <= OPTIONS_MODULE_ENV_MAX);
    require(o->token.module_path == NULL || o->token.module_path[0] == '/');
    require(!o->check && !o->help && !o->version); /* no keys of a file */
    for (size_t i = 0; i < o->token.uri_count; i++) {
        for (size_t n = 0; n < i; n++) {
            require(strcmp(o->token.uris[i], o->token.uris[n]) != 0);
        }
    }
    for (size_t i = 0; i < o->server.allow_uid_count; i++) {
        require(o->server.allow_uid[i] != (uid_t)-1);
    }
}

/* The same text below a line whose value is a secret in the wrong place. */
static void check_secret(const char *text, size_t size)
{
    static const char line[] = "[token]\nsessions = " SECRET "\n";
    struct options o;
    struct err err = {0};
    char *joined = mem_alloc(sizeof line + size);
    require(joined != NULL);
    memcpy(joined, line, sizeof line - 1);
    if (size > 0) {
        memcpy(joined + sizeof line - 1, text, size);
    }
    require(!read_options(&o, joined, sizeof line - 1 + size, &err) && err.kind == ERR_CONFIG);
    require(strstr(err.message, SECRET) == NULL && strstr(err.message, "sessions") != NULL);
    free_texts(&o);
    mem_free(joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct options o, again;
    struct err err = {0};
    bool ok = read_options(&o, data, size, &err);
    require(ok || (err.kind == ERR_CONFIG && err.message[0] != '\0'));
    require(read_options(&again, data, size, &err) == ok);
    if (ok) {
        check_bounds(&o);
        require(again.threads == o.threads && again.server.max_derives == o.server.max_derives);
        require(again.token.uri_count == o.token.uri_count && again.audit.max_bytes == o.audit.max_bytes);
    }
    free_texts(&o);
    free_texts(&again);
    check_secret((const char *)data, size);
    return 0;
}
