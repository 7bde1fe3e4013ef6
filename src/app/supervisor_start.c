#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/api_key.h"
#include "app/keyholder_start.h"
#include "app/spawn.h"
#include "app/supervisor_internal.h"
#include "app/worker_count.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "keyholder/link.h"

bool supervisor_start_keyholder(struct supervisor *s, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, KEYHOLDER_START_SOCKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot make a socket pair");
    }
    bool ok = keyholder_spawn(s->config, pair[1], &s->keyholder.pid, err);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return false;
    }
    s->keyholder.fd = pair[0];
    s->keyholder.ready = false;
    s->keyholder.started_ns = clock_boot_ns();
    s->keyholder.restart_ns = 0;
    s->announced = false;
    return true;
}

/* SoftHSM's configuration is named by the environment, of which the proxy gets nothing that is the module's. */
static void hide_tokens(struct spawn_args *args, char tokens[static PATH_MAX])
{
    char conf[PATH_MAX];
    sandbox_softhsm_conf(conf, sizeof conf);
    sandbox_softhsm_tokens(tokens, PATH_MAX, conf);
    spawn_option(args, "--hide", tokens);
}

bool supervisor_start_proxy(struct supervisor *s, struct err *err)
{
    int channel[2], start[2];
    char path[PATH_MAX], tokens[PATH_MAX], fd_text[16];
    struct spawn_args args = {.count = 0};
    if (!spawn_sibling(path, sizeof path, "e2ee-hsm-proxy", err)) {
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot make a socket pair");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, start) != 0) {
        close(channel[0]);
        close(channel[1]);
        return err_errno(err, ERR_IO, errno, "cannot make a socket pair");
    }
    snprintf(fd_text, sizeof fd_text, "%d", SUPERVISOR_CHANNEL_FD);
    spawn_arg(&args, path);
    spawn_arg(&args, "serve");
    spawn_option(&args, "--supervised-fd", fd_text);
    hide_tokens(&args, tokens);
    for (int i = 1; i < s->argc; i++) {
        spawn_arg(&args, s->argv[i]);
    }
    int fds[2] = {channel[1], start[1]};
    bool ok = spawn_process(&s->proxy.pid, path, &args, spawn_proxy_variables, NULL, fds, 2,
                            SUPERVISOR_CHANNEL_FD, err);
    close(channel[1]);
    close(start[1]);
    if (!ok || !api_key_send(&s->api_key, start[0], err)) {
        close(channel[0]);
        close(start[0]);
        return false;
    }
    fcntl(channel[0], F_SETFL, O_NONBLOCK);
    s->proxy_channel = channel[0];
    s->proxy.fd = start[0];
    s->proxy.ready = false;
    s->proxy.started_ns = clock_boot_ns();
    s->proxy.restart_ns = 0;
    s->announced = false;
    return true;
}

void supervisor_introduce(struct supervisor *s)
{
    struct keyholder_channel_message up = {.type = KEYHOLDER_CHANNEL_UP,
                                           .fd_count = 1 + worker_count(s->config)};
    struct err err = {0};
    bool ok = true;
    unsigned made = 0;
    if (!s->keyholder.ready || s->proxy.pid == 0 || s->announced || s->stopping) {
        return;
    }
    for (; ok && made < up.fd_count; made += ok) {
        int pair[2];
        ok = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0;
        if (!ok) {
            err_errno(&err, ERR_IO, errno, "cannot make a socket pair");
            break;
        }
        up.fds[made] = pair[0];
        ok = keyholder_send_connection(s->keyholder.fd, pair[1], &err);
        close(pair[1]);
        if (!ok) {
            close(pair[0]);
        }
    }
    up.generation = ++s->generation;
    s->announced = ok && keyholder_channel_send(s->proxy_channel, &up, &err);
    if (!s->announced) {
        log_error("cannot connect proxy and keyholder: %s", err.message);
    }
    for (unsigned i = 0; i < made; i++) {
        close(up.fds[i]);
    }
}
