/* A verdict as JSON (interface.md) and as a table for people. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attest/pins.h"
#include "attest/verdict.h"
#include "base/hex.h"
#include "json/json.h"

#define VERDICT_PRINT_BYTES 131072

static void text_member(struct buf *out, const char *name, const char *value)
{
    buf_appendf(out, ",\"%s\":", name);
    if (value == NULL) {
        buf_append_str(out, "null");
    } else {
        json_append_string(out, value, strlen(value));
    }
}

static void hex_member(struct buf *out, const char *name, const uint8_t *data, size_t len)
{
    buf_appendf(out, "%s\"%s\":\"", out->len > 0 && out->data[out->len - 1] == '{' ? "" : ",", name);
    buf_append_hex(out, data, len);
    buf_append_byte(out, '"');
}

/* "2026-06-10T00:00:00Z", or nothing for a time that no calendar has. */
static const char *utc(int64_t when, char out[static VERDICT_DATE_BYTES])
{
    struct tm tm;
    time_t t = (time_t)when;
    out[0] = '\0';
    if (gmtime_r(&t, &tm) == NULL || strftime(out, VERDICT_DATE_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        out[0] = '\0';
    }
    return out;
}

static void json_checks(struct buf *out, const struct attest_verdict *v)
{
    buf_append_str(out, ",\"checks\":[");
    for (size_t i = 0; i < v->check_count; i++) {
        const struct verdict_check *c = &v->checks[i];
        buf_appendf(out, "%s{\"id\":", i > 0 ? "," : "");
        json_append_string(out, c->id, strlen(c->id));
        text_member(out, "result", verdict_result_name(c->result));
        buf_appendf(out, ",\"enforced\":%s", c->enforced ? "true" : "false");
        text_member(out, "detail", c->detail);
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ']');
}

static void json_measurements(struct buf *out, const struct attest_verdict *v)
{
    const struct verdict_measurements *m = &v->measurements;
    buf_append_str(out, ",\"measurements\":");
    if (!m->present) {
        buf_append_str(out, "null");
        return;
    }
    buf_append_byte(out, '{');
    hex_member(out, "mrtd", m->mrtd, sizeof m->mrtd);
    for (int i = 0; i < 4; i++) {
        char name[] = {'r', 't', 'm', 'r', (char)('0' + i), '\0'};
        hex_member(out, name, m->rtmr[i], sizeof m->rtmr[i]);
    }
    hex_member(out, "mr_config_id", m->mr_config_id, sizeof m->mr_config_id);
    hex_member(out, "mr_owner", m->mr_owner, sizeof m->mr_owner);
    hex_member(out, "mr_owner_config", m->mr_owner_config, sizeof m->mr_owner_config);
    hex_member(out, "mr_seam", m->mr_seam, sizeof m->mr_seam);
    hex_member(out, "mr_signer_seam", m->mr_signer_seam, sizeof m->mr_signer_seam);
    hex_member(out, "report_data", m->report_data, sizeof m->report_data);
    hex_member(out, "td_attributes", m->td_attributes, sizeof m->td_attributes);
    hex_member(out, "seam_attributes", m->seam_attributes, sizeof m->seam_attributes);
    hex_member(out, "xfam", m->xfam, sizeof m->xfam);
    hex_member(out, "tee_tcb_svn", m->tee_tcb_svn, sizeof m->tee_tcb_svn);
    if (m->has_td15) {
        hex_member(out, "tee_tcb_svn2", m->tee_tcb_svn2, sizeof m->tee_tcb_svn2);
        hex_member(out, "mr_service_td", m->mr_service_td, sizeof m->mr_service_td);
    }
    buf_append_byte(out, '}');
}

static void json_platform(struct buf *out, const struct attest_verdict *v)
{
    const struct verdict_platform *p = &v->platform;
    buf_append_str(out, ",\"platform\":");
    if (!p->present) {
        buf_append_str(out, "null");
        return;
    }
    char date[VERDICT_DATE_BYTES];
    buf_append_byte(out, '{');
    hex_member(out, "fmspc", p->fmspc, sizeof p->fmspc);
    hex_member(out, "ppid", p->ppid, sizeof p->ppid);
    hex_member(out, "cpusvn", p->cpusvn, sizeof p->cpusvn);
    buf_appendf(out, ",\"pcesvn\":%u", p->pcesvn);
    text_member(out, "platform_status", p->platform != TCB_NONE ? tcb_status_name(p->platform) : NULL);
    text_member(out, "qe_status", p->qe != TCB_NONE ? tcb_status_name(p->qe) : NULL);
    text_member(out, "module_status", p->module != TCB_NONE ? tcb_status_name(p->module) : NULL);
    text_member(out, "current_status", p->current != TCB_NONE ? tcb_status_name(p->current) : NULL);
    buf_appendf(
        out,
        ",\"tcb_evaluation\":%llu,\"qe_evaluation\":%llu,\"pck_crl_number\":%llu,\"root_crl_number\":%llu",
        (unsigned long long)p->tcb_evaluation, (unsigned long long)p->qe_evaluation,
        (unsigned long long)p->pck_crl_number, (unsigned long long)p->root_crl_number);
    text_member(out, "collateral_expires",
                p->collateral_expires > 0 ? utc(p->collateral_expires, date) : NULL);
    buf_append_byte(out, '}');
}

static void json_guest(struct buf *out, const struct attest_verdict *v)
{
    const struct verdict_guest *g = &v->guest;
    buf_append_str(out, ",\"guest\":{");
    if (g->has_os_image) {
        hex_member(out, "os_image_hash", g->os_image, sizeof g->os_image);
    }
    if (g->has_compose_hash) {
        hex_member(out, "compose_hash", g->compose_hash, sizeof g->compose_hash);
    }
    if (g->has_app_id) {
        hex_member(out, "app_id", g->app_id, sizeof g->app_id);
    }
    if (g->has_key_provider) {
        hex_member(out, "key_provider_id_sha256", g->key_provider_id, sizeof g->key_provider_id);
        text_member(out, "key_provider", g->key_provider);
    }
    buf_append_byte(out, '}');
}

bool verdict_to_json(const struct attest_verdict *v, struct buf *out, struct err *err)
{
    char date[VERDICT_DATE_BYTES];
    buf_free(out);
    buf_init(out, VERDICT_PRINT_BYTES);
    buf_appendf(out, "{\"verdict\":\"%s\"", v->verified ? "verified" : "refused");
    text_member(out, "level", verdict_level_name(v->level));
    text_member(out, "tcb_status", v->tcb_status != TCB_NONE ? tcb_status_name(v->tcb_status) : NULL);
    text_member(out, "tcb_date", v->tcb_date[0] != '\0' ? v->tcb_date : NULL);
    buf_append_str(out, ",\"advisories\":[");
    for (size_t i = 0; i < v->advisory_count; i++) {
        buf_appendf(out, "%s\"%s\"", i > 0 ? "," : "", v->advisories[i]);
    }
    buf_append_byte(out, ']');
    text_member(out, "reason", v->verified ? NULL : v->reason);
    json_checks(out, v);
    json_measurements(out, v);
    json_platform(out, v);
    json_guest(out, v);
    text_member(out, "at", utc(v->at, date));
    text_member(out, "not_after", v->not_after != INT64_MAX ? utc(v->not_after, date) : NULL);
    text_member(out, "shape", v->shape[0] != '\0' ? v->shape : NULL);
    text_member(out, "key", v->has_point ? v->point_hex : NULL);
    if (v->has_point) {
        hex_member(out, "signing_address", v->address, sizeof v->address);
    }
    hex_member(out, "quote_sha256", v->quote_sha256, sizeof v->quote_sha256);
    buf_append_byte(out, '}');
    return buf_check(out, "verdict", err);
}

/* The detail, folded at about 90 characters under its column. */
static void text_detail(struct buf *out, const char *detail)
{
    const size_t width = 88;
    size_t len = strlen(detail);
    while (len > width) {
        size_t cut = width;
        while (cut > width / 2 && detail[cut] != ' ') {
            cut--;
        }
        if (detail[cut] != ' ') {
            cut = width;
        }
        buf_append(out, detail, cut);
        buf_appendf(out, "\n%42s", "");
        detail += cut;
        len -= cut;
        while (*detail == ' ') {
            detail++;
            len--;
        }
    }
    buf_append(out, detail, len);
    buf_append_byte(out, '\n');
}

static void text_heading(struct buf *out, const struct attest_verdict *v)
{
    char date[VERDICT_DATE_BYTES];
    buf_appendf(out, "verdict     %s\n", v->verified ? "VERIFIED" : "REFUSED");
    if (!v->verified) {
        buf_appendf(out, "reason      %s\n", v->reason);
    }
    buf_appendf(out, "level       %s%s\n", verdict_level_name(v->level),
                v->level < ATTEST_LEVEL_3
                    ? " (some genuine TDX guest: which software runs in it is not fully pinned)"
                    : "");
    buf_appendf(out, "tcb status  %s%s%s\n",
                v->tcb_status != TCB_NONE ? tcb_status_name(v->tcb_status) : "not established",
                v->tcb_date[0] != '\0' ? ", TCB of " : "", v->tcb_date);
    if (v->advisory_count > 0) {
        buf_append_str(out, "advisories ");
        for (size_t i = 0; i < v->advisory_count; i++) {
            buf_appendf(out, " %s", v->advisories[i]);
        }
        buf_append_byte(out, '\n');
    }
    buf_appendf(out, "judged at   %s\n", utc(v->at, date));
    if (v->not_after != INT64_MAX) {
        buf_appendf(out, "holds until %s\n", utc(v->not_after, date));
    }
    if (v->has_point) {
        buf_appendf(out, "model key   %s\n", v->point_hex);
    }
    const char *os = v->quote_verified ? pins_known_os(v) : NULL;
    if (os != NULL) {
        buf_appendf(out, "os image    %s (a name, not a reason to trust it)\n", os);
    }
}

bool verdict_to_text(const struct attest_verdict *v, struct buf *out, struct err *err)
{
    buf_free(out);
    buf_init(out, VERDICT_PRINT_BYTES);
    text_heading(out, v);
    buf_append_byte(out, '\n');
    for (size_t i = 0; i < v->check_count; i++) {
        const struct verdict_check *c = &v->checks[i];
        char result[32];
        snprintf(result, sizeof result, "%s%s", verdict_result_name(c->result),
                 c->result == CHECK_FAIL && !c->enforced ? " (reported)" : "");
        buf_appendf(out, "%-21s %-19s ", c->id, result);
        text_detail(out, c->detail);
    }
    return buf_check(out, "verdict", err);
}
