#include "session/collateral_source.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "session/collateral_fetch.h"

#define AGAIN_S 60
#define ATTEMPTS_MAX 64 /* platform types whose last attempt is remembered */

enum place { PLACE_INTEL, PLACE_MIRROR, PLACE_FILE, PLACE_FOLDER };

struct collateral_source {
    enum place place;
    char *path; /* of a file or folder */
    const struct seen *seen;
    struct collateral_fetch *http;
    bool (*fetch)(void *arg, const struct collateral_key *key, struct collateral *out, struct err *err);
    void *arg;
    int64_t retry_s;
    void (*on_fetch)(bool ok);
    pthread_mutex_t lock; /* of what follows; never held during a fetch */
    struct attempt {
        struct collateral_key key;
        int64_t at;
        bool failed; /* and it was said */
    } attempts[ATTEMPTS_MAX];
    size_t attempt_count;
};

static bool is_url(const char *where)
{
    return strncasecmp(where, "https://", 8) == 0 || strncasecmp(where, "http://", 7) == 0;
}

static bool fetch_http(void *arg, const struct collateral_key *key, struct collateral *out, struct err *err)
{
    return collateral_fetch(arg, key, out, err);
}

static bool open_place(struct collateral_source *s, const struct collateral_source_options *o,
                       struct err *err)
{
    struct stat there;
    if (o->where == NULL || is_url(o->where)) {
        s->place = o->where == NULL ? PLACE_INTEL : PLACE_MIRROR;
        if (s->fetch == NULL) {
            s->http = collateral_fetch_new(o->where, o->unsafe_http, err);
            s->fetch = fetch_http;
            s->arg = s->http;
        }
        return s->fetch != fetch_http || s->http != NULL;
    }
    if (stat(o->where, &there) != 0) {
        return err_errno(err, ERR_CONFIG, errno, "--collateral is no URL, and no file or folder");
    }
    s->place = S_ISDIR(there.st_mode) ? PLACE_FOLDER : PLACE_FILE;
    s->path = mem_strdup(o->where);
    return s->path != NULL || err_set(err, ERR_MEMORY, "no memory for the source of collateral");
}

struct collateral_source *collateral_source_new(const struct collateral_source_options *options,
                                                struct err *err)
{
    struct collateral_source *s = mem_calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the source of collateral");
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->seen = options->seen;
    s->fetch = options->fetch;
    s->arg = options->arg;
    s->retry_s = options->retry_s > 0 ? options->retry_s : COLLATERAL_RETRY_S;
    s->on_fetch = options->on_fetch;
    if (!open_place(s, options, err)) {
        collateral_source_free(s);
        s = NULL;
    }
    return s;
}

void collateral_source_free(struct collateral_source *s)
{
    if (s != NULL) {
        collateral_fetch_free(s->http);
        pthread_mutex_destroy(&s->lock);
        mem_free(s->path);
        mem_free(s);
    }
}

void collateral_source_abort(struct collateral_source *s)
{
    if (s->http != NULL) {
        collateral_fetch_abort(s->http);
    }
}

bool collateral_source_online(const struct collateral_source *s)
{
    return s->place == PLACE_INTEL || s->place == PLACE_MIRROR;
}

int64_t collateral_source_retry_s(const struct collateral_source *s)
{
    return s->retry_s;
}

const char *collateral_source_name(const struct collateral_source *s)
{
    static const char *const names[] = {"Intel's service", "a mirror", "a file", "a folder"};
    return names[s->place];
}

void collateral_got_init(struct collateral_got *got)
{
    memset(got, 0, sizeof *got);
    collateral_init(&got->collateral);
}

void collateral_got_free(struct collateral_got *got)
{
    collateral_free(&got->collateral);
}

/* ---- files ---- */

static bool read_file(struct collateral *out, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, LIMIT_ATTESTATION_BYTES);
    bool ok = text_read_file(&text, path, err) &&
              collateral_parse_json(out, (const char *)text.data, text.len, err);
    buf_free(&text);
    return ok;
}

/* A folder holds sets by platform type, named as the cache's, or one set in the layout of `verify PATH`. */
static bool read_folder(struct collateral *out, const char *folder, const struct collateral_key *key,
                        struct err *err)
{
    char path[PATH_MAX], name[SEEN_KEY_NAME_BYTES];
    seen_key_name(key, name);
    if (snprintf(path, sizeof path, "%s/%s.json", folder, name) >= (int)sizeof path) {
        return err_set(err, ERR_CONFIG, "--collateral: the folder's path is too long");
    }
    if (access(path, F_OK) == 0) {
        return read_file(out, path, err);
    }
    return key->evaluation == 0 ? collateral_load_folder(out, folder, err)
                                : err_set(err, ERR_NOT_FOUND, "the folder has no %s.json", name);
}

