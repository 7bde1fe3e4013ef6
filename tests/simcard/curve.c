#include "curve.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

static EC_GROUP *group;

bool curve_init(void)
{
    group = group != NULL ? group : EC_GROUP_new_by_curve_name(NID_secp256k1);
    return group != NULL;
}

void curve_prime(uint8_t prime[CURVE_SCALAR])
{
    BN_bn2binpad(EC_GROUP_get0_field(group), prime, CURVE_SCALAR);
}

static bool write_point(const EC_POINT *point, uint8_t out[CURVE_POINT])
{
    return EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, CURVE_POINT, NULL) ==
           CURVE_POINT;
}

bool curve_generate(uint8_t scalar[CURVE_SCALAR], uint8_t point[CURVE_POINT])
{
    BIGNUM *k = BN_new();
    EC_POINT *product = EC_POINT_new(group);
    bool ok = k != NULL && product != NULL;
    do {
        ok = ok && BN_priv_rand_range(k, EC_GROUP_get0_order(group)) == 1;
    } while (ok && BN_is_zero(k));
    ok = ok && EC_POINT_mul(group, product, k, NULL, NULL, NULL) == 1 && write_point(product, point) &&
         BN_bn2binpad(k, scalar, CURVE_SCALAR) == CURVE_SCALAR;
    EC_POINT_free(product);
    BN_clear_free(k);
    return ok;
}

bool curve_multiply(const uint8_t scalar[CURVE_SCALAR], const uint8_t peer[CURVE_POINT],
                    uint8_t product[CURVE_POINT])
{
    BIGNUM *k = BN_bin2bn(scalar, CURVE_SCALAR, NULL);
    EC_POINT *base = EC_POINT_new(group), *result = EC_POINT_new(group);
    bool ok = k != NULL && base != NULL && result != NULL &&
              EC_POINT_oct2point(group, base, peer, CURVE_POINT, NULL) == 1 &&
              EC_POINT_mul(group, result, NULL, base, k, NULL) == 1 && write_point(result, product);
    EC_POINT_free(base);
    EC_POINT_free(result);
    BN_clear_free(k);
    return ok;
}
