/* Loading, and finding tokens. The calls on sessions and objects are in module_calls.c. */
#include "hsm/module.h"

#include <dlfcn.h>
#include <string.h>

#include <libp11.h>

#include "base/log.h"
#include "base/mem.h"
#include "hsm/ckr.h"
#include "hsm/module_private.h"

static CK_RV initialize(struct module *m)
{
    CK_C_INITIALIZE_ARGS args;
    memset(&args, 0, sizeof args);
    args.flags = CKF_OS_LOCKING_OK;
    m->single_threaded = false;
    watchdog_enter("C_Initialize");
    CK_RV rv = m->functions->C_Initialize(&args);
    if (rv == CKR_CANT_LOCK) {
        m->single_threaded = true;
        rv = m->functions->C_Initialize(NULL);
    }
    watchdog_leave();
    return ckr_class(rv) == CKR_CLASS_OK ? CKR_OK : rv;
}

/* What the two usual codes mean, which say nothing by themselves. */
static const char *initialize_failed(CK_RV rv)
{
    switch (rv) {
    case CKR_ARGUMENTS_BAD:
        return "C_Initialize, which a YubiHSM's module refuses without YUBIHSM_PKCS11_CONF";
    case CKR_GENERAL_ERROR:
        return "C_Initialize (is the module's configuration there and readable? SoftHSM's is named by "
               "SOFTHSM2_CONF)";
    default:
        return "C_Initialize";
    }
}

static bool load_functions(struct module *m, const char *path, struct err *err)
{
    /* RTLD_NOW finds a missing library here and not in the middle of a derive. Never dlclosed. */
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        return err_set(err, ERR_CONFIG, "cannot load the PKCS#11 module %s: %s", path, dlerror());
    }
    CK_C_GetFunctionList get;
    void *symbol = dlsym(handle, "C_GetFunctionList");
    if (symbol == NULL) {
        return err_set(err, ERR_CONFIG, "%s is no PKCS#11 module: it has no C_GetFunctionList", path);
    }
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from object to function pointer */
    CK_RV rv = get(&m->functions);
    if (rv != CKR_OK || m->functions == NULL || m->functions->C_Initialize == NULL) {
        return ckr_fail(err, rv == CKR_OK ? CKR_GENERAL_ERROR : rv, "C_GetFunctionList");
    }
    return true;
}

static void close_finder(struct module *m)
{
    if (m->finder != NULL) {
        watchdog_enter("C_Finalize (libp11)");
        PKCS11_CTX_unload(m->finder);
        PKCS11_CTX_free(m->finder);
        watchdog_leave();
        m->finder = NULL;
    }
}

static void finalize(struct module *m)
{
    watchdog_enter("C_Finalize");
    if (m->functions->C_Finalize != NULL) {
        m->functions->C_Finalize(NULL);
    }
    watchdog_leave();
}

static struct module *loaded; /* start-up and end only */

/* The module whose functions these are, if it is loaded already under this or another name. */
static struct module *find_loaded(const CK_FUNCTION_LIST *functions)
{
    struct module *m = loaded;
    while (m != NULL && m->functions != functions) {
        m = m->next;
    }
    return m;
}

static struct module *keep(struct module *m)
{
    pthread_mutex_init(&m->recovery, NULL);
    m->users = 1;
    m->next = loaded;
    loaded = m;
    return m;
}

struct module *module_load(const char *path, struct err *err)
{
    struct module *m = mem_calloc(1, sizeof *m);
    if (m == NULL) {
        err_set(err, ERR_MEMORY, "no memory to load the PKCS#11 module");
        return NULL;
    }
    m->ecdh = CKM_ECDH1_DERIVE;
    if (!load_functions(m, path, err)) {
        mem_free(m);
        return NULL;
    }
    struct module *shared = find_loaded(m->functions);
    if (shared != NULL) {
        mem_free(m);
        if (shared->single_threaded) {
            err_set(err, ERR_CONFIG, "the PKCS#11 module %s cannot lock: it serves one token only", path);
            return NULL;
        }
        shared->users++;
        return shared;
    }
    /* Ours first: only so can a module that cannot lock be initialised without; libp11 tolerates "already". */
    CK_RV rv = initialize(m);
    if (rv != CKR_OK) {
        ckr_fail(err, rv, initialize_failed(rv));
        mem_free(m);
        return NULL;
    }
    if (m->single_threaded) {
        return keep(m); /* libp11 asks for OS locking and would be refused again */
    }
    watchdog_enter("C_Initialize (libp11)");
    m->finder = PKCS11_CTX_new();
    if (m->finder == NULL || PKCS11_CTX_load(m->finder, path) != 0) {
        PKCS11_CTX_free(m->finder);
        m->finder = NULL;
    }
    watchdog_leave();
    if (m->finder == NULL) {
        err_set(err, ERR_CONFIG, "libp11 cannot load the PKCS#11 module %s", path);
        finalize(m);
        mem_free(m);
        return NULL;
    }
    return keep(m);
}

void module_close(struct module *m)
{
    if (m == NULL || --m->users > 0) {
        return;
    }
    struct module **at = &loaded;
    while (*at != m) {
        at = &(*at)->next;
    }
    *at = m->next;
    finalize(m);
    close_finder(m);
    pthread_mutex_destroy(&m->recovery);
    mem_free(m);
}

void module_recovery_begin(struct module *m)
{
    pthread_mutex_lock(&m->recovery);
}

