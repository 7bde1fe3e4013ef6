#include "hsm/record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hsm/audit.h"

static unsigned refusals_now;   /* in this second */
static uint64_t refusals_extra; /* not written yet */

void record_start(const struct options *o, const struct instance *instance)
{
    struct audit_text label;
    const struct server_options *s = &o->server;
    audit_event("start",
                ",\"version\":\"" E2EE_VERSION "\",\"pid\":%ld,\"uid\":%lu,\"label\":%s,\"custody\":\"%s\","
                "\"audit_full\":\"%s\",\"max_key_age_seconds\":%" PRIu32 ",\"max_derives\":%" PRIu64
                ",\"max_keys\":%zu",
                (long)getpid(), (unsigned long)geteuid(), audit_quote(&label, instance->label),
                s->custody == KEYIPC_CUSTODY_SESSION ? "session" : "token",
                o->audit.go_on ? "continue" : "refuse", s->max_key_age_s, s->max_derives, s->max_keys);
}

void record_hang(const char *call)
{
    struct audit_text name;
    struct err ignored;
    audit_event("hang", ",\"call\":%s", audit_quote(&name, call));
    (void)!audit_flush(1000, &ignored);
}

/* The systemd unit of a process, "" when it has none or /proc does not tell: cgroup v2's line ends with it, or with a group
 * of its own below. */
static void find_unit(char *out, size_t cap, pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/cgroup", (long)pid);
    *out = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    char *line = strstr(text, "0::/");
    for (char *part = line; part != NULL;) {
        char *begin = part + strcspn(part, "/\n");
        if (*begin != '/') {
            return;
        }
        size_t len = strcspn(++begin, "/\n");
        if (len > 8 && strncmp(begin + len - 8, ".service", 8) == 0) {
            snprintf(out, cap, "%.*s", (int)len, begin);
        }
        part = begin + len;
    }
}

void record_client(const struct connection *c, const struct client *client)
{
    char unit[256];
    struct audit_text quoted;
    find_unit(unit, sizeof unit, c->pid);
    audit_event("client",
                ",\"client\":%" PRIu64 ",\"pid\":%ld,\"uid\":%lu,\"gid\":%lu,\"unit\":%s,\"custody\":\"%s\","
                "\"max_key_age_seconds\":%" PRIu32,
                client->id, (long)c->pid, (unsigned long)c->uid, (unsigned long)c->gid,
                *unit != '\0' ? audit_quote(&quoted, unit) : "null",
                client->custody == KEYIPC_CUSTODY_SESSION ? "session" : "token", client->max_key_age_s);
}

void record_client_gone(const struct client *client)
{
    audit_event("client_gone", ",\"client\":%" PRIu64 ",\"keys\":%zu", client->id, client->key_count);
}

void record_key_use(const struct client *client, struct held_key *key, const char *ending)
{
    struct audit_text point;
    if (ending == NULL && key->derives == key->recorded) {
        return;
    }
    key->recorded = key->derives;
    audit_event(ending != NULL ? "key_closed" : "key_used",
                ",\"key\":%s,\"client\":%" PRIu64 ",\"derives\":%" PRIu64 "%s%s%s",
                audit_point(&point, key->own_point), client->id, key->derives,
                ending != NULL ? ",\"why\":\"" : "", ending != NULL ? ending : "",
                ending != NULL ? "\"" : "");
}

static bool may_write(void)
{
    if (refusals_now < RECORD_REFUSALS_PER_S) {
        refusals_now++;
        return true;
    }
    refusals_extra++;
    return false;
}

void record_refusal(uint64_t client, const char *what, const struct err *why)
{
    struct audit_text text;
    if (may_write()) {
        audit_event("refused", ",\"client\":%" PRIu64 ",\"asked\":\"%s\",\"kind\":\"%s\",\"why\":%s", client,
                    what, err_kind_name(why->kind), audit_quote(&text, why->message));
    }
}

void record_stranger(pid_t pid, uid_t uid, gid_t gid, const char *why)
{
    struct audit_text text;
    if (may_write()) {
        audit_event("refused_peer", ",\"pid\":%ld,\"uid\":%lu,\"gid\":%lu,\"why\":%s", (long)pid,
                    (unsigned long)uid, (unsigned long)gid, audit_quote(&text, why));
    }
}

void record_tick(int64_t now_s)
{
    static int64_t last;
    if (now_s != last && refusals_extra > 0) {
        audit_event("refused_more", ",\"count\":%" PRIu64, refusals_extra);
        refusals_extra = 0;
    }
    last = now_s;
    refusals_now = 0;
}
