/* simcard: the simulated SmartCard-HSM behind vpcd, the virtual reader driver of pcscd. It connects to vpcd's port;
 * messages are a length of two bytes, big-endian, and that many bytes: one byte is a control (0 off, 1 on, 2 reset, 4 the ATR, which
 * alone is answered), more is a command APDU. SIGUSR1 pulls the card out, SIGUSR2 puts it back, as it was. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

static volatile sig_atomic_t pulled, ended;

/* A contact card's, by which OpenSC knows a SmartCard-HSM. */
static const uint8_t atr[] = {0x3b, 0xfe, 0x18, 0x00, 0x00, 0x81, 0x31, 0xfe, 0x45, 0x80, 0x31, 0x81,
                              0x54, 0x48, 0x53, 0x4d, 0x31, 0x73, 0x80, 0x21, 0x40, 0x81, 0x07, 0xfa};

static void on_signal(int number)
{
    if (number == SIGTERM) {
        ended = 1;
    } else {
        pulled = number == SIGUSR1;
    }
}

/* Reads n bytes; false when the reader is gone or the card is pulled out. */
static bool read_all(int fd, uint8_t *out, size_t n)
{
    for (size_t at = 0; at < n;) {
        struct pollfd ready = {fd, POLLIN, 0};
        if (pulled || ended) {
            return false;
        }
        if (poll(&ready, 1, 50) <= 0) {
            continue;
        }
        /* vpcd sends the length on its own, and what follows it only once that is acknowledged. */
        int at_once = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &at_once, sizeof at_once);
        ssize_t got = read(fd, out + at, n - at);
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &at_once, sizeof at_once);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return false;
        }
        at += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool write_message(int fd, const uint8_t *data, size_t len)
{
    uint8_t message[2 + CARD_MESSAGE_MAX] = {(uint8_t)(len >> 8), (uint8_t)len};
    memcpy(message + 2, data, len);
    return send(fd, message, len + 2, MSG_NOSIGNAL) == (ssize_t)len + 2;
}

/* For the test: what is on the card now, always of the same length, so that one write replaces the last. */
static void tell(int fd, const struct card *card)
{
    char line[96];
    int n = snprintf(line, sizeof line, "keys=%04u tries=%02u initialized=%d generated=%08lu derived=%08lu\n",
                     card_keys(card), card->tries, card->initialized, card->generated, card->derived);
    if (pwrite(fd, line, (size_t)n, 0) != n) {
        ended = 1;
    }
}

static void serve(int fd, int state, struct card *card)
{
    static uint8_t command[CARD_MESSAGE_MAX], answer[CARD_MESSAGE_MAX];
    uint8_t head[2];
    card_reset(card);
    while (read_all(fd, head, sizeof head)) {
        size_t len = (size_t)head[0] << 8 | head[1];
        if (!read_all(fd, command, len)) {
            return;
        }
        bool ok = true;
        if (len == 1 && command[0] == 4) {
            ok = write_message(fd, atr, sizeof atr);
        } else if (len == 1) {
            card_reset(card);
        } else if (len > 1) {
            size_t n = card_answer(card, command, len, answer);
            tell(state, card);
            ok = !pulled && write_message(fd, answer, n);
        }
        if (!ok) {
            return;
        }
    }
}

/* The port is in the file, "port=N": another one each time that pcscd starts. */
static int connect_reader(const char *port_file)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = 0;
    FILE *f = fopen(port_file, "r");
    bool read = f != NULL && fscanf(f, "port=%u", &port) == 1;
    if (f != NULL) {
        fclose(f);
    }
    int fd = read ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    address.sin_port = htons((uint16_t)port);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    int at_once = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    return fd;
}

/* In the reader whenever it is not pulled out. */
static void run(const char *port_file, int state, struct card *card)
{
    struct timespec moment = {0, 20000000};
    tell(state, card);
    while (!ended) {
        int fd = pulled ? -1 : connect_reader(port_file);
        if (fd < 0) {
            nanosleep(&moment, NULL);
            continue;
        }
        serve(fd, state, card);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    static struct card card;
    if (argc != 5) {
        fprintf(stderr, "usage: simcard PORT-FILE STATE-FILE GENERATE-MS DERIVE-MS\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    FILE *state = fopen(argv[2], "w");
    if (state == NULL || !card_init(&card)) {
        fprintf(stderr, "simcard: cannot start: %s\n", strerror(errno));
        return 1;
    }
    card.generate_ms = (unsigned)strtoul(argv[3], NULL, 10);
    card.derive_ms = (unsigned)strtoul(argv[4], NULL, 10);
    run(argv[1], fileno(state), &card);
    return 0;
}
