#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keyholder/link.h"
#include "keyipc/start.h"
#include "supervisor/supervisor_internal.h"

#define STOP_S 13 /* 10 s for open streams, and a little for the rest */
#define KEYHOLDER_STOP_S                                                                                     \
    20 /* to destroy its keys: a full card takes 5 s, a YubiHSM 14 s; what is left then stays until the next start */
#define QUICK_DEATH_S 10   /* a child that lived for less is started again with a pause */
#define PAUSE_MAX_MS 30000 /* a YubiHSM frees a crashed process's session after 30 s: docs/tokens */

static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    if (write(signal_pipe[1], &byte, 1) < 0) {
        /* full: a signal is waiting already */
    }
    errno = saved;
}

static bool set_signals(struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot make a pipe");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], &action, NULL) != 0) {
            return err_errno(err, ERR_IO, errno, "cannot handle signals");
        }
    }
    return true;
}

static void tell_proxy_down(struct supervisor *s, enum err_kind reason)
{
    struct keyholder_channel_message down = {
        .type = KEYHOLDER_CHANNEL_DOWN, .reason = (uint8_t)reason, .generation = s->generation};
    struct err err;
    if (s->proxy_channel >= 0 && !keyholder_channel_send(s->proxy_channel, &down, &err)) {
        log_debug("cannot tell the proxy: %s", err.message);
    }
}

/* A child is gone: when may it be started again? */
static void plan_restart(struct child *child)
{
    int64_t now = clock_boot_ns();
    if (now - child->started_ns >= QUICK_DEATH_S * CLOCK_NS_PER_S) {
        child->pause_ms = 0;
    }
    child->restart_ns = now + child->pause_ms * CLOCK_NS_PER_MS;
    child->pause_ms = child->pause_ms == 0 ? 250 : child->pause_ms * 2;
    if (child->pause_ms > PAUSE_MAX_MS) {
        child->pause_ms = PAUSE_MAX_MS;
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void describe_end(char *out, size_t cap, int status)
{
    if (WIFSIGNALED(status)) {
        snprintf(out, cap, "was killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(out, cap, "ended with code %d", WEXITSTATUS(status));
    }
}

static void keyholder_ended(struct supervisor *s, int status)
{
    char how[64];
    bool was_ready = s->keyholder.ready;
    describe_end(how, sizeof how, status);
    s->keyholder.pid = 0;
    s->keyholder.ready = false;
    close_fd(&s->keyholder.fd);
    if (s->stopping) {
        return;
    }
    bool pin = WIFEXITED(status) && WEXITSTATUS(status) == KEYIPC_EXIT_PIN;
    if (s->proxy.pid == 0 && !was_ready && s->generation == 0) {
        s->stopping = true; /* the first start failed, and said why */
        s->exit_code = 1;
        return;
    }
    log_error("the keyholder %s; its keys are gone%s", how, pin ? "; it stays down until SIGHUP" : "");
    tell_proxy_down(s, pin ? ERR_PIN : ERR_TOKEN);
    s->keyholder_stays_down = pin;
    if (!pin) {
        plan_restart(&s->keyholder);
    }
}

static void proxy_ended(struct supervisor *s, int status)
{
    char how[64];
    bool was_ready = s->proxy.ready;
    describe_end(how, sizeof how, status);
    s->proxy.pid = 0;
    s->proxy.ready = false;
    close_fd(&s->proxy.fd);
    close_fd(&s->proxy_channel);
    if (s->stopping) {
        s->exit_code = WIFEXITED(status) && s->exit_code == 0 ? WEXITSTATUS(status) : s->exit_code;
        return;
    }
    bool told = was_ready && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!s->proxy.served || told) {
        s->stopping = true; /* it could not start, and said why; or it was told to end */
        s->exit_code = was_ready ? 0 : 1;
        return;
    }
    log_error("the proxy %s; starting it again", how);
    plan_restart(&s->proxy);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->keyholder.pid) {
            keyholder_ended(s, status);
        } else if (pid == s->proxy.pid) {
            proxy_ended(s, status);
        }
    }
}

static void begin_stop(struct supervisor *s)
{
    if (s->kill_ns != 0) {
        return;
    }
    s->stopping = true;
    s->kill_ns = clock_boot_ns() + STOP_S * CLOCK_NS_PER_S;
    if (s->proxy.pid > 0) {
        kill(s->proxy.pid, SIGTERM);
    }
}

static void on_signals(struct supervisor *s)
{
    unsigned char numbers[64];
    ssize_t n = read(signal_pipe[0], numbers, sizeof numbers);
    for (ssize_t i = 0; i < n; i++) {
        if (numbers[i] == SIGTERM || numbers[i] == SIGINT) {
            begin_stop(s);
        } else if (numbers[i] == SIGHUP) {
            if (s->options->reread != NULL) {
                log_level_reread(s->options->reread);
            }
            if (s->proxy.pid > 0) {
                kill(s->proxy.pid, SIGHUP);
            }
            if (s->keyholder.pid > 0) {
                kill(s->keyholder.pid, SIGHUP);
            }
            if (s->keyholder_stays_down) {
                s->keyholder_stays_down = false;
                s->keyholder.restart_ns = clock_boot_ns();
            }
        }
    }
    reap(s);
}

