/* Where SoftHSM keeps its tokens: open to the keyholder alone. Its file is lines "name = value"
 * (softhsm2.conf(5)). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sandbox.h"

#define SYSTEM_CONF "/etc/softhsm/softhsm2.conf"
#define SYSTEM_TOKENS "/var/lib/softhsm/tokens"
#define KEY "directories.tokendir"

void sandbox_softhsm_conf(char *out, size_t cap)
{
    const char *conf = getenv("SOFTHSM2_CONF"), *home = getenv("HOME");
    if (conf != NULL && *conf != '\0') {
        snprintf(out, cap, "%s", conf);
        return;
    }
    if (home != NULL && snprintf(out, cap, "%s/.config/softhsm2/softhsm2.conf", home) < (int)cap &&
        access(out, R_OK) == 0) {
        return;
    }
    snprintf(out, cap, "%s", access(SYSTEM_CONF, F_OK) == 0 ? SYSTEM_CONF : "");
}

/* The value in a line of KEY, without blanks around it; NULL in any other line. */
static char *value_of(char *line)
{
    while (isspace((unsigned char)*line)) {
        line++;
    }
    if (strncmp(line, KEY, sizeof KEY - 1) != 0) {
        return NULL;
    }
    line += sizeof KEY - 1;
    while (isspace((unsigned char)*line)) {
        line++;
    }
    if (*line++ != '=') {
        return NULL;
    }
    while (isspace((unsigned char)*line)) {
        line++;
    }
    size_t len = strlen(line);
    while (len > 0 && isspace((unsigned char)line[len - 1])) {
        line[--len] = '\0';
    }
    return line;
}

void sandbox_softhsm_tokens(char *out, size_t cap, const char *conf)
{
    char line[4096];
    snprintf(out, cap, "%s", SYSTEM_TOKENS);
    FILE *file = conf != NULL && *conf != '\0' ? fopen(conf, "re") : NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = value_of(line);
        if (value != NULL) {
            snprintf(out, cap, "%s", value);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}
