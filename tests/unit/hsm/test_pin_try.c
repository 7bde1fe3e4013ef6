/* The marker of a PIN's tries where a keyholder cannot show it: disks that take nothing, tries side by side. */
#include "hsm/pin.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"

static char dir[64], file[96];
static struct pin_source source;

static void set_up_folder(void)
{
    struct err err = {0};
    snprintf(dir, sizeof dir, "/tmp/e2ee-pin-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/pin", dir);
    assert_true(text_write_file_atomic(file, "1234", 4, &err));
    source = (struct pin_source){file, dir};
}

static void remove_folder(void)
{
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        unlinkat(dirfd(folder), e->d_name, 0);
    }
    closedir(folder);
    assert_int_equal(rmdir(dir), 0);
}

/* No file may grow from now on, as on a full disk. */
static void disk_full(bool full)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void try_once(enum pin_outcome outcome)
{
    struct pin_try try;
    struct err err = {0};
    if (!pin_try_begin(&try, &source, "s", &err) || !pin_try_mark(&try, &err)) {
        fail_msg("%s", err.message);
    }
    pin_try_end(&try, outcome);
}

static void assert_denied(void)
{
    struct pin_try try;
    struct err err = {0};
    assert_false(pin_try_begin(&try, &source, "s", &err));
    assert_int_equal(err.kind, ERR_PIN);
}

static void test_full_disk(void **state)
{
    struct pin_try try;
    struct err err = {0};
    set_up_folder();
    assert_true(pin_try_begin(&try, &source, "s", &err));
    disk_full(true);
    assert_false(pin_try_mark(&try, &err));
    disk_full(false);
    assert_int_equal(err.kind, ERR_TOKEN); /* there may be room later */
    pin_try_end(&try, PIN_NOT_JUDGED);
    /* A refusal that cannot be written leaves what was there before it: unknown, and one try. */
    assert_true(pin_try_begin(&try, &source, "s", &err));
    assert_false(pin_try_doubtful(&try));
    assert_true(pin_try_mark(&try, &err));
    disk_full(true);
    pin_try_end(&try, PIN_REFUSED);
    disk_full(false);
    assert_true(pin_try_begin(&try, &source, "s", &err));
    assert_true(pin_try_doubtful(&try));
    pin_try_end(&try, PIN_NOT_JUDGED);
    remove_folder();
}

static void test_outcomes(void **state)
{
    set_up_folder();
    for (int i = 0; i < 5; i++) {
        try_once(PIN_NOT_JUDGED);
        try_once(PIN_AWAY);
    }
    try_once(PIN_UNKNOWN);
    try_once(PIN_AWAY);
    try_once(PIN_ACCEPTED); /* and all is forgotten */
    try_once(PIN_UNKNOWN);
    try_once(PIN_NOT_JUDGED);
    try_once(PIN_UNKNOWN);
    assert_denied();
    remove_folder();
    set_up_folder();
    try_once(PIN_REFUSED);
    assert_denied();
    remove_folder();
}

/* A file that changes between the look at it and the login: the marker would be of another one. */
static void test_changed_meanwhile(void **state)
{
    struct pin_try try;
    struct err err = {0};
    set_up_folder();
    assert_true(pin_try_begin(&try, &source, "s", &err));
    assert_true(text_write_file_atomic(file, "12345", 5, &err));
    assert_false(pin_try_mark(&try, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    pin_try_end(&try, PIN_NOT_JUDGED);
    remove_folder();
}

/* Three keyholders that start together: none takes another's try, which is still running, for one that broke off. */
static void test_side_by_side(void **state)
{
    pid_t pids[3];
    set_up_folder();
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            struct pin_try try;
            struct err err = {0};
            bool ok = pin_try_begin(&try, &source, "s", &err) && !pin_try_doubtful(&try) &&
                      pin_try_mark(&try, &err);
            usleep(100000);
            pin_try_end(&try, PIN_ACCEPTED);
            _exit(!ok);
        }
    }
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    remove_folder();
}

static void test_no_file(void **state)
{
    struct pin_try try;
    struct err err = {0};
    const struct pin_source typed = {NULL, "/nonexistent"};
    for (int i = 0; i < 3; i++) {
        assert_true(pin_try_begin(&try, &typed, "s", &err));
        assert_false(pin_try_doubtful(&try));
        assert_true(pin_try_mark(&try, &err));
        pin_try_end(&try, PIN_REFUSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_disk),         cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_changed_meanwhile), cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests_name("pin_try", tests, NULL, NULL);
}
