/* Reading the fixed parts of a line: for chain.c and checkpoint.c. */
#ifndef E2EE_KEYIPC_CHAIN_READ_H
#define E2EE_KEYIPC_CHAIN_READ_H

#include "keyipc/chain.h"

/* True when prefix is what follows at *at, moving past it. */
bool chain_skip(const char *text, size_t len, size_t *at, const char *prefix) MUST_CHECK;
/* A whole number from 1 on, of 18 digits at most, without leading zeros. */
bool chain_number(uint64_t *out, const char *text, size_t len, size_t *at) MUST_CHECK;
/* 64 hex digits, lower case only: a line has one spelling. */
bool chain_hash(uint8_t out[static SHA256_BYTES], const char *text, size_t len, size_t *at) MUST_CHECK;

#endif
