#include "server/address.h"

#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/text.h"

static void set_v4(struct address *a, struct in_addr ip, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&a->addr;
    memset(a, 0, sizeof *a);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr = ip;
    a->len = sizeof *in;
    a->loopback = ntohl(ip.s_addr) >> 24 == 127;
}

static void set_v6(struct address *a, struct in6_addr ip, uint16_t port)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a->addr;
    memset(a, 0, sizeof *a);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    in->sin6_addr = ip;
    a->len = sizeof *in;
    a->loopback = IN6_IS_ADDR_LOOPBACK(&ip) != 0;
}

size_t address_parse(const char *text, struct address out[static 2], struct err *err)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    uint64_t port;
    struct in_addr v4;
    struct in6_addr v6;
    if (colon == NULL || len == 0 || len >= sizeof host || !text_u64(&port, colon + 1, 0, 65535)) {
        err_set(err, ERR_CONFIG, "--listen needs HOST:PORT, for example 127.0.0.1:5111 or [::1]:5111");
        return 0;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    if (strcmp(host, "localhost") == 0) {
        set_v4(&out[0], (struct in_addr){htonl(INADDR_LOOPBACK)}, (uint16_t)port);
        set_v6(&out[1], in6addr_loopback, (uint16_t)port);
        out[1].optional = true;
        return 2;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        set_v4(&out[0], v4, (uint16_t)port);
        return 1;
    }
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6) == 1) {
            set_v6(&out[0], v6, (uint16_t)port);
            return 1;
        }
    }
    err_set(err, ERR_CONFIG,
            "the host of --listen must be localhost, an IPv4 address or an IPv6 address in brackets");
    return 0;
}

void address_name(const struct sockaddr_storage *addr, char out[static 64])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)addr;
        inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip);
        snprintf(out, 64, "[%s]:%d", ip, ntohs(in->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(out, 64, "%s:%d", ip, ntohs(in->sin_port));
    }
}

int address_port(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                                             : ((const struct sockaddr_in *)addr)->sin_port);
}
