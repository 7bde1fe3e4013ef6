#include "keyholder/link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "keyholder/link_internal.h"

struct keyholder_link {
    struct sockaddr_un address; /* sun_family 0: a channel */
    pthread_mutex_t lock;       /* of all that follows */
    int channel;
    uint32_t generation; /* of the workers' connections */
    int workers[LIMIT_KEYHOLDER_WORKERS];
    unsigned worker_count;
};

static struct keyholder_link *link_new(int channel, struct err *err)
{
    struct keyholder_link *link = mem_calloc(1, sizeof *link);
    if (link == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the keyholder's link");
        return NULL;
    }
    link->channel = channel;
    pthread_mutex_init(&link->lock, NULL);
    return link;
}

struct keyholder_link *keyholder_link_socket(const char *path, struct err *err)
{
    struct keyholder_link *link = NULL;
    if (path[0] == '\0' || strlen(path) >= sizeof link->address.sun_path) {
        err_set(err, ERR_CONFIG, "the keyholder's socket path must have 1 to %zu bytes",
                sizeof link->address.sun_path - 1);
        return NULL;
    }
    link = link_new(-1, err);
    if (link != NULL) {
        link->address.sun_family = AF_UNIX;
        memcpy(link->address.sun_path, path, strlen(path) + 1);
    }
    return link;
}

static bool set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

struct keyholder_link *keyholder_link_channel(int channel, struct err *err)
{
    struct keyholder_link *link = NULL;
    if (!set_nonblocking(channel)) {
        err_errno(err, ERR_IO, errno, "the supervisor's channel");
    } else {
        link = link_new(channel, err);
    }
    if (link == NULL) {
        close(channel);
    }
    return link;
}

static void drop_workers(struct keyholder_link *link)
{
    for (unsigned i = 0; i < link->worker_count; i++) {
        if (link->workers[i] >= 0) {
            close(link->workers[i]);
        }
    }
    link->worker_count = 0;
}

static void drop_channel(struct keyholder_link *link)
{
    if (link->channel >= 0) {
        close(link->channel);
    }
    link->channel = -1;
}

void keyholder_link_free(struct keyholder_link *link)
{
    if (link != NULL) {
        drop_workers(link);
        drop_channel(link);
        pthread_mutex_destroy(&link->lock);
        mem_free(link);
    }
}

int keyholder_link_watch(const struct keyholder_link *link)
{
    return link->channel; /* only the asking thread changes it */
}

bool keyholder_link_is_channel(const struct keyholder_link *link)
{
    return link->address.sun_family == 0;
}

int keyholder_link_connect(struct keyholder_link *link, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err_errno(err, ERR_TOKEN, errno, "no socket for the keyholder");
        return -1;
    }
    /* At once, also without waiting: a full backlog gives EAGAIN. */
    if (connect(fd, (const struct sockaddr *)&link->address, sizeof link->address) != 0) {
        err_errno(err, ERR_TOKEN, errno, "no connection to the keyholder's socket");
        close(fd);
        return -1;
    }
    return fd;
}

bool keyholder_link_receive(struct keyholder_link *link, struct keyholder_channel_message *m, int *fd,
                            bool *got, struct err *err)
{
    *fd = -1;
    pthread_mutex_lock(&link->lock);
    bool ok = keyholder_channel_receive(link->channel, m, got, err);
    if (!ok) {
        drop_channel(link);
    }
    if (!ok || *got) {
        drop_workers(link);
    }
    if (ok && *got && m->type == KEYHOLDER_CHANNEL_UP) {
        *fd = m->fds[0];
        link->generation = m->generation;
        link->worker_count = m->fd_count - 1;
        memcpy(link->workers, m->fds + 1, link->worker_count * sizeof *link->workers);
    }
    pthread_mutex_unlock(&link->lock);
    return ok;
}

void keyholder_link_report_hung(struct keyholder_link *link, uint32_t generation)
{
    pthread_mutex_lock(&link->lock);
    if (link->channel >= 0) {
        struct keyholder_channel_message m = {.type = KEYHOLDER_CHANNEL_HUNG, .generation = generation};
        struct err err;
        if (!keyholder_channel_send(link->channel, &m, &err)) {
            log_warn("the supervisor was not told that the keyholder hangs: %s", err.message);
        }
    }
    pthread_mutex_unlock(&link->lock);
}

int keyholder_link_worker(struct keyholder_link *link, uint32_t generation, unsigned index, struct err *err)
{
    int fd = -1;
    if (!keyholder_link_is_channel(link)) {
        return keyholder_link_connect(link, err);
    }
    pthread_mutex_lock(&link->lock);
    if (link->generation == generation && index >= link->worker_count) {
        err_set(err, ERR_CONFIG, "the supervisor gave no connection for worker %u", index);
    } else if (link->generation != generation || link->workers[index] < 0) {
        err_set(err, ERR_TOKEN, "no connection to the keyholder is left for worker %u", index);
    } else {
        fd = link->workers[index];
        link->workers[index] = -1;
    }
    pthread_mutex_unlock(&link->lock);
    return fd;
}
