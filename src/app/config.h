/* Configuration: command line over environment over file, from one table that also prints the help
 * (interface.md "Options of serve"). */
#ifndef E2EE_APP_CONFIG_H
#define E2EE_APP_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define CONFIG_LIST_MAX 16
#define CONFIG_WORDS_MAX 1024 /* files of a custody log */

struct config_list {
    char *items[CONFIG_LIST_MAX];
    size_t count;
};

/* Every string is owned by the config, and NULL when not given and without a default. */
struct config {
    char *config_file;
    /* [server] */
    struct config_list listen, allow_host, allow_origin;
    bool unsafe_listen;
    char *client_token_file;
    uint64_t workers; /* 0: one per core */
    uint64_t max_body, max_connections, max_inflight_bytes;
    char *log_level, *log_format, *state_dir;
    bool log_level_given; /* by the command line, which wins over the file on SIGHUP too */
    /* [upstream] */
    char *upstream, *api_key_file, *ca_file;
    bool unsafe_http_upstream, http2;
    uint64_t upstream_timeout, first_byte_timeout; /* seconds */
    /* [token] */
    char *pkcs11_module;
    struct config_list token;
    char *pin_file, *keyholder_socket, *custody, *audit_log, *audit_full, *audit_key;
    struct config_list token_network, module_env;
    struct config_list hide; /* internal: what the supervisor knows of the token's files */
    /* [session] */
    uint64_t rotate; /* seconds */
    /* [attestation] */
    char *collateral, *policy, *unsafe_attestation_root, *nras_url, *signatures, *evidence_dir;
    bool nras;
    /* Command-line words that are no options, in order; point into argv. */
    const char *words[CONFIG_WORDS_MAX];
    size_t word_count;
    /* Options of single commands. */
    bool json, help, pin, show_version;
    char *save, *write_policy, *at, *nonce, *root, *head;
    struct config_list key;
    uint64_t
        announce_fd; /* internal: the supervisor writes the address here once the proxy listens; 0: nowhere */
    uint64_t supervised_fd; /* internal: this process is the proxy behind a supervisor; 0: it is not */
};

/* Fills *config from defaults, file and command line; argv[0] is the command's name. The file is --config,
 * E2EE_PROXY_CONFIG, or /etc/e2ee-hsm-proxy.conf where that exists. ERR_CONFIG names the option or the file's line,
 * never a value. Call config_free also after a failure. */
bool config_load(struct config *config, int argc, char **argv, struct err *err) MUST_CHECK;
void config_free(struct config *config);

/* SIGHUP: sets the log level that the file has now, or the default when it names none any more; nothing where the command line
 * has set it. Logs what is wrong with the file. */
void config_reload_log_level(const struct config *config);

/* One line for each option of the given command ("serve", "attest", ...). */
void config_print_options(FILE *out, const char *command);

/* True when host is a loopback name or address: localhost, 127.0.0.0/8, ::1, with or without brackets. */
bool config_host_is_loopback(const char *host);

#endif
