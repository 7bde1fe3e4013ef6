/* The keyholder's round trip: DERIVE over its socket, one at a time, each with a server point of its own, and the CPU that the
 * keyholder spends on each one by the scheduler's own nanoseconds, which are exact while its threads sleep.
 * Usage: bench-roundtrip SOCKET KEYHOLDER_PID COUNT IN_FLIGHT. IN_FLIGHT above 1 measures the average only. Prints
 * {"cpu_p50_us","cpu_p99_us","time_p50_us","time_p99_us","cpu_mean_us"}.
 * Frames are written by hand from docs/PROTOCOL-KEYHOLDER.md: nothing of src/ is linked. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "keyipc/keyipc.h"
#include "points.h"

#define POINTS 4096
#define TASKS_MAX 64
#define HEAD 12 /* length 4, version 1, op 1, flags 2, request id 4 */
enum { HELLO = 1, OPEN = 2, DERIVE = 3, ANSWER = 0x80 };

static uint8_t points[POINTS][POINT_BYTES];
static int tasks[TASKS_MAX];
static size_t task_count;

static void die(const char *what)
{
    fprintf(stderr, "bench-roundtrip: %s\n", what);
    exit(1);
}

static void put(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
}

static size_t frame(uint8_t *out, uint8_t op, uint32_t id, size_t body)
{
    put(out, HEAD - 4 + body, 4);
    out[4] = KEYIPC_VERSION;
    out[5] = op;
    put(out + 6, 0, 2);
    put(out + 8, id, 4);
    return HEAD + body;
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("the keyholder took less than was sent");
    }
}

static void read_all(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, data, len);
        if (n <= 0) {
            die("the keyholder closed the connection");
        }
        data += n;
        len -= (size_t)n;
    }
}

/* The body of the next answer, which must be to op. */
static void answer(int fd, uint8_t op, uint8_t *body, size_t len)
{
    uint8_t head[HEAD];
    read_all(fd, head, HEAD);
    if (head[5] != (op | ANSWER) || (size_t)(head[2] << 8 | head[3]) != HEAD - 4 + len) {
        die("an unexpected answer");
    }
    read_all(fd, body, len);
}

static int open_connection(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        die("cannot connect");
    }
    uint8_t out[HEAD + 38] = {0}, in[13];
    out[HEAD] = 1;     /* control */
    out[HEAD + 1] = 1; /* token custody */
    if (getrandom(out + HEAD + 2, 32, 0) != 32) {
        die("no random bytes");
    }
    send_all(fd, out, frame(out, HELLO, 1, 38));
    answer(fd, HELLO, in, sizeof in);
    return fd;
}

static void open_tasks(const char *pid)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, e->d_name);
        int fd = e->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && task_count < TASKS_MAX) {
            tasks[task_count++] = fd;
        }
    }
    if (task_count == 0) {
        die("no such process");
    }
    closedir(dir);
}

static uint64_t cpu_ns(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < task_count; i++) {
        char text[80];
        ssize_t n = pread(tasks[i], text, sizeof text - 1, 0);
        if (n <= 0) {
            die("the keyholder is gone");
        }
        text[n] = '\0';
        sum += strtoull(text, NULL, 10);
    }
    return sum;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void ask(int fd, const uint8_t key[static 8], uint32_t i)
{
    uint8_t out[HEAD + 81];
    size_t len = frame(out, DERIVE, i, 81);
    memcpy(out + HEAD, key, 8);
    put(out + HEAD + 8, 1, 8);
    memcpy(out + HEAD + 16, points[i % POINTS], POINT_BYTES);
    send_all(fd, out, len);
}

/* Sorts, and prints the median and the 99th percentile by name. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    printf("\"%s_p50_us\":%.2f,\"%s_p99_us\":%.2f,", name, values[count / 2], name, values[count * 99 / 100]);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        die("usage: bench-roundtrip SOCKET KEYHOLDER_PID COUNT IN_FLIGHT");
    }
    size_t count = strtoul(argv[3], NULL, 10), in_flight = strtoul(argv[4], NULL, 10);
    double *cpu = calloc(count + 1, sizeof *cpu), *took = calloc(count + 1, sizeof *took);
    uint8_t out[HEAD + POINT_BYTES], opened[170], derived[32];
    if (cpu == NULL || took == NULL || count == 0 || in_flight == 0 || in_flight > count) {
        die("nothing to measure");
    }
    make_points(points, POINTS);
    int fd = open_connection(argv[1]);
    memcpy(out + HEAD, points[0], POINT_BYTES);
    send_all(fd, out, frame(out, OPEN, 2, POINT_BYTES));
    answer(fd, OPEN, opened, sizeof opened);
    open_tasks(argv[2]);
    uint64_t first = cpu_ns(), before = first;
    for (size_t i = 1; i < in_flight; i++) { /* the first point is the model's, and would be refused */
        ask(fd, opened, (uint32_t)(i % (POINTS - 1) + 1));
    }
    for (size_t i = 0; i < count; i++) {
        double begin = now_us();
        ask(fd, opened, (uint32_t)(i % (POINTS - 1) + 1));
        answer(fd, DERIVE, derived, sizeof derived);
        took[i] = now_us() - begin;
        if (in_flight == 1) {
            uint64_t after = cpu_ns();
            cpu[i] = (double)(after - before) / 1e3;
            before = after;
        }
    }
    double mean = (double)(cpu_ns() - first) / 1e3 / (double)count;
    printf("{");
    print("cpu", cpu, count);
    print("time", took, count);
    printf("\"cpu_mean_us\":%.2f}\n", mean);
    return 0;
}
