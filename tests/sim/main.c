/*
 * e2ee-sim: a simulated enclave behind a simulated Venice. See README.md beside this file and --help.
 */
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "http.h"
#include "intel.h"
#include "nvidia.h"
#include "plan.h"
#include "record.h"
#include "seal.h"
#include "server.h"
#include "sign.h"
#include "tls.h"

struct options {
    int port, tls_port;
    const char *port_file, *tls_cert_out, *models;
    const char *root_out;
    bool no_tls, with_stdin, fault_models;
    enum tls_kind tls_kind;
};

static void usage(FILE *to)
{
    fprintf(
        to,
        "usage: e2ee-sim [options]\n"
        "Plays Venice's API under /api/v1 and the enclaves behind it, on 127.0.0.1. Prints one line\n"
        "  listening http://127.0.0.1:PORT https://127.0.0.1:PORT\n"
        "\n"
        "  --port N, --tls-port N     0 (default): any free port\n"
        "  --port-file FILE           the same line into FILE, once listening\n"
        "  --tls-cert-out FILE        the https certificate, PEM, for the client to trust\n"
        "  --root-out FILE            the root that its quotes and collateral end in, PEM\n"
        "  --tls-kind good|expired|wrong-name\n"
        "  --no-tls                   http only\n"
        "  --exit-with-stdin          ends when stdin closes (SIGTERM and SIGINT always end it)\n"
        "  --models FILE              another catalogue (README.md)\n"
        "  --fault-models             the catalogue also lists sim-near@FAULT for every fault\n"
        "  --api-key KEY              chat needs this Bearer key, else 401\n"
        "  --fail-open                a missing E2EE header gives plaintext and 200, as at Venice, not 400\n"
        "  --attestation-limit N      429 past N attestation requests a minute (Venice: 10; default: none)\n"
        "  --stale-after SECONDS      freshness of the ACI shape (3600)\n"
        "  --key flavour|field|response  who makes a new server key per field or per response\n"
        "  --chunk-delay-ms N, --first-byte-delay-ms N, --piece CODEPOINTS (8)\n"
        "  --prepared, --pool N       benchmarks: N server keys per client key made beforehand (4096), no\n"
        "                             signatures kept\n"
        "  --record-bytes N           how much of the requests is kept for /sim/requests (67108864; 0: "
        "nothing)\n"
        "\nFaults: model id suffix @NAME, POST /sim/fault, or sim:fault=NAME[,at=N][,value=N] in the "
        "prompt\n");
    const struct fault *f;
    for (size_t i = 0; (f = fault_nth(i)); i++)
        fprintf(to, "  %-26s %s%s%s%s %s\n", f->name, f->where & IN_MODELS ? "m" : "-",
                f->where & IN_ATTEST ? "a" : "-", f->where & IN_CHAT ? "c" : "-",
                f->where & IN_SIGNATURE ? "s" : "-", f->help);
    fprintf(to, "(m models, a attestation, c chat, s signature)\n");
}

enum {
    OPT_PORT = 256,
    OPT_TLS_PORT,
    OPT_PORT_FILE,
    OPT_CERT,
    OPT_KIND,
    OPT_ROOT,
    OPT_NO_TLS,
    OPT_STDIN,
    OPT_MODELS,
    OPT_FAULT_MODELS,
    OPT_API_KEY,
    OPT_FAIL_OPEN,
    OPT_LIMIT,
    OPT_STALE,
    OPT_KEY,
    OPT_DELAY,
    OPT_FIRST,
    OPT_PIECE,
    OPT_PREPARED,
    OPT_POOL,
    OPT_RECORD,
    OPT_HELP
};

static const struct option long_options[] = {
    {"port", required_argument, NULL, OPT_PORT},
    {"tls-port", required_argument, NULL, OPT_TLS_PORT},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"tls-cert-out", required_argument, NULL, OPT_CERT},
    {"root-out", required_argument, NULL, OPT_ROOT},
    {"tls-kind", required_argument, NULL, OPT_KIND},
    {"no-tls", no_argument, NULL, OPT_NO_TLS},
    {"exit-with-stdin", no_argument, NULL, OPT_STDIN},
    {"models", required_argument, NULL, OPT_MODELS},
    {"fault-models", no_argument, NULL, OPT_FAULT_MODELS},
    {"api-key", required_argument, NULL, OPT_API_KEY},
    {"fail-open", no_argument, NULL, OPT_FAIL_OPEN},
    {"attestation-limit", required_argument, NULL, OPT_LIMIT},
    {"stale-after", required_argument, NULL, OPT_STALE},
    {"key", required_argument, NULL, OPT_KEY},
    {"chunk-delay-ms", required_argument, NULL, OPT_DELAY},
    {"first-byte-delay-ms", required_argument, NULL, OPT_FIRST},
    {"piece", required_argument, NULL, OPT_PIECE},
    {"prepared", no_argument, NULL, OPT_PREPARED},
    {"pool", required_argument, NULL, OPT_POOL},
    {"record-bytes", required_argument, NULL, OPT_RECORD},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* Options that are a number in some module's settings. */
