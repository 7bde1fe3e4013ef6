/* secp256k1 points and the software side of ECDH (libsecp256k1). Any thread. */
#ifndef E2EE_CRYPTO_POINT_H
#define E2EE_CRYPTO_POINT_H

#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

#define POINT_BYTES 65 /* 04 || X || Y, big-endian */
#define POINT_HEX_CHARS 130
#define ECDH_BYTES 32 /* X of the shared point: protocol.md section 2 */
#define SCALAR_BYTES 32
#define ETH_ADDRESS_BYTES 20

/* True when point is 04 || X || Y with X, Y < p on the curve. */
bool point_valid(const uint8_t point[static POINT_BYTES]);
/* 130 hex digits with 04, or 128 without (servers emit both: protocol.md section 1), either case; the point
 * is checked. ERR_INVALID. */
bool point_from_hex(uint8_t point[static POINT_BYTES], const char *hex, size_t digits,
                    struct err *err) MUST_CHECK;
/* Public point of scalar (1 <= scalar < n). */
bool point_from_scalar(uint8_t point[static POINT_BYTES], const struct secret *scalar,
                       struct err *err) MUST_CHECK;
/* Unhashed X of scalar * point into *z, 32 bytes. The point is checked first. */
bool point_ecdh(struct secret *z, const struct secret *scalar, const uint8_t point[static POINT_BYTES],
                struct err *err) MUST_CHECK;
/* A fresh random scalar in range. */
bool point_random_scalar(struct secret *scalar, struct err *err) MUST_CHECK;
/* True when both have the same X: one is the other or its negative, so ECDH gives the same secret with either. */
bool point_same_x(const uint8_t a[static POINT_BYTES], const uint8_t b[static POINT_BYTES]);
/* point + scalar * G: who knows d derives X(d * point + scalar * own) with it, own being d * G. The point is checked first. */
bool point_blind(uint8_t blinded[static POINT_BYTES], const uint8_t point[static POINT_BYTES],
                 const struct secret *scalar, struct err *err) MUST_CHECK;
/* Does x belong to own and point? x was derived with the point and then, with the same unknown d, blinded_x with
 * point_blind(point, scalar), scalar being random and drawn after x was there. True in *proven when for one of the two points
 * Z with that x the X of Z + scalar * own is blinded_x. An x of another point, or of a d that is not own's, passes once in
 * 2^255. This finds every error of a device. It binds no device that lies on purpose, which knows d and what it says.
 * False is no verdict: ERR_INVALID, ERR_MEMORY, ERR_CRYPTO. */
bool point_ecdh_proven(const struct secret *x, const struct secret *blinded_x, const struct secret *scalar,
                       const uint8_t own[static POINT_BYTES], bool *proven, struct err *err) MUST_CHECK;
/* keccak256(X || Y)[12:32]. */
void point_eth_address(uint8_t address[static ETH_ADDRESS_BYTES], const uint8_t point[static POINT_BYTES]);
/* Address that signed text by EIP-191 (protocol.md section 4): signature is r||s||v, v in {0,1,27,28}. */
bool point_recover_eip191(uint8_t address[static ETH_ADDRESS_BYTES], const char *text, size_t text_len,
                          const uint8_t signature[static 65], struct err *err) MUST_CHECK;

#endif
