/* Prints a verdict as `attest` and `verify` do. */
#ifndef E2EE_APP_PRINT_VERDICT_H
#define E2EE_APP_PRINT_VERDICT_H

#include "attest/verdict.h"

/* Returns the exit code: 0 verified, 1 refused, 2 when it could not be printed. */
int print_verdict(const struct attest_verdict *verdict, bool json);

#endif
