/* What every process of ours does to itself first. */
#ifndef E2EE_BASE_PROCESS_H
#define E2EE_BASE_PROCESS_H

#include "base/err.h"

/* No core dumps (RLIMIT_CORE 0), not dumpable or traceable by its own user (PR_SET_DUMPABLE 0), no new
 * privileges, SIGPIPE ignored, umask 077. Call before any secret exists. */
bool process_harden(struct err *err) MUST_CHECK;

/* Removes every environment variable that is not named in allowed (NULL-terminated), and sets OPENSSL_CONF to
 * /dev/null: a system openssl.cnf can load PKCS#11 providers into any process, and libcurl honours
 * SSLKEYLOGFILE. Call before threads. */
bool process_clean_environment(const char *const *allowed, struct err *err) MUST_CHECK;

#endif
