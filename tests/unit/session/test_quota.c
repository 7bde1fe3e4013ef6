/* The count that processes share: kills, garbage, other boots, and no file at all. */
#include "session/quota.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

#define MINUTE_NS (60 * CLOCK_NS_PER_S)
#define SHORT_NS (300 * CLOCK_NS_PER_MS)

static char dir[64], path[96];

static int make_folder(void **state)
{
    log_init("test", LOG_LEVEL_ERROR, false);
    snprintf(dir, sizeof dir, "/tmp/e2ee-quota-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/sent", dir);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(path);
    rmdir(path);
    return rmdir(dir);
}

/* By a process of its own, as one that was started again. */
static int64_t take_anew(unsigned count, int64_t window_ns)
{
    struct err err = {0};
    struct quota *q = quota_new(path, count, window_ns, &err);
    assert_non_null(q);
    int64_t wait = quota_take(q);
    quota_free(q);
    return wait;
}

static void write_text(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_restarts_share(void **state)
{
    for (int i = 0; i < 10; i++) {
        assert_int_equal(take_anew(10, MINUTE_NS), 0);
    }
    for (int i = 0; i < 3; i++) {
        int64_t wait = take_anew(10, MINUTE_NS);
        assert_true(wait > 50 * CLOCK_NS_PER_S && wait <= MINUTE_NS);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_processes_at_once(void **state)
{
    int taken = 0;
    for (int i = 0; i < 24; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            _exit(take_anew(10, MINUTE_NS) == 0);
        }
    }
    for (int status; wait(&status) > 0;) {
        taken += WEXITSTATUS(status);
    }
    assert_int_equal(taken, 10);
}

static void test_window_moves(void **state)
{
    assert_int_equal(take_anew(2, SHORT_NS), 0);
    usleep(100000);
    assert_int_equal(take_anew(2, SHORT_NS), 0);
    int64_t wait = take_anew(2, SHORT_NS);
    assert_true(wait > 0 && wait <= SHORT_NS);
    usleep((useconds_t)(wait / 1000) + 1000);
    assert_int_equal(take_anew(2, SHORT_NS), 0);
    assert_true(take_anew(2, SHORT_NS) > 0);
}

/* Full from now on, and then as good as new. */
static void test_garbage(void **state)
{
    static const char *const texts[] = {"x", "\n\n\n", "0000", NULL};
    char future[256];
    int n = snprintf(future, sizeof future, "%036d\n%020d\n%020d\n", 0, 1, 2);
    assert_int_equal(n, 37 + 42);
    future[40] = 'x';
    for (int i = 0; i < 4; i++) {
        write_text(texts[i] != NULL ? texts[i] : future);
        assert_true(take_anew(2, SHORT_NS) > 0);
        assert_true(take_anew(2, SHORT_NS) > 0);
        usleep(SHORT_NS / 1000 + 10000);
        assert_int_equal(take_anew(2, SHORT_NS), 0);
        assert_int_equal(take_anew(2, SHORT_NS), 0);
        assert_true(take_anew(2, SHORT_NS) > 0);
    }
}

/* A moment that is still to come: the file was changed by somebody. */
static void test_future(void **state)
{
    char text[256];
    assert_int_equal(take_anew(2, SHORT_NS), 0);
    int fd = open(path, O_RDWR);
    assert_int_equal(read(fd, text, sizeof text), 37 + 42);
    memset(text + 37, '0', 20);
    text[37 + 4] = '9';
    assert_int_equal(pwrite(fd, text, 37 + 42, 0), 37 + 42);
    close(fd);
    assert_true(take_anew(2, SHORT_NS) > 0);
    usleep(SHORT_NS / 1000 + 10000);
    assert_int_equal(take_anew(2, SHORT_NS), 0);
}

/* Times of an earlier boot, whatever they say, lie before this one: this machine is up for longer than the window. */
static void test_other_boot(void **state)
{
    char text[256];
    snprintf(text, sizeof text, "00000000-0000-0000-0000-000000000000\n%020lld\n%020lld\n",
             9000000000000000000LL, 9000000000000000000LL);
    write_text(text);
    assert_int_equal(take_anew(2, CLOCK_NS_PER_MS), 0);
    /* and within a window of its start they count */
    write_text(text);
    assert_true(take_anew(2, clock_boot_ns() + MINUTE_NS) > 0);
}

/* No file to be had, and one that a stopped process holds: this process counts for itself. */
static void test_no_file(void **state)
{
    struct err err = {0};
    assert_int_equal(mkdir(path, 0700), 0);
    struct quota *q = quota_new(path, 2, MINUTE_NS, &err);
    assert_int_equal(quota_take(q), 0);
    assert_int_equal(quota_take(q), 0);
    assert_true(quota_take(q) > 0);
    quota_free(q);
    assert_int_equal(rmdir(path), 0);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    int64_t began = clock_boot_ns();
    assert_int_equal(take_anew(2, MINUTE_NS), 0);
    assert_true(clock_boot_ns() - began < 5 * CLOCK_NS_PER_S);
    close(fd);
}

/* Somebody removes the file. */
static void test_removed(void **state)
{
    struct err err = {0};
    struct quota *q = quota_new(path, 2, MINUTE_NS, &err);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(quota_take(q), 0);
        assert_int_equal(unlink(path), 0);
    }
    assert_true(quota_take(q) > 0);
    quota_free(q);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_restarts_share), TEST(test_processes_at_once), TEST(test_window_moves), TEST(test_garbage),
        TEST(test_future),         TEST(test_other_boot),        TEST(test_no_file),      TEST(test_removed),
    };
    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
