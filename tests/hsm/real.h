/* Tokens that are not mocks: other people's PKCS#11 modules, run against what they are made for. "p11kit" is p11-kit's proxy module in
 * front of SoftHSM2, with a configuration of its own; "opensc" is OpenSC's module with a pcscd of the test's own and the
 * simulated SmartCard-HSM (tests/simcard). Nothing on the host is touched, and all ends with the test. */
#ifndef E2EE_TESTS_HSM_REAL_H
#define E2EE_TESTS_HSM_REAL_H

#include "harness.h"

/* How long the simulated card takes for a key pair and for one derivation. */
#define REAL_GENERATE_MS 20
#define REAL_DERIVE_MS 5

/* Starts what the module needs. NULL, or what is missing here. */
const char *real_begin(const char *module);
void real_end(void);
/* Is this a module of these? */
bool real_is(const char *module);
/* The module's file; NULL when it is not installed. */
const char *real_module(const char *module);
/* Configuration, environment and PIN for one keyholder. */
void real_prepare(struct kh *k, const char *module);
/* Keys on the simulated card; PINs that may still be wrong. */
unsigned real_keys(void);
unsigned real_tries(void);
/* The card as it was delivered and initialised: without keys, with all its tries. */
void real_card_anew(void);
/* Pulls the card out, or puts it back. */
void real_card(bool in_reader);
/* It stops answering, and goes on. */
void real_card_hangs(bool hangs);
void real_restart_pcscd(void);
/* label is the card's own, "e2ee", with or without the name of its PIN: OpenSC 0.23 adds that, 0.26 does not. */
void real_assert_label(const char *label);
/* A key pair of somebody else's on the card, by pkcs11-tool. */
void real_foreign_key(void);

#endif
