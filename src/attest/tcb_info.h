/* Intel's TCB info and QE identity as values (attestation.md section 1, steps 5, 6, 9, 11, 12), and the levels that a
 * platform, a module and a quoting enclave reach in them. Signatures are signed_json's business. */
#ifndef E2EE_ATTEST_TCB_INFO_H
#define E2EE_ATTEST_TCB_INFO_H

#include <stdint.h>

#include "attest/sgx.h"
#include "attest/signed_json.h"
#include "attest/verdict.h"

#define TCB_LEVELS_MAX 64
#define TCB_MODULES_MAX 32
#define TCB_MODULE_LEVELS_MAX 32

struct tcb_level {
    uint8_t sgx[SGX_COMPONENTS], tdx[SGX_COMPONENTS];
    unsigned pcesvn;
    enum tcb_status status;
    char date[VERDICT_DATE_BYTES];
    const struct json_node *advisories; /* NULL: none */
};

/* A level of the TDX module or of the quoting enclave. */
struct tcb_svn_level {
    unsigned isvsvn;
    enum tcb_status status;
    char date[VERDICT_DATE_BYTES];
    const struct json_node *advisories;
};

struct tcb_svn_levels {
    struct tcb_svn_level level[TCB_MODULE_LEVELS_MAX]; /* highest first */
    size_t count;
};

struct tcb_module {
    unsigned version; /* TEE_TCB_SVN[1] */
    uint8_t mrsigner[MEASUREMENT_BYTES], attributes[8], attributes_mask[8];
    struct tcb_svn_levels levels;
};

struct tcb_info {
    int64_t issued, next_update;
    uint8_t fmspc[6], pceid[2];
    uint64_t evaluation;
    struct tcb_module base; /* "tdxModule": applies while TEE_TCB_SVN[1] is 0; has no levels */
    struct tcb_module module[TCB_MODULES_MAX];
    size_t module_count;
    struct tcb_level level[TCB_LEVELS_MAX]; /* highest first */
    size_t level_count;
};

struct qe_identity {
    int64_t issued, next_update;
    uint64_t evaluation;
    uint8_t miscselect[4], miscselect_mask[4], attributes[16], attributes_mask[16], mrsigner[32];
    unsigned isvprodid;
    struct tcb_svn_levels levels;
};

/* From the signed object. Pointers into s->doc: it must outlive *out. ERR_INVALID. */
bool tcb_info_read(struct tcb_info *out, const struct signed_json *s, struct err *err) MUST_CHECK;
bool qe_identity_read(struct qe_identity *out, const struct signed_json *s, struct err *err) MUST_CHECK;

/* The first level of which isvsvn <= svn, or NULL. */
const struct tcb_svn_level *tcb_svn_find(const struct tcb_svn_levels *levels, unsigned svn);
/* The module identity for TEE_TCB_SVN[1] = version > 0, or NULL. */
const struct tcb_module *tcb_info_module(const struct tcb_info *info, unsigned version);
/* The first level that platform and TEE_TCB_SVN reach, or NULL; components 0 and 1 of the latter are the module's own
 * business when svn[1] > 0. */
const struct tcb_level *tcb_info_level(const struct tcb_info *info, const struct sgx_extension *platform,
                                       const uint8_t svn[static SGX_COMPONENTS]);

#endif