void module_recovery_end(struct module *m)
{
    pthread_mutex_unlock(&m->recovery);
}

void module_token_works(struct module *m, bool works)
{
    if (works) {
        atomic_fetch_add(&m->working, 1);
    } else {
        atomic_fetch_sub(&m->working, 1);
    }
}

bool module_idle(const struct module *m)
{
    return atomic_load(&m->working) == 0;
}

bool module_slot_claimed(const struct module *m, CK_SLOT_ID slot)
{
    for (size_t i = 0; i < m->claimed_count; i++) {
        if (m->claimed[i] == slot) {
            return true;
        }
    }
    return false;
}

bool module_claim_slot(struct module *m, CK_SLOT_ID slot)
{
    if (module_slot_claimed(m, slot) || m->claimed_count == MODULE_CLAIMS_MAX) {
        return false;
    }
    m->claimed[m->claimed_count++] = slot;
    return true;
}

void module_release_slot(struct module *m, CK_SLOT_ID slot)
{
    for (size_t i = 0; i < m->claimed_count; i++) {
        if (m->claimed[i] == slot) {
            m->claimed[i] = m->claimed[--m->claimed_count];
            return;
        }
    }
}

bool module_restart(struct module *m, struct err *err)
{
    /* Some modules give each caller a list of its own and live until the last has finalised. */
    close_finder(m);
    finalize(m);
    m->restarts++;
    CK_RV rv = initialize(m);
    return rv == CKR_OK || ckr_fail(err, rv, "C_Initialize");
}

unsigned module_sessions_ended(const struct module *m, bool of_slots)
{
    return m->restarts + (of_slots ? m->closings : 0);
}

void module_use_cofactor(struct module *m)
{
    m->ecdh = CKM_ECDH1_COFACTOR_DERIVE;
}

bool module_single_threaded(const struct module *m)
{
    return m->single_threaded;
}

/* Fixed-size, blank-padded, any bytes -> terminated printable ASCII. */
static void trim(char *out, const unsigned char *in, size_t len)
{
    while (len > 0 && (in[len - 1] == ' ' || in[len - 1] == '\0')) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = in[i] >= 0x20 && in[i] < 0x7f ? (char)in[i] : '?';
    }
    out[len] = '\0';
}

CK_RV module_token_info(struct module *m, CK_SLOT_ID slot, struct module_token *out)
{
    CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    out->slot = slot;
    if (m->functions->C_GetSlotInfo != NULL && m->functions->C_GetTokenInfo != NULL) {
        watchdog_enter("C_GetTokenInfo");
        rv = m->functions->C_GetSlotInfo(slot, &out->slot_info);
        if (rv == CKR_OK) {
            rv = m->functions->C_GetTokenInfo(slot, &out->info);
        }
        watchdog_leave();
    }
    trim(out->label, out->info.label, sizeof out->info.label);
    trim(out->serial, out->info.serialNumber, sizeof out->info.serialNumber);
    return rv;
}

bool module_find_tokens(struct module *m, struct module_token *tokens, size_t *count, struct err *err)
{
    PKCS11_SLOT *slots = NULL;
    unsigned int slot_count = 0;
    *count = 0;
    if (m->finder == NULL || m->users > 1) {
        CK_RV rv = module_list_tokens(m, tokens, count);
        return rv == CKR_OK || ckr_fail(err, rv, "C_GetSlotList");
    }
    watchdog_enter("C_GetSlotList (libp11)");
    int failed = PKCS11_enumerate_slots(m->finder, &slots, &slot_count);
    watchdog_leave();
    if (failed != 0) {
        return err_set(err, ERR_TOKEN, "the PKCS#11 module does not list its slots");
    }
    for (unsigned int i = 0; i < slot_count && *count < MODULE_TOKENS_MAX; i++) {
        if (slots[i].token != NULL &&
            module_token_info(m, PKCS11_get_slotid_from_slot(&slots[i]), &tokens[*count]) == CKR_OK) {
            (*count)++;
        }
    }
    PKCS11_release_all_slots(m->finder, slots, slot_count);
    return true;
}

CK_RV module_list_tokens(struct module *m, struct module_token *tokens, size_t *count)
{
    CK_SLOT_ID slots[MODULE_TOKENS_MAX];
    CK_ULONG n = 0;
    *count = 0;
    if (m->functions->C_GetSlotList == NULL) {
        return CKR_FUNCTION_NOT_SUPPORTED;
    }
    watchdog_enter("C_GetSlotList");
    /* Asking for the number first is what makes modules look at their readers again. */
    CK_RV rv = m->functions->C_GetSlotList(CK_FALSE, NULL, &n);
    if (rv == CKR_OK) {
        n = MODULE_TOKENS_MAX;
        rv = m->functions->C_GetSlotList(CK_TRUE, slots, &n);
    }
    watchdog_leave();
    for (CK_ULONG i = 0; rv == CKR_OK && i < n && i < MODULE_TOKENS_MAX; i++) {
        if (module_token_info(m, slots[i], &tokens[*count]) == CKR_OK) {
            (*count)++;
        }
    }
    return rv;
}

void module_library_info(struct module *m, CK_INFO *out)
{
    memset(out, 0, sizeof *out);
    if (m->functions->C_GetInfo != NULL) {
        watchdog_enter("C_GetInfo");
        if (m->functions->C_GetInfo(out) != CKR_OK) {
            memset(out, 0, sizeof *out);
        }
        watchdog_leave();
    }
}
