/* Whoever talks to the keyholder is not to be trusted: strangers, garbage, floods. Somebody who speaks the protocol is in
 * test_hostile_proxy.c. */
#include "honest.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"

/* ---- garbage ---- */

static size_t frame(uint8_t *out, uint32_t length, uint8_t version, uint8_t op, uint8_t flags, size_t body)
{
    const uint8_t head[] = {(uint8_t)(length >> 24),
                            (uint8_t)(length >> 16),
                            (uint8_t)(length >> 8),
                            (uint8_t)length,
                            version,
                            op,
                            0,
                            flags,
                            0,
                            0,
                            0,
                            7};
    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 0, body);
    return sizeof head + body;
}

/* True when the keyholder cuts whoever sends this, without a word. */
static void expect_cut(int fd, const uint8_t *data, size_t len, const char *what)
{
    assert_true(send(fd, data, len, MSG_NOSIGNAL) >= 0);
    if (!kh_closed(fd)) {
        fail_msg("not cut: %s", what);
    }
    close(fd);
}

static void test_garbage(void **state)
{
    static const struct {
        const char *what;
        uint32_t length;
        uint8_t version, op, flags;
        size_t body;
        bool hello; /* after a control's HELLO too, else before only */
    } frames[] = {
        {"no length", 0, KEYIPC_VERSION, 6, 0, 0, true},
        {"a short length", 7, KEYIPC_VERSION, 6, 0, 0, true},
        {"a huge length", 0xffffffff, KEYIPC_VERSION, 6, 0, 0, true},
        {"one byte too many", 4093, KEYIPC_VERSION, 6, 0, 0, true},
        {"version 0", 8, 0, 6, 0, 0, true},
        {"version 1", 8, 1, 6, 0, 0, true},
        {"flags", 8, KEYIPC_VERSION, 6, 1, 0, true},
        {"op 0", 8, KEYIPC_VERSION, 0, 0, 0, true},
        {"op 7", 8, KEYIPC_VERSION, 7, 0, 0, true},
        {"an answer", 8, KEYIPC_VERSION, 0x84, 0, 0, true},
        {"an error", 9, KEYIPC_VERSION, 0xff, 0, 1, true},
        {"STATUS with a body", 9, KEYIPC_VERSION, 6, 0, 1, true},
        {"CLOSE without a key", 8, KEYIPC_VERSION, 5, 0, 0, true},
        {"HELLO of role 0", 46, KEYIPC_VERSION, 1, 0, 38, true},
        {"STATUS before HELLO", 8, KEYIPC_VERSION, 6, 0, 0, false},
        {"OPEN before HELLO", 73, KEYIPC_VERSION, 2, 0, 65, false},
        {"DERIVE before HELLO", 89, KEYIPC_VERSION, 3, 0, 81, false},
    };
    uint8_t data[4096];
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        for (int greeted = 0; greeted <= frames[i].hello; greeted++) {
            size_t len = frame(data, frames[i].length, frames[i].version, frames[i].op, frames[i].flags,
                               frames[i].body);
            expect_cut(greeted ? kh_control(&k, NULL) : kh_connect(&k), data, len, frames[i].what);
        }
    }
    for (int i = 0; i < 50; i++) {
        assert_true(hash_random(data, sizeof data, NULL));
        data[0] |= 1; /* a length that cannot be */
        expect_cut(kh_connect(&k), data, sizeof data, "random bytes");
    }
}

static void test_not_permitted(void **state)
{
    struct keyipc_message m = {.op = KEYIPC_OPEN};
    memcpy(m.u.open.model_point, model.point, POINT_BYTES);
    int fd = kh_worker(&k, join);
    kh_send(fd, &m);
    assert_true(kh_closed(fd)); /* a worker makes no keys */
    close(fd);
    fd = kh_worker(&k, join);
    m = (struct keyipc_message){.op = KEYIPC_CLOSE, .u.key_id = key};
    kh_send(fd, &m);
    assert_true(kh_closed(fd)); /* nor destroys them */
    close(fd);
    m = (struct keyipc_message){.op = KEYIPC_HELLO};
    m.u.hello.role = KEYIPC_CONTROL;
    m.u.hello.custody = KEYIPC_CUSTODY_TOKEN;
    fd = kh_worker(&k, join);
    kh_send(fd, &m);
    assert_true(kh_closed(fd)); /* HELLO comes once */
    close(fd);
    memcpy(m.u.hello.join, join, sizeof join);
    fd = kh_connect(&k);
    kh_send(fd, &m);
    assert_true(kh_closed(fd)); /* another control with this client's secret */
    close(fd);
}

/* ---- floods ---- */

static long resident_kb(void)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)k.pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kb) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb;
}

static void put_derive(struct buf *out, uint32_t id)
{
    struct keyipc_message m = {.op = KEYIPC_DERIVE, .request_id = id};
    m.u.derive.key_id = key;
    m.u.derive.stream_id = id % 7;
    memcpy(m.u.derive.server_point, server.point, POINT_BYTES);
    assert_true(keyipc_encode(out, &m, NULL));
}

