#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/address.h"

#define LISTEN_SOCKETS (2 * LIMIT_LISTEN_ADDRESSES)
#define REFUSED_RING 16     /* refused connections that stay open for a moment, so that the answer arrives */
#define ACCEPTS_IN_TURN 64  /* connections taken from one socket before the others get their turn */
#define EMFILE_PAUSE_MS 100 /* when even the reserve is gone */
#define REFUSED_IDLE_MS 1000

#define REFUSED_BODY                                                                                         \
    "{\"error\":{\"message\":\"too many connections: try again\",\"type\":\"server_error\",\"param\":null,"  \
    "\"code\":\"overloaded\"}}"

struct listener {
    int fds[LISTEN_SOCKETS];
    struct sockaddr_storage names[LISTEN_SOCKETS];
    size_t count;
    int stop_pipe[2];
    int reserve; /* a descriptor to give up when there are no more, so that a client can be told */
    int refused[REFUSED_RING];
    size_t refused_next;
    struct http_worker **workers;
    size_t worker_count;
    size_t max_connections;
    const struct http_handler *handler;
    void *arg;
    pthread_t thread;
    bool running;
};

/* SO_REUSEADDR only spares a restart the wait for old connections; a live listener still makes bind fail. */
static int open_socket(const struct address *a, const char *name, struct err *err)
{
    int on = 1;
    int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_errno(err, ERR_IO, errno, "cannot listen on %s", name);
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (a->addr.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, (const struct sockaddr *)&a->addr, a->len) != 0 || listen(fd, LIMIT_HTTP_BACKLOG) != 0) {
        int e = errno;
        if (e == EADDRINUSE) {
            err_set(err, ERR_CONFIG, "cannot listen on %s: address in use (is another instance running?)",
                    name);
        } else {
            err_errno(err, ERR_IO, e, "cannot listen on %s", name);
        }
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static bool add_socket(struct listener *l, const struct address *a, bool allow_remote, struct err *err)
{
    char name[64];
    address_name(&a->addr, name);
    if (!a->loopback && !allow_remote) {
        return err_set(err, ERR_CONFIG,
                       "%s is not a loopback address: it needs --unsafe-listen and --client-token-file",
                       name);
    }
    if (l->count == LISTEN_SOCKETS) {
        return err_set(err, ERR_CONFIG, "more than %d addresses to listen on", LIMIT_LISTEN_ADDRESSES);
    }
    int fd = open_socket(a, name, err);
    if (fd < 0) {
        bool absent = errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT;
        if (a->optional && absent) {
            err_clear(err);
            return true;
        }
        return false;
    }
    l->fds[l->count] = fd;
    socklen_t len = sizeof l->names[0];
    if (getsockname(fd, (struct sockaddr *)&l->names[l->count++], &len) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot listen on %s", name);
    }
    return true;
}

static bool open_all(struct listener *l, const char *const *addresses, size_t count, bool allow_remote,
                     struct err *err)
{
    char standard[32];
    const char *const fallback[] = {standard};
    snprintf(standard, sizeof standard, "localhost:%d", LISTENER_DEFAULT_PORT);
    if (count == 0) {
        addresses = fallback;
        count = 1;
    }
    for (size_t i = 0; i < count; i++) {
        struct address parsed[2];
        size_t n = address_parse(addresses[i], parsed, err);
        if (n == 0) {
            return false;
        }
        for (size_t k = 0; k < n; k++) {
            if (!add_socket(l, &parsed[k], allow_remote, err)) {
                return false;
            }
        }
    }
    return true;
}

struct listener *listener_open(const char *const *addresses, size_t count, bool allow_remote, struct err *err)
{
    struct listener *l = mem_calloc(1, sizeof *l);
    if (l == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the listener");
        return NULL;
    }
    l->reserve = l->stop_pipe[0] = l->stop_pipe[1] = -1;
    for (size_t i = 0; i < REFUSED_RING; i++) {
        l->refused[i] = -1;
    }
    if (!open_all(l, addresses, count, allow_remote, err)) {
        listener_free(l);
        return NULL;
    }
    return l;
}

size_t listener_count(const struct listener *l)
{
    return l->count;
}

int listener_port(const struct listener *l, size_t index)
{
    return address_port(&l->names[index]);
}

void listener_name(const struct listener *l, size_t index, char out[static 64])
{
    address_name(&l->names[index], out);
}

/* Answers without reading, and keeps the connection for a moment: closing at once could reset it before the client
 * has read. */
static void refuse(struct listener *l, int fd)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 110\r\nConnection: close\r\nRetry-After: 1\r\n\r\n" REFUSED_BODY;
    _Static_assert(sizeof REFUSED_BODY - 1 == 110, "Content-Length of the refusal");
    char discard[4096];
    /* A fresh socket's buffer takes the whole answer, or the peer is gone already. */
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        shutdown(fd, SHUT_WR);
    }
    int old = l->refused[l->refused_next];
    l->refused[l->refused_next] = fd;
    l->refused_next = (l->refused_next + 1) % REFUSED_RING;
    if (old >= 0) {
        while (recv(old, discard, sizeof discard, MSG_DONTWAIT) > 0) {
        }
        close(old);
    }
    if (l->handler != NULL && l->handler->on_refused != NULL) {
        l->handler->on_refused(503, "overloaded", l->arg);
    }
}

