#include "app/proxy_sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/log.h"

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define RESOLVER "/etc/resolv.conf"

/* Percent-decoded; false when it does not fit. */
static bool decode(char *out, size_t cap, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++, n++) {
        uint8_t byte = (uint8_t)text[i];
        if (n + 1 >= cap) {
            return false;
        }
        if (text[i] == '%' && i + 2 < len && hex_all(text + i + 1, 2)) {
            char digits[3] = {text[i + 1], text[i + 2], '\0'};
            byte = (uint8_t)strtoul(digits, NULL, 16);
            i += 2;
        }
        out[n] = (char)byte;
    }
    out[n] = '\0';
    return true;
}

bool proxy_sandbox_uri_file(char *out, size_t cap, const char *uri, const char *name)
{
    size_t len = strlen(name);
    for (const char *part = strchr(uri, '?'); part != NULL; part = strchr(part, '&')) {
        part++;
        if (strncmp(part, name, len) != 0 || part[len] != '=') {
            continue;
        }
        const char *value = part + len + 1;
        if (!decode(out, cap, value, strcspn(value, "&"))) {
            return false;
        }
        if (strncmp(out, "file:", 5) == 0) {
            /* file:/path, file:///path, file://localhost/path */
            const char *path = strncmp(out, "file://", 7) == 0 ? strchr(out + 7, '/') : out + 5;
            if (path == NULL) {
                return false;
            }
            memmove(out, path, strlen(path) + 1);
        }
        return *out == '/';
    }
    return false;
}

static void hide_token(struct sandbox *s, const struct config *c)
{
    char path[PATH_MAX];
    sandbox_hide(s, c->pin_file);
    sandbox_hide(s, c->pkcs11_module);
    sandbox_hide(s, DEFAULT_MODULE);
    sandbox_hide(s, c->audit_log);
    for (size_t i = 0; i <= c->token.count; i++) {
        const char *uri = i < c->token.count ? c->token.items[i] : c->audit_key;
        if (uri != NULL && proxy_sandbox_uri_file(path, sizeof path, uri, "pin-source")) {
            sandbox_hide(s, path);
        }
        if (uri != NULL && proxy_sandbox_uri_file(path, sizeof path, uri, "module-path")) {
            sandbox_hide(s, path);
        }
    }
    for (size_t i = 0; i < c->hide.count; i++) {
        sandbox_hide(s, c->hide.items[i]);
    }
}

/* SSL_CERT_FILE and SSL_CERT_DIR (a list) are OpenSSL's, and so TLS's. */
static void read_certificates(struct sandbox *s, const struct config *c)
{
    char folder[PATH_MAX];
    sandbox_read_beside(s, c->ca_file);
    sandbox_read_beside(s, getenv("SSL_CERT_FILE"));
    for (const char *list = getenv("SSL_CERT_DIR"); list != NULL && *list != '\0';) {
        size_t len = strcspn(list, ":");
        if (len > 0 && len < sizeof folder) {
            memcpy(folder, list, len);
            folder[len] = '\0';
            sandbox_read(s, folder);
        }
        list += len + (list[len] == ':');
    }
}

static void read_collateral(struct sandbox *s, const char *where)
{
    struct stat st;
    if (where == NULL || stat(where, &st) != 0) {
        return; /* a URL */
    }
    if (S_ISDIR(st.st_mode)) {
        sandbox_read(s, where);
    } else {
        sandbox_read_beside(s, where);
    }
}

void proxy_sandbox_fill(struct sandbox *s, const struct config *c, const char *state, const char *quota)
{
    *s = (struct sandbox){.network = true, .unix_sockets = c->keyholder_socket != NULL};
    sandbox_read_system(s);
    sandbox_read_beside(s,
                        RESOLVER); /* a link to a folder below /run where systemd or resolvconf writes it */
    sandbox_read_beside(s, c->config_file);
    sandbox_read_beside(s, c->api_key_file);
    sandbox_read_beside(s, c->policy);
    read_collateral(s, c->collateral);
    read_certificates(s, c);
    sandbox_write(s, state);
    sandbox_write(s, quota);
    sandbox_write(s, c->evidence_dir);
    hide_token(s, c);
}

/* What is read again later, and could not be if another file took its place. */
static void warn_of_replaced(const struct sandbox *s, const struct config *c)
{
    const char *const files[] = {RESOLVER, c->config_file, c->api_key_file, c->policy};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i] != NULL && access(files[i], R_OK) == 0 && !sandbox_follows(s, files[i])) {
            log_warn(
                "%s: another file of that name will be read only after a restart, since the PIN file or the "
                "token lies in or below its folder, or the folder is one of everybody's",
                files[i]);
        }
    }
}

/* Whether one user runs the keyholder too: what it may read, we may. */
static bool same_user(const struct config *c)
{
    struct stat st;
    return c->keyholder_socket == NULL || (stat(c->keyholder_socket, &st) == 0 && st.st_uid == geteuid());
}

bool proxy_sandbox_enter(const struct config *c, const char *state, const char *quota, struct err *err)
{
    static struct sandbox s; /* too large for a stack */
    struct sandbox_result result;
    bool kept = c->evidence_dir == NULL || mkdir(c->evidence_dir, 0700) == 0 || errno == EEXIST;
    if (!kept) {
        log_warn("evidence_dir cannot be made: %s", strerror(errno));
    }
    proxy_sandbox_fill(&s, c, state, quota);
    if (sandbox_landlock_abi() > 0) {
        warn_of_replaced(&s, c);
    }
    if (!sandbox_enter(&s, &result, err)) {
        return err_context(err, "sandbox");
    }
    sandbox_announce(&result,
                     c->keyholder_socket != NULL ? "proxy; network, Unix sockets" : "proxy; network");
    if (result.landlock == 0 && same_user(c)) {
        log_warn("one user runs proxy and keyholder: code that took over the proxy could read the PIN file "
                 "and use the "
                 "token. Give the keyholder a user of its own: docs/OPERATIONS.md, \"systemd, two users\"");
    }
    return true;
}
