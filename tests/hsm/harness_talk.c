/* Connections, requests and answers; the process is in harness.c. */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "crypto/hash.h"

static int with_patience(int fd)
{
    struct timeval patience = {HARNESS_WAIT_S, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

int kh_connect(struct kh *k)
{
    int pair[2];
    char type = KEYIPC_START_CONNECTION;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {&type, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    memset(&control, 0, sizeof control);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &pair[1], sizeof(int));
    assert_int_equal(sendmsg(k->channel, &message, MSG_NOSIGNAL), 1);
    close(pair[1]);
    return with_patience(pair[0]);
}

int kh_connect_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    for (int i = 0; i < HARNESS_WAIT_S * 50; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            return with_patience(fd);
        }
        close(fd);
        usleep(20000);
    }
    fail_msg("nobody listens on %s", path);
    return -1;
}

void kh_send(int fd, const struct keyipc_message *m)
{
    struct err err = {0};
    struct buf out;
    buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
    if (!keyipc_encode(&out, m, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(send(fd, out.data, out.len, MSG_NOSIGNAL), out.len);
    buf_free(&out);
}

static bool read_exactly(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, data, len, 0);
        if (n < 0 && errno == EAGAIN) {
            fail_msg("the keyholder did not answer");
        }
        if (n <= 0) {
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

bool kh_receive(int fd, struct keyipc_message *m)
{
    uint8_t frame[LIMIT_KEYIPC_FRAME_BYTES];
    struct err err = {0};
    size_t used = 0, body;
    if (!read_exactly(fd, frame, 4)) {
        return false;
    }
    body = (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
    assert_true(body <= sizeof frame - 4);
    assert_true(read_exactly(fd, frame + 4, body));
    if (!keyipc_decode(m, &used, frame, 4 + body, true, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(used, 4 + body);
    return true;
}

void kh_call(struct kh *k, int fd, struct keyipc_message *request, struct keyipc_message *answer)
{
    request->request_id = ++k->last_request;
    kh_send(fd, request);
    if (!kh_receive(fd, answer)) {
        fail_msg("the keyholder cut the connection");
    }
    assert_int_equal(answer->request_id, request->request_id);
    assert_true(answer->op == (request->op | KEYIPC_ANSWER) || answer->op == KEYIPC_ERROR);
}

bool kh_closed(int fd)
{
    char byte;
    struct pollfd set = {fd, POLLIN, 0};
    return poll(&set, 1, HARNESS_WAIT_S * 1000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

static int hello(struct kh *k, uint8_t role, const uint8_t *join)
{
    struct keyipc_message request = {.op = KEYIPC_HELLO}, answer;
    int fd = kh_connect(k);
    request.u.hello.role = role;
    request.u.hello.custody = KEYIPC_CUSTODY_TOKEN;
    if (join != NULL) {
        memcpy(request.u.hello.join, join, KEYIPC_JOIN_BYTES);
    } else {
        assert_true(hash_random(request.u.hello.join, KEYIPC_JOIN_BYTES, NULL));
    }
    kh_call(k, fd, &request, &answer);
    assert_int_equal(answer.op, KEYIPC_HELLO | KEYIPC_ANSWER);
    assert_int_equal(answer.u.hello_answer.custody, KEYIPC_CUSTODY_TOKEN);
    return fd;
}

int kh_control(struct kh *k, const uint8_t *join)
{
    return hello(k, KEYIPC_CONTROL, join);
}

int kh_worker(struct kh *k, const uint8_t *join)
{
    return hello(k, KEYIPC_WORKER, join);
}

void kh_peer_new(struct kh_peer *peer)
{
    assert_true(point_random_scalar(&peer->scalar, NULL));
    assert_true(point_from_scalar(peer->point, &peer->scalar, NULL));
}

void kh_peer_free(struct kh_peer *peer)
{
    secret_free(&peer->scalar);
}

/* The AES key as the enclave computes it. */
static void expect_key(const struct kh_peer *peer, const uint8_t client_point[static POINT_BYTES],
                       const struct secret *key)
{
    struct secret z, expected;
    assert_true(point_ecdh(&z, &peer->scalar, client_point, NULL));
    assert_true(hash_protocol_key(&expected, &z, NULL));
    assert_true(secret_equal(key, &expected));
    secret_free(&z);
    secret_free(&expected);
}

static enum err_kind error_of(const struct keyipc_message *answer, char why[241])
{
    assert_int_equal(answer->op, KEYIPC_ERROR);
    if (why != NULL) {
        memcpy(why, answer->u.error.message, sizeof answer->u.error.message);
    }
    return (enum err_kind)answer->u.error.kind;
}

enum err_kind kh_try_open(struct kh *k, int fd, const struct kh_peer *model, uint64_t *key_id,
                          uint8_t client_point[static POINT_BYTES], char why[241])
{
    struct keyipc_message request = {.op = KEYIPC_OPEN}, answer;
    memcpy(request.u.open.model_point, model->point, POINT_BYTES);
    kh_call(k, fd, &request, &answer);
    if (answer.op == KEYIPC_ERROR) {
        return error_of(&answer, why);
    }
    *key_id = answer.u.open_answer.key_id;
    memcpy(client_point, answer.u.open_answer.client_point, POINT_BYTES);
    assert_true(point_valid(client_point));
    expect_key(model, client_point, &answer.u.open_answer.request_key);
    keyipc_message_clear(&answer);
    return ERR_NONE;
}

void kh_open(struct kh *k, int fd, const struct kh_peer *model, uint64_t *key_id,
             uint8_t client_point[static POINT_BYTES])
{
    char why[241];
    if (kh_try_open(k, fd, model, key_id, client_point, why) != ERR_NONE) {
        fail_msg("OPEN: %s", why);
    }
}

enum err_kind kh_open_fails(struct kh *k, int fd, const uint8_t model[static POINT_BYTES], char why[241])
{
    struct keyipc_message request = {.op = KEYIPC_OPEN}, answer;
    memcpy(request.u.open.model_point, model, POINT_BYTES);
    kh_call(k, fd, &request, &answer);
    return error_of(&answer, why);
}

enum err_kind kh_derive(struct kh *k, int fd, uint64_t key_id, uint64_t stream, const struct kh_peer *server,
                        const uint8_t client_point[static POINT_BYTES], char why[241])
{
    struct keyipc_message request = {.op = KEYIPC_DERIVE}, answer;
    request.u.derive.key_id = key_id;
    request.u.derive.stream_id = stream;
    memcpy(request.u.derive.server_point, server->point, POINT_BYTES);
    kh_call(k, fd, &request, &answer);
    if (answer.op == KEYIPC_ERROR) {
        return error_of(&answer, why);
    }
    expect_key(server, client_point, &answer.u.derive_answer.response_key);
    keyipc_message_clear(&answer);
    return ERR_NONE;
}

void kh_close_key(struct kh *k, int fd, uint64_t key_id)
{
    struct keyipc_message request = {.op = KEYIPC_CLOSE}, answer;
    request.u.key_id = key_id;
    kh_call(k, fd, &request, &answer);
    assert_int_equal(answer.op, KEYIPC_CLOSE | KEYIPC_ANSWER);
}

void kh_status(struct kh *k, int fd, struct keyipc_status_answer *status)
{
    struct keyipc_message request = {.op = KEYIPC_STATUS}, answer;
    kh_call(k, fd, &request, &answer);
    assert_int_equal(answer.op, KEYIPC_STATUS | KEYIPC_ANSWER);
    *status = answer.u.status_answer;
}
