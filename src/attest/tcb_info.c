#include "attest/tcb_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PLATFORM_STATUSES                                                                                    \
    (TCB_BIT(TCB_UP_TO_DATE) | TCB_BIT(TCB_SW_HARDENING_NEEDED) | TCB_BIT(TCB_CONFIGURATION_NEEDED) |        \
     TCB_BIT(TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED) | TCB_BIT(TCB_OUT_OF_DATE) |                         \
     TCB_BIT(TCB_OUT_OF_DATE_CONFIGURATION_NEEDED) | TCB_BIT(TCB_REVOKED))
/* The only ones that Intel's convergence gives a meaning to. */
#define PART_STATUSES (TCB_BIT(TCB_UP_TO_DATE) | TCB_BIT(TCB_OUT_OF_DATE) | TCB_BIT(TCB_REVOKED))

static bool is_array(const struct json_node *node, size_t min, size_t max)
{
    return node != NULL && node->type == JSON_ARRAY && node->count >= min && node->count <= max;
}

static int by_svn(const void *a, const void *b)
{
    unsigned x = ((const struct tcb_svn_level *)a)->isvsvn, y = ((const struct tcb_svn_level *)b)->isvsvn;
    return (x < y) - (x > y);
}

static bool read_svn_levels(struct tcb_svn_levels *out, const struct json_doc *doc,
                            const struct json_node *object, struct err *err)
{
    const struct json_node *list = json_member(doc, object, "tcbLevels");
    out->count = 0;
    if (!is_array(list, 1, TCB_MODULE_LEVELS_MAX)) {
        return err_set(err, ERR_INVALID, "tcbLevels is no list of 1 to %d levels", TCB_MODULE_LEVELS_MAX);
    }
    for (const struct json_node *n = json_first(doc, list); n != NULL; n = json_next(doc, n)) {
        struct tcb_svn_level *level = &out->level[out->count++];
        uint64_t svn;
        int64_t date;
        if (!signed_json_u64(doc, json_member(doc, n, "tcb"), "isvsvn", UINT16_MAX, &svn, err) ||
            !signed_json_date(doc, n, "tcbDate", &date, level->date, err) ||
            !signed_json_status(doc, n, PART_STATUSES, &level->status, err) ||
            !signed_json_advisories(doc, n, &level->advisories, err)) {
            return false;
        }
        level->isvsvn = (unsigned)svn;
    }
    qsort(out->level, out->count, sizeof out->level[0], by_svn);
    for (size_t i = 1; i < out->count; i++) {
        if (out->level[i].isvsvn == out->level[i - 1].isvsvn) {
            return err_set(err, ERR_INVALID, "tcbLevels has two levels of the same isvsvn");
        }
    }
    return true;
}

static bool read_module_identity(struct tcb_module *m, const struct json_doc *doc,
                                 const struct json_node *object, struct err *err)
{
    return signed_json_hex(doc, object, "mrsigner", m->mrsigner, sizeof m->mrsigner, err) &&
           signed_json_hex(doc, object, "attributes", m->attributes, sizeof m->attributes, err) &&
           signed_json_hex(doc, object, "attributesMask", m->attributes_mask, sizeof m->attributes_mask, err);
}

