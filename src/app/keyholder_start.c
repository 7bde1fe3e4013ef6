#include "app/keyholder_start.h"

#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"

static void add_list(struct spawn_args *args, const char *name, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        spawn_option(args, name, list->items[i]);
    }
}

/* number is the text's storage: the arguments are not copied. */
static void add_options(struct spawn_args *args, const struct config *c, char number[static 24])
{
    spawn_option(args, "--config", c->config_file); /* for keys of its own; what follows wins over it */
    spawn_option(args, "--pkcs11-module", c->pkcs11_module);
    add_list(args, "--token", &c->token);
    spawn_option(args, "--pin-file", c->pin_file);
    spawn_option(args, "--custody", c->custody);
    spawn_option(args, "--audit-log", c->audit_log);
    spawn_option(args, "--audit-full", c->audit_full);
    spawn_option(args, "--audit-key", c->audit_key);
    add_list(args, "--token-network", &c->token_network);
    add_list(args, "--module-env", &c->module_env);
    spawn_option(args, "--state-dir", c->state_dir);
    /* what the file says it reads there itself, on SIGHUP again */
    spawn_option(args, "--log-level", c->log_level_given ? c->log_level : NULL);
    spawn_option(args, "--log-format", c->log_format);
    snprintf(number, 24, "%llu", (unsigned long long)c->rotate + LIMIT_SESSION_GRACE_S);
    spawn_option(args, "--max-key-age", number);
}

bool keyholder_arguments(const struct config *config, struct keyholder_command *command, struct err *err)
{
    struct spawn_args *args = &command->args;
    args->count = 0;
    args->full = false;
    if (!spawn_sibling(command->path, sizeof command->path, "e2ee-keyholder", err)) {
        return false;
    }
    spawn_arg(args, command->path);
    add_options(args, config, command->number);
    return true;
}

bool keyholder_spawn_check(const struct config *config, int out, pid_t *pid, struct err *err)
{
    struct keyholder_command command;
    if (!keyholder_arguments(config, &command, err)) {
        return false;
    }
    spawn_arg(&command.args, "--check");
    spawn_arg(&command.args, "--json");
    return spawn_args_fit(&command.args, err) &&
           spawn_process(pid,
                         &(struct spawn){.argv = command.args.items,
                                         .allowed = spawn_keyholder_variables,
                                         .more = config->module_env.items,
                                         .more_count = config->module_env.count,
                                         .fds = &out,
                                         .fd_count = 1,
                                         .first = STDOUT_FILENO},
                         err);
}
