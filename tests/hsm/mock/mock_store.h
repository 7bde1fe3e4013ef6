/* The mock's objects and sessions. Under one lock, which the callers hold. */
#ifndef E2EE_TESTS_MOCK_STORE_H
#define E2EE_TESTS_MOCK_STORE_H

#include "mock.h"

#define MOCK_OBJECTS 600
#define MOCK_SESSIONS_MAX 256
#define MOCK_LABEL 64

struct mock_object {
    CK_OBJECT_HANDLE handle; /* 0: free */
    CK_OBJECT_CLASS class;
    CK_SESSION_HANDLE session; /* that made it */
    bool token;
    bool private_, sensitive, extractable, derive;
    char label[MOCK_LABEL + 1];
    unsigned char value[32]; /* scalar or shared secret */
    unsigned char point[65]; /* public half */
    uint64_t number;         /* in MOCK_STORE, 0: not there yet */
};

struct mock_session {
    CK_SESSION_HANDLE handle; /* 0: free */
    bool finding;
    CK_OBJECT_HANDLE found[MOCK_OBJECTS];
    size_t found_count, found_at;
};

extern struct mock_object mock_objects[MOCK_OBJECTS];
extern struct mock_session mock_sessions[MOCK_SESSIONS_MAX];

struct mock_object *mock_object_new(CK_SESSION_HANDLE session);
struct mock_object *mock_object(CK_OBJECT_HANDLE handle);
void mock_object_free(struct mock_object *object);
struct mock_session *mock_session(CK_SESSION_HANDLE handle);
size_t mock_session_count(void);
size_t mock_object_count(void);
/* Objects on the token, from and to MOCK_STORE, which several processes may share. load forgets all others, as C_Initialize. */
void mock_store_load(void);
void mock_store_save(void);
/* Token objects keep their handles over C_Finalize. */
extern bool mock_keeps_handles;
/* Appends 32 bytes in hex to MOCK_SECRETS. */
void mock_publish(const char *what, const unsigned char value[32]);

#endif
