/* The custody log's writer: lines in order and chained over restarts and rotations; torn tails, full disks, no memory, too
 * many events, and what the files' names and ends must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "fault.h"
#include "hsm/audit.h"

static char folder[64], path[128];

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/e2ee-audit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/custody.log", folder);
    return 0;
}

static int names(char out[64][64])
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] != '.') {
            assert_true(count < 64);
            snprintf(out[count++], 64, "%.63s", e->d_name);
        }
    }
    closedir(dir);
    qsort(out, (size_t)count, 64, (int (*)(const void *, const void *))strcmp);
    return count;
}

static int end(void **state)
{
    char found[64][64], full[200];
    int count = names(found);
    for (int i = 0; i < count; i++) {
        snprintf(full, sizeof full, "%s/%.63s", folder, found[i]);
        unlink(full);
    }
    return rmdir(folder);
}

static void start(bool go_on, uint64_t max_bytes)
{
    struct err err = {0};
    const struct audit_options o = {.path = path, .go_on = go_on, .max_bytes = max_bytes};
    if (!audit_open(&o, &err)) {
        fail_msg("%s", err.message);
    }
}

/* All files' text, in the chain's order: PATH.NNN sort before PATH only by number. */
static char *all_text(void)
{
    static char text[4 << 20];
    char found[64][64], full[200];
    int count = names(found);
    size_t len = 0;
    bool last = strcmp(found[0], "custody.log") == 0; /* the file that is written sorts first */
    for (int i = last; i < count + last; i++) {
        snprintf(full, sizeof full, "%s/%.63s", folder, found[i % count]);
        FILE *f = fopen(full, "r");
        len += fread(text + len, 1, sizeof text - 1 - len, f);
        fclose(f);
    }
    text[len] = '\0';
    return text;
}

/* Every line follows the one before; how many. */
static uint64_t lines(void)
{
    struct chain_check check = {0};
    char *text = all_text();
    while (*text != '\0') {
        struct chain_line line;
        struct err err = {0};
        char *lf = strchr(text, '\n');
        assert_non_null(lf);
        if (!chain_check_line(&check, &line, text, (size_t)(lf - text), &err)) {
            fail_msg("%s", err.message);
        }
        text = lf + 1;
    }
    assert_true(check.lines == 0 || check.first_seq == 1);
    return check.lines;
}

static size_t count_of(const char *word)
{
    size_t n = 0;
    for (const char *at = all_text(); (at = strstr(at, word)) != NULL; at++) {
        n++;
    }
    return n;
}

static void flush(void)
{
    struct err err = {0};
    if (!audit_flush(10000, &err)) {
        fail_msg("%s", err.message);
    }
}

static void test_off(void **state)
{
    struct audit_options none = {.path = NULL};
    struct audit_state s;
    struct err err = {0};
    assert_true(audit_open(&none, &err));
    audit_event("login", ",\"n\":%d", 1);
    assert_true(audit_flush(0, &err) && audit_admits(&err));
    audit_state(&s);
    assert_int_equal(s.state, KEYIPC_AUDIT_NONE);
    audit_close();
}

static void test_goes_on_after_restarts(void **state)
{
    struct audit_state s, again;
    struct stat st;
    for (int round = 0; round < 3; round++) {
        start(false, 1 << 20);
        for (int i = 0; i < 5; i++) {
            audit_event("login", ",\"n\":%d", i);
        }
        flush();
        audit_state(&s);
        assert_int_equal(s.state, KEYIPC_AUDIT_WRITTEN);
        assert_int_equal(s.head.seq, 5 * (round + 1));
        audit_close();
    }
    assert_int_equal(lines(), 15);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    start(false, 1 << 20);
    audit_state(&again); /* known before anything is written */
    assert_memory_equal(&s.head, &again.head, sizeof s.head);
    audit_close();
}

