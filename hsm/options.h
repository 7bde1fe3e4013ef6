/* The keyholder's command line and its part of the configuration file. */
#ifndef E2EE_HSM_OPTIONS_H
#define E2EE_HSM_OPTIONS_H

#include "base/log.h"
#include "base/sandbox.h"
#include "hsm/audit.h"
#include "hsm/server.h"
#include "hsm/token.h"

#define OPTIONS_MODULE_ENV_MAX 32

struct options {
    struct server_options server;
    struct token_options token;
    struct audit_options audit;
    const char *audit_key;     /* URI, NULL: nothing is signed */
    uint64_t audit_checkpoint; /* lines */
    const char *config_file;
    unsigned threads;
    unsigned token_timeout_s;
    bool check, json, help, version;
    enum log_level log_level;
    bool log_level_given; /* on the command line, which wins over the file on SIGHUP too */
    bool log_json;
    const char *module_env[OPTIONS_MODULE_ENV_MAX]; /* further variables that the module may see */
    size_t module_env_count;
    uint16_t network_ports[SANDBOX_PORTS_MAX]; /* of --token-network */
    size_t network_count;
};

/* Reads argv, and behind it the file (--config, else E2EE_PROXY_CONFIG, else the system's if there; none of the
 * latter two with --connections-fd): the command line wins. ERR_CONFIG; messages never repeat a value. Texts live as
 * long as the process. */
bool options_read(struct options *o, int argc, char **argv, struct err *err) MUST_CHECK;
void options_print_help(void);

/* Of hsm/options_audit.c, for the table. */
bool options_audit_log(struct options *o, const char *value, struct err *err) MUST_CHECK;
bool options_audit_full(struct options *o, const char *value, struct err *err) MUST_CHECK;
bool options_audit_sync(struct options *o, const char *value, struct err *err) MUST_CHECK;
bool options_audit_key(struct options *o, const char *value, struct err *err) MUST_CHECK;
bool options_audit_checkpoint(struct options *o, const char *value, struct err *err) MUST_CHECK;
bool options_audit_size(struct options *o, const char *value, struct err *err) MUST_CHECK;
/* Of hsm/options_network.c. */
bool options_token_network(struct options *o, const char *value, struct err *err) MUST_CHECK;
/* An absolute path into *slot, which lives as long as the process: the keyholder leaves the working folder. */
bool options_path(const char **slot, const char *value, struct err *err) MUST_CHECK;

#endif
