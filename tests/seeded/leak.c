/* Seeded defect: LeakSanitizer must report it (scripts/detectors). */
#include <stdlib.h>

static void *volatile kept;

int main(void)
{
    kept = malloc(100);
    kept = NULL;
    return 0;
}
