#include "hsm/audit_command.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/process.h"
#include "custody/report.h"

#define USAGE "usage: e2ee-keyholder audit verify FILE... [--key PEM] [--head HASH]"

struct words {
    struct report_options options;
    const char *keys[REPORT_KEYS_MAX];
};

/* True when argv[*at] is `--name value` or `--name=value`, moving past it; *value NULL when there is none. */
static bool is_option(const char **value, const char *name, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    size_t len = strlen(name);
    if (strncmp(word, name, len) != 0 || (word[len] != '\0' && word[len] != '=')) {
        return false;
    }
    *value = word[len] == '=' ? word + len + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    return true;
}

/* files has room for all words. */
static bool read_words(struct words *w, const char **files, int argc, char **argv, struct err *err)
{
    w->options = (struct report_options){.files = files, .keys = w->keys};
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        bool known = true;
        if (is_option(&value, "--key", argc, argv, &i)) {
            known = value != NULL && w->options.key_count < REPORT_KEYS_MAX;
            if (known) {
                w->keys[w->options.key_count++] = value;
            }
        } else if (is_option(&value, "--head", argc, argv, &i)) {
            known = value != NULL;
            w->options.head = value;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            known = false;
        } else {
            files[w->options.file_count++] = argv[i];
        }
        if (!known) {
            return err_set(err, ERR_CONFIG, USAGE);
        }
    }
    return (argc > 0 && strcmp(argv[0], "verify") == 0 && w->options.file_count > 0) ||
           err_set(err, ERR_CONFIG, USAGE);
}

int audit_command(int argc, char **argv)
{
    static const char *const variables[] = {NULL};
    struct words w = {0};
    struct err err = {0};
    bool good = false;
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || (argc > 1 && strcmp(argv[1], "--help") == 0))) {
        puts(USAGE);
        return 0;
    }
    const char **files = NULL;
    bool ok = mem_install_openssl(&err) && process_harden(&err) && process_clean_environment(variables, &err);
    if (ok && (files = mem_calloc((size_t)argc + 1, sizeof *files)) == NULL) {
        err_set(&err, ERR_MEMORY, "no memory");
        ok = false;
    }
    ok = ok && read_words(&w, files, argc, argv, &err) && report_custody(&good, &w.options, &err);
    mem_free(files);
    if (!ok) {
        fprintf(stderr, "e2ee-keyholder: %s\n", err.message);
        return 2;
    }
    return good ? 0 : 1;
}