/* "TDX_01": the version in hex, either case. */
static bool read_module_version(unsigned *version, const struct json_doc *doc, const struct json_node *object,
                                struct err *err)
{
    char id[16], *end;
    if (json_string_copy(doc, json_member(doc, object, "id"), id, sizeof id) && strlen(id) == 6 &&
        strncasecmp(id, "TDX_", 4) == 0) {
        *version = (unsigned)strtoul(id + 4, &end, 16);
        if (*end == '\0' && id[4] != '-' && id[4] != '+' && id[4] != ' ') {
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "a module identity is not named TDX_ and two hex digits");
}

static bool read_modules(struct tcb_info *out, const struct json_doc *doc, const struct json_node *info,
                         struct err *err)
{
    if (!read_module_identity(&out->base, doc, json_member(doc, info, "tdxModule"), err)) {
        return err_context(err, "tdxModule");
    }
    const struct json_node *list = json_present(doc, info, "tdxModuleIdentities");
    if (list == NULL) {
        return true;
    }
    if (!is_array(list, 0, TCB_MODULES_MAX)) {
        return err_set(err, ERR_INVALID, "tdxModuleIdentities is no list of at most %d", TCB_MODULES_MAX);
    }
    for (const struct json_node *n = json_first(doc, list); n != NULL; n = json_next(doc, n)) {
        struct tcb_module *m = &out->module[out->module_count];
        if (!read_module_version(&m->version, doc, n, err) || !read_module_identity(m, doc, n, err) ||
            !read_svn_levels(&m->levels, doc, n, err)) {
            return err_context(err, "tdxModuleIdentities");
        }
        if (tcb_info_module(out, m->version) != NULL) {
            return err_set(err, ERR_INVALID, "tdxModuleIdentities names a module twice");
        }
        out->module_count++;
    }
    return true;
}

static bool read_components(uint8_t out[static SGX_COMPONENTS], const struct json_doc *doc,
                            const struct json_node *tcb, const char *name, struct err *err)
{
    const struct json_node *list = json_member(doc, tcb, name);
    size_t i = 0;
    if (!is_array(list, SGX_COMPONENTS, SGX_COMPONENTS)) {
        return err_set(err, ERR_INVALID, "%s has not %d components", name, SGX_COMPONENTS);
    }
    for (const struct json_node *n = json_first(doc, list); n != NULL; n = json_next(doc, n)) {
        uint64_t svn;
        if (!signed_json_u64(doc, n, "svn", UINT8_MAX, &svn, err)) {
            return err_context(err, "%s", name);
        }
        out[i++] = (uint8_t)svn;
    }
    return true;
}

static int compare_levels(const struct tcb_level *a, const struct tcb_level *b)
{
    int order = memcmp(b->sgx, a->sgx, sizeof a->sgx);
    if (order == 0) {
        order = (a->pcesvn < b->pcesvn) - (a->pcesvn > b->pcesvn);
    }
    return order != 0 ? order : memcmp(b->tdx, a->tdx, sizeof a->tdx);
}

static int by_level(const void *a, const void *b)
{
    return compare_levels(a, b);
}

static bool read_levels(struct tcb_info *out, const struct json_doc *doc, const struct json_node *info,
                        struct err *err)
{
    const struct json_node *list = json_member(doc, info, "tcbLevels");
    if (!is_array(list, 1, TCB_LEVELS_MAX)) {
        return err_set(err, ERR_INVALID, "tcbLevels is no list of 1 to %d levels", TCB_LEVELS_MAX);
    }
    for (const struct json_node *n = json_first(doc, list); n != NULL; n = json_next(doc, n)) {
        struct tcb_level *level = &out->level[out->level_count++];
        const struct json_node *tcb = json_member(doc, n, "tcb");
        uint64_t pcesvn;
        int64_t date;
        if (!read_components(level->sgx, doc, tcb, "sgxtcbcomponents", err) ||
            !read_components(level->tdx, doc, tcb, "tdxtcbcomponents", err) ||
            !signed_json_u64(doc, tcb, "pcesvn", UINT16_MAX, &pcesvn, err) ||
            !signed_json_date(doc, n, "tcbDate", &date, level->date, err) ||
            !signed_json_status(doc, n, PLATFORM_STATUSES, &level->status, err) ||
            !signed_json_advisories(doc, n, &level->advisories, err)) {
            return err_context(err, "tcbLevels");
        }
        level->pcesvn = (unsigned)pcesvn;
    }
    qsort(out->level, out->level_count, sizeof out->level[0], by_level);
    for (size_t i = 1; i < out->level_count; i++) {
        if (compare_levels(&out->level[i - 1], &out->level[i]) == 0) {
            return err_set(err, ERR_INVALID, "tcbLevels has two levels of the same components");
        }
    }
    return true;
}

static bool read_head(const struct json_doc *doc, const struct json_node *object, const char *id,
                      uint64_t version, int64_t *issued, int64_t *next_update, uint64_t *evaluation,
                      struct err *err)
{
    uint64_t found;
    if (!json_string_is(doc, json_member(doc, object, "id"), id)) {
        return err_set(err, ERR_INVALID, "id is not %s", id);
    }
    if (!signed_json_u64(doc, object, "version", version, &found, err) || found != version) {
        return err_set(err, ERR_UNSUPPORTED, "version is not %llu", (unsigned long long)version);
    }
    if (!signed_json_date(doc, object, "issueDate", issued, NULL, err) ||
        !signed_json_date(doc, object, "nextUpdate", next_update, NULL, err) ||
        !signed_json_u64(doc, object, "tcbEvaluationDataNumber", UINT32_MAX, evaluation, err)) {
        return false;
    }
    return *issued <= *next_update || err_set(err, ERR_INVALID, "nextUpdate lies before issueDate");
}

bool tcb_info_read(struct tcb_info *out, const struct signed_json *s, struct err *err)
{
    const struct json_doc *doc = &s->doc;
    uint64_t type;

    memset(out, 0, sizeof *out);
    if (read_head(doc, s->value, "TDX", 3, &out->issued, &out->next_update, &out->evaluation, err) &&
        signed_json_u64(doc, s->value, "tcbType", 0, &type, err) &&
        signed_json_hex(doc, s->value, "fmspc", out->fmspc, sizeof out->fmspc, err) &&
        signed_json_hex(doc, s->value, "pceId", out->pceid, sizeof out->pceid, err) &&
        read_modules(out, doc, s->value, err) && read_levels(out, doc, s->value, err)) {
        return true;
    }
    memset(out, 0, sizeof *out);
    return false;
}

bool qe_identity_read(struct qe_identity *out, const struct signed_json *s, struct err *err)
{
    const struct json_doc *doc = &s->doc;
    const struct json_node *v = s->value;
    uint64_t prodid;

    memset(out, 0, sizeof *out);
    if (read_head(doc, v, "TD_QE", 2, &out->issued, &out->next_update, &out->evaluation, err) &&
        signed_json_hex(doc, v, "miscselect", out->miscselect, sizeof out->miscselect, err) &&
        signed_json_hex(doc, v, "miscselectMask", out->miscselect_mask, sizeof out->miscselect_mask, err) &&
        signed_json_hex(doc, v, "attributes", out->attributes, sizeof out->attributes, err) &&
        signed_json_hex(doc, v, "attributesMask", out->attributes_mask, sizeof out->attributes_mask, err) &&
        signed_json_hex(doc, v, "mrsigner", out->mrsigner, sizeof out->mrsigner, err) &&
        signed_json_u64(doc, v, "isvprodid", UINT16_MAX, &prodid, err) &&
        read_svn_levels(&out->levels, doc, v, err)) {
        out->isvprodid = (unsigned)prodid;
        return true;
    }
    memset(out, 0, sizeof *out);
    return false;
}

const struct tcb_svn_level *tcb_svn_find(const struct tcb_svn_levels *levels, unsigned svn)
{
    for (size_t i = 0; i < levels->count; i++) {
        if (levels->level[i].isvsvn <= svn) {
            return &levels->level[i];
        }
    }
    return NULL;
}

const struct tcb_module *tcb_info_module(const struct tcb_info *info, unsigned version)
{
    for (size_t i = 0; i < info->module_count; i++) {
        if (info->module[i].version == version) {
            return &info->module[i];
        }
    }
    return NULL;
}

const struct tcb_level *tcb_info_level(const struct tcb_info *info, const struct sgx_extension *platform,
                                       const uint8_t svn[static SGX_COMPONENTS])
{
    for (size_t i = 0; i < info->level_count; i++) {
        const struct tcb_level *level = &info->level[i];
        bool reached = platform->pcesvn >= level->pcesvn;
        for (size_t c = 0; reached && c < SGX_COMPONENTS; c++) {
            bool own = svn[1] > 0 && c < 2;
            reached = platform->component[c] >= level->sgx[c] && (own || svn[c] >= level->tdx[c]);
        }
        if (reached) {
            return level;
        }
    }
    return NULL;
}
