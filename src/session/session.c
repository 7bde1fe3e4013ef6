#include "session/session.h"

#include "base/mem.h"

struct session *session_ref(struct session *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void session_unref(struct session *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1) {
        return;
    }
    keyholder_close(s->control, s->key);
    if (s->shared != NULL && s->free_shared != NULL) {
        s->free_shared(s->shared);
    }
    secret_free(&s->request_key);
    mem_free(s);
}
