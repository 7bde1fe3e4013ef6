/* Keccak-f[1600] as FIPS 202 section 3 defines it, with the padding that Ethereum kept from before FIPS 202.
 */
#include "crypto/hash.h"

#include <string.h>

#define LANES 25
#define RATE_BYTES 136 /* 1600 - 2*256 bits */

static uint64_t rotl(uint64_t v, unsigned n)
{
    return n == 0 ? v : v << n | v >> (64 - n);
}

/* One bit of the round-constant LFSR (FIPS 202, algorithm 5). */
static uint8_t lfsr_step(uint8_t *state)
{
    uint8_t bit = *state & 1;
    *state = (uint8_t)(*state << 1 ^ (*state & 0x80 ? 0x71 : 0));
    return bit;
}

static void theta(uint64_t a[LANES])
{
    uint64_t c[5];
    for (int x = 0; x < 5; x++) {
        c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
    }
    for (int i = 0; i < LANES; i++) {
        a[i] ^= c[(i + 4) % 5] ^ rotl(c[(i + 1) % 5], 1);
    }
}

static void rho_pi(uint64_t a[LANES])
{
    int x = 1, y = 0;
    uint64_t current = a[x + 5 * y];
    for (unsigned t = 0; t < 24; t++) {
        int next = (2 * x + 3 * y) % 5;
        x = y;
        y = next;
        uint64_t moved = a[x + 5 * y];
        a[x + 5 * y] = rotl(current, (t + 1) * (t + 2) / 2 % 64);
        current = moved;
    }
}

static void chi(uint64_t a[LANES])
{
    for (int y = 0; y < LANES; y += 5) {
        uint64_t row[5];
        memcpy(row, a + y, sizeof row);
        for (int x = 0; x < 5; x++) {
            a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
    }
}

static void permute(uint64_t a[LANES])
{
    uint8_t lfsr = 1;
    for (int round = 0; round < 24; round++) {
        theta(a);
        rho_pi(a);
        chi(a);
        for (unsigned j = 0; j < 7; j++) {
            a[0] ^= (uint64_t)lfsr_step(&lfsr) << ((1u << j) - 1);
        }
    }
}

static void absorb(uint64_t a[LANES], const uint8_t block[RATE_BYTES])
{
    for (int i = 0; i < RATE_BYTES; i++) {
        a[i / 8] ^= (uint64_t)block[i] << (8 * (i % 8));
    }
    permute(a);
}

void hash_keccak256(uint8_t out[static KECCAK256_BYTES], const void *data, size_t len)
{
    uint64_t a[LANES] = {0};
    const uint8_t *in = data;
    uint8_t last[RATE_BYTES] = {0};
    for (; len >= RATE_BYTES; in += RATE_BYTES, len -= RATE_BYTES) {
        absorb(a, in);
    }
    if (len > 0) {
        memcpy(last, in, len);
    }
    last[len] = 0x01;
    last[RATE_BYTES - 1] |= 0x80;
    absorb(a, last);
    for (int i = 0; i < KECCAK256_BYTES; i++) {
        out[i] = (uint8_t)(a[i / 8] >> (8 * (i % 8)));
    }
}
