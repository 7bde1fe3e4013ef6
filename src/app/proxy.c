#include "app/proxy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "app/api_key.h"
#include "app/app.h"
#include "app/metrics.h"
#include "app/models.h"
#include "app/proxy_sandbox.h"
#include "app/reload.h"
#include "app/verifier.h"
#include "app/worker.h"
#include "app/worker_count.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "supervisor/supervisor.h"
#include "wire/replay.h"

#define DRAIN_S 10        /* open streams may finish for so long after SIGTERM */
#define FILES_RESERVED 64 /* descriptors that are no client connections */
#define ROUNDS_WAITED                                                                                        \
    3 /* turns of all answers that a key may take: two are in an answer's window when the token is slow */
#define HANDSHAKE_THREADS 4

static void free_replay(void *shared)
{
    replay_free(shared);
}

static void *new_replay(void *arg)
{
    return replay_new(LIMIT_REPLAY_FIELDS, NULL);
}

static void on_handshake(void *arg, const char *model, const struct err *err, int64_t ns, bool rotation)
{
    if (err->kind == ERR_NONE) {
        metrics_add(METRIC_HANDSHAKES, 1);
        metrics_add(METRIC_ROTATIONS, rotation);
        log_info("%s: session %s in %lld ms", model, rotation ? "replaced" : "opened",
                 (long long)(ns / CLOCK_NS_PER_MS));
    } else {
        metrics_add(METRIC_HANDSHAKES_FAILED, 1);
        log_warn("%s: no session: %s", model, err->message);
    }
}

static struct catalogue *fetch_catalogue(void *arg, struct err *err)
{
    struct app *app = arg;
    return models_fetch(app->upstream, err);
}

/* attest gets the app, as fetch_catalogue does. */
static bool attest_model(void *arg, const char *model, struct session_evidence *out, struct err *err)
{
    struct app *app = arg;
    return verifier_attest(app->verifier, model, out, err);
}

static bool load_api_key(struct app *app, bool supervised, struct err *err)
{
    struct secret key = SECRET_EMPTY;
    bool ok = !supervised || api_key_receive(&key, SUPERVISOR_START_FD, err);
    if (ok && (!supervised || app->config->api_key_file != NULL)) {
        secret_free(&key);
        ok = api_key_read(&key, app->config, err);
    }
    if (ok && key.len == 0 && !upstream_config_is_loopback(app->upstream)) {
        ok = err_set(err, ERR_CONFIG, "no API key: set VENICE_API_KEY or --api-key-file FILE");
    }
    return ok && (key.len == 0 || upstream_config_set_key(app->upstream, &key, err));
}

static bool make_upstream(struct app *app, bool supervised, struct err *err)
{
    const struct config *c = app->config;
    const struct upstream_options options = {.base_url = c->upstream,
                                             .unsafe_http = c->unsafe_http_upstream,
                                             .http2 = c->http2,
                                             .silence_s = (uint32_t)c->upstream_timeout,
                                             .first_byte_s = (uint32_t)c->first_byte_timeout,
                                             .ca_file = c->ca_file};
    app->upstream = upstream_config_new(&options, err);
    return app->upstream != NULL && load_api_key(app, supervised, err);
}

static bool make_keyholder(struct app *app, bool supervised, struct err *err)
{
    const struct config *c = app->config;
    struct keyholder_link *link = supervised ? keyholder_link_channel(SUPERVISOR_CHANNEL_FD, err)
                                             : keyholder_link_socket(c->keyholder_socket, err);
    const struct keyholder_options options = {
        .custody = strcmp(c->custody, "session") == 0 ? KEYIPC_CUSTODY_SESSION : KEYIPC_CUSTODY_TOKEN,
        .max_key_age_s = (uint32_t)c->rotate + LIMIT_SESSION_GRACE_S,
        .wait_ms = (uint32_t)(ROUNDS_WAITED * c->upstream_timeout + LIMIT_TOKEN_CALL_S) * 1000};
    admission_init(&app->admission, (int64_t)c->upstream_timeout * CLOCK_NS_PER_S);
    app->control = link != NULL ? keyholder_control_new(link, &options, err) : NULL;
    return app->control != NULL;
}

