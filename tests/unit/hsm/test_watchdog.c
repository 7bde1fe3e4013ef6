/* The watchdog's thread takes no signals: the loop reads them by descriptor, and none may end the process instead. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hsm/watchdog.h"

/* 0 when both signals wait for whoever blocks them, as the keyholder's main thread does. */
static int child(void)
{
    static const int numbers[] = {SIGHUP, SIGTERM};
    struct err err = {0};
    sigset_t set, waiting;
    sigemptyset(&set);
    if (!watchdog_start(20, NULL, &err)) {
        return 2;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaddset(&set, numbers[i]);
        sigprocmask(SIG_BLOCK, &set, NULL);
        kill(getpid(), numbers[i]);
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        sigpending(&waiting);
        if (!sigismember(&waiting, numbers[i])) {
            return 3;
        }
    }
    return 0;
}

static void test_signals_pass_the_watchdog_by(void **state)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child());
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals_pass_the_watchdog_by)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
