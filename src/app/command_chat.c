/* `chat`: a proxy of its own on a free loopback port, and one streamed request to it. Everything a client's prompt goes
 * through, this prompt goes through. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "app/command.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "wire/sse.h"
#include "json/json.h"

#define PROMPT_BYTES_MAX 8388608

struct printer {
    struct sse sse;
    struct json_doc doc;
    struct buf error_body;
    CURL *curl;
    bool failed, done, thinking;
};

/* Prints one string member; reasoning goes to standard error when that is a terminal, dimmed. */
static void print_member(struct printer *p, const struct json_node *delta, const char *name, FILE *out)
{
    struct buf text;
    buf_init(&text, PROMPT_BYTES_MAX);
    if (json_string_get(&p->doc, json_present(&p->doc, delta, name), &text) && text.len > 0) {
        fwrite(text.data, 1, text.len, out);
        fflush(out);
    }
    buf_free(&text);
}

static bool on_event(void *arg, const char *data, size_t len, struct err *err)
{
    struct printer *p = arg;
    if (len == 6 && strncmp(data, "[DONE]", 6) == 0) {
        p->done = true;
        return true;
    }
    if (!json_parse(&p->doc, data, len, LIMIT_JSON_NODES, err)) {
        return false;
    }
    const struct json_node *error = json_present(&p->doc, json_root(&p->doc), "error");
    if (error != NULL) {
        fputs("\ne2ee-hsm-proxy: ", stderr);
        print_member(p, error, "message", stderr);
        fputc('\n', stderr);
        p->failed = true;
        return true;
    }
    const struct json_node *choices = json_member(&p->doc, json_root(&p->doc), "choices");
    const struct json_node *delta = json_present(&p->doc, json_first(&p->doc, choices), "delta");
    if (isatty(STDERR_FILENO)) {
        print_member(p, delta, "reasoning_content", stderr);
    }
    print_member(p, delta, "content", stdout);
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct printer *p = arg;
    struct err err;
    long status = 0;
    curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        (void)!buf_append(&p->error_body, data, size * count);
        return size * count;
    }
    return sse_feed(&p->sse, data, size * count, on_event, p, &err) ? size * count : 0;
}

static bool build_request(struct buf *out, const char *model, const char *prompt)
{
    buf_append_str(out, "{\"model\":");
    json_append_string(out, model, strlen(model));
    buf_append_str(out, ",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":");
    json_append_string(out, prompt, strlen(prompt));
    return buf_append_str(out, "}]}");
}

static bool ask(struct printer *p, const char *address, const struct buf *request, struct err *err)
{
    char url[160];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(url, sizeof url, "http://%s/v1/chat/completions", address);
    curl_easy_setopt(p->curl, CURLOPT_URL, url);
    curl_easy_setopt(p->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(p->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len);
    curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, request->data);
    curl_easy_setopt(p->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(p->curl, CURLOPT_WRITEDATA, p);
    CURLcode result = curl_easy_perform(p->curl);
    curl_slist_free_all(headers);
    if (result != CURLE_OK) {
        return err_set(err, ERR_UPSTREAM, "the answer broke off: %s", curl_easy_strerror(result));
    }
    if (p->error_body.len > 0 &&
        json_parse(&p->doc, (const char *)p->error_body.data, p->error_body.len, LIMIT_JSON_NODES, err)) {
        fputs("e2ee-hsm-proxy: ", stderr);
        print_member(p, json_member(&p->doc, json_root(&p->doc), "error"), "message", stderr);
        fputc('\n', stderr);
        p->failed = true;
    }
    return true;
}

/* One streamed answer from the proxy at address. True when it came whole. */
static bool chat(const char *address, const char *model, const char *prompt, struct err *err)
{
    struct printer p = {.curl = NULL};
    struct buf request;
    buf_init(&request, PROMPT_BYTES_MAX);
    buf_init(&p.error_body, LIMIT_UPSTREAM_ERROR_BYTES);
    sse_init(&p.sse);
    json_doc_init(&p.doc);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    p.curl = curl_easy_init();
    bool ok = build_request(&request, model, prompt) && p.curl != NULL;
    ok = ok ? ask(&p, address, &request, err) : err_set(err, ERR_TOO_LARGE, "the prompt is too long");
    if (ok && p.done) {
        putchar('\n');
    }
    curl_easy_cleanup(p.curl);
    json_doc_free(&p.doc);
    sse_free(&p.sse);
    buf_free(&p.error_body);
    buf_free(&request);
    return ok && (p.done || err_set(err, ERR_NONE, "%s", p.failed ? "" : "the answer ended early"));
}

static bool is_word(const struct config *config, const char *arg)
{
    for (size_t i = 0; i < config->word_count; i++) {
        if (config->words[i] == arg) {
            return true;
        }
    }
    return false;
}

/* `serve` on a free port, with our own options; its first line on the pipe is the address. */
static bool start_serve(const struct config *config, int argc, char **argv, pid_t *pid, int *from,
                        struct err *err)
{
    int fds[2];
    char path[PATH_MAX];
    struct spawn_args args = {.count = 0};
    if (!spawn_sibling(path, sizeof path, "e2ee-hsm-proxy", err)) {
        return false;
    }
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot make a pipe");
    }
    spawn_arg(&args, path);
    spawn_arg(&args, "serve");
    spawn_option(&args, "--listen", "127.0.0.1:0");
    spawn_option(&args, "--announce-fd", "3");
    spawn_option(&args, "--log-level", "warn");
    spawn_option(&args, "--workers", "1");
    for (int i = 1; i < argc; i++) {
        if (!is_word(config, argv[i])) {
            spawn_arg(&args, argv[i]);
        }
    }
    bool ok = spawn_args_fit(&args, err) &&
              spawn_process(
                  pid, &(struct spawn){.argv = args.items, .fds = &fds[1], .fd_count = 1, .first = 3}, err);
    close(fds[1]);
    if (!ok) {
        close(fds[0]);
        return false;
    }
    *from = fds[0];
    return true;
}

static bool read_address(int from, char *address, size_t cap)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < cap && (n = read(from, address + len, cap - 1 - len)) > 0) {
        len += (size_t)n;
        if (address[len - 1] == '\n') {
            address[len - 1] = '\0';
            return true;
        }
    }
    return false;
}

int command_chat(const struct config *config, int argc, char **argv)
{
    struct err err = {0};
    char address[96];
    pid_t pid = 0;
    int from = -1, status = 0;
    if (config->word_count != 2) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy chat MODEL PROMPT [options]");
        return command_failed(&err);
    }
    if (!start_serve(config, argc, argv, &pid, &from, &err)) {
        return command_failed(&err);
    }
    bool ok = read_address(from, address, sizeof address) &&
              chat(address, config->words[0], config->words[1], &err);
    if (err.message[0] != '\0') {
        fprintf(stderr, "e2ee-hsm-proxy: %s\n", err.message);
    }
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    close(from);
    return ok ? 0 : 1;
}
