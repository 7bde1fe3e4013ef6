#include "server/origin.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include "base/mem.h"
#include "base/text.h"

struct origin_policy {
    char **hosts;
    size_t host_count;
    char **origins;
    size_t origin_count;
};

/* Splits HOST[:PORT]; *host_len covers the brackets of an IPv6 literal. */
static bool split_host(const char *text, size_t *host_len, const char **port)
{
    const char *end;
    if (text[0] == '[') {
        char literal[INET6_ADDRSTRLEN];
        struct in6_addr addr;
        end = strchr(text, ']');
        if (end == NULL || (size_t)(end - text) > sizeof literal) {
            return false;
        }
        memcpy(literal, text + 1, (size_t)(end - text) - 1);
        literal[end - text - 1] = '\0';
        if (inet_pton(AF_INET6, literal, &addr) != 1) {
            return false;
        }
        end++;
    } else {
        end = text;
        while (isalnum((unsigned char)*end) || (*end != '\0' && strchr("-._", *end) != NULL)) {
            end++;
        }
    }
    *host_len = (size_t)(end - text);
    *port = NULL;
    if (*end == ':') {
        uint64_t number;
        *port = end + 1;
        return *host_len > 0 && text_u64(&number, *port, 1, 65535);
    }
    return *host_len > 0 && *end == '\0';
}

bool origin_host_valid(const char *host)
{
    size_t len;
    const char *port;
    return strlen(host) <= 300 && split_host(host, &len, &port);
}

static bool is_loopback(const char *host, size_t len)
{
    static const char *const names[] = {"localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], host, len) == 0) {
            return true;
        }
    }
    char text[INET_ADDRSTRLEN];
    struct in_addr addr;
    if (len >= sizeof text) {
        return false;
    }
    memcpy(text, host, len);
    text[len] = '\0';
    return inet_pton(AF_INET, text, &addr) == 1 && ntohl(addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool origin_host_allowed(const struct origin_policy *p, const char *host)
{
    size_t len;
    const char *port;
    if (!split_host(host, &len, &port)) {
        return false;
    }
    if (is_loopback(host, len)) {
        return true;
    }
    for (size_t i = 0; i < p->host_count; i++) {
        size_t want_len;
        const char *want_port;
        if (split_host(p->hosts[i], &want_len, &want_port) && want_len == len &&
            strncasecmp(p->hosts[i], host, len) == 0 &&
            (want_port == NULL || (port != NULL && strcmp(want_port, port) == 0))) {
            return true;
        }
    }
    return false;
}

/* "://" behind a scheme of letters, digits, '+', '-', '.', or NULL. */
static const char *after_scheme(const char *origin)
{
    const char *p = origin;
    while (isalnum((unsigned char)*p) || (*p != '\0' && strchr("+-.", *p) != NULL)) {
        p++;
    }
    return p > origin && strncmp(p, "://", 3) == 0 ? p + 3 : NULL;
}

static bool is_web(const char *origin)
{
    return strncasecmp(origin, "http://", 7) == 0 || strncasecmp(origin, "https://", 8) == 0;
}

static bool origin_matches(const char *entry, const char *origin)
{
    size_t len = strlen(entry);
    if (len > 0 && entry[len - 1] == '*') {
        return strncasecmp(entry, origin, len - 1) == 0;
    }
    return strcasecmp(entry, origin) == 0;
}

bool origin_allowed(const struct origin_policy *p, const char *origin)
{
    size_t len;
    const char *port;
    const char *host = after_scheme(origin);
    if (host == NULL) {
        return false;
    }
    if (is_web(origin) && split_host(host, &len, &port) && is_loopback(host, len)) {
        return true;
    }
    for (size_t i = 0; i < p->origin_count; i++) {
        if (origin_matches(p->origins[i], origin)) {
            return true;
        }
    }
    return false;
}

static bool origin_entry_valid(const char *entry)
{
    const char *host = after_scheme(entry);
    if (host == NULL || host[0] == '\0') {
        return false;
    }
    if (strcmp(host, "*") == 0) {
        return !is_web(entry);
    }
    return host[strcspn(host, "*/ ,?#@\"")] == '\0' && (!is_web(entry) || origin_host_valid(host));
}

static bool copy_list(char ***out, size_t *count, const char *const *from, size_t n,
                      bool (*valid)(const char *), const char *option, struct err *err)
{
    *out = mem_calloc(n, sizeof **out);
    if (*out == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for %s", option);
    }
    for (size_t i = 0; i < n; i++) {
        if (!valid(from[i])) {
            return err_set(err, ERR_CONFIG, "entry %zu of %s is not valid", i + 1, option);
        }
        (*out)[i] = mem_strdup(from[i]);
        if ((*out)[i] == NULL) {
            return err_set(err, ERR_MEMORY, "no memory for %s", option);
        }
        (*count)++;
    }
    return true;
}

struct origin_policy *origin_policy_new(const char *const *hosts, size_t host_count,
                                        const char *const *origins, size_t origin_count, struct err *err)
{
    struct origin_policy *p = mem_calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the origin rules");
        return NULL;
    }
    if (!copy_list(&p->hosts, &p->host_count, hosts, host_count, origin_host_valid, "--allow-host", err) ||
        !copy_list(&p->origins, &p->origin_count, origins, origin_count, origin_entry_valid, "--allow-origin",
                   err)) {
        origin_policy_free(p);
        return NULL;
    }
    return p;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(list[i]);
    }
    mem_free(list);
}

void origin_policy_free(struct origin_policy *p)
{
    if (p != NULL) {
        free_list(p->hosts, p->host_count);
        free_list(p->origins, p->origin_count);
        mem_free(p);
    }
}
