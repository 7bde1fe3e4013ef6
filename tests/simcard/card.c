#include "card.h"

#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#include "certificate.h"
#include "curve.h"
#include "tlv.h"

#define SW_OK 0x9000
#define SW_END_OF_FILE 0x6282
#define SW_WRONG_LENGTH 0x6700
#define SW_NOT_LOGGED_IN 0x6982
#define SW_PIN_LOCKED 0x6983
#define SW_NOT_INITIALIZED 0x6984
#define SW_WRONG_DATA 0x6a80
#define SW_NOT_FOUND 0x6a82
#define SW_FULL 0x6a84
#define SW_NO_KEY 0x6a88
#define SW_UNKNOWN 0x6d00
#define KEY_PREFIX 0xcc00
#define KEY_DEVICE                                                                                           \
    0xcc00 /* the card's own, with which it authenticates itself: listed, but not its owner's */
#define FILE_DEVICE 0x2f02
#define SO_TRIES 15

static const uint8_t application[] = {0xe8, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x81, 0xc3, 0x1f, 0x02, 0x01};

/* A command, taken apart. */
struct apdu {
    uint8_t cla, ins, p1, p2;
    const uint8_t *data;
    size_t len;      /* of data */
    size_t expected; /* bytes wanted at most; 0: none */
};

struct answer {
    uint8_t *bytes;
    size_t len;
};

static struct card_file *find(const struct card *card, uint16_t id)
{
    for (size_t i = 0; id != 0 && i < CARD_FILES_MAX; i++) {
        if (card->files[i].id == id) {
            return (struct card_file *)(uintptr_t)&card->files[i];
        }
    }
    return NULL;
}

static struct card_file *make(struct card *card, uint16_t id)
{
    struct card_file *file = find(card, id);
    for (size_t i = 0; file == NULL && i < CARD_FILES_MAX; i++) {
        if (card->files[i].id == 0) {
            file = &card->files[i];
            file->id = id;
            file->len = 0;
        }
    }
    return file;
}

