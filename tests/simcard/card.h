/* A SmartCard-HSM as OpenSC's sc-hsm driver sees it: what the card answers to each command. What the driver sends was read in
 * OpenSC's public sources (src/libopensc/card-sc-hsm.c, pkcs15-sc-hsm.c, src/pkcs15init/pkcs15-sc-hsm.c); nothing of it
 * is here. The card knows one curve, secp256k1, and computes with OpenSSL, not with what the keyholder computes with. */
#ifndef E2EE_TESTS_SIMCARD_CARD_H
#define E2EE_TESTS_SIMCARD_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CARD_MESSAGE_MAX 65535
#define CARD_FILES_MAX 512
#define CARD_EF_MAX 1024
#define CARD_PIN_MAX 16
#define CARD_SO_PIN 8

struct card_file {
    uint16_t id; /* 0: free. 0xCCnn is key nn: its data is the private scalar and cannot be read */
    size_t len;
    uint8_t data[CARD_EF_MAX];
};

struct card {
    struct card_file files[CARD_FILES_MAX];
    uint16_t selected; /* file that commands without an id mean */
    uint8_t pin[CARD_PIN_MAX], so_pin[CARD_SO_PIN];
    size_t pin_len;
    bool initialized; /* has an SO-PIN and a PIN */
    unsigned tries, tries_max;
    bool pin_verified;
    unsigned generate_ms, derive_ms;  /* how long these take */
    unsigned long generated, derived; /* since it was made */
};

/* A card as it is delivered: its own key 0 with a certificate, and nothing else, before `sc-hsm-tool --initialize`. False when OpenSSL
 * does not know the curve. */
bool card_init(struct card *card);
/* Power lost or reset: nobody is logged in, nothing selected. */
void card_reset(struct card *card);
/* Keys on the card, without its own. */
unsigned card_keys(const struct card *card);
/* One command APDU (short or extended lengths); answer has room for CARD_MESSAGE_MAX. Returns the answer's length, at
 * least the two status bytes. */
size_t card_answer(struct card *card, const uint8_t *command, size_t len, uint8_t *answer);

#endif