static void drop_refused(struct listener *l)
{
    for (size_t i = 0; i < REFUSED_RING; i++) {
        if (l->refused[i] >= 0) {
            close(l->refused[i]);
            l->refused[i] = -1;
        }
    }
}

static void hand_over(struct listener *l, int fd)
{
    size_t total = 0;
    struct http_worker *best = NULL;
    size_t best_busy = 0, best_open = 0;
    for (size_t i = 0; i < l->worker_count; i++) {
        size_t busy = http_worker_busy(l->workers[i]), open = http_worker_connections(l->workers[i]);
        total += open;
        if (best == NULL || busy < best_busy || (busy == best_busy && open < best_open)) {
            best = l->workers[i];
            best_busy = busy;
            best_open = open;
        }
    }
    if (total >= l->max_connections || !http_worker_adopt(best, fd)) {
        refuse(l, fd);
    }
}

/* No descriptor is left: gives the reserve up to tell one client, then takes it back. */
static void out_of_descriptors(struct listener *l, int listening)
{
    log_warn("no file descriptors left for connections: raise RLIMIT_NOFILE or lower --max-connections");
    drop_refused(l);
    if (l->reserve >= 0) {
        close(l->reserve);
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            refuse(l, fd);
            drop_refused(l);
        }
    }
    l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct pollfd stop = {.fd = l->stop_pipe[0], .events = POLLIN};
    poll(&stop, 1, EMFILE_PAUSE_MS);
}

static void accept_some(struct listener *l, int listening)
{
    for (int i = 0; i < ACCEPTS_IN_TURN; i++) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(l, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            out_of_descriptors(l, listening);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
        /* Anything else concerns one connection that is gone already. */
    }
}

static void *run(void *arg)
{
    struct listener *l = arg;
    struct pollfd polled[LISTEN_SOCKETS + 1];
    for (size_t i = 0; i < l->count; i++) {
        polled[i] = (struct pollfd){.fd = l->fds[i], .events = POLLIN};
    }
    polled[l->count] = (struct pollfd){.fd = l->stop_pipe[0], .events = POLLIN};
    for (;;) {
        int n = poll(polled, l->count + 1, REFUSED_IDLE_MS);
        if (n == 0) {
            drop_refused(l);
        }
        if (n > 0 && polled[l->count].revents != 0) {
            return NULL;
        }
        for (size_t i = 0; n > 0 && i < l->count; i++) {
            if (polled[i].revents != 0) {
                accept_some(l, l->fds[i]);
            }
        }
    }
}

bool listener_start(struct listener *l, struct http_worker *const *workers, size_t worker_count,
                    size_t max_connections, const struct http_handler *handler, void *arg, struct err *err)
{
    l->workers = mem_calloc(worker_count, sizeof(struct http_worker *));
    if (l->workers == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the listener");
    }
    for (size_t i = 0; i < worker_count; i++) {
        l->workers[i] = workers[i];
    }
    l->worker_count = worker_count;
    l->max_connections = max_connections;
    l->handler = handler;
    l->arg = arg;
    l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (pipe2(l->stop_pipe, O_CLOEXEC) != 0) {
        l->stop_pipe[0] = l->stop_pipe[1] = -1;
        return err_errno(err, ERR_IO, errno, "cannot make the listener's pipe");
    }
    int e = pthread_create(&l->thread, NULL, run, l);
    if (e != 0) {
        return err_errno(err, ERR_IO, e, "cannot start the acceptor's thread");
    }
    l->running = true;
    return true;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void listener_stop(struct listener *l)
{
    /* Closing the write end makes the read end readable for good. */
    close_fd(&l->stop_pipe[1]);
    if (l->running) {
        pthread_join(l->thread, NULL);
        l->running = false;
    }
    close_fd(&l->stop_pipe[0]);
    close_fd(&l->reserve);
    drop_refused(l);
    for (size_t i = 0; i < l->count; i++) {
        close_fd(&l->fds[i]);
    }
}

void listener_free(struct listener *l)
{
    if (l != NULL) {
        listener_stop(l);
        mem_free(l->workers);
        mem_free(l);
    }
}