static void take_time(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static bool write_file(struct card *card, uint16_t id, const uint8_t *data, size_t len)
{
    struct card_file *file = len <= CARD_EF_MAX ? make(card, id) : NULL;
    if (file != NULL) {
        memcpy(file->data, data, len);
        file->len = len;
    }
    return file != NULL;
}

bool card_init(struct card *card)
{
    uint8_t certificate[CARD_EF_MAX], scalar[CURVE_SCALAR], point[CURVE_POINT];
    size_t len;
    memset(card, 0, sizeof *card);
    return curve_init() && certificate_device("ESSIM0100100001", certificate, sizeof certificate, &len) &&
           write_file(card, FILE_DEVICE, certificate, len) && curve_generate(scalar, point) &&
           write_file(card, KEY_DEVICE, scalar, sizeof scalar);
}

static bool is_devices_own(uint16_t id)
{
    return id == FILE_DEVICE || id == KEY_DEVICE;
}

void card_reset(struct card *card)
{
    card->selected = 0;
    card->pin_verified = false;
}

unsigned card_keys(const struct card *card)
{
    unsigned keys = 0;
    for (size_t i = 0; i < CARD_FILES_MAX; i++) {
        keys += (card->files[i].id & 0xff00) == KEY_PREFIX && !is_devices_own(card->files[i].id);
    }
    return keys;
}

/* ISO 7816-4 cases 1 to 4, short and extended. */
static bool parse(const uint8_t *in, size_t len, struct apdu *a)
{
    if (len < 4) {
        return false;
    }
    *a = (struct apdu){in[0], in[1], in[2], in[3], in + 4, 0, 0};
    const uint8_t *at = in + 4;
    size_t left = len - 4;
    bool extended = left >= 3 && at[0] == 0;
    size_t width = extended ? 2 : 1;
    if (extended) {
        at++;
        left--;
    }
    if (left > width || (extended && left > 2)) {
        a->len = extended ? (size_t)at[0] << 8 | at[1] : at[0];
        a->data = at + width;
        left -= width;
        if (a->len > left) {
            return false;
        }
        at = a->data + a->len;
        left -= a->len;
    }
    if (left > 0) {
        size_t most = extended ? 65536 : 256;
        a->expected = left >= 2 ? (size_t)at[0] << 8 | at[1] : at[0];
        a->expected = a->expected == 0 ? most : a->expected;
    }
    return true;
}

/* File control parameters (ISO 7816-4, table 12): what the driver wants is that they are there, and the version in 85. */
static uint16_t select_file(struct card *card, const struct apdu *a, struct answer *out)
{
    static const uint8_t proprietary[] = {0x00, 0x00, 0x00, 0x03, 0x05}; /* applet, version 3.5 */
    uint8_t inner[40], size[2] = {0, 0}, kind = 0x01;
    size_t len = 0;
    if (a->p1 == 0x04) {
        if (a->len != sizeof application || memcmp(a->data, application, a->len) != 0) {
            return SW_NOT_FOUND;
        }
        card_reset(card);
        kind = 0x38;
        tlv_put(inner, sizeof inner, &len, 0x82, &kind, 1);
        tlv_put(inner, sizeof inner, &len, 0x84, application, sizeof application);
        tlv_put(inner, sizeof inner, &len, 0x85, proprietary, sizeof proprietary);
    } else {
        if (a->len != 2) {
            return SW_WRONG_LENGTH;
        }
        const struct card_file *file = find(card, (uint16_t)(a->data[0] << 8 | a->data[1]));
        if (file == NULL) {
            return SW_NOT_FOUND;
        }
        card->selected = file->id;
        size[0] = (uint8_t)(file->len >> 8);
        size[1] = (uint8_t)file->len;
        tlv_put(inner, sizeof inner, &len, 0x81, size, sizeof size);
        tlv_put(inner, sizeof inner, &len, 0x82, &kind, 1);
        tlv_put(inner, sizeof inner, &len, 0x83, a->data, 2);
    }
    tlv_put(out->bytes, 100, &out->len, 0x6f, inner, len);
    return SW_OK;
}

/* The offset's object, 54 02 HH LL, stands first. */
static bool offset_of(const struct apdu *a, size_t *offset)
{
    const uint8_t *value;
    size_t len;
    if (!tlv_find(a->data, a->len, 0x54, &value, &len) || len != 2) {
        return false;
    }
    *offset = (size_t)value[0] << 8 | value[1];
    return true;
}

static uint16_t read_binary(struct card *card, const struct apdu *a, struct answer *out)
{
    const struct card_file *file = find(card, card->selected);
    size_t offset;
    if (file == NULL || (file->id & 0xff00) == KEY_PREFIX) {
        return SW_NOT_FOUND;
    }
    if (!offset_of(a, &offset)) {
        return SW_WRONG_DATA;
    }
    size_t left = offset < file->len ? file->len - offset : 0;
    out->len = left < a->expected ? left : a->expected;
    memcpy(out->bytes, file->data + offset, out->len);
    return out->len < a->expected ? SW_END_OF_FILE : SW_OK;
}

static uint16_t update_binary(struct card *card, const struct apdu *a)
{
    uint16_t id = (uint16_t)(a->p1 << 8 | a->p2);
    const uint8_t *value;
    size_t offset, len;
    if (!card->pin_verified) {
        return SW_NOT_LOGGED_IN;
    }
    id = id != 0 ? id : card->selected;
    if (!offset_of(a, &offset) || !tlv_find(a->data, a->len, 0x53, &value, &len) || id == 0 ||
        (id & 0xff00) == KEY_PREFIX || offset + len > CARD_EF_MAX) {
        return SW_WRONG_DATA;
    }
    struct card_file *file = make(card, id);
    if (file == NULL) {
        return SW_FULL;
    }
    memcpy(file->data + offset, value, len);
    file->len = offset + len > file->len ? offset + len : file->len;
    card->selected = id;
    return SW_OK;
}

static uint16_t delete_file(struct card *card, const struct apdu *a)
{
    struct card_file *file = a->len == 2 ? find(card, (uint16_t)(a->data[0] << 8 | a->data[1])) : NULL;
    if (!card->pin_verified) {
        return SW_NOT_LOGGED_IN;
    }
    if (file == NULL || is_devices_own(file->id)) {
        return SW_NOT_FOUND;
    }
    memset(file, 0, sizeof *file);
    return SW_OK;
}

static uint16_t enumerate(const struct card *card, struct answer *out)
{
    for (size_t i = 0; i < CARD_FILES_MAX; i++) {
        if (card->files[i].id != 0) {
            out->bytes[out->len++] = (uint8_t)(card->files[i].id >> 8);
            out->bytes[out->len++] = (uint8_t)card->files[i].id;
        }
    }
    return SW_OK;
}

static uint16_t tries_left(unsigned tries)
{
    return tries == 0 ? SW_PIN_LOCKED : (uint16_t)(0x63c0 | tries);
}

/* Without data: how it stands. */
static uint16_t verify_pin(struct card *card, const struct apdu *a)
{
    if (!card->initialized) {
        return SW_NOT_INITIALIZED;
    }
    if (a->p2 == 0x88) {
        return tries_left(SO_TRIES);
    }
    if (a->p2 != 0x81) {
        return SW_NO_KEY;
    }
    if (a->len == 0 && card->pin_verified) {
        return SW_OK;
    }
    if (a->len > 0 && card->tries > 0) {
        card->pin_verified = a->len == card->pin_len && memcmp(a->data, card->pin, a->len) == 0;
        card->tries = card->pin_verified ? card->tries_max : card->tries - 1;
    }
    return card->pin_verified ? SW_OK : tries_left(card->tries);
}

/* New PINs; all that was on the card, its certificate aside, is gone. An initialised card wants its SO-PIN for it. */
static uint16_t initialize(struct card *card, const struct apdu *a)
{
    const uint8_t *pin, *so_pin, *tries;
    size_t pin_len, so_len, tries_len;
    if (!tlv_find(a->data, a->len, 0x81, &pin, &pin_len) || pin_len < 6 || pin_len >= CARD_PIN_MAX ||
        !tlv_find(a->data, a->len, 0x82, &so_pin, &so_len) || so_len != CARD_SO_PIN ||
        !tlv_find(a->data, a->len, 0x91, &tries, &tries_len) || tries_len != 1) {
        return SW_WRONG_DATA;
    }
    if (card->initialized && memcmp(so_pin, card->so_pin, CARD_SO_PIN) != 0) {
        return SW_NOT_LOGGED_IN;
    }
    for (size_t i = 0; i < CARD_FILES_MAX; i++) {
        if (!is_devices_own(card->files[i].id)) {
            memset(&card->files[i], 0, sizeof card->files[i]);
        }
    }
    memcpy(card->pin, pin, pin_len);
    card->pin_len = pin_len;
    memcpy(card->so_pin, so_pin, CARD_SO_PIN);
    card->tries = card->tries_max = tries[0];
    card->initialized = true;
    card_reset(card);
    return SW_OK;
}

static uint16_t generate(struct card *card, const struct apdu *a, struct answer *out)
{
    uint8_t prime[CURVE_SCALAR], scalar[CURVE_SCALAR], point[CURVE_POINT];
    const uint8_t *params, *asked;
    size_t params_len, len;
    if (!card->pin_verified) {
        return SW_NOT_LOGGED_IN;
    }
    curve_prime(prime);
    if (is_devices_own((uint16_t)(KEY_PREFIX | a->p1)) ||
        !tlv_find(a->data, a->len, 0x7f49, &params, &params_len) ||
        !tlv_find(params, params_len, 0x81, &asked, &len) || len != sizeof prime ||
        memcmp(asked, prime, len) != 0) {
        return SW_WRONG_DATA; /* the card's own place, another curve, or RSA */
    }
    take_time(card->generate_ms);
    if (!curve_generate(scalar, point) ||
        !certificate_request(a->data, a->len, point, out->bytes, CARD_EF_MAX, &out->len)) {
        return SW_WRONG_DATA;
    }
    if (!write_file(card, (uint16_t)(KEY_PREFIX | a->p1), scalar, sizeof scalar)) {
        out->len = 0;
        return SW_FULL;
    }
    card->generated++;
    return SW_OK;
}

static uint16_t derive(struct card *card, const struct apdu *a, struct answer *out)
{
    const struct card_file *key = find(card, (uint16_t)(KEY_PREFIX | a->p1));
    if (!card->pin_verified) {
        return SW_NOT_LOGGED_IN;
    }
    if (key == NULL || is_devices_own(key->id)) {
        return SW_NO_KEY;
    }
    if (a->p2 != 0x80 || a->len != CURVE_POINT) {
        return SW_WRONG_DATA;
    }
    take_time(card->derive_ms);
    if (!curve_multiply(key->data, a->data, out->bytes)) {
        return SW_WRONG_DATA;
    }
    out->len = CURVE_POINT;
    card->derived++;
    return SW_OK;
}

static uint16_t challenge(const struct apdu *a, struct answer *out)
{
    out->len = a->expected <= 1024 ? a->expected : 1024;
    return RAND_bytes(out->bytes, (int)out->len) == 1 ? SW_OK : SW_WRONG_DATA;
}

static uint16_t dispatch(struct card *card, const struct apdu *a, struct answer *out)
{
    switch (a->cla << 8 | a->ins) {
    case 0x00a4:
        return select_file(card, a, out);
    case 0x00b1:
        return read_binary(card, a, out);
    case 0x00d7:
        return update_binary(card, a);
    case 0x00e4:
        return delete_file(card, a);
    case 0x8058:
        return enumerate(card, out);
    case 0x0020:
        return verify_pin(card, a);
    case 0x8050:
        return initialize(card, a);
    case 0x0046:
        return generate(card, a, out);
    case 0x8062:
        return derive(card, a, out);
    case 0x0084:
        return challenge(a, out);
    default:
        return SW_UNKNOWN;
    }
}

size_t card_answer(struct card *card, const uint8_t *command, size_t len, uint8_t *answer)
{
    struct apdu apdu;
    struct answer out = {answer, 0};
    uint16_t status = parse(command, len, &apdu) ? dispatch(card, &apdu, &out) : SW_WRONG_LENGTH;
    answer[out.len++] = (uint8_t)(status >> 8);
    answer[out.len++] = (uint8_t)status;
    return out.len;
}
