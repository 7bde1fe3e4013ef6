#include "points.h"

#include <secp256k1.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void make_points(unsigned char (*points)[POINT_BYTES], size_t count)
{
    secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    for (size_t i = 0; i < count; i++) {
        secp256k1_pubkey point;
        unsigned char scalar[32];
        size_t len = POINT_BYTES;
        do {
            if (getrandom(scalar, sizeof scalar, 0) != (ssize_t)sizeof scalar) {
                fprintf(stderr, "no random bytes\n");
                exit(1);
            }
        } while (!secp256k1_ec_pubkey_create(context, &point, scalar));
        secp256k1_ec_pubkey_serialize(context, points[i], &len, &point, SECP256K1_EC_UNCOMPRESSED);
    }
    secp256k1_context_destroy(context);
}
