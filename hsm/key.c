#include "hsm/key.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hsm/audit.h"
#include "hsm/ckr.h"
#include "hsm/derive.h"
#include "hsm/device.h"

#define SWEEP_MAX 1024 /* objects looked at in one sweep */
#define PLACES_MAX 256

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* OBJECT IDENTIFIER 1.3.132.0.10, secp256k1 */
static uint8_t curve[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};

static CK_RV generate(struct token *t, bool on_token, struct key_pair *out)
{
    CK_BBOOL *token = on_token ? &yes : &no;
    char *label = (char *)(uintptr_t)t->instance->label; /* the interface predates const */
    CK_ULONG label_len = strlen(label);
    CK_ATTRIBUTE public_template[] = {
        {CKA_EC_PARAMS, curve, sizeof curve},
        {CKA_TOKEN, token, sizeof *token},
        {CKA_LABEL, label, label_len},
    };
    CK_ATTRIBUTE private_template[] = {
        {CKA_TOKEN, token, sizeof *token}, {CKA_LABEL, label, label_len},     {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no}, {CKA_DERIVE, &yes, sizeof yes},
        {CKA_SIGN, &no, sizeof no},
    };
    return module_generate_pair(t->module, t->session, public_template,
                                sizeof public_template / sizeof *public_template, private_template,
                                sizeof private_template / sizeof *private_template, &out->public_key,
                                &out->private_key);
}

static int read_flag(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = CK_FALSE;
    size_t len = sizeof value;
    CK_RV rv = module_get_attribute(t->module, t->session, object, type, &value, &len);
    return rv == CKR_OK && len == sizeof value ? value != CK_FALSE : -1;
}

static void read_attributes(struct token *t, CK_OBJECT_HANDLE object, struct key_attributes *a)
{
    a->token = read_flag(t, object, CKA_TOKEN);
    a->sensitive = read_flag(t, object, CKA_SENSITIVE);
    a->always_sensitive = read_flag(t, object, CKA_ALWAYS_SENSITIVE);
    a->extractable = read_flag(t, object, CKA_EXTRACTABLE);
    a->never_extractable = read_flag(t, object, CKA_NEVER_EXTRACTABLE);
    a->local = read_flag(t, object, CKA_LOCAL);
}

/* Can the token be talked into giving the scalar away? */
static bool private_value_readable(struct token *t, CK_OBJECT_HANDLE object)
{
    struct secret value = SECRET_EMPTY;
    struct err ignored;
    if (!secret_new(&value, 128, &ignored)) {
        return true; /* cannot tell: refuse */
    }
    size_t len = value.len;
    CK_RV rv = module_get_attribute(t->module, t->session, object, CKA_VALUE, value.data, &len);
    secret_free(&value);
    return rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && len > 0);
}

/* 04 41 04 X Y (an OCTET STRING, as PKCS#11 says) or 04 X Y (as some do). */
static bool read_point(struct token *t, struct key_pair *pair, CK_RV *rv, struct err *err)
{
    uint8_t raw[128];
    size_t len = sizeof raw;
    *rv = module_get_attribute(t->module, t->session, pair->public_key, CKA_EC_POINT, raw, &len);
    if (*rv != CKR_OK) {
        return ckr_fail(err, *rv, "reading the new key's CKA_EC_POINT");
    }
    if (len == POINT_BYTES + 2 && raw[0] == 0x04 && raw[1] == POINT_BYTES) {
        memcpy(pair->point, raw + 2, POINT_BYTES);
    } else if (len == POINT_BYTES) {
        memcpy(pair->point, raw, POINT_BYTES);
    } else {
        return err_set(err, ERR_TOKEN, "the token's CKA_EC_POINT has %zu bytes, not 67 or 65", len);
    }
    return point_valid(pair->point) ||
           err_set(err, ERR_TOKEN, "the token made a key that is not on secp256k1");
}

static bool check_pair(struct token *t, struct key_pair *pair, struct key_attributes *a, CK_RV *rv,
                       struct err *err)
{
    read_attributes(t, pair->private_key, a);
    if (private_value_readable(t, pair->private_key) || a->extractable == 1) {
        return err_set(err, ERR_TOKEN,
                       "the token lets private keys out (%s): it protects nothing and is not used",
                       a->extractable == 1 ? "CKA_EXTRACTABLE is true" : "CKA_VALUE can be read");
    }
    if (read_flag(t, pair->private_key, CKA_ALWAYS_AUTHENTICATE) == 1) {
        return err_set(
            err, ERR_TOKEN,
            "\"%s\" wants the PIN at each use of a key (CKA_ALWAYS_AUTHENTICATE): that cannot serve a "
            "stream; a token is needed that asks once",
            t->found.label);
    }
    if (a->sensitive != 1 && !t->warned_not_sensitive) {
        t->warned_not_sensitive = true;
        log_warn("\"%s\" does not call its private keys CKA_SENSITIVE, though their value cannot be read",
                 t->found.label);
    }
    return read_point(t, pair, rv, err);
}