static bool make_sessions(struct app *app, struct err *err)
{
    const struct sessions_options options = {.control = app->control,
                                             .life_ns = (int64_t)app->config->rotate * CLOCK_NS_PER_S,
                                             .threads = HANDSHAKE_THREADS,
                                             .arg = app,
                                             .attest = attest_model,
                                             .fetch_catalogue = fetch_catalogue,
                                             .new_shared = new_replay,
                                             .free_shared = free_replay,
                                             .on_handshake = on_handshake};
    app->sessions = verifier_start(app->verifier, err) ? sessions_new(&options, err) : NULL;
    return app->sessions != NULL;
}

static bool make_verifier(struct app *app, struct err *err)
{
    app->verifier = verifier_new(app->config, app->upstream, err);
    return app->verifier != NULL;
}

/* As many connections as descriptors allow, after raising their soft limit to the hard one. Each may need one to
 * the upstream too. */
static size_t connection_limit(const struct config *config)
{
    struct rlimit files = {1024, 1024};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        getrlimit(RLIMIT_NOFILE, &files);
    }
    size_t room = files.rlim_cur > 1000000 ? 1000000 : (size_t)files.rlim_cur;
    room = room > 2 * FILES_RESERVED ? (room - FILES_RESERVED) / 2 : FILES_RESERVED / 2;
    return config->max_connections != 0 && config->max_connections < room ? (size_t)config->max_connections
                                                                          : room;
}

static bool make_http(struct app *app, struct err *err)
{
    const struct config *c = app->config;
    signed_init(&app->signed_answers, c->signatures);
    inflight_init(&app->inflight, c->max_inflight_bytes);
    app->origins = origin_policy_new((const char *const *)c->allow_host.items, c->allow_host.count,
                                     (const char *const *)c->allow_origin.items, c->allow_origin.count, err);
    if (app->origins == NULL) {
        return false;
    }
    if (c->unsafe_listen && c->client_token_file == NULL) {
        return err_set(err, ERR_CONFIG,
                       "--unsafe-listen needs --client-token-file: anybody who reaches the address "
                       "could spend your key");
    }
    if (c->client_token_file != NULL &&
        !text_read_secret(&app->client_token, c->client_token_file, LIMIT_API_KEY_BYTES, err)) {
        return err_context(err, "--client-token-file");
    }
    http_config_defaults(&app->http);
    app->http.inflight = &app->inflight;
    app->http.origins = app->origins;
    app->http.client_token = c->client_token_file != NULL ? &app->client_token : NULL;
    app->http.max_body = c->max_body;
    app->listener =
        listener_open((const char *const *)c->listen.items, c->listen.count, c->unsafe_listen, err);
    return app->listener != NULL;
}

static bool start_workers(struct app *app, struct err *err)
{
    size_t connections = connection_limit(app->config);
    struct http_worker *http[LIMIT_KEYHOLDER_WORKERS];
    unsigned count = worker_count(app->config);
    size_t share = LIMIT_KEYHOLDER_QUEUE / count;
    app->derives_high = (share < LIMIT_KEYIPC_PENDING ? share : LIMIT_KEYIPC_PENDING) / 2;
    app->workers = mem_calloc(count, sizeof *app->workers);
    if (app->workers == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the workers");
    }
    for (; app->worker_count < count; app->worker_count++) {
        if (!worker_init(&app->workers[app->worker_count], app, app->worker_count, err)) {
            return false;
        }
        http[app->worker_count] = app->workers[app->worker_count].http;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!worker_start(&app->workers[i], err)) {
            return false;
        }
    }
    return listener_start(app->listener, http, count, connections, NULL, NULL, err);
}

static void app_free(struct app *app)
{
    listener_free(app->listener);
    if (app->upstream != NULL) {
        upstream_config_abort(app->upstream);
        verifier_abort(app->verifier);
    }
    for (unsigned i = 0; i < app->worker_count; i++) {
        worker_stop(&app->workers[i]);
    }
    sessions_free(app->sessions);
    for (unsigned i = 0; i < app->worker_count; i++) {
        worker_free(&app->workers[i]);
    }
    mem_free(app->workers);
    keyholder_control_free(app->control);
    verifier_free(app->verifier);
    upstream_config_free(app->upstream);
    origin_policy_free(app->origins);
    secret_free(&app->client_token);
}

