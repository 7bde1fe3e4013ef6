#include "upstream/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/loop_internal.h"

#define SOCKS_EACH 4 /* descriptors of one transfer: IPv4 and IPv6 at once, and the name resolver's pair */
#define TICK_MS 250  /* how late a time-out may be noticed */

/* One descriptor that libcurl wants watched, for one transfer: none shares its connection. */
struct upstream_sock {
    struct upstream_loop *loop;
    struct transfer *transfer; /* NULL: gone; libcurl 8.14 has a connection watched that it closes */
    struct upstream_sock *prev, *next;
    struct event event;
};

/* ---- lists ---- */

void upstream_loop_queue(struct transfer *t, enum transfer_work work)
{
    struct upstream_loop *loop = t->loop;
    upstream_loop_unqueue(t);
    t->work = work;
    t->work_prev = loop->work_tail[work];
    t->work_next = NULL;
    *(t->work_prev != NULL ? &t->work_prev->work_next : &loop->work_head[work]) = t;
    loop->work_tail[work] = t;
    event_active(&loop->deferred, 0, 0);
}

void upstream_loop_unqueue(struct transfer *t)
{
    struct upstream_loop *loop = t->loop;
    if (t->work != WORK_NONE) {
        *(t->work_prev != NULL ? &t->work_prev->work_next : &loop->work_head[t->work]) = t->work_next;
        *(t->work_next != NULL ? &t->work_next->work_prev : &loop->work_tail[t->work]) = t->work_prev;
        t->work = WORK_NONE;
    }
}

void upstream_loop_enter(struct transfer *t)
{
    struct upstream_loop *loop = t->loop;
    t->next = loop->all;
    if (t->next != NULL) {
        t->next->prev = t;
    }
    loop->all = t;
    loop->active++;
    if (!loop->ticking) {
        loop->ticking = true;
        event_add(&loop->tick, &(struct timeval){0, TICK_MS * 1000});
    }
}

void upstream_loop_leave(struct transfer *t)
{
    struct upstream_loop *loop = t->loop;
    *(t->prev != NULL ? &t->prev->next : &loop->all) = t->next;
    if (t->next != NULL) {
        t->next->prev = t->prev;
    }
    for (struct upstream_sock *s = loop->socks; s != NULL; s = s->next) {
        s->transfer = s->transfer != t ? s->transfer : NULL;
    }
    if (--loop->active == 0) {
        loop->ticking = false;
        event_del(&loop->tick);
    }
}

/* ---- what waits until libcurl has returned ---- */

static void take_results(struct upstream_loop *loop)
{
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(loop->multi, &left)) != NULL;) {
        struct transfer *t = NULL;
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK && t != NULL &&
            t->work != WORK_DEAD && t->work != WORK_DONE) {
            transfer_finish_code(t, code);
        }
    }
}

static void work(struct upstream_loop *loop)
{
    static void (*const act[WORK_COUNT])(struct transfer *) = {
        [WORK_START] = transfer_work_start,
        [WORK_RESUME] = transfer_work_resume,
        [WORK_DONE] = transfer_work_done,
        [WORK_DEAD] = transfer_free,
    };
    /* The dead first: their connections close, and nothing of theirs may run. */
    static const enum transfer_work order[] = {WORK_DEAD, WORK_START, WORK_RESUME, WORK_DONE};
    struct transfer *last[WORK_COUNT];
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        last[order[i]] = loop->work_tail[order[i]];
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        enum transfer_work w = order[i];
        /* What a callback adds meanwhile waits for the next turn, so that a loop of callbacks starves nobody. */
        for (struct transfer *t; last[w] != NULL && (t = loop->work_head[w]) != NULL;) {
            bool end = t == last[w];
            upstream_loop_unqueue(t);
            act[w](t);
            if (end) {
                break;
            }
        }
    }
}

void upstream_loop_act(struct upstream_loop *loop, curl_socket_t fd, int mask, const struct transfer *t)
{
    int running = 0;
    read_ahead_begin(&loop->ahead);
    loop->in_curl++;
    curl_multi_socket_action(loop->multi, fd, mask, &running);
    loop->in_curl--;
    read_ahead_end(&loop->ahead, t);
}

/* After libcurl has acted. */
static void settle(struct upstream_loop *loop)
{
    read_ahead_use_up_all(loop);
    take_results(loop);
    work(loop);
    /* Transfers that were resumed have let libcurl act again, which tells no end by itself, nor what it read of others. */
    take_results(loop);
    if (loop->ahead.others) {
        event_active(&loop->deferred, 0, 0);
    }
}

