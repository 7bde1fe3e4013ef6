/* What a refused PIN's marker recognises: a file by inode, time and size, a credential of systemd's, which is another file at
 * each start, by its size alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hsm/pin.h"

#define SERIAL "5a1c"

static char folder[] = "/tmp/e2ee-pin-XXXXXX";
static char file[64], marker[64], lock[64];

/* As at each start of the service: another inode, another time. */
static void make_file(const char *pin)
{
    static long second;
    char beside[80];
    snprintf(beside, sizeof beside, "%s.new", file);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0400);
    assert_true(fd >= 0 && write(fd, pin, strlen(pin)) == (ssize_t)strlen(pin));
    second++;
    struct timespec times[2] = {{second, 0}, {second, 0}};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    assert_int_equal(rename(beside, file), 0);
}

static int set_up(void **state)
{
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(file, sizeof file, "%s/pin", folder);
    snprintf(marker, sizeof marker, "%s/pin-refused.35613163", folder);
    snprintf(lock, sizeof lock, "%s/pin-lock.35613163", folder);
    return 0;
}

static int tear_down(void **state)
{
    unlink(file);
    unlink(marker);
    unlink(lock);
    return rmdir(folder);
}

static bool may_try(void)
{
    struct err err = {0};
    struct pin_source source = {file, folder};
    struct pin_try try;
    bool ok = pin_try_begin(&try, &source, SERIAL, &err);
    if (ok) {
        pin_try_end(&try, PIN_NOT_JUDGED);
    }
    assert_true(ok || (err.kind == ERR_PIN && strstr(err.message, marker) != NULL));
    return ok;
}

static void refuse(void)
{
    struct pin_source source = {file, folder};
    struct pin_try try;
    assert_true(pin_try_begin(&try, &source, SERIAL, NULL) && pin_try_mark(&try, NULL));
    pin_try_end(&try, PIN_REFUSED);
    assert_int_equal(access(marker, F_OK), 0);
}

static void test_a_file_is_another_when_it_was_written(void **state)
{
    unsetenv("CREDENTIALS_DIRECTORY");
    make_file("1234");
    assert_true(may_try());
    refuse();
    assert_false(may_try());
    make_file("1235");
    assert_true(may_try());
    struct pin_try try;
    assert_true(pin_try_begin(&try, &(struct pin_source){file, folder}, SERIAL, NULL) &&
                pin_try_mark(&try, NULL));
    pin_try_end(&try, PIN_ACCEPTED);
    assert_int_not_equal(access(marker, F_OK), 0);
}

static void test_a_credential_is_the_same_at_each_start(void **state)
{
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    make_file("1234");
    assert_true(may_try());
    refuse();
    make_file("1234");
    assert_false(may_try());
    make_file("12345"); /* surely another */
    assert_true(may_try());
    make_file("1234");
    assert_int_equal(unlink(marker), 0);
    assert_true(may_try());
}

static void test_only_what_lies_in_the_folder_is_a_credential(void **state)
{
    char prefix[sizeof folder];
    snprintf(prefix, sizeof prefix, "%.*s", (int)strlen(folder) - 1, folder);
    setenv("CREDENTIALS_DIRECTORY", prefix, 1);
    make_file("1234");
    refuse();
    make_file("1234");
    assert_true(may_try());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_another_when_it_was_written),
        cmocka_unit_test(test_a_credential_is_the_same_at_each_start),
        cmocka_unit_test(test_only_what_lies_in_the_folder_is_a_credential),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
