/*
 * A certificate of our own for https, made anew at each start.
 */
#ifndef SIM_TLS_H
#define SIM_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

enum tls_kind { TLS_GOOD, TLS_EXPIRED, TLS_WRONG_NAME };

/* Self-signed, for localhost, 127.0.0.1 and ::1; written as PEM to cert_out when that is not NULL. */
SSL_CTX *tls_make(enum tls_kind kind, const char *cert_out);

#endif