/* ---- when to fetch ---- */

/* With the lock held: what is remembered of key's attempts. */
static struct attempt *attempt_of(struct collateral_source *s, const struct collateral_key *key)
{
    size_t i = 0;
    while (i < s->attempt_count && (memcmp(s->attempts[i].key.fmspc, key->fmspc, FMSPC_BYTES) != 0 ||
                                    s->attempts[i].key.processor_ca != key->processor_ca ||
                                    s->attempts[i].key.evaluation != key->evaluation)) {
        i++;
    }
    if (i == s->attempt_count) {
        /* More types than a provider has: the first is asked about too often, which harms nobody. */
        i = s->attempt_count < ATTEMPTS_MAX ? s->attempt_count++ : 0;
        s->attempts[i] = (struct attempt){.key = *key, .at = INT64_MIN};
    }
    return &s->attempts[i];
}

/* Takes the turn to fetch, unless the last attempt was less than gap seconds ago. */
static bool take_attempt(struct collateral_source *s, const struct collateral_key *key, int64_t now,
                         int64_t gap)
{
    pthread_mutex_lock(&s->lock);
    struct attempt *last = attempt_of(s, key);
    bool take = last->at == INT64_MIN || now < last->at || now - last->at >= gap;
    if (take) {
        last->at = now;
    }
    pthread_mutex_unlock(&s->lock);
    return take;
}

/* Counts the attempt. True when its outcome is news. */
static bool note_attempt(struct collateral_source *s, const struct collateral_key *key, bool ok)
{
    pthread_mutex_lock(&s->lock);
    struct attempt *last = attempt_of(s, key);
    bool news = last->failed == ok;
    last->failed = !ok;
    pthread_mutex_unlock(&s->lock);
    if (s->on_fetch != NULL) {
        s->on_fetch(ok);
    }
    return news;
}

/* Seconds that must lie between attempts, given what is cached; -1: it is fresh enough to fetch nothing. */
static int64_t retry_gap(const struct collateral_source *s, const struct collateral *cached, int64_t written,
                         int64_t now)
{
    struct err ignored = {0};
    int64_t from, until;
    if (!collateral_validity(cached, &from, &until, &ignored) || now >= until || now < from) {
        return 0;
    }
    if (now < from + (until - from) / 2 || (now >= written && now - written < s->retry_s)) {
        return -1;
    }
    return s->retry_s;
}

static void get_online(struct collateral_source *s, const struct collateral_key *key, int64_t now, bool again,
                       struct collateral_got *got)
{
    struct collateral fetched;
    struct err err = {0};
    int64_t written = 0;
    bool cached = seen_cache_load(s->seen, key, &got->collateral, &written, &err);
    if (!cached && err.kind != ERR_NOT_FOUND) {
        log_warn("the cached collateral cannot be read and is fetched anew: %s", err.message);
    }
    got->origin = cached ? COLLATERAL_CACHED : COLLATERAL_NONE;
    int64_t gap = cached ? retry_gap(s, &got->collateral, written, now) : 0;
    gap = again && gap != 0 ? AGAIN_S : gap;
    if (gap < 0 || (cached && gap > 0 && !take_attempt(s, key, now, gap))) {
        return;
    }
    collateral_init(&fetched);
    err_clear(&err);
    bool ok = s->fetch(s->arg, key, &fetched, &err), news = note_attempt(s, key, ok);
    if (ok) {
        if (news) {
            log_info("collateral comes from %s again", collateral_source_name(s));
        }
        collateral_free(&got->collateral);
        got->collateral = fetched;
        got->origin = COLLATERAL_FETCHED;
        return;
    }
    collateral_free(&fetched);
    got->problem = err;
    if (news) {
        log_warn("collateral could not be fetched from %s: %s; %s", collateral_source_name(s), err.message,
                 cached ? "the cached set is used while it is valid" : "there is none in the cache");
    }
}