static bool set_number(int opt, long n)
{
    switch (opt) {
    case OPT_LIMIT:
        server_settings.attestation_limit = n;
        return true;
    case OPT_STALE:
        server_settings.stale_after = n;
        return true;
    case OPT_DELAY:
        plan_defaults.delay_ms = n;
        return true;
    case OPT_FIRST:
        plan_defaults.first_ms = n;
        return true;
    case OPT_PIECE:
        plan_defaults.piece = n;
        return true;
    case OPT_POOL:
        seal_pool_size((size_t)n);
        return true;
    case OPT_RECORD:
        record_limit((size_t)n);
        return true;
    default:
        return false;
    }
}

static bool set_option(struct options *o, int opt, const char *arg)
{
    if (arg && set_number(opt, strtol(arg, NULL, 10)))
        return true;
    switch (opt) {
    case OPT_PORT:
        o->port = (int)strtol(arg, NULL, 10);
        return true;
    case OPT_TLS_PORT:
        o->tls_port = (int)strtol(arg, NULL, 10);
        return true;
    case OPT_PORT_FILE:
        o->port_file = arg;
        return true;
    case OPT_CERT:
        o->tls_cert_out = arg;
        return true;
    case OPT_ROOT:
        o->root_out = arg;
        return true;
    case OPT_KIND:
        o->tls_kind = !strcmp(arg, "expired")      ? TLS_EXPIRED
                      : !strcmp(arg, "wrong-name") ? TLS_WRONG_NAME
                                                   : TLS_GOOD;
        return true;
    case OPT_NO_TLS:
        return o->no_tls = true;
    case OPT_STDIN:
        return o->with_stdin = true;
    case OPT_MODELS:
        o->models = arg;
        return true;
    case OPT_FAULT_MODELS:
        return o->fault_models = true;
    case OPT_API_KEY:
        check_policy.api_key = arg;
        return true;
    case OPT_FAIL_OPEN:
        return check_policy.fail_open = true;
    case OPT_KEY:
        plan_defaults.key = !strcmp(arg, "field")      ? KEY_PER_FIELD
                            : !strcmp(arg, "response") ? KEY_PER_RESPONSE
                                                       : KEY_BY_FLAVOUR;
        return true;
    case OPT_PREPARED:
        return plan_defaults.prepared = true;
    default:
        return false;
    }
}

static void on_stop(evutil_socket_t fd, short what, void *base)
{
    char byte;
    if (what & EV_READ && read(fd, &byte, 1) > 0)
        return;
    event_base_loopbreak(base);
}

static bool announce(const struct options *o, int port, int tls_port)
{
    struct bytes line = {0};
    bytes_fmt(&line, "listening http://127.0.0.1:%d", port);
    if (tls_port)
        bytes_fmt(&line, " https://127.0.0.1:%d", tls_port);
    bytes_str(&line, "\n");
    bool ok = true;
    if (o->port_file) {
        /* A reader that waits for the file never sees half of it. */
        struct bytes temporary = {0};
        bytes_fmt(&temporary, "%s.new", o->port_file);
        FILE *f = fopen(bytes_text(&temporary), "w");
        ok = f && fputs(bytes_text(&line), f) >= 0;
        ok = f && fclose(f) == 0 && ok && rename(bytes_text(&temporary), o->port_file) == 0;
        bytes_free(&temporary);
    }
    fputs(bytes_text(&line), stdout);
    fflush(stdout);
    bytes_free(&line);
    return ok;
}

static int serve(const struct options *o, struct event_base *base, SSL_CTX *tls)
{
    struct event *stops[3] = {evsignal_new(base, SIGTERM, on_stop, base),
                              evsignal_new(base, SIGINT, on_stop, base),
                              event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stop, base)};
    event_add(stops[0], NULL);
    event_add(stops[1], NULL);
    if (o->with_stdin)
        event_add(stops[2], NULL);
    server_init(base);
    int port = http_listen(base, o->port, NULL, server_handle);
    int tls_port = tls ? http_listen(base, o->tls_port, tls, server_handle) : 0;
    int status = 1;
    if (!port || (tls && !tls_port))
        fprintf(stderr, "e2ee-sim: cannot listen\n");
    else if (announce(o, port, tls_port))
        status = event_base_dispatch(base) < 0;
    http_shutdown();
    for (int i = 0; i < 3; i++)
        event_free(stops[i]);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct rlimit files;
    int opt;
    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (opt == OPT_HELP) {
            usage(stdout);
            return 0;
        }
        if (!set_option(&o, opt, optarg)) {
            fprintf(stderr, "e2ee-sim: see --help\n");
            return 2;
        }
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    if (optind != argc || !model_load(o.models, o.fault_models)) {
        fprintf(stderr, "e2ee-sim: cannot read the catalogue, or an argument too many\n");
        return 2;
    }
    SSL_CTX *tls = o.no_tls ? NULL : tls_make(o.tls_kind, o.tls_cert_out);
    if (!o.no_tls && !tls) {
        fprintf(stderr, "e2ee-sim: cannot make or write the certificate\n");
        return 1;
    }
    if (o.root_out && !intel_write_root(o.root_out)) {
        fprintf(stderr, "e2ee-sim: cannot write the root\n");
        return 1;
    }
    struct event_base *base = event_base_new();
    int status = base ? serve(&o, base, tls) : 1;
    server_reset();
    intel_stop();
    nras_stop();
    seal_forget();
    model_unload();
    SSL_CTX_free(tls);
    if (base)
        event_base_free(base);
    return status;
}
