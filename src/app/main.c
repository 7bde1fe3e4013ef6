/* e2ee-hsm-proxy: an OpenAI-compatible proxy on localhost that speaks end-to-end encryption to enclaves. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/proxy.h"
#include "app/serve.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/secret.h"

static const struct {
    const char *name, *arguments, *help;
} commands[] = {
    {"serve", "", "run the proxy"},
    {"check", "", "test the token and the upstream"},
    {"attest", "MODEL", "fetch and verify a model's attestation"},
    {"verify", "PATH", "verify saved evidence, offline"},
    {"policy", "show", "print the attestation policy in force"},
    {"audit", "verify FILE...", "check the custody log's hash chain and checkpoints"},
    {"models", "", "list the models that support end-to-end encryption"},
    {"chat", "MODEL PROMPT", "print one streamed answer"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: e2ee-hsm-proxy COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(out, "  %-8s %-14s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    }
    fprintf(out, "\n`e2ee-hsm-proxy COMMAND --help` lists a command's options.\n");
}

static int print_help(const char *command)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, command) == 0) {
            printf("usage: e2ee-hsm-proxy %s %s[options]\n%s\n\n", command, commands[i].arguments,
                   commands[i].help);
            config_print_options(stdout, command);
        }
    }
    return 0;
}

static bool is_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The supervisor keeps its environment, from which its children get their own short ones. */
static bool clean_environment(const struct config *config, struct err *err)
{
    static const char *const allowed[] = {"VENICE_API_KEY",
                                          "HTTPS_PROXY",
                                          "https_proxy",
                                          "ALL_PROXY",
                                          "all_proxy",
                                          "NO_PROXY",
                                          "no_proxy",
                                          "SSL_CERT_FILE",
                                          "SSL_CERT_DIR",
                                          "HOME",
                                          "PATH",
                                          "LANG",
                                          "TERM",
                                          "TZ",
                                          "XDG_STATE_HOME",
                                          "STATE_DIRECTORY",
                                          "CREDENTIALS_DIRECTORY",
                                          NULL};
    return process_clean_environment(allowed, err);
}

static int serve(const struct config *config, int argc, char **argv)
{
    struct err err = {0};
    if (config->word_count > 0) {
        err_set(&err, ERR_CONFIG, "serve takes options only");
        return command_failed(&err);
    }
    if (config->supervised_fd == 0 && config->keyholder_socket == NULL) {
        (void)!serve_supervised(config, argc, argv, &err);
        log_error("%s", err.message);
        return 1; /* not 2, after which systemd tries no more: while a package is unpacked a part may be missing */
    }
    if (!clean_environment(config, &err)) {
        return command_failed(&err);
    }
    return proxy_run(config);
}

static int run(const struct config *config, int argc, char **argv)
{
    struct err err = {0};
    if (strcmp(argv[0], "serve") == 0) {
        return serve(config, argc, argv);
    }
    if (strcmp(argv[0], "check") == 0) {
        return command_check(config);
    }
    if (strcmp(argv[0], "chat") == 0) {
        return command_chat(config, argc, argv);
    }
    if (!clean_environment(config, &err)) {
        return command_failed(&err);
    }
    if (strcmp(argv[0], "models") == 0) {
        return command_models(config);
    }
    if (strcmp(argv[0], "audit") == 0) {
        return command_audit(config);
    }
    if (strcmp(argv[0], "attest") == 0) {
        return command_attest(config);
    }
    return strcmp(argv[0], "policy") == 0 ? command_policy(config) : command_verify(config);
}

int main(int argc, char **argv)
{
    struct config config = {0};
    struct err err = {0};
    enum log_level level = LOG_LEVEL_INFO;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("e2ee-hsm-proxy " E2EE_VERSION);
        return 0;
    }
    if (!is_command(argv[1])) {
        print_usage(stderr);
        return 2;
    }
    log_init("proxy", LOG_LEVEL_INFO, false);
    if (!mem_install_openssl(&err) || !process_harden(&err) || !secret_heap_init(&err) ||
        !config_load(&config, argc - 1, argv + 1, &err)) {
        config_free(&config);
        return command_failed(&err);
    }
    if (config.help) {
        config_free(&config);
        return print_help(argv[1]);
    }
    bool supervisor =
        strcmp(argv[1], "serve") == 0 && config.supervised_fd == 0 && config.keyholder_socket == NULL;
    (void)!log_level_parse(&level, config.log_level); /* the table allows only its words */
    log_init(supervisor ? "supervisor" : "proxy", level, strcmp(config.log_format, "json") == 0);
    int code = run(&config, argc - 1, argv + 1);
    config_free(&config);
    return code;
}
