/* --token-network HOST:PORT. The kernel narrows TCP to the port; the name is for whoever reads the configuration, and
 * for IPAddressAllow in the unit. */
#include <string.h>

#include "base/text.h"
#include "hsm/options.h"

bool options_token_network(struct options *o, const char *value, struct err *err)
{
    const char *colon = strrchr(value, ':');
    size_t host = colon != NULL ? (size_t)(colon - value) : 0;
    bool bracketed = host > 2 && value[0] == '[' && value[host - 1] == ']';
    uint64_t port;
    if (host == 0 || (!bracketed && strcspn(value, ":[]") != host) ||
        strcspn(value, "/@ ") != strlen(value) || !text_u64(&port, colon + 1, 1, UINT16_MAX)) {
        return err_set(err, ERR_CONFIG, "must be HOST:PORT, an IPv6 address in brackets");
    }
    if (o->network_count == SANDBOX_PORTS_MAX) {
        return err_set(err, ERR_CONFIG, "given too often");
    }
    o->network_ports[o->network_count++] = (uint16_t)port;
    return true;
}
