/* Prints to standard output and installs a SIGTERM handler that ends the process. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "mock.h"

static void die(int number)
{
    _exit(99);
}

static CK_RV initialize(void *args)
{
    struct sigaction action = {.sa_handler = die};
    sigset_t set;
    printf("welcome to the mock token\n");
    fflush(stdout);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    return mock_base.C_Initialize(args);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
}
