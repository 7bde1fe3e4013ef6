/* Load client of the benchmarks: many streamed answers over plain HTTP/1.1, one loop, one thread. Requests are files
 * with the whole request in them, so that nothing is built here.
 *
 *   bench-client load  PORT FILE[,FILE...] STREAMS          answers on STREAMS kept connections until stdin closes; those that
 *                                                           run then come to their end; or until a byte comes, and then
 *                                     ends at once, in the middle of answers
 *   bench-client pairs PORT FILE PORT FILE EVENT COUNT      COUNT times one request here, one there; time to data line EVENT
 *
 * Prints one JSON object. All times are CLOCK_MONOTONIC. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client_answer.h"

#define BUCKET_NS INT64_C(100000000) /* of the longest gaps */
#define BUCKETS 36000
#define REQUESTS_MAX 16

struct request {
    char *bytes;
    size_t len;
};

struct stream {
    struct load *load;
    struct event *event;
    int fd;
    const struct request *request;
    size_t sent;
    struct answer answer;
    int64_t last_ns; /* of its newest event in this answer, 0 before the first */
    long events;
    bool idle;
};

struct load {
    struct event_base *base;
    struct event *input;
    int port;
    struct request requests[REQUESTS_MAX];
    int request_count;
    struct stream *streams;
    int count, running;
    bool stopping;
    int64_t begin_ns;
    long answers, bad, events;
    uint64_t bytes, expected_bytes;
    long expected_events;
    int64_t gaps[BUCKETS]; /* the longest gap that ended in that tenth of a second */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void give_up(const char *what)
{
    fprintf(stderr, "bench-client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct request read_request(const char *path)
{
    struct request r = {malloc(1 << 20), 0};
    FILE *f = fopen(path, "rb");
    if (r.bytes == NULL || f == NULL) {
        give_up(path);
    }
    r.len = fread(r.bytes, 1, 1 << 20, f);
    fclose(f);
    return r;
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        give_up("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void write_all(int fd, const struct request *r)
{
    for (size_t sent = 0; sent < r->len;) {
        ssize_t n = send(fd, r->bytes + sent, r->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            give_up("send");
        }
        sent += n > 0 ? (size_t)n : 0;
    }
}

/* ---- load ---- */

static void next_answer(struct stream *s)
{
    answer_begin(&s->answer);
    s->last_ns = 0;
    s->idle = s->load->stopping;
    if (s->idle) {
        if (--s->load->running == 0) {
            event_base_loopbreak(s->load->base);
        }
        return;
    }
    write_all(s->fd, s->request); /* small: it fits the socket's buffer */
}

static void answer_ended(struct stream *s)
{
    struct load *l = s->load;
    const struct answer *a = &s->answer;
    if (l->expected_events == 0 && a->done) {
        l->expected_events = a->events;
        l->expected_bytes = a->bytes;
    }
    bool right = a->state == ANSWER_END && a->done && !a->error && a->events == l->expected_events &&
                 (l->request_count > 1 || a->bytes == l->expected_bytes);
    l->answers += right;
    l->bad += !right;
    if (!right && l->bad == 1) {
        fprintf(stderr, "bench-client: first bad answer: state %d, %ld events of %ld, %llu bytes of %llu%s\n",
                a->state, a->events, l->expected_events, (unsigned long long)a->bytes,
                (unsigned long long)l->expected_bytes, a->error ? ", with an error event" : "");
    }
    if (a->state != ANSWER_END) { /* the connection is of no use any more */
        event_del(s->event);
        close(s->fd);
        s->fd = -1;
        s->idle = true;
        l->running--;
        if (l->running == 0) {
            event_base_loopbreak(l->base);
        }
        return;
    }
    next_answer(s);
}

static void note_events(struct stream *s, long before)
{
    struct load *l = s->load;
    long news = s->answer.events - before;
    if (news <= 0) {
        return;
    }
    int64_t now = now_ns();
    l->events += news;
    s->events += news;
    size_t bucket = (size_t)((now - l->begin_ns) / BUCKET_NS);
    if (s->last_ns != 0 && bucket < BUCKETS && now - s->last_ns > l->gaps[bucket]) {
        l->gaps[bucket] = now - s->last_ns;
    }
    s->last_ns = now;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    static char buffer[262144];
    struct stream *s = arg;
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || s->idle) {
        s->answer.state = ANSWER_BROKEN;
        answer_ended(s);
        return;
    }
    s->load->bytes += (uint64_t)n;
    for (size_t at = 0; at < (size_t)n;) {
        long before = s->answer.events;
        size_t took = answer_take(&s->answer, buffer + at, (size_t)n - at);
        at += took;
        note_events(s, before);
        if (s->answer.state == ANSWER_END || s->answer.state == ANSWER_BROKEN) {
            answer_ended(s);
            if (s->fd < 0 || s->idle || took == 0) {
                return;
            }
        }
    }
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
    struct load *l = arg;
    char byte;
    if (read(fd, &byte, 1) > 0) {
        if (byte == 'r') { /* the streams' shares are counted from here on */
            for (int i = 0; i < l->count; i++) {
                l->streams[i].events = 0;
            }
            return;
        }
        event_base_loopbreak(l->base);
        return;
    }
    l->stopping = true;
    event_del(l->input);
}

static void print_load(struct load *l)
{
    size_t last = (size_t)((now_ns() - l->begin_ns) / BUCKET_NS);
    printf("{\"answers\":%ld,\"bad\":%ld,\"events\":%ld,\"events_per_answer\":%ld,\"bytes\":%llu,\"seconds\":"
           "%.6f,"
           "\"begin\":%.6f,\"streams\":[",
           l->answers, l->bad, l->events, l->expected_events, (unsigned long long)l->bytes,
           (double)(now_ns() - l->begin_ns) / 1e9, (double)l->begin_ns / 1e9);
    for (int i = 0; i < l->count; i++) {
        printf("%s%ld", i ? "," : "", l->streams[i].events);
    }
    printf("],\"gaps_ms\":[");
    for (size_t i = 0; i <= last && i < BUCKETS; i++) {
        printf("%s%.2f", i ? "," : "", (double)l->gaps[i] / 1e6);
    }
    printf("]}\n");
}

static int load(char **argv)
{
    static struct load l;
    l.port = (int)strtol(argv[0], NULL, 10);
    for (char *path = strtok_r(argv[1], ",", &argv[1]); path && l.request_count < REQUESTS_MAX;
         path = strtok_r(NULL, ",", &argv[1])) {
        l.requests[l.request_count++] = read_request(path);
    }
    l.count = l.running = (int)strtol(argv[2], NULL, 10);
    l.streams = calloc((size_t)l.count, sizeof *l.streams);
    l.base = event_base_new();
    if (l.streams == NULL || l.base == NULL || l.request_count == 0) {
        give_up("memory");
    }
    l.begin_ns = now_ns();
    for (int i = 0; i < l.count; i++) {
        struct stream *s = &l.streams[i];
        s->load = &l;
        s->fd = connect_to(l.port);
        s->request = &l.requests[i % l.request_count];
        s->event = event_new(l.base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
        event_add(s->event, NULL);
        next_answer(s);
    }
    l.input = event_new(l.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &l);
    event_add(l.input, NULL);
    event_base_dispatch(l.base);
    print_load(&l);
    return 0;
}

/* ---- pairs ---- */

struct side {
    int fd;
    struct request request;
    double *ms;
};

/* One request and its whole answer; the time from the first byte sent to the data line event, in ms. */
static double time_one(struct side *side, long event)
{
    static char buffer[65536];
    struct answer a;
    double found = -1;
    answer_begin(&a);
    int64_t begin = now_ns();
    write_all(side->fd, &side->request);
    while (a.state != ANSWER_END) {
        ssize_t n = recv(side->fd, buffer, sizeof buffer, 0);
        if (n <= 0) {
            give_up("an answer of the pairs broke off");
        }
        answer_take(&a, buffer, (size_t)n);
        if (found < 0 && a.events >= event) {
            found = (double)(now_ns() - begin) / 1e6;
        }
        if (a.state == ANSWER_BROKEN) {
            fprintf(stderr, "bench-client: refused: %.300s\n", a.head_len ? a.head : buffer);
            exit(1);
        }
    }
    if (!a.done || a.error) {
        fprintf(stderr, "bench-client: an answer of the pairs was not right\n");
        exit(1);
    }
    return found;
}

static void print_side(const char *name, const struct side *side, long count, const char *end)
{
    printf("\"%s\":[", name);
    for (long i = 0; i < count; i++) {
        printf("%s%.4f", i ? "," : "", side->ms[i]);
    }
    printf("]%s", end);
}

static int pairs(char **argv)
{
    struct side sides[2];
    long event = strtol(argv[4], NULL, 10), count = strtol(argv[5], NULL, 10);
    for (int i = 0; i < 2; i++) {
        sides[i].fd = connect_to((int)strtol(argv[2 * i], NULL, 10));
        sides[i].request = read_request(argv[2 * i + 1]);
        sides[i].ms = calloc((size_t)count, sizeof(double));
        if (sides[i].ms == NULL) {
            give_up("memory");
        }
    }
    for (long n = -20; n < count; n++) { /* the first ones only warm up */
        for (int i = 0; i < 2; i++) {
            struct side *side = &sides[(i + n) & 1];
            double ms = time_one(side, event);
            if (n >= 0) {
                side->ms[n] = ms;
            }
        }
    }
    printf("{");
    print_side("a", &sides[0], count, ",");
    print_side("b", &sides[1], count, "}\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "load") == 0) {
        return load(argv + 2);
    }
    if (argc == 8 && strcmp(argv[1], "pairs") == 0) {
        return pairs(argv + 2);
    }
    fprintf(stderr, "usage: bench-client load PORT FILES STREAMS | pairs PORT FILE PORT FILE EVENT COUNT\n");
    return 2;
}