static void test_texts(void **state)
{
    struct audit_text t;
    char text[2000];
    assert_string_equal(audit_quote(&t, "a\"b\\c\n\xc3\xa4"), "\"a\\\"b\\\\c???\"");
    memset(text, '"', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_true(strlen(audit_quote(&t, text)) < sizeof t.text);
    assert_int_equal(strlen(t.text) % 2, 0); /* no half escape */
    assert_string_equal(audit_point(&t, (uint8_t[POINT_BYTES]){0}), "null");
    assert_int_equal(strlen(audit_point(&t, (uint8_t[POINT_BYTES]){4})), 66);
    start(false, 1 << 20);
    audit_event("login", ",\"text\":%s%s%s", text, text, text); /* too long: without members */
    flush();
    audit_close();
    assert_int_equal(lines(), 1);
    assert_int_equal(count_of("\"event\":\"login\",\"prev\""), 1);
}

static void test_rotation(void **state)
{
    char found[64][64];
    start(false, 4096);
    for (int i = 0; i < 100; i++) {
        audit_event("login", ",\"n\":%d", i);
        flush();
    }
    audit_close();
    int count = names(found);
    assert_true(count > 4);
    assert_string_equal(found[0], "custody.log");
    assert_string_equal(found[1], "custody.log.000000000001");
    assert_int_equal(lines(), 100 + count - 1);
    assert_int_equal(count_of("\"event\":\"rotation\",\"previous\":\"custody.log.0"),
                     count_of("\"rotation\""));
    /* Killed between the renaming and the new file's first line. */
    assert_int_equal(unlink(path), 0);
    uint64_t left = lines();
    start(false, 4096);
    audit_event("login", ",\"n\":%d", 0);
    flush();
    audit_close();
    assert_int_equal(lines(), left + 2);
}

static void write_raw(const char *text, int flags)
{
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void test_torn(void **state)
{
    start(false, 1 << 20);
    audit_event("login", ",\"n\":%d", 1);
    audit_close();
    write_raw("{\"seq\":2,\"time\":\"2026", O_APPEND);
    start(false, 1 << 20);
    audit_close();
    assert_int_equal(lines(), 2);
    assert_int_equal(count_of("\"event\":\"torn\",\"bytes\":21"), 1);
    assert_int_equal(truncate(path, 30), 0); /* the very first line */
    start(false, 1 << 20);
    audit_event("login", ",\"n\":%d", 1);
    audit_close();
    assert_int_equal(lines(), 2);
}

static void must_refuse(const char *word)
{
    struct err err = {0};
    const struct audit_options o = {.path = path, .max_bytes = 1 << 20};
    assert_false(audit_open(&o, &err));
    if (strstr(err.message, word) == NULL) {
        fail_msg("%s", err.message);
    }
    assert_true(audit_flush(0, &err));
}

static void test_refused(void **state)
{
    int fd;
    write_raw("these are somebody's notes\n", 0);
    must_refuse("does not end as one");
    unlink(path);
    char other[200];
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(symlink(other, path), 0);
    must_refuse("cannot open");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    must_refuse("cannot open");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_refuse("no ordinary file");
    unlink(path);
    start(false, 1 << 20);
    audit_event("login", ",\"n\":%d", 1);
    flush();
    pid_t pid = fork(); /* a second keyholder: another open file, another lock */
    if (pid == 0) {
        struct err err = {0};
        fd = open(path, O_RDWR);
        _exit(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && !err.kind ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    audit_close();
    snprintf(path, sizeof path, "%s/no/such/folder", folder);
    must_refuse("folder");
    snprintf(path, sizeof path, "%s/custody.log", folder);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that is full, then has room again. Nothing of a line that did not fit stays. */
static void disk_full(bool go_on)
{
    struct err err = {0};
    struct audit_state s;
    start(go_on, 1 << 20);
    for (int i = 0; i < 10; i++) {
        audit_event("login", ",\"n\":%d", i);
    }
    flush();
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    limit_files((rlim_t)st.st_size + 50); /* less than a line */
    for (int i = 0; i < 10; i++) {
        audit_event("key_created", ",\"n\":%d", i);
    }
    assert_int_equal(audit_flush(10000, &err), go_on);
    while (audit_state(&s), s.state != KEYIPC_AUDIT_FAILING) {
        usleep(1000);
    }
    assert_int_equal(audit_admits(&err), go_on);
    assert_int_equal(audit_flush(10000, &err), go_on);
    assert_true(go_on || err.kind == ERR_TOKEN);
    assert_int_equal(lines(), 10);
    limit_files(RLIM_INFINITY);
    for (int i = 0; s.state == KEYIPC_AUDIT_FAILING && i < 500; i++) {
        usleep(10000);
        audit_state(&s);
    }
    assert_int_equal(s.state, KEYIPC_AUDIT_WRITTEN);
    assert_int_equal(s.lost, 0);
    assert_true(audit_admits(&err));
    audit_close();
    assert_int_equal(lines(), 21);
    assert_int_equal(count_of("\"event\":\"gap\",\"since\":\"2"), 1);
}

static void test_disk_full(void **state)
{
    disk_full(false);
}

static void test_disk_full_and_on(void **state)
{
    disk_full(true);
}

/* While nothing can be written more comes than is kept. */
static void test_queue_full(void **state)
{
    struct audit_state s;
    struct err err = {0};
    start(false, 16 << 20);
    audit_event("login", ",\"n\":%d", 0);
    flush();
    limit_files(10);
    for (int i = 0; i < LIMIT_AUDIT_QUEUE + 100; i++) {
        audit_event("login", ",\"n\":%d", i);
    }
    audit_state(&s);
    assert_true(s.lost > 0 && s.lost <= 100);
    assert_false(audit_admits(&err));
    limit_files(RLIM_INFINITY);
    for (int i = 0; s.state == KEYIPC_AUDIT_FAILING && i < 500; i++) {
        usleep(10000);
        audit_state(&s);
    }
    audit_close();
    char lost[64];
    snprintf(lost, sizeof lost, "\"lost\":%d,", (int)s.lost);
    assert_int_equal(count_of(lost), 1);
    assert_int_equal(lines(), 1 + LIMIT_AUDIT_QUEUE + 100 - s.lost + count_of("\"event\":\"gap\""));
}

static void test_removed(void **state)
{
    struct err err = {0};
    char away[200];
    struct audit_state s = {.state = KEYIPC_AUDIT_FAILING};
    snprintf(away, sizeof away, "%s/away", folder);
    start(false, 1 << 20);
    audit_event("login", ",\"n\":%d", 0);
    flush();
    assert_int_equal(rename(path, away), 0);
    audit_event("login", ",\"n\":%d", 1);
    assert_false(audit_flush(10000, &err));
    assert_int_equal(rename(away, path), 0);
    for (int i = 0; s.state == KEYIPC_AUDIT_FAILING && i < 500; i++) {
        usleep(10000);
        audit_state(&s);
    }
    audit_close();
    assert_int_equal(lines(), 3);
}

static void test_no_memory(void **state)
{
    struct audit_state s;
    struct err err = {0};
    start(false, 1 << 20);
    fault_alloc_at(1);
    audit_event("login", ",\"n\":%d", 0);
    assert_true(fault_alloc_hit());
    for (int i = 0; i < 500; i++) {
        audit_state(&s);
        if (s.state == KEYIPC_AUDIT_WRITTEN) {
            break;
        }
        usleep(10000);
    }
    assert_int_equal(s.lost, 1);
    assert_true(audit_admits(&err));
    audit_close();
    assert_int_equal(count_of("\"lost\":1,"), 1);
    assert_int_equal(lines(), 1);
    fault_alloc_at(0);
}

static void *chatter(void *number)
{
    for (int i = 0; i < 300; i++) {
        struct err err = {0};
        audit_event("key_created", ",\"n\":%d", *(int *)number);
        assert_true(i % 10 != 0 || audit_flush(10000, &err));
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    int numbers[4] = {0, 1, 2, 3};
    start(false, 20000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &numbers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    audit_close();
    assert_int_equal(count_of("key_created"), 1200);
    assert_int_equal(lines(), 1200 + count_of("\"event\":\"rotation\""));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_off),        EACH(test_goes_on_after_restarts),
        EACH(test_texts),      EACH(test_rotation),
        EACH(test_torn),       EACH(test_refused),
        EACH(test_disk_full),  EACH(test_disk_full_and_on),
        EACH(test_queue_full), EACH(test_removed),
        EACH(test_no_memory),  EACH(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