/* 10,000 requests from a client that reads nothing: it holds up itself. All are answered once it reads. */
static void test_flood(void **state)
{
    enum { REQUESTS = 10000 };
    static bool seen[REQUESTS];
    struct buf out;
    size_t sent = 0;
    int fd = kh_worker(&k, join);
    long before = resident_kb();
    buf_init(&out, 2 << 20);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        put_derive(&out, i);
    }
    for (int idle = 0; sent < out.len && idle < 20;) {
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        usleep(n > 0 ? 0 : 20000);
    }
    int64_t began = clock_boot_ns();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kh_derive(&k, worker, key, 99, &server, point, NULL), ERR_NONE);
    }
    assert_true(clock_boot_ns() - began < 5 * CLOCK_NS_PER_S);
    long grown = resident_kb() - before;
#ifdef E2EE_SANITIZED
    grown = 0; /* freed memory stays in quarantine, or has shadows */
#endif
    assert_true(before > 0 && grown < 16384);
    memset(seen, 0, sizeof seen);
    for (size_t answers = 0; answers < REQUESTS; answers++) {
        struct keyipc_message m;
        ssize_t n =
            sent < out.len ? send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        sent += n > 0 ? (size_t)n : 0;
        assert_true(kh_receive(fd, &m));
        assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
        assert_true(m.request_id < REQUESTS && !seen[m.request_id]);
        seen[m.request_id] = true;
        keyipc_message_clear(&m);
    }
    buf_free(&out);
    close(fd);
}

/* The same, and gone without having read: what waited is dropped. */
static void test_flood_and_gone(void **state)
{
    struct keyipc_status_answer status;
    for (int round = 0; round < 5; round++) {
        struct buf out;
        int fd = kh_worker(&k, join);
        buf_init(&out, 2 << 20);
        for (uint32_t i = 0; i < 2000; i++) {
            put_derive(&out, i);
        }
        assert_true(send(fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
        buf_free(&out);
        close(fd);
    }
    for (int i = 0; i < 500; i++) {
        kh_status(&k, worker, &status);
        if (status.queue == 0) {
            break;
        }
        usleep(10000);
    }
    assert_int_equal(status.queue, 0);
    assert_int_equal(status.keys_live, 1);
}

/* More connections than there may be: further ones are closed, those that are there go on, and room comes back. */
static void test_many_connections(void **state)
{
    static int fds[LIMIT_KEYHOLDER_CONNECTIONS + 20];
    size_t n = sizeof fds / sizeof *fds, closed = 0;
    for (size_t i = 0; i < n; i++) {
        fds[i] = kh_connect(&k);
    }
    assert_int_equal(kh_derive(&k, worker, key, 1, &server, point, NULL), ERR_NONE);
    usleep(200000);
    for (size_t i = 0; i < n; i++) {
        char byte;
        closed += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
        close(fds[i]);
    }
    assert_in_range(closed, 20, 24); /* control and worker have a place each */
    usleep(200000);
    close(kh_control(&k, NULL));
}

/* ---- strangers ---- */

/* In a child of another user: 0 served, 1 cut without a word, 2 not even connected. */
static int as_user(const char *path, uid_t uid, gid_t gid)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct keyipc_message hello = {.op = KEYIPC_HELLO};
        struct buf out;
        char byte;
        snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
            _exit(9);
        }
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
            _exit(2);
        }
        hello.u.hello.role = KEYIPC_CONTROL;
        hello.u.hello.custody = KEYIPC_CUSTODY_TOKEN;
        hello.u.hello.join[0] = (uint8_t)uid;
        buf_init(&out, 256);
        struct timeval patience = {10, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (!keyipc_encode(&out, &hello, NULL) || send(fd, out.data, out.len, MSG_NOSIGNAL) < 0) {
            _exit(1);
        }
        _exit(recv(fd, &byte, 1, 0) == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static void test_strangers(void **state)
{
    enum { STRANGER = 64001, FRIEND = 64002, GROUP = 64003, NOBODY = 64004 };
    static const struct {
        const char *option, *value;
        int stranger, user, member;
    } cases[] = {
        {NULL, NULL, 2, 2, 2},
        {"--allow-gid", "64003", 2, 2, 0},
        {"--allow-uid", "64002", 1, 0, 1},
    };
    if (geteuid() != 0) {
        assert_null(getenv("CI")); /* there it must run: other users' uids are root's to take */
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kh mine;
        char path[96];
        kh_prepare(&mine, "plain");
        assert_int_equal(chmod(mine.dir, 0711), 0);
        snprintf(path, sizeof path, "%s/socket", mine.dir);
        kh_arg(&mine, "--socket", path);
        if (cases[i].option != NULL) {
            kh_arg(&mine, cases[i].option, cases[i].value);
        }
        kh_spawn(&mine, -1);
        close(kh_connect_socket(path)); /* it listens */
        assert_int_equal(as_user(path, STRANGER, NOBODY), cases[i].stranger);
        assert_int_equal(as_user(path, FRIEND, NOBODY), cases[i].user);
        assert_int_equal(as_user(path, STRANGER, GROUP), cases[i].member);
        assert_int_equal(as_user(path, 0, 0), 0);
        assert_int_equal(kill(mine.pid, SIGTERM), 0);
        assert_int_equal(kh_wait(&mine), KEYIPC_EXIT_OK);
        kh_remove(&mine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_garbage),        SERVED(test_not_permitted),    SERVED(test_flood),
        SERVED(test_flood_and_gone), SERVED(test_many_connections), cmocka_unit_test(test_strangers),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
