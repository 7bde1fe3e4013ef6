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

static void hung(const char *call)
{
    _exit(call[0] == 'n' ? 7 : 8);
}

/* Milliseconds until a process that hangs in a call of its own limit ends; 0: by something else. */
static long ends_after(bool slow)
{
    int status = -1;
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        if (!watchdog_start(1, hung, &err)) {
            _exit(2);
        }
        watchdog_enter("not this one"); /* its limit is not kept */
        watchdog_leave();
        if (slow) {
            watchdog_enter_slow("name", 3);
        } else {
            watchdog_enter_slow("name", 0); /* never shorter than the ordinary one */
        }
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    return (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000;
}

static void test_a_limit_of_its_own(void **state)
{
    assert_in_range(ends_after(true), 3000, 20000);
    assert_in_range(ends_after(false), 1000, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals_pass_the_watchdog_by),
                                       cmocka_unit_test(test_a_limit_of_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
