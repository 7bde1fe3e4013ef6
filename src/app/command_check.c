#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/command.h"
#include "app/keyholder_start.h"
#include "app/models.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "upstream/config.h"
#include "json/json.h"

#define REPORT_BYTES_MAX 262144
#define STREAM_CHUNKS_A_SECOND 50 /* the keyholder's GRADE_STREAM_CHUNKS: a fast model's answer */

/* Everything that the keyholder's --check prints. */
static bool read_report(int from, struct buf *out, struct err *err)
{
    uint8_t piece[4096];
    ssize_t n;
    while ((n = read(from, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && !buf_append(out, piece, (size_t)n)) {
            return err_set(err, ERR_PROTOCOL, "the keyholder's report is too long");
        }
    }
    return n == 0 || err_errno(err, ERR_IO, errno, "cannot read the keyholder's report");
}

/* Exit code of the token's check: 0 fit, 1 unfit. -1 when it could not be run. */
static int check_token(const struct config *config, struct buf *report, struct err *err)
{
    int fds[2], status = 0;
    pid_t pid = 0;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        err_errno(err, ERR_IO, errno, "cannot make a pipe");
        return -1;
    }
    bool ok = keyholder_spawn_check(config, fds[1], &pid, err);
    close(fds[1]);
    ok = ok && read_report(fds[0], report, err);
    close(fds[0]);
    if (pid == 0) {
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!ok) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

struct upstream_report {
    bool reached;
    size_t models;
    int64_t ms;
    struct err err;
};

static void check_upstream(const struct config *config, struct upstream_report *report)
{
    int64_t begun = clock_boot_ns();
    memset(report, 0, sizeof *report);
    struct upstream_config *upstream = command_upstream(config, &report->err);
    struct catalogue *catalogue = upstream != NULL ? models_fetch(upstream, &report->err) : NULL;
    report->reached = catalogue != NULL;
    report->models = catalogue != NULL ? catalogue_count(catalogue) : 0;
    report->ms = (clock_boot_ns() - begun) / CLOCK_NS_PER_MS;
    catalogue_unref(catalogue);
    upstream_config_free(upstream);
}

static void print_checks(const struct json_doc *doc)
{
    const struct json_node *checks = json_member(doc, json_root(doc), "checks");
    for (const struct json_node *c = json_first(doc, checks); c != NULL; c = json_next(doc, c)) {
        char id[64] = "", result[32] = "", detail[512] = "";
        if (json_string_copy(doc, json_member(doc, c, "id"), id, sizeof id) &&
            json_string_copy(doc, json_member(doc, c, "result"), result, sizeof result) &&
            json_string_copy(doc, json_member(doc, c, "detail"), detail, sizeof detail)) {
            printf("  %-28s %s%s%s\n", id, result, detail[0] != '\0' ? "  " : "", detail);
        }
    }
}

static void print_rates(const struct json_doc *doc)
{
    const struct json_node *rates = json_member(doc, json_root(doc), "rates");
    const struct json_node *derive = json_member(doc, rates, "derive");
    double value = 0;
    if (json_double(doc, json_member(doc, json_member(doc, rates, "generate"), "per_second"), &value) &&
        value > 0) {
        printf("  key pairs                    %.*f a second\n", value < 10 ? 1 : 0, value);
    }
    for (const struct json_node *r = json_first(doc, derive); r != NULL; r = json_next(doc, r)) {
        uint64_t sessions = 0, p50 = 0, p99 = 0;
        if (json_u64(doc, json_member(doc, r, "sessions"), &sessions) &&
            json_double(doc, json_member(doc, r, "per_second"), &value) &&
            json_u64(doc, json_member(doc, r, "p50_us"), &p50) &&
            json_u64(doc, json_member(doc, r, "p99_us"), &p99)) {
            printf("  ECDH, %2u session%s           %.*f a second, median %.2f ms, p99 %.2f ms\n",
                   (unsigned)sessions, sessions == 1 ? " " : "s", value < 10 ? 1 : 0, value,
                   (double)p50 / 1000, (double)p99 / 1000);
        }
    }
}

static void print_custody(const char *verdict, const char *custody, uint64_t sessions)
{
    printf("\ngrade: %s\n", verdict);
    if (strcmp(custody, "session") == 0) {
        printf(
            "  --custody session            this token is slower than one stream: answers of servers with a "
            "key per chunk would lag;\n                               docs/THREAT-MODEL.md says what session "
            "custody gives up\n");
    } else {
        printf("  --custody token              every operation with a private key in the token\n");
    }
    printf("  --sessions %-2u                more gain nothing\n", (unsigned)sessions);
}

/* What the rates mean where the server makes a fresh key for each streamed chunk (docs/PROTOCOL.md section 3). */
static void print_grade(const struct json_doc *doc)
{
    const struct json_node *grade = json_member(doc, json_root(doc), "grade");
    const struct json_node *streams = json_member(doc, grade, "streams");
    char verdict[32] = "", custody[32] = "", limit[128] = "";
    double chunks = 0;
    uint64_t sessions = 0, in_token = 0, in_session = 0, models = 0, pairs = 0;
    bool on_token = false;
    if (!json_string_copy(doc, json_member(doc, grade, "custody"), custody, sizeof custody) ||
        !json_string_copy(doc, json_member(doc, grade, "verdict"), verdict, sizeof verdict) ||
        !json_string_copy(doc, json_member(doc, grade, "models_limit"), limit, sizeof limit) ||
        !json_double(doc, json_member(doc, grade, "chunks_per_second"), &chunks) ||
        !json_u64(doc, json_member(doc, grade, "sessions"), &sessions) ||
        !json_u64(doc, json_member(doc, streams, "token"), &in_token) ||
        !json_u64(doc, json_member(doc, streams, "session"), &in_session) ||
        !json_u64(doc, json_member(doc, grade, "models"), &models) ||
        !json_u64(doc, json_member(doc, grade, "pairs_per_year"), &pairs) ||
        !json_bool(json_member(doc, grade, "keys_on_token"), &on_token)) {
        printf("\ngrade: unfit\n");
        return;
    }
    print_custody(verdict, custody, sessions);
    printf("  streamed chunks              %.0f a second with custody token, over all streams\n", chunks);
    printf("  streams at a time            %llu of %d chunks a second with custody token, %llu with session "
           "(on one core)\n",
           (unsigned long long)in_token, STREAM_CHUNKS_A_SECOND, (unsigned long long)in_session);
    printf("  models at a time             %llu (limit: %s)\n", (unsigned long long)models, limit);
    printf("  key pairs a year             %llu for a model in use all the time, %s\n",
           (unsigned long long)pairs,
           on_token ? "each written to the token's storage (docs/tokens)" : "none written to storage");
}

static void print_report(const struct json_doc *token, const struct upstream_report *upstream,
                         const char *url)
{
    char label[64] = "", serial[64] = "";
    const struct json_node *found = json_member(token, json_root(token), "token");
    if (json_string_copy(token, json_member(token, found, "label"), label, sizeof label) &&
        json_string_copy(token, json_member(token, found, "serial"), serial, sizeof serial)) {
        printf("token \"%s\", serial %s\n", label, serial);
    } else {
        printf("no token to test\n");
    }
    print_checks(token);
    print_rates(token);
    print_grade(token);
    printf("\nupstream %s\n", url);
    if (upstream->reached) {
        printf("  reached in %lld ms, %zu models with end-to-end encryption\n", (long long)upstream->ms,
               upstream->models);
    } else {
        printf("  fail  %s\n", upstream->err.message);
    }
}

static void print_json(const struct buf *token, const struct upstream_report *upstream)
{
    struct buf out;
    size_t len = token->len;
    while (len > 0 && token->data[len - 1] == '\n') {
        len--;
    }
    buf_init(&out, 2 * REPORT_BYTES_MAX);
    buf_append_str(&out, "{\"token\":");
    buf_append(&out, token->data, len);
    buf_appendf(&out, ",\"upstream\":{\"reached\":%s,\"models\":%zu,\"ms\":%lld,\"detail\":",
                upstream->reached ? "true" : "false", upstream->models, (long long)upstream->ms);
    json_append_string(&out, upstream->err.message, strlen(upstream->err.message));
    buf_append_str(&out, "}}\n");
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
}

int command_check(const struct config *config)
{
    struct err err = {0};
    struct buf token;
    struct json_doc doc;
    struct upstream_report upstream;
    if (config->word_count > 0) {
        err_set(&err, ERR_CONFIG, "check takes options only");
        return command_failed(&err);
    }
    buf_init(&token, REPORT_BYTES_MAX);
    json_doc_init(&doc);
    int code = check_token(config, &token, &err);
    bool ok = code >= 0 && json_parse(&doc, (const char *)token.data, token.len, LIMIT_JSON_NODES, &err);
    if (ok) {
        check_upstream(config, &upstream);
        if (config->json) {
            print_json(&token, &upstream);
        } else {
            print_report(&doc, &upstream, config->upstream);
        }
        code = code == 0 && upstream.reached ? 0 : 1;
    } else if (code > 0) {
        code = 1; /* the keyholder said why on standard error */
    } else {
        code = command_failed(&err);
    }
    json_doc_free(&doc);
    buf_free(&token);
    return code;
}