void collateral_source_get(struct collateral_source *s, const struct collateral_key *key, int64_t now,
                           bool again, struct collateral_got *got)
{
    collateral_free(&got->collateral);
    err_clear(&got->problem);
    got->origin = COLLATERAL_NONE;
    if (collateral_source_online(s)) {
        get_online(s, key, now, again, got);
        return;
    }
    if (s->place == PLACE_FILE && key->evaluation != 0) {
        err_set(&got->problem, ERR_NOT_FOUND, "--collateral: a file holds no numbered set");
    } else if (s->place == PLACE_FILE ? read_file(&got->collateral, s->path, &got->problem)
                                      : read_folder(&got->collateral, s->path, key, &got->problem)) {
        got->origin = COLLATERAL_FILE;
    } else {
        err_context(&got->problem, "--collateral");
    }
}

bool collateral_source_other(struct collateral_source *s, const struct collateral_key *key, int64_t now,
                             struct collateral_got *got)
{
    struct err err = {0};
    int64_t written;
    if (got->origin == COLLATERAL_CACHED) {
        collateral_source_get(s, key, now, true, got);
        return got->origin == COLLATERAL_FETCHED;
    }
    if (got->origin != COLLATERAL_FETCHED ||
        !seen_cache_load(s->seen, key, &got->collateral, &written, &err)) {
        return false;
    }
    log_warn("the collateral that %s served does not hold; the cached set is used",
             collateral_source_name(s));
    got->origin = COLLATERAL_CACHED;
    return true;
}

/* ---- what came of it ---- */

static bool failed(const struct attest_verdict *v, const char *id)
{
    const struct verdict_check *check = verdict_find(v, id);
    return check != NULL && check->result == CHECK_FAIL;
}

enum collateral_judgement collateral_judge(const struct attest_verdict *v)
{
    static const char *const pieces[] = {"root.crl", "pck.crl",           "tcb_info.signature",
                                         "tcb_info", "tcb_info.platform", "qe_identity",
                                         "rollback", "tcb.evaluation"};
    /* collateral.age is the last word of the documents: made only when every piece holds. */
    const struct verdict_check *age = verdict_find(v, "collateral.age");
    if (age != NULL && age->result != CHECK_NOT_CHECKED) {
        return COLLATERAL_AUTHENTIC;
    }
    if (v->platform.revoked) {
        return COLLATERAL_REVOKES;
    }
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        if (failed(v, pieces[i])) {
            return COLLATERAL_BROKEN;
        }
    }
    return COLLATERAL_UNJUDGED;
}

/* A platform that Intel has just revoked must not come back with the older lists: they are replaced in the cache. */
static bool keep_lists(struct collateral_source *s, const struct collateral_key *key,
                       struct collateral_got *got, struct err *err)
{
    struct collateral old;
    struct err ignored = {0};
    int64_t written;
    bool ok = true;
    collateral_init(&old);
    if (seen_cache_load(s->seen, key, &old, &written, &ignored)) {
        ok = collateral_set_crl(&old.pck_crl, got->collateral.pck_crl.data, got->collateral.pck_crl.len,
                                err) &&
             collateral_set_crl(&old.root_crl, got->collateral.root_crl.data, got->collateral.root_crl.len,
                                err) &&
             seen_cache_save(s->seen, key, &old, err);
    }
    collateral_free(&old);
    return ok;
}

bool collateral_source_judged(struct collateral_source *s, const struct collateral_key *key,
                              struct collateral_got *got, const struct attest_verdict *v, bool *try_other,
                              struct err *err)
{
    enum collateral_judgement judgement = collateral_judge(v);
    struct attest_floor proven = {0};
    struct err why = {0};

    *try_other = false;
    if (got->origin == COLLATERAL_NONE) {
        return true;
    }
    if (v->platform.chain_verified) {
        proven.pck_crl_number = v->platform.pck_crl_number;
        proven.root_crl_number = v->platform.root_crl_number;
    }
    proven.tcb_evaluation = judgement == COLLATERAL_AUTHENTIC ? v->platform.tcb_evaluation : 0;
    if (!seen_raise(s->seen, key, &proven, err)) {
        return err_context(err, "rollback guard");
    }
    if (got->origin == COLLATERAL_FETCHED && judgement == COLLATERAL_REVOKES) {
        return keep_lists(s, key, got, err) || err_context(err, "cache of collateral");
    }
    if (got->origin == COLLATERAL_FETCHED && judgement == COLLATERAL_AUTHENTIC &&
        !seen_cache_save(s->seen, key, &got->collateral, &why)) {
        log_warn("collateral could not be cached: %s", why.message); /* it holds all the same */
    }
    *try_other = judgement == COLLATERAL_BROKEN && got->origin != COLLATERAL_FILE;
    return true;
}
