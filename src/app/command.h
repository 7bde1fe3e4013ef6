/* The commands of e2ee-hsm-proxy beside serve. Each returns the process's exit code. */
#ifndef E2EE_APP_COMMAND_H
#define E2EE_APP_COMMAND_H

#include "app/config.h"

struct upstream_config;

int command_models(const struct config *config);
int command_attest(const struct config *config);
int command_check(const struct config *config);
int command_chat(const struct config *config, int argc, char **argv);
int command_policy(const struct config *config);
int command_verify(const struct config *config);
int command_audit(const struct config *config);

/* The upstream of a command, with its API key if there is one (--api-key-file, VENICE_API_KEY). */
struct upstream_config *command_upstream(const struct config *config, struct err *err) MUST_CHECK;
/* Prints the error and returns 2: the input could not be read. */
int command_failed(const struct err *err);

#endif