/* "R", or "E" and why. The message is the child's own log's business too: here it ends the start. */
static void on_start_report(struct child *child, const char *name, int announce_fd)
{
    char report[512];
    ssize_t n = recv(child->fd, report, sizeof report - 1, MSG_DONTWAIT);
    if (n > 0 && report[0] == KEYIPC_START_READY) {
        child->ready = child->served = true;
        child->pause_ms = 0;
        report[n] = '\n';
        if (announce_fd != 0 && write(announce_fd, report + 1, (size_t)n) < 0) {
            log_debug("nobody reads the announcement");
        }
    } else if (n > 1) {
        report[n] = '\0';
        log_error("the %s cannot start: %s", name, report + 1);
    } else if (n == 0) {
        close_fd(&child->fd);
    }
}

static void on_proxy_channel(struct supervisor *s)
{
    struct keyholder_channel_message m;
    struct err err;
    bool got = false;
    if (!keyholder_channel_receive(s->proxy_channel, &m, &got, &err)) {
        close_fd(&s->proxy_channel);
        return;
    }
    if (got && m.type == KEYHOLDER_CHANNEL_HUNG && m.generation == s->generation && s->keyholder.pid > 0) {
        log_error("the keyholder does not answer: killed");
        kill(s->keyholder.pid, SIGKILL);
    }
}

static int poll_timeout_ms(const struct supervisor *s)
{
    int64_t next = 0;
    const int64_t candidates[] = {s->keyholder.restart_ns, s->proxy.restart_ns, s->kill_ns};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        if (candidates[i] != 0 && (next == 0 || candidates[i] < next)) {
            next = candidates[i];
        }
    }
    if (next == 0) {
        return -1;
    }
    int64_t wait = (next - clock_boot_ns()) / CLOCK_NS_PER_MS + 1;
    return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

static void wait_and_dispatch(struct supervisor *s)
{
    struct pollfd fds[4] = {{.fd = signal_pipe[0], .events = POLLIN},
                            {.fd = s->keyholder.fd, .events = POLLIN},
                            {.fd = s->proxy.fd, .events = POLLIN},
                            {.fd = s->proxy_channel, .events = POLLIN}};
    if (poll(fds, 4, poll_timeout_ms(s)) < 0) {
        return; /* a signal: its byte is in the pipe */
    }
    if (fds[1].revents != 0) {
        on_start_report(&s->keyholder, "keyholder", 0);
    }
    if (fds[2].revents != 0) {
        on_start_report(&s->proxy, "proxy", s->options->announce_fd);
    }
    if (fds[3].revents != 0) {
        on_proxy_channel(s);
    }
    if (fds[0].revents != 0) {
        on_signals(s);
    }
}

/* Starts what is due. The proxy is started once the first keyholder is ready, so that a wrong PIN or a missing token
 * is seen at once. */
static void start_due(struct supervisor *s)
{
    struct err err = {0};
    int64_t now = clock_boot_ns();
    if (s->stopping) {
        return;
    }
    if (s->keyholder.restart_ns != 0 && now >= s->keyholder.restart_ns &&
        !supervisor_start_keyholder(s, &err)) {
        log_error("%s", err.message);
        plan_restart(&s->keyholder);
    }
    bool first = s->proxy.pid == 0 && s->proxy.restart_ns == 0 && s->keyholder.ready;
    bool again = s->proxy.pid == 0 && s->proxy.restart_ns != 0 && now >= s->proxy.restart_ns;
    if ((first || again) && !supervisor_start_proxy(s, &err)) {
        log_error("%s", err.message);
        s->stopping = !s->proxy.served;
        s->exit_code = s->stopping ? 1 : 0;
        plan_restart(&s->proxy);
    }
    supervisor_introduce(s);
}

/* Both ends: the proxy first, which may still need the keyholder; then the keyholder, whose channel closes. */
static bool ended(struct supervisor *s)
{
    int64_t now = clock_boot_ns();
    if (!s->stopping) {
        return false;
    }
    begin_stop(s);
    if (s->proxy.pid > 0) {
        if (now >= s->kill_ns) {
            kill(s->proxy.pid, SIGKILL);
        }
        return false;
    }
    if (s->keyholder.fd >= 0) {
        close_fd(&s->keyholder.fd);
        s->kill_ns = now + KEYHOLDER_STOP_S * CLOCK_NS_PER_S;
    }
    if (s->keyholder.pid > 0 && now >= s->kill_ns) {
        kill(s->keyholder.pid, SIGKILL);
    }
    return s->keyholder.pid == 0;
}

int supervisor_run(const struct supervisor_options *options)
{
    struct err err = {0};
    struct supervisor s = {.options = options, .proxy_channel = -1};
    s.keyholder.fd = s.proxy.fd = -1;
    if ((options->api_key && !kept_key_take(&s.api_key, &err)) || !set_signals(&err) ||
        !supervisor_start_keyholder(&s, &err)) {
        log_error("%s", err.message);
        kept_key_drop(&s.api_key);
        return 1;
    }
    while (!ended(&s)) {
        wait_and_dispatch(&s);
        start_due(&s);
    }
    close_fd(&s.proxy_channel);
    close_fd(&s.proxy.fd);
    kept_key_drop(&s.api_key);
    return s.exit_code;
}
