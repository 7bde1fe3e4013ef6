/* The proxy's configuration: a file, and behind a NUL each further text up to the next one is an argument of `serve`.
 * What is taken lies within the table's bounds; a flag wins over the file; a second reading gives the same; no error
 * repeats a value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "app/options.h"
#include "base/mem.h"
#include "config_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARGUMENTS_MAX 16
#define SECRET "sk-31415926535897"

static char serve[] = "serve", config_flag[] = "--config";

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static bool one_of(const char *words, const char *value)
{
    const char *found = strstr(words, value);
    size_t len = strlen(value);
    while (found != NULL &&
           !((found == words || found[-1] == '|') && (found[len] == '|' || found[len] == '\0'))) {
        found = strstr(found + 1, value);
    }
    return found != NULL;
}

static void check_bounds(const struct config *config)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        const void *slot = (const char *)config + option->offset;
        if (option->kind == OPTION_NUMBER) {
            uint64_t number;
            memcpy(&number, slot, sizeof number);
            require((number == 0 && option->fallback == NULL) ||
                    (number >= option->min && number <= option->max));
        } else if (option->kind == OPTION_LIST) {
            const struct config_list *list = slot;
            require(list->count <= CONFIG_LIST_MAX);
            for (size_t n = 0; n < list->count; n++) {
                require(list->items[n] != NULL);
            }
        } else if (option->kind == OPTION_STRING) {
            const char *text = *(char *const *)slot;
            require(text != NULL || option->fallback == NULL);
            require(text == NULL ||
                    (text[0] != '\0' && (option->words == NULL || one_of(option->words, text))));
        }
    }
}

static void check_same(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < option_count; i++) {
        size_t at = option_table[i].offset;
        const void *left = (const char *)a + at, *right = (const char *)b + at;
        if (option_table[i].kind == OPTION_NUMBER) {
            require(memcmp(left, right, sizeof(uint64_t)) == 0);
        } else if (option_table[i].kind == OPTION_STRING) {
            const char *one = *(char *const *)left, *other = *(char *const *)right;
            require((one == NULL) == (other == NULL) && (one == NULL || strcmp(one, other) == 0));
        }
    }
}

/* The arguments behind the file's end; one that names another file would leave this process. */
static int arguments(char **argv, char *text, size_t len)
{
    int argc = 2;
    for (size_t at = 0; at < len && argc < ARGUMENTS_MAX; at += strlen(text + at) + 1) {
        if (strncmp(text + at, "--config", 8) != 0) {
            argv[argc++] = text + at;
        }
    }
    return argc;
}

/* The same text below a line whose value is a secret in the wrong place. */
static void check_secret(const char *text, size_t len)
{
    static const char line[] = "[server]\nworkers = " SECRET "\n";
    char path[CONFIG_FILE_PATH_BYTES], *argv[] = {serve, config_flag, path};
    struct config config;
    struct err err = {0};
    char *joined = mem_alloc(sizeof line + len);
    require(joined != NULL);
    memcpy(joined, line, sizeof line - 1);
    memcpy(joined + sizeof line - 1, text, len);
    int fd = config_file(joined, sizeof line - 1 + len, path);
    require(!config_load(&config, 3, argv, &err) && err.kind == ERR_CONFIG);
    require(strstr(err.message, SECRET) == NULL && strstr(err.message, "workers") != NULL);
    config_free(&config);
    close(fd);
    mem_free(joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[CONFIG_FILE_PATH_BYTES], flag[64], *argv[ARGUMENTS_MAX + 2] = {serve, flag};
    struct config config, again;
    struct err err = {0};
    char *text = mem_alloc(size + 1);
    require(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    size_t file_len = strlen(text);
    int fd = config_file(text, file_len, path);
    snprintf(flag, sizeof flag, "--config=%s", path);
    int argc = file_len < size ? arguments(argv, text + file_len + 1, size - file_len - 1) : 2;
    bool ok = config_load(&config, argc, argv, &err);
    require(ok || (err.kind == ERR_CONFIG && err.message[0] != '\0'));
    if (ok) {
        check_bounds(&config);
        char wins[] = "--log-level=warn";
        argv[argc] = wins;
        require(config_load(&again, argc + 1, argv, &err) && strcmp(again.log_level, "warn") == 0);
        config_free(&again);
        require(config_load(&again, argc, argv, &err));
        check_same(&config, &again);
        config_free(&again);
    }
    config_free(&config);
    close(fd);
    check_secret(text, file_len);
    mem_free(text);
    return 0;
}