static bool explain_generate(struct token *t, CK_RV rv, struct err *err)
{
    switch (rv) {
    case CKR_CURVE_NOT_SUPPORTED:
    case CKR_DOMAIN_PARAMS_INVALID:
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_KEY_SIZE_RANGE:
        return err_set(err, ERR_TOKEN,
                       "\"%s\" cannot make secp256k1 keys (%s): most smart cards and TPMs cannot; SoftHSM2, "
                       "YubiHSM 2 and "
                       "SmartCard-HSM can",
                       t->found.label, ckr_name(rv));
    case CKR_ATTRIBUTE_VALUE_INVALID: /* of CKA_EC_PARAMS, as some modules mean it */
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_TEMPLATE_INCOMPLETE:
        return err_set(
            err, ERR_TOKEN,
            "\"%s\" does not make the key that is asked for (%s): most likely it has no secp256k1, as "
            "most smart cards and TPMs; SoftHSM2, YubiHSM 2 and SmartCard-HSM have it",
            t->found.label, ckr_name(rv));
    case CKR_DEVICE_MEMORY:
        return err_set(err, ERR_TOKEN,
                       "\"%s\" has no room for another key (%s): delete what is not needed by its own tool",
                       t->found.label, ckr_name(rv));
    default:
        return ckr_fail(err, rv, "C_GenerateKeyPair");
    }
}

/* A device that derives is not broken: what it lacks is room (tokens.md, "Key pair", SC). */
static bool still_derives(struct token *t, const struct key_set *set)
{
    struct secret z = SECRET_EMPTY;
    struct err ignored;
    bool dirty;
    CK_RV rv;
    bool ok = set->count > 0 && derive_shared_secret(t->module, t->session, set->pairs[0].private_key,
                                                     set->pairs[0].point, &z, &dirty, &rv, &ignored);
    secret_free(&z);
    return ok;
}

/* A module whose places are counted: with the last one taken it derives nothing and looks broken. */
static bool places_taken(struct token *t)
{
    CK_OBJECT_HANDLE objects[PLACES_MAX];
    size_t count = 0, places = device_places(&t->found.info);
    return places != 0 &&
           module_find(t->module, t->session, NULL, 0, objects, PLACES_MAX, &count) == CKR_OK &&
           count + 2 + DEVICE_PLACES_FREE > places;
}

static bool known_full(const struct token *t, const struct key_set *set)
{
    return t->room != 0 && set->count >= t->room &&
           clock_boot_ns() - t->room_ns < KEY_ROOM_S * CLOCK_NS_PER_S;
}

/* After a failed generation: what stayed of it goes, as far as it can be seen. What the failure means is returned. */
static CK_RV clean_up(struct token *t, const struct key_set *set, CK_RV rv)
{
    /* Some tokens keep the key that they say they could not make; and old ones of ours may fill them. */
    if (ckr_is_loss(rv) && rv != CKR_GENERAL_ERROR) {
        return rv;
    }
    size_t swept = key_sweep(t, set, t->instance->label);
    if (rv != CKR_GENERAL_ERROR || t->unseen >= KEY_UNSEEN_MAX || !still_derives(t, set)) {
        return rv;
    }
    t->unseen += swept == 0;
    t->room = set->count;
    t->room_ns = clock_boot_ns();
    log_warn("\"%s\" seems to be full with %zu key pairs of ours (%s)", t->found.label, set->count,
             ckr_name(rv));
    return CKR_DEVICE_MEMORY;
}

/* On the disk before the key is used. */
static bool record_created(const struct token *t, const struct key_pair *pair, const struct key_attributes *a,
                           struct err *err)
{
    struct audit_text point, label;
    audit_event("key_created",
                ",\"key\":%s,\"token\":%s,\"attributes\":{\"token\":%s,\"sensitive\":%s,"
                "\"always_sensitive\":%s,\"extractable\":%s,\"never_extractable\":%s,\"local\":%s}",
                audit_point(&point, pair->point), audit_quote(&label, t->found.label), audit_flag(a->token),
                audit_flag(a->sensitive), audit_flag(a->always_sensitive), audit_flag(a->extractable),
                audit_flag(a->never_extractable), audit_flag(a->local));
    return audit_flush(LIMIT_AUDIT_S * 1000, err);
}

void key_reject(const struct key_pair *pair, const struct err *err)
{
    struct audit_text point, why;
    audit_event("key_rejected", ",\"key\":%s,\"why\":%s", audit_point(&point, pair->point),
                audit_quote(&why, err->message));
}

/* gone -1: nobody asked the token. */
static void record_end(const char *event, const struct key_pair *pair, int gone)
{
    struct audit_text point;
    audit_event(event, ",\"key\":%s,\"gone\":%s", audit_point(&point, pair->point), audit_flag(gone));
}

