#include "app/keyholder_start.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/spawn.h"
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

bool keyholder_spawn(const struct config *config, int channel, pid_t *pid, struct err *err)
{
    char path[PATH_MAX], number[24];
    struct spawn_args args = {.count = 0};
    if (!spawn_sibling(path, sizeof path, "e2ee-keyholder", err)) {
        return false;
    }
    spawn_arg(&args, path);
    spawn_option(&args, "--connections-fd", "3");
    add_options(&args, config, number);
    return spawn_process(pid, path, &args, spawn_keyholder_variables, &config->module_env, &channel, 1, 3,
                         err);
}

bool keyholder_spawn_check(const struct config *config, int out, pid_t *pid, struct err *err)
{
    char path[PATH_MAX], number[24];
    struct spawn_args args = {.count = 0};
    if (!spawn_sibling(path, sizeof path, "e2ee-keyholder", err)) {
        return false;
    }
    spawn_arg(&args, path);
    spawn_arg(&args, "--check");
    spawn_arg(&args, "--json");
    add_options(&args, config, number);
    return spawn_process(pid, path, &args, spawn_keyholder_variables, &config->module_env, &out, 1,
                         STDOUT_FILENO, err);
}

bool keyholder_send_connection(int channel, int connection, struct err *err)
{
    char byte = KEYIPC_START_CONNECTION;
    struct iovec data = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof connection);
    memcpy(CMSG_DATA(header), &connection, sizeof connection);
    ssize_t n;
    do {
        n = sendmsg(channel, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == 1 || err_errno(err, ERR_IO, errno, "cannot hand a connection to the keyholder");
}
