#include "attest/tcb.h"

#include <string.h>

static const char *const names[TCB_STATUS_COUNT] = {
    [TCB_NONE] = "none",
    [TCB_UP_TO_DATE] = "UpToDate",
    [TCB_SW_HARDENING_NEEDED] = "SWHardeningNeeded",
    [TCB_CONFIGURATION_NEEDED] = "ConfigurationNeeded",
    [TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED] = "ConfigurationAndSWHardeningNeeded",
    [TCB_OUT_OF_DATE] = "OutOfDate",
    [TCB_OUT_OF_DATE_CONFIGURATION_NEEDED] = "OutOfDateConfigurationNeeded",
    [TCB_TD_RELAUNCH_ADVISED] = "TDRelaunchAdvised",
    [TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED] = "TDRelaunchAdvisedConfigurationNeeded",
    [TCB_REVOKED] = "Revoked",
};

const char *tcb_status_name(enum tcb_status status)
{
    return (unsigned)status < TCB_STATUS_COUNT ? names[status] : names[TCB_NONE];
}

bool tcb_status_parse(enum tcb_status *out, const char *word)
{
    *out = TCB_NONE;
    for (unsigned i = TCB_NONE + 1; i < TCB_STATUS_COUNT; i++) {
        if (strcmp(word, names[i]) == 0) {
            *out = (enum tcb_status)i;
            return true;
        }
    }
    return false;
}

enum tcb_status tcb_converge(enum tcb_status platform, enum tcb_status qe, enum tcb_status module)
{
    if (platform == TCB_REVOKED || qe == TCB_REVOKED || module == TCB_REVOKED) {
        return TCB_REVOKED;
    }
    if (qe != TCB_OUT_OF_DATE && module != TCB_OUT_OF_DATE) {
        return platform;
    }
    switch (platform) {
    case TCB_UP_TO_DATE:
    case TCB_SW_HARDENING_NEEDED:
        return TCB_OUT_OF_DATE;
    case TCB_CONFIGURATION_NEEDED:
    case TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED:
        return TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
    default:
        return platform;
    }
}

enum tcb_status tcb_relaunch(enum tcb_status launch, enum tcb_status current)
{
    const unsigned outdated = TCB_BIT(TCB_OUT_OF_DATE) | TCB_BIT(TCB_OUT_OF_DATE_CONFIGURATION_NEEDED);
    const unsigned configure =
        TCB_BIT(TCB_CONFIGURATION_NEEDED) | TCB_BIT(TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED);
    const unsigned good = TCB_BIT(TCB_UP_TO_DATE) | TCB_BIT(TCB_SW_HARDENING_NEEDED) | configure;

    if (!(TCB_BIT(launch) & outdated) || !(TCB_BIT(current) & good)) {
        return launch;
    }
    return launch == TCB_OUT_OF_DATE_CONFIGURATION_NEEDED || (TCB_BIT(current) & configure)
               ? TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
               : TCB_TD_RELAUNCH_ADVISED;
}