bool key_generate(struct token *t, struct key_set *set, struct key_pair *out,
                  struct key_attributes *attributes, CK_RV *rv, struct err *err)
{
    struct key_pair pair = {0};
    struct key_attributes read;
    memset(out, 0, sizeof *out);
    *rv = CKR_OK;
    if (set->count == sizeof set->pairs / sizeof *set->pairs) {
        return err_set(err, ERR_BUSY, "the keyholder has %zu keys already", set->count);
    }
    if (known_full(t, set) || places_taken(t)) {
        *rv = CKR_DEVICE_MEMORY;
        return explain_generate(t, *rv, err);
    }
    *rv = generate(t, t->token_objects, &pair);
    if (*rv == CKR_ATTRIBUTE_VALUE_INVALID && !t->token_objects) {
        *rv = generate(t, true, &pair);
        t->token_objects = *rv == CKR_OK;
    }
    if (*rv != CKR_OK) {
        *rv = clean_up(t, set, *rv);
        return explain_generate(t, *rv, err);
    }
    set->pairs[set->count++] = pair;
    bool good = check_pair(t, &pair, &read, rv, err);
    set->pairs[set->count - 1] = pair;
    if (!good) {
        key_reject(&pair, err);
    }
    if (!good || !record_created(t, &pair, &read, err)) {
        key_destroy(t, set, pair.private_key);
        return false;
    }
    t->token_objects = t->token_objects || read.token == 1;
    if (attributes != NULL) {
        *attributes = read;
    }
    *out = pair;
    return true;
}

bool key_destroy(struct token *t, struct key_set *set, CK_OBJECT_HANDLE private_key)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->pairs[i].private_key != private_key) {
            continue;
        }
        struct key_pair pair = set->pairs[i];
        set->pairs[i] = set->pairs[--set->count];
        CK_RV rv = module_destroy(t->module, t->session, pair.private_key);
        module_destroy(t->module, t->session, pair.public_key);
        bool gone = rv == CKR_OK || ckr_class(rv) == CKR_CLASS_KEY;
        record_end("key_destroyed", &pair, gone);
        if (!gone) {
            log_error(
                "a key pair could not be destroyed (%s); what is left of it is swept at the next chance",
                ckr_name(rv));
            return false;
        }
        return true;
    }
    return true;
}

void key_destroy_all(struct token *t, struct key_set *set)
{
    while (set->count > 0) {
        key_destroy(t, set, set->pairs[set->count - 1].private_key);
    }
}

void key_forget_all(struct key_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        record_end("key_lost", &set->pairs[i], -1);
    }
    memset(set, 0, sizeof *set);
}

static bool in_set(const struct key_set *set, CK_OBJECT_HANDLE object)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->pairs[i].private_key == object || set->pairs[i].public_key == object) {
            return true;
        }
    }
    return false;
}

/* The operator's key for --audit-key. */
static bool is_spared(struct token *t, CK_OBJECT_HANDLE object)
{
    const struct instance *i = t->instance;
    uint8_t id[INSTANCE_SPARE_BYTES];
    size_t len = sizeof id;
    return i->spare_len > 0 &&
           module_get_attribute(t->module, t->session, object, CKA_ID, id, &len) == CKR_OK &&
           len == i->spare_len && memcmp(id, i->spare_id, len) == 0;
}

static size_t sweep_class(struct token *t, const struct key_set *set, const char *label,
                          CK_OBJECT_CLASS class)
{
    CK_OBJECT_HANDLE objects[SWEEP_MAX];
    size_t count, swept = 0;
    CK_ATTRIBUTE wanted[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)},
    };
    CK_RV rv = module_find(t->module, t->session, wanted, 2, objects, SWEEP_MAX, &count);
    if (rv != CKR_OK) {
        log_warn("cannot look for left-over keys on \"%s\": %s", t->found.label, ckr_name(rv));
    }
    for (size_t i = 0; i < count; i++) {
        if (!in_set(set, objects[i]) && !is_spared(t, objects[i]) &&
            module_destroy(t->module, t->session, objects[i]) == CKR_OK) {
            swept++;
        }
    }
    return swept;
}

size_t key_sweep(struct token *t, const struct key_set *set, const char *label)
{
    size_t swept = sweep_class(t, set, label, CKO_PRIVATE_KEY);
    swept += sweep_class(t, set, label, CKO_PUBLIC_KEY);
    if (swept > 0) {
        struct audit_text name, owner;
        log_warn("removed %zu left-over objects of ours from \"%s\"", swept, t->found.label);
        audit_event("swept", ",\"token\":%s,\"label\":%s,\"objects\":%zu", audit_quote(&name, t->found.label),
                    audit_quote(&owner, label), swept);
    }
    return swept;
}
