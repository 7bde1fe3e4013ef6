/* secp256k1 for the card, by OpenSSL. */
#ifndef E2EE_TESTS_SIMCARD_CURVE_H
#define E2EE_TESTS_SIMCARD_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#define CURVE_SCALAR 32
#define CURVE_POINT 65

bool curve_init(void);
/* The field's prime, to know the curve by. */
void curve_prime(uint8_t prime[CURVE_SCALAR]);
bool curve_generate(uint8_t scalar[CURVE_SCALAR], uint8_t point[CURVE_POINT]);
/* scalar times peer; false when peer is no point of the curve. */
bool curve_multiply(const uint8_t scalar[CURVE_SCALAR], const uint8_t peer[CURVE_POINT],
                    uint8_t product[CURVE_POINT]);

#endif