/* "R" and the first address, or "E" and why not. */
static void report_start(const struct app *app, bool supervised, const struct err *err)
{
    char message[512], name[64] = "";
    if (err == NULL) {
        listener_name(app->listener, 0, name);
    }
    int printed =
        snprintf(message, sizeof message, "%c%s", err != NULL ? 'E' : 'R', err != NULL ? err->message : name);
    size_t len = printed > 0 && (size_t)printed < sizeof message ? (size_t)printed : sizeof message - 1;
    if (supervised) {
        (void)!send(SUPERVISOR_START_FD, message, len, MSG_NOSIGNAL);
    } else if (err != NULL) {
        log_error("cannot start: %s", err->message);
    }
}

static void warn_of_unsafe(const struct config *c)
{
    if (c->unsafe_listen) {
        log_warn("--unsafe-listen: other machines can reach this proxy; prompts travel to it unencrypted");
    }
    if (c->unsafe_http_upstream) {
        log_warn("--unsafe-http-upstream: for test upstreams on this machine only");
    }
    if (c->unsafe_attestation_root != NULL) {
        log_warn("--unsafe-attestation-root: evidence is NOT verified against Intel's root");
    }
}

static void announce(const struct app *app)
{
    char name[64];
    for (size_t i = 0; i < listener_count(app->listener); i++) {
        listener_name(app->listener, i, name);
        log_info("listening on http://%s, custody %s, %u workers", name, app->config->custody,
                 app->worker_count);
    }
    verifier_announce(app->verifier);
    warn_of_unsafe(app->config);
}

/* Waits for open answers, at most DRAIN_S. */
static void drain(struct app *app)
{
    int64_t end = clock_boot_ns() + DRAIN_S * CLOCK_NS_PER_S;
    atomic_store(&app->stopping, true);
    listener_stop(app->listener);
    for (unsigned i = 0; i < app->worker_count; i++) {
        http_worker_drain(app->workers[i].http);
    }
    log_info("stopping: no new connections, %lld answers in progress",
             (long long)metrics_get(METRIC_STREAMS_OPEN));
    while (clock_boot_ns() < end) {
        size_t open = 0;
        for (unsigned i = 0; i < app->worker_count; i++) {
            open += http_worker_connections(app->workers[i].http);
        }
        if (open == 0) {
            break;
        }
        struct timespec pause = {0, 20 * CLOCK_NS_PER_MS};
        nanosleep(&pause, NULL);
    }
}

/* The main thread: signals, and the supervisor's end. */
static void wait_for_end(struct app *app, int signals, bool supervised)
{
    for (;;) {
        struct signalfd_siginfo info;
        struct pollfd fds[2] = {{.fd = signals, .events = POLLIN},
                                {.fd = supervised ? SUPERVISOR_START_FD : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0) {
            continue;
        }
        if (fds[1].revents != 0) {
            log_error("the supervisor is gone");
            return;
        }
        if (read(signals, &info, sizeof info) != (ssize_t)sizeof info) {
            continue;
        }
        if (info.ssi_signo == SIGHUP) {
            reload(app);
        } else {
            return;
        }
    }
}

/* Signals are taken by the main thread only: blocked before any other thread starts. */
static int block_signals(struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0) {
        err_errno(err, ERR_IO, errno, "cannot receive signals");
    }
    return fd;
}

static bool enter_sandbox(struct app *app, struct err *err)
{
    return proxy_sandbox_enter(app->config, verifier_folder(app->verifier),
                               verifier_quota_file(app->verifier), err);
}

int proxy_run(const struct config *config)
{
    static struct app app;
    struct err err = {0};
    bool supervised = config->supervised_fd != 0;
    app.config = config;
    http_wipe_libevent_memory();
    if (evthread_use_pthreads() != 0) {
        err_set(&err, ERR_INTERNAL, "libevent without threads");
    }
    int signals = block_signals(&err);
    /* The sandbox after what is read or made once, before the first thread and the first foreign byte. */
    bool ok = err.kind == ERR_NONE && make_upstream(&app, supervised, &err) && make_verifier(&app, &err) &&
              make_http(&app, &err) && enter_sandbox(&app, &err) && make_keyholder(&app, supervised, &err) &&
              make_sessions(&app, &err) && start_workers(&app, &err);
    report_start(&app, supervised, ok ? NULL : &err);
    if (ok) {
        announce(&app);
        wait_for_end(&app, signals, supervised);
        drain(&app);
    }
    app_free(&app);
    if (signals >= 0) {
        close(signals);
    }
    return ok ? 0 : 1;
}
