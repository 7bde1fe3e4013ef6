#include "hsm/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "hsm/listen.h"
#include "hsm/server_private.h"

/* The first slots of the poll set; connections follow. */
enum { POLL_SIGNALS, POLL_WAKE, POLL_CHANNEL, POLL_LISTENER, POLL_CONNECTIONS };

struct connection *server_connection(struct server *s, uint64_t id)
{
    for (size_t i = 0; i < s->connection_count; i++) {
        if (s->connections[i]->id == id) {
            return s->connections[i];
        }
    }
    return NULL;
}

static void add_connection(struct server *s, int fd)
{
    struct err err = {0};
    if (s->connection_count == LIMIT_KEYHOLDER_CONNECTIONS) {
        log_warn("refused a connection: there are %d already", LIMIT_KEYHOLDER_CONNECTIONS);
        close(fd);
        return;
    }
    struct connection *c = connection_new(fd, ++s->last_connection, &err);
    if (c == NULL) {
        log_warn("refused a connection: %s", err.message);
        return;
    }
    s->connections[s->connection_count++] = c;
}

static size_t fill(struct server *s, struct pollfd *set)
{
    size_t n = POLL_CONNECTIONS;
    bool room = s->connection_count < LIMIT_KEYHOLDER_CONNECTIONS;
    set[POLL_SIGNALS] = (struct pollfd){s->options->signals, POLLIN, 0};
    set[POLL_WAKE] = (struct pollfd){s->wake_fd, POLLIN, 0};
    set[POLL_CHANNEL] = (struct pollfd){s->options->channel, POLLIN, 0};
    set[POLL_LISTENER] = (struct pollfd){room ? s->listener : -1, POLLIN, 0};
    for (size_t i = 0; i < s->connection_count; i++) {
        struct connection *c = s->connections[i];
        short events = (short)((connection_wants_read(c) ? POLLIN : 0) | (c->out.len > 0 ? POLLOUT : 0));
        set[n++] = (struct pollfd){c->fd, events, 0};
    }
    return n;
}

/* A token that waits for another PIN looks at its file again; one that was refused is not tried twice (pin.h). */
static void on_hangup(struct server *s)
{
    if (s->options->reread != NULL) {
        s->options->reread();
    }
    for (size_t i = 0; i < s->unit_count; i++) {
        pool_retry_pin(s->units[i].pool);
    }
}

/* False when it is time to end. */
static bool on_signals(struct server *s)
{
    struct signalfd_siginfo info;
    bool go_on = true;
    while (read(s->options->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            on_hangup(s);
        } else if (s->options->channel <
                   0) { /* else a terminal or a service manager signals the whole group: the
                                                 supervisor ends us, last */
            log_info("signal %u: ending", info.ssi_signo);
            go_on = false;
        }
    }
    return go_on;
}

static bool on_channel(struct server *s)
{
    bool closed;
    for (int fd; (fd = listen_receive(s->options->channel, &closed)) >= 0;) {
        add_connection(s, fd);
    }
    if (closed) {
        log_info("the supervisor is gone: ending");
    }
    return !closed;
}

static void on_connection(struct server *s, struct connection *c, short events)
{
    bool there = true;
    if ((events & POLLIN) != 0 && connection_wants_read(c)) {
        there = connection_read(c);
    } else if ((events & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        there = false; /* gone, and nothing is left to read */
    }
    if (!there) {
        c->state = CONNECTION_DEAD;
    }
}

/* Answers out; requests that back-pressure held back in; the dead away. */
static void settle(struct server *s)
{
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < s->connection_count; i++) {
            struct connection *c = s->connections[i];
            bool held_back = handlers_run(s, c);
            if (c->state != CONNECTION_DEAD && !connection_write(c)) {
                c->state = CONNECTION_DEAD;
            }
            again = again || (held_back && connection_may_handle(c)); /* the write has made room */
            if (c->state == CONNECTION_DEAD) {
                results_connection_gone(s, c);
                s->connections[i--] = s->connections[--s->connection_count];
                connection_free(c);
                again = true; /* its end may have ended others */
            }
        }
    }
}

static void loop(struct server *s)
{
    struct pollfd set[POLL_CONNECTIONS + LIMIT_KEYHOLDER_CONNECTIONS];
    int64_t tick = clock_boot_s();
    bool go_on = true;
    while (go_on) {
        size_t n = fill(s, set), polled = s->connection_count;
        int timeout = s->clients.keys > 0 || s->connection_count > 0 ? 1000 : -1;
        if (poll(set, n, timeout) < 0 && errno != EINTR) {
            log_error("poll: %s", strerror(errno));
            break;
        }
        if (set[POLL_WAKE].revents != 0) {
            uint64_t count;
            if (read(s->wake_fd, &count, sizeof count) > 0) {
                results_collect(s);
            }
        }
        for (size_t i = 0; i < polled; i++) {
            if (set[POLL_CONNECTIONS + i].revents != 0) {
                on_connection(s, s->connections[i], set[POLL_CONNECTIONS + i].revents);
            }
        }
        go_on = set[POLL_SIGNALS].revents == 0 || on_signals(s);
        go_on = (set[POLL_CHANNEL].revents == 0 || on_channel(s)) && go_on;
        for (int fd; set[POLL_LISTENER].revents != 0 && (fd = listen_accept(s->options, s->listener)) >= 0;) {
            add_connection(s, fd);
        }
        if (clock_boot_s() != tick) {
            tick = clock_boot_s();
            results_tick(s);
        }
        settle(s);
    }
}

static bool start_pools(struct server *s, unsigned threads, struct err *err)
{
    for (size_t i = 0; i < s->unit_count; i++) {
        struct unit *u = &s->units[i];
        u->login = 1;
        u->pool = pool_start(&u->token, &u->keys, threads, s->wake_fd, &s->group, &u->down, err);
        if (u->pool == NULL) {
            return false;
        }
    }
    return true;
}

static void stop_pools(struct server *s)
{
    for (size_t i = 0; i < s->unit_count; i++) {
        if (s->units[i].pool != NULL) {
            pool_stop(s->units[i].pool);
            s->units[i].pool = NULL;
        }
    }
}

bool server_run(const struct server_options *options, struct unit *units, size_t unit_count, unsigned threads,
                void (*ready)(const struct server_options *), struct err *err)
{
    struct server s = {
        .options = options, .units = units, .unit_count = unit_count, .listener = options->listener};
    bool ok = false;
    client_table_init(&s.clients, options->max_keys);
    s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s.wake_fd < 0) {
        listen_close(options, s.listener);
        return err_errno(err, ERR_IO, errno, "cannot make an eventfd");
    }
    if (!listen_begin(s.listener, err) || !start_pools(&s, threads, err)) {
        goto out;
    }
    ready(options);
    loop(&s);
    ok = true;
out:
    listen_close(options, s.listener);
    stop_pools(&s);
    for (size_t i = 0; i < s.connection_count; i++) {
        connection_free(s.connections[i]);
    }
    client_table_free(&s.clients);
    close(s.wake_fd);
    return ok;
}
