/* Token URIs. What is taken names no PIN but by the path of a file, and no two devices where it names one; a PIN in the
 * text is refused wherever it stands, and no refusal repeats it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "hsm/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIN "31415926535897"

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void fill(unsigned char *field, size_t size, const char *text)
{
    memset(field, ' ', size);
    memcpy(field, text, strlen(text));
}

/* A token whose texts are what PKCS#11 makes of them: padded by spaces. */
static struct module_token token_of(const char *serial)
{
    struct module_token token = {.slot = 1};
    fill(token.info.label, sizeof token.info.label, "e2ee");
    fill(token.info.manufacturerID, sizeof token.info.manufacturerID, "m");
    fill(token.info.model, sizeof token.info.model, "m");
    fill(token.info.serialNumber, sizeof token.info.serialNumber, serial);
    fill(token.slot_info.slotDescription, sizeof token.slot_info.slotDescription, "s");
    fill(token.slot_info.manufacturerID, sizeof token.slot_info.manufacturerID, "m");
    return token;
}

static void check_refusal(const struct err *err)
{
    require(err->kind == ERR_CONFIG && err->message[0] != '\0');
    require(strstr(err->message, PIN) == NULL);
}

static void check_taken(const struct uri *uri, const char *text)
{
    const struct module_token one = token_of("1"), other = token_of("2");
    CK_INFO library = {.cryptokiVersion = {2, 40}};
    const char *pin = uri_pin_file(uri), *module = uri_module_path(uri);
    require(strlen(text) <= URI_BYTES_MAX);
    require(pin == NULL || pin[0] == '/');
    require(module == NULL || strlen(module) <= strlen(text));
    bool first = uri_matches(uri, &one, &library), second = uri_matches(uri, &other, &library);
    require(uri_names_serial(uri) ? !(first && second) : first == second);
}

/* The same text with a PIN in its query. */
static void check_pin_value(const char *text)
{
    struct buf with_pin;
    struct err err = {0};
    buf_init(&with_pin, strlen(text) + 64);
    require(buf_append_str(&with_pin, text));
    require(buf_append_str(&with_pin, strchr(text, '?') == NULL ? "?" : "&"));
    require(buf_append_str(&with_pin, "pin-value=" PIN) && buf_cstr(&with_pin) != NULL);
    struct uri *uri = uri_parse(buf_cstr(&with_pin), &err);
    require(uri == NULL);
    check_refusal(&err);
    buf_free(&with_pin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    char *text = mem_strndup((const char *)data, size);
    require(text != NULL);
    struct uri *uri = uri_parse(text, &err);
    if (uri == NULL) {
        check_refusal(&err);
    } else {
        check_taken(uri, text);
        uri_free(uri);
    }
    check_pin_value(text);
    mem_free(text);
    return 0;
}
