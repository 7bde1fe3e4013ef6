/* Between mock.c and mock_objects.c. */
#ifndef E2EE_TESTS_MOCK_CALLS_H
#define E2EE_TESTS_MOCK_CALLS_H

#include <pthread.h>

#include "mock_store.h"

extern pthread_mutex_t mock_lock;

/* Takes the lock; the value to return at once (lock not held) when it is not CKR_OK. */
CK_RV mock_enter(void);
/* Releases the lock and hands rv through. */
CK_RV mock_leave(CK_RV rv);
bool mock_logged_in(void);

/* Puts the counting and failing of calls (mock_nth.c) in front of all. */
void mock_nth_layer(CK_FUNCTION_LIST *list);
unsigned long mock_calls(void);

CK_RV mock_generate_key_pair(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                             CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                             CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV mock_derive_key(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                      CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived);
CK_RV mock_get_attribute_value(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl,
                               CK_ULONG count);
CK_RV mock_destroy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object);
CK_RV mock_find_objects_init(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *tmpl, CK_ULONG count);
CK_RV mock_find_objects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count);
CK_RV mock_find_objects_final(CK_SESSION_HANDLE handle);
CK_RV mock_generate_random(CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG len);

/* Exported; declared here because no header of PKCS#11's own does it without prototypes for all the others. */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out);

#endif
