/* An OpenSSL provider of our own, in a library context of its own, for the certificates and lists of evidence: keys on P-256 and
 * P-384 and their ECDSA signatures, nothing else. What is parsed in the context has its key decoded and its signature verified
 * here; every other question about it is OpenSSL's to answer, X509_verify_cert's among them.
 *
 * Two reasons. To decode a key OpenSSL 3.0 builds a chain out of all decoders that a context has, a hundred in the default
 * one, which costs more than a signature. And X509_verify_cert verifies each list anew for each certificate, and each CA
 * with each quote: that a signature fits a key and bytes is a fact that nothing changes, so it is remembered (attest/proven.h).
 * The arithmetic is the default context's. Any thread. */
#ifndef E2EE_ATTEST_PROVIDER_H
#define E2EE_ATTEST_PROVIDER_H

#include <openssl/types.h>

/* Made at the first call, kept for the life of the process. NULL when OpenSSL failed, and then the next call tries again. */
OSSL_LIB_CTX *provider_context(void);

#endif
