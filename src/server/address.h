/* HOST:PORT of --listen to socket addresses. Pure. */
#ifndef E2EE_SERVER_ADDRESS_H
#define E2EE_SERVER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/err.h"

struct address {
    struct sockaddr_storage addr;
    socklen_t len;
    bool loopback;
    bool optional; /* ::1 of a default or of "localhost": left out where the machine has none */
};

/* One address, or two for localhost (127.0.0.1, then ::1). IPv4 literal, [IPv6] literal or localhost; port 0 to
 * 65535. ERR_CONFIG otherwise. Returns the number, 0 on failure. */
size_t address_parse(const char *text, struct address out[static 2], struct err *err) MUST_CHECK;
/* "127.0.0.1:5111" or "[::1]:5111". */
void address_name(const struct sockaddr_storage *addr, char out[static 64]);
int address_port(const struct sockaddr_storage *addr);

#endif
