#include "keyipc/chain.h"

#include <inttypes.h>
#include <string.h>

#include "base/hex.h"
#include "keyipc/chain_read.h"

#define PREV ",\"prev\":\""
#define HASH "\",\"hash\":\""
#define HEX_CHARS (2 * (size_t)SHA256_BYTES)
#define TAIL_BYTES (sizeof PREV - 1 + HEX_CHARS + sizeof HASH - 1 + HEX_CHARS + 2)

bool chain_append(struct buf *out, struct chain_head *head, const char *time, const char *event,
                  const char *members, struct err *err)
{
    size_t before = out->len;
    uint8_t hash[SHA256_BYTES];
    buf_appendf(out, "{\"seq\":%" PRIu64 ",\"time\":\"%s\",\"event\":\"%s\"%s" PREV, head->seq + 1, time,
                event, members);
    buf_append_hex(out, head->hash, sizeof head->hash);
    buf_append_byte(out, '"');
    if (!buf_check(out, "a batch of the custody log", err)) {
        return false;
    }
    bool ok = hash_sha256(hash, out->data + before, out->len - before) ||
              err_set(err, ERR_CRYPTO, "SHA-256 failed");
    if (ok) {
        buf_append_str(out, &HASH[1]);
        buf_append_hex(out, hash, sizeof hash);
        buf_append_str(out, "\"}\n");
        ok = buf_check(out, "a batch of the custody log", err);
    }
    if (!ok) {
        out->len = out->failed ? 0 : before;
        return false;
    }
    head->seq++;
    memcpy(head->hash, hash, sizeof hash);
    return true;
}

bool chain_hash(uint8_t out[static SHA256_BYTES], const char *text, size_t len, size_t *at)
{
    if (len - *at < HEX_CHARS) {
        return false;
    }
    const char *hex = text + *at;
    for (size_t i = 0; i < HEX_CHARS; i++) {
        if ((hex[i] < '0' || hex[i] > '9') && (hex[i] < 'a' || hex[i] > 'f')) {
            return false;
        }
    }
    *at += HEX_CHARS;
    return hex_decode(out, hex, HEX_CHARS);
}

bool chain_skip(const char *text, size_t len, size_t *at, const char *prefix)
{
    size_t n = strlen(prefix);
    if (len - *at < n || memcmp(text + *at, prefix, n) != 0) {
        return false;
    }
    *at += n;
    return true;
}

bool chain_number(uint64_t *out, const char *text, size_t len, size_t *at)
{
    size_t from = *at;
    uint64_t value = 0;
    for (; *at < len && text[*at] >= '0' && text[*at] <= '9' && *at - from < 18; (*at)++) {
        value = value * 10 + (uint64_t)(text[*at] - '0');
    }
    *out = value;
    return *at > from && text[from] != '0';
}

static bool read_head(struct chain_line *line, const char *text, size_t len)
{
    size_t at = 0, name = 0;
    if (!chain_skip(text, len, &at, "{\"seq\":") || !chain_number(&line->seq, text, len, &at) ||
        !chain_skip(text, len, &at, ",\"time\":\"")) {
        return false;
    }
    while (at < len && text[at] != '"' && text[at] != '\\') {
        at++;
    }
    if (!chain_skip(text, len, &at, "\",\"event\":\"")) {
        return false;
    }
    while (at < len && name < sizeof line->event - 1 &&
           ((text[at] >= 'a' && text[at] <= 'z') || text[at] == '_')) {
        line->event[name++] = text[at++];
    }
    line->members = at + 1;
    return name > 0 && at < len && text[at] == '"';
}

static bool read_tail(struct chain_line *line, const char *tail)
{
    size_t at = 0;
    return chain_skip(tail, TAIL_BYTES, &at, PREV) && chain_hash(line->prev, tail, TAIL_BYTES, &at) &&
           chain_skip(tail, TAIL_BYTES, &at, HASH) && chain_hash(line->hash, tail, TAIL_BYTES, &at) &&
           chain_skip(tail, TAIL_BYTES, &at, "\"}");
}

bool chain_parse(struct chain_line *line, const char *text, size_t len, struct err *err)
{
    uint8_t hash[SHA256_BYTES];
    memset(line, 0, sizeof *line);
    bool ok = len > TAIL_BYTES && len <= CHAIN_LINE_BYTES_MAX;
    for (size_t i = 0; ok && i < len; i++) {
        ok = (unsigned char)text[i] >= 0x20;
    }
    if (!ok || !read_head(line, text, len - TAIL_BYTES) || !read_tail(line, text + len - TAIL_BYTES)) {
        memset(line, 0, sizeof *line);
        return err_set(err, ERR_INVALID, "it is no line of a custody log: changed or cut");
    }
    line->members_len = len - TAIL_BYTES - line->members;
    size_t hashed = len - TAIL_BYTES + sizeof PREV - 1 + HEX_CHARS + 1;
    if (!hash_sha256(hash, text, hashed)) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    return memcmp(hash, line->hash, sizeof hash) == 0 ||
           err_set(err, ERR_INVALID, "it was changed: its hash is another");
}

/* How a line that is whole by itself fails to follow the one before. */
static bool judge_place(const struct chain_check *check, const struct chain_line *line, struct err *err)
{
    uint64_t due = check->last.seq + 1;
    if (line->seq > due) {
        return err_set(err, ERR_INVALID, "%" PRIu64 " lines are missing before it: %" PRIu64 " to %" PRIu64,
                       line->seq - due, due, line->seq - 1);
    }
    if (line->seq < due) {
        return err_set(err, ERR_INVALID,
                       "it is out of place: number %" PRIu64 " after %" PRIu64 ", moved or repeated",
                       line->seq, check->last.seq);
    }
    return memcmp(line->prev, check->last.hash, sizeof line->prev) == 0 ||
           err_set(err, ERR_INVALID, "it does not follow the line before, which was replaced or changed");
}

bool chain_check_line(struct chain_check *check, struct chain_line *line, const char *text, size_t len,
                      struct err *err)
{
    static const uint8_t zeros[SHA256_BYTES];
    bool whole = chain_parse(line, text, len, err), ok = whole;
    check->lines++;
    if (whole && check->first_seq == 0 && check->last.seq == 0) {
        ok = line->seq != 1 || memcmp(line->prev, zeros, sizeof zeros) == 0 ||
             err_set(err, ERR_INVALID, "the first line has one before it");
        check->first_seq = line->seq;
    } else if (whole) {
        ok = judge_place(check, line, err);
    }
    if (line->seq != 0) {
        check->last.seq = line->seq;
        memcpy(check->last.hash, line->hash, sizeof line->hash);
    } else {
        check->last.seq++; /* one unreadable line stands where one line was */
        memset(check->last.hash, 0, sizeof check->last.hash);
    }
    check->findings += !ok;
    return ok;
}
