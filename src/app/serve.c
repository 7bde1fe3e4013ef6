#include "app/serve.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/keyholder_start.h"
#include "app/worker_count.h"
#include "base/sandbox.h"
#include "base/spawn.h"
#include "supervisor/supervisor.h"

/* Numbers as text, for arguments that are not copied. */
struct texts {
    char workers[16], announce[24], keyholder_count[16], keyholder_fd[16], proxy_count[16], proxy_fd[16];
};

static bool find_supervisor(char path[static PATH_MAX], struct err *err)
{
    struct err beside;
    return spawn_sibling(path, PATH_MAX, "e2ee-supervisor", &beside) ||
           spawn_sibling(path, PATH_MAX, "../libexec/e2ee-hsm-proxy/e2ee-supervisor", err);
}

static void add_all(struct spawn_args *to, const struct spawn_args *from)
{
    for (size_t i = 0; i < from->count; i++) {
        spawn_arg(to, from->items[i]);
    }
    to->full = to->full || from->full;
}

static void add_own_options(struct spawn_args *args, const struct config *config, struct texts *t)
{
    spawn_option(args, "--log-level", config->log_level);
    spawn_option(args, "--log-format", config->log_format);
    snprintf(t->workers, sizeof t->workers, "%u", worker_count(config));
    spawn_option(args, "--workers", t->workers);
    spawn_option(args, "--reread", config->log_level_given ? NULL : config->config_file);
    if (config->announce_fd != 0) {
        snprintf(t->announce, sizeof t->announce, "%llu", (unsigned long long)config->announce_fd);
        spawn_option(args, "--announce-fd", t->announce);
    }
    if (config->api_key_file == NULL) {
        spawn_arg(args, "--api-key");
    }
    for (size_t i = 0; i < config->module_env.count; i++) {
        spawn_option(args, "--module-env", config->module_env.items[i]);
    }
}

/* SoftHSM's configuration is named by the environment, of which the proxy gets nothing that is the module's. */
static void hide_tokens(struct spawn_args *args, char tokens[static PATH_MAX])
{
    char conf[PATH_MAX];
    sandbox_softhsm_conf(conf, sizeof conf);
    sandbox_softhsm_tokens(tokens, PATH_MAX, conf);
    spawn_option(args, "--hide", tokens);
}

bool serve_supervised(const struct config *config, int argc, char **argv, struct err *err)
{
    static struct keyholder_command keyholder; /* with path and arguments, too much for a stack */
    static struct spawn_args proxy, args;
    char supervisor[PATH_MAX], path[PATH_MAX], tokens[PATH_MAX];
    struct texts t;
    if (!find_supervisor(supervisor, err) || !keyholder_arguments(config, &keyholder, err) ||
        !spawn_sibling(path, sizeof path, "e2ee-hsm-proxy", err)) {
        return false;
    }
    snprintf(t.keyholder_fd, sizeof t.keyholder_fd, "%d", SUPERVISOR_KEYHOLDER_FD);
    spawn_option(&keyholder.args, "--connections-fd", t.keyholder_fd);
    snprintf(t.proxy_fd, sizeof t.proxy_fd, "%d", SUPERVISOR_CHANNEL_FD);
    spawn_arg(&proxy, path);
    spawn_arg(&proxy, "serve");
    spawn_option(&proxy, "--supervised-fd", t.proxy_fd);
    hide_tokens(&proxy, tokens);
    for (int i = 1; i < argc; i++) {
        spawn_arg(&proxy, argv[i]);
    }
    spawn_arg(&args, supervisor);
    add_own_options(&args, config, &t);
    snprintf(t.keyholder_count, sizeof t.keyholder_count, "%zu", keyholder.args.count);
    spawn_option(&args, "--keyholder", t.keyholder_count);
    add_all(&args, &keyholder.args);
    snprintf(t.proxy_count, sizeof t.proxy_count, "%zu", proxy.count);
    spawn_option(&args, "--proxy", t.proxy_count);
    add_all(&args, &proxy);
    if (!spawn_args_fit(&args, err)) {
        return false;
    }
    execv(supervisor, args.items);
    return err_errno(err, ERR_IO, errno, "cannot start %s", supervisor);
}
