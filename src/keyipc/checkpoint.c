#include "keyipc/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "keyipc/chain_read.h"

#define HASH_HEX (2 * SHA256_BYTES + 1)

size_t checkpoint_text(char out[static CHECKPOINT_TEXT_BYTES], const struct checkpoint *c)
{
    char hash[HASH_HEX], key[HASH_HEX];
    int n = snprintf(out, CHECKPOINT_TEXT_BYTES,
                     "e2ee-hsm-proxy custody log checkpoint v1\n"
                     "from=%" PRIu64 "\nline=%" PRIu64 "\nhash=%s\ninstance=%s\nalgorithm=%s\nkey=%s\n",
                     c->from, c->line, hex_str(hash, c->hash, sizeof c->hash), c->instance, c->algorithm,
                     hex_str(key, c->key, sizeof c->key));
    return (size_t)n;
}

void checkpoint_members(char out[static CHECKPOINT_MEMBERS_BYTES], const struct checkpoint *c)
{
    char hash[HASH_HEX], key[HASH_HEX], signature[2 * SIGNATURE_BYTES_MAX + 1];
    snprintf(out, CHECKPOINT_MEMBERS_BYTES,
             ",\"from\":%" PRIu64 ",\"line\":%" PRIu64
             ",\"over\":\"%s\",\"instance\":\"%s\",\"algorithm\":\"%s\",\"key\":\"%s\",\"signature\":\"%s\"",
             c->from, c->line, hex_str(hash, c->hash, sizeof c->hash), c->instance, c->algorithm,
             hex_str(key, c->key, sizeof c->key), hex_str(signature, c->signature, c->signature_len));
}

static bool in_instance(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool in_algorithm(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Up to the quote, which stays. */
static bool read_word(char *out, size_t cap, bool (*allowed)(char), const char *text, size_t len, size_t *at)
{
    size_t n = 0;
    while (*at < len && n < cap - 1 && allowed(text[*at])) {
        out[n++] = text[(*at)++];
    }
    out[n] = '\0';
    return n > 0;
}

static bool read_signature(struct checkpoint *c, const char *text, size_t len, size_t *at)
{
    size_t digits = 0;
    const char *hex = text + *at;
    while (*at < len && ((*hex >= '0' && *hex <= '9') || (*hex >= 'a' && *hex <= 'f'))) {
        (*at)++;
        hex++;
        digits++;
    }
    c->signature_len = digits / 2;
    return digits > 0 && digits <= 2 * sizeof c->signature &&
           hex_decode(c->signature, text + *at - digits, digits);
}

static bool read(struct checkpoint *c, const char *text, size_t len)
{
    size_t at = 0;
    return chain_skip(text, len, &at, ",\"from\":") && chain_number(&c->from, text, len, &at) &&
           chain_skip(text, len, &at, ",\"line\":") && chain_number(&c->line, text, len, &at) &&
           chain_skip(text, len, &at, ",\"over\":\"") && chain_hash(c->hash, text, len, &at) &&
           chain_skip(text, len, &at, "\",\"instance\":\"") &&
           read_word(c->instance, sizeof c->instance, in_instance, text, len, &at) &&
           chain_skip(text, len, &at, "\",\"algorithm\":\"") &&
           read_word(c->algorithm, sizeof c->algorithm, in_algorithm, text, len, &at) &&
           chain_skip(text, len, &at, "\",\"key\":\"") && chain_hash(c->key, text, len, &at) &&
           chain_skip(text, len, &at, "\",\"signature\":\"") && read_signature(c, text, len, &at) &&
           chain_skip(text, len, &at, "\"") && at == len && c->from <= c->line;
}

bool checkpoint_parse(struct checkpoint *c, const char *members, size_t len, struct err *err)
{
    memset(c, 0, sizeof *c);
    if (!read(c, members, len)) {
        memset(c, 0, sizeof *c);
        return err_set(err, ERR_INVALID, "it is no checkpoint that this version knows");
    }
    return true;
}