static void on_deferred(evutil_socket_t fd, short what, void *arg)
{
    settle(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct upstream_loop *loop = arg;
    int64_t now = clock_boot_ns();
    for (struct transfer *t = loop->all; t != NULL; t = t->next) {
        transfer_check(t, now);
    }
    /* Its deferred event delivers what ran out. */
}

/* ---- libcurl's wishes ---- */

static void on_sock(evutil_socket_t fd, short what, void *arg)
{
    struct upstream_sock *s = arg;
    struct upstream_loop *loop = s->loop;
    struct transfer *t = s->transfer;
    upstream_loop_act(loop, fd,
                      (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0), t);
    if (t != NULL) {
        read_ahead_use_up(t); /* it lives: what ends meanwhile is freed by settle */
    }
    settle(loop);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    upstream_loop_act(arg, CURL_SOCKET_TIMEOUT, 0, NULL);
    settle(arg);
}

static int timer_wish(CURLM *multi, long ms, void *arg)
{
    struct upstream_loop *loop = arg;
    if (ms < 0) {
        event_del(&loop->timer);
        return 0;
    }
    /* Also for 0: libcurl must not be entered from here. An error answer would end every transfer of the loop, for
     * good; without its timer a transfer ends by our own clock. */
    event_add(&loop->timer, &(struct timeval){ms / 1000, ms % 1000 * 1000});
    return 0;
}

static void sock_drop(struct upstream_sock *s)
{
    struct upstream_loop *loop = s->loop;
    event_del(&s->event);
    *(s->prev != NULL ? &s->prev->next : &loop->socks) = s->next;
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    s->next = loop->free_socks;
    loop->free_socks = s;
}

bool upstream_loop_reserve(struct upstream_loop *loop)
{
    while (loop->sock_count < SOCKS_EACH * (loop->active + 1)) {
        struct upstream_sock *s = mem_alloc(sizeof *s);
        if (s == NULL) {
            return false;
        }
        s->next = loop->free_socks;
        loop->free_socks = s;
        loop->sock_count++;
    }
    return true;
}

static struct upstream_sock *sock_take(struct upstream_loop *loop)
{
    struct upstream_sock *s = loop->free_socks;
    if (s == NULL) {
        return NULL;
    }
    loop->free_socks = s->next;
    s->loop = loop;
    s->prev = NULL;
    s->next = loop->socks;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    loop->socks = s;
    return s;
}

static int sock_wish(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct upstream_loop *loop = arg;
    struct upstream_sock *s = known;
    struct transfer *t = NULL;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            curl_multi_assign(loop->multi, fd, NULL);
            sock_drop(s);
        }
        return 0;
    }
    if (s != NULL) {
        event_del(&s->event);
    } else if ((s = sock_take(loop)) == NULL) {
        return 0; /* not within SOCKS_EACH: unwatched, it ends by its time-out; an error would end all transfers */
    }
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK && t != NULL) {
        t->fd = fd;
    }
    s->transfer = t;
    short wanted =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
    event_assign(&s->event, loop->base, fd, wanted, on_sock, s);
    curl_multi_assign(loop->multi, fd, s);
    event_add(&s->event, NULL);
    return 0;
}

/* ---- life ---- */

static bool multi_setup(struct upstream_loop *loop)
{
    CURLMcode rc = CURLM_OK;
#define SET(option, value) rc = rc != CURLM_OK ? rc : curl_multi_setopt(loop->multi, option, value)
    SET(CURLMOPT_SOCKETFUNCTION, sock_wish);
    SET(CURLMOPT_SOCKETDATA, loop);
    SET(CURLMOPT_TIMERFUNCTION, timer_wish);
    SET(CURLMOPT_TIMERDATA, loop);
    SET(CURLMOPT_MAXCONNECTS, (long)LIMIT_UPSTREAM_CONNECTIONS);
    /* One transfer on a connection also with HTTP/2: a paused one must not hold up another. */
    SET(CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
#undef SET
    return rc == CURLM_OK &&
           curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
}

struct upstream_loop *upstream_loop_new(struct event_base *base, struct upstream_config *config,
                                        struct err *err)
{
    struct upstream_loop *loop = mem_calloc(1, sizeof *loop);
    if (loop == NULL) {
        err_set(err, ERR_MEMORY, "no memory for an upstream loop");
        return NULL;
    }
    loop->base = base;
    loop->config = config;
    read_ahead_init(&loop->ahead, config->options.http2);
    event_assign(&loop->timer, base, -1, 0, on_timer, loop);
    event_assign(&loop->deferred, base, -1, 0, on_deferred, loop);
    event_assign(&loop->tick, base, -1, EV_PERSIST, on_tick, loop);
    loop->multi = curl_multi_init();
    loop->share = curl_share_init();
    if (loop->multi == NULL || loop->share == NULL || !multi_setup(loop)) {
        upstream_loop_free(loop);
        err_set(err, ERR_MEMORY, "libcurl's multi handle could not be set up");
        return NULL;
    }
    return loop;
}

void upstream_loop_free(struct upstream_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->all != NULL) {
        struct transfer *t = loop->all;
        upstream_loop_unqueue(t);
        transfer_free(t);
    }
    curl_multi_cleanup(loop->multi);
    curl_share_cleanup(loop->share);
    event_del(&loop->timer);
    event_del(&loop->deferred);
    event_del(&loop->tick);
    while (loop->socks != NULL) {
        sock_drop(loop->socks);
    }
    while (loop->free_socks != NULL) {
        struct upstream_sock *s = loop->free_socks;
        loop->free_socks = s->next;
        mem_free(s);
    }
    mem_free(loop);
}

size_t upstream_loop_active(const struct upstream_loop *loop)
{
    return loop->active;
}
