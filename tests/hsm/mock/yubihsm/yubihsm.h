/* Between the parts of the YubiHSM 2's mock: yubihsm.c (module, slots, login), device.c (the device: its sessions, whether it is
 * there), keys.c (pairs and derived keys).
 *
 * Read from the environment besides mock.h's:
 *   MOCK_DEVICE          file with the device's sessions, for several processes and what a killed one leaves
 *   MOCK_DEVICE_SESSIONS how many it has (16)
 *   MOCK_DEVICE_IDLE_MS  after so long a silence it forgets one (30000)
 *   MOCK_GONE            as long as this file is there, the device is pulled out
 *   MOCK_ROOM            objects that it holds (256)
 *   MOCK_NO_CONF         1: no configuration */
#ifndef E2EE_TESTS_MOCK_YUBIHSM_H
#define E2EE_TESTS_MOCK_YUBIHSM_H

#include "../mock_store.h"

#define YUBI_KEY_ID "0010"
#define YUBI_PASSWORD "password"
#define YUBI_FIRST_DERIVED 0xff0000
#define YUBI_DERIVED_MAX 255 /* a session */

/* C_Initialize: is it there? locks: whether C_Initialize was given any. */
void yubi_device_found(bool locks);
bool yubi_device_absent(void);
/* A device session for this process. asked_again: the login can be repeated without asking anybody. */
CK_RV yubi_device_login(bool can_repeat);
void yubi_device_logout(void);
/* C_Finalize: the module forgets the session, the device does not. */
void yubi_device_forget(void);
/* Around each call that reaches the device, which does one at a time. Not CKR_OK: it does not come to pass. */
CK_RV yubi_device_begin(void);
CK_RV yubi_device_end(CK_RV rv);

CK_RV yubi_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                    CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                    CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV yubi_derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                  CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived);
CK_RV yubi_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count);
CK_RV yubi_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
/* Derived keys are the module's, and end with their session. session 0: all. */
void yubi_forget_derived(CK_SESSION_HANDLE session);

#endif
