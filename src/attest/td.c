#include "attest/td.h"

#include <string.h>

#define ATTRIBUTE(bit) (UINT64_C(1) << (bit))
#define TD_DEBUG ATTRIBUTE(0)
#define TD_TUD_MASK UINT64_C(0xff) /* the whole byte puts the guest under debug */
#define TD_SEPT_VE_DISABLE ATTRIBUTE(28)
#define TD_MIGRATABLE ATTRIBUTE(29)
#define TD_PKS ATTRIBUTE(30)
#define TD_KL ATTRIBUTE(31)
#define TD_PERFMON ATTRIBUTE(63)

void td_measurements(struct attest_verdict *v, const struct quote *quote)
{
    struct verdict_measurements *m = &v->measurements;
    const uint8_t *td = quote->body;

    memcpy(m->mrtd, td + TD_MRTD, sizeof m->mrtd);
    for (int i = 0; i < 4; i++) {
        memcpy(m->rtmr[i], td + TD_RTMR0 + i * MEASUREMENT_BYTES, MEASUREMENT_BYTES);
    }
    memcpy(m->mr_config_id, td + TD_MRCONFIGID, sizeof m->mr_config_id);
    memcpy(m->mr_owner, td + TD_MROWNER, sizeof m->mr_owner);
    memcpy(m->mr_owner_config, td + TD_MROWNERCONFIG, sizeof m->mr_owner_config);
    memcpy(m->mr_seam, td + TD_MRSEAM, sizeof m->mr_seam);
    memcpy(m->mr_signer_seam, td + TD_MRSIGNERSEAM, sizeof m->mr_signer_seam);
    memcpy(m->report_data, td + TD_REPORTDATA, sizeof m->report_data);
    memcpy(m->td_attributes, td + TD_TDATTRIBUTES, sizeof m->td_attributes);
    memcpy(m->seam_attributes, td + TD_SEAMATTRIBUTES, sizeof m->seam_attributes);
    memcpy(m->xfam, td + TD_XFAM, sizeof m->xfam);
    memcpy(m->tee_tcb_svn, td + TD_TEE_TCB_SVN, sizeof m->tee_tcb_svn);
    m->has_td15 = quote->body_type == 3;
    if (m->has_td15) {
        memcpy(m->tee_tcb_svn2, td + TD_TEE_TCB_SVN2, sizeof m->tee_tcb_svn2);
        memcpy(m->mr_service_td, td + TD_MRSERVICETD, sizeof m->mr_service_td);
    }
    m->present = true;
}

static uint64_t load_le64(const uint8_t bytes[static 8])
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static void check_attributes(struct attest_verdict *v, uint64_t attributes)
{
    const uint64_t known = TD_TUD_MASK | TD_SEPT_VE_DISABLE | TD_PKS | TD_KL | TD_PERFMON;
    if (attributes & TD_MIGRATABLE) {
        verdict_fail(v, "td.attributes", "the guest may be migrated to another host");
    } else if (attributes & ~known) {
        verdict_fail(v, "td.attributes", "TDATTRIBUTES has bits that are not known to be harmless: 0x%016llx",
                     (unsigned long long)(attributes & ~known));
    } else if (!(attributes & TD_SEPT_VE_DISABLE)) {
        verdict_fail(v, "td.attributes",
                     "SEPT_VE_DISABLE is off: the host could inject faults into guest memory");
    } else {
        verdict_pass(v, "td.attributes", "SEPT_VE_DISABLE is on, nothing unusual is");
    }
}

void td_check(struct attest_verdict *v)
{
    const struct verdict_measurements *m = &v->measurements;
    uint64_t attributes = load_le64(m->td_attributes);

    if (attributes & TD_DEBUG) {
        verdict_fail(v, "td.debug", "the guest runs in debug mode: its host can read its memory");
    } else if (attributes & TD_TUD_MASK) {
        verdict_fail(v, "td.debug", "an undocumented under-debug bit of TDATTRIBUTES is set");
    } else {
        verdict_pass(v, "td.debug", "debug mode is off");
    }
    check_attributes(v, attributes);
    if (!m->has_td15) {
        verdict_add(v, "td.service", CHECK_NOT_APPLICABLE, true, "TD report 1.0 has no service guest");
    } else if (all_zero(m->mr_service_td, sizeof m->mr_service_td)) {
        verdict_pass(v, "td.service", "no service guest is bound");
    } else {
        verdict_fail(v, "td.service",
                     "MRSERVICETD is not zero: a service guest, such as one that migrates it, is bound");
    }
    if (all_zero(m->mr_owner, sizeof m->mr_owner) &&
        all_zero(m->mr_owner_config, sizeof m->mr_owner_config)) {
        verdict_pass(v, "td.owner", "MROWNER and MROWNERCONFIG are zero");
    } else {
        verdict_fail(v, "td.owner",
                     "MROWNER or MROWNERCONFIG is not zero, and nothing says what it should be");
    }
}
