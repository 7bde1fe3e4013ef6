/* `--check`: what this token can do, and how fast. */
#ifndef E2EE_HSM_CHECK_H
#define E2EE_HSM_CHECK_H

#include <stdio.h>

#include "hsm/options.h"

/* Opens the token, tests and measures it (about a second for each rate), closes it, and writes the result to out. True
 * when every check passed. */
bool check_run(const struct options *options, FILE *out) MUST_CHECK;

#endif
