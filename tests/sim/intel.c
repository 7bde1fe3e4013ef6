#include "intel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "server.h"

#define DAY 86400

static struct pki *pki, *other; /* other: a machine under a root that nobody trusts */
static struct pki_spec served;  /* what the collateral says */
static struct pki_gpus *gpus;
static const char *mode = "good";

static void start(void)
{
    if (pki)
        return;
    pki_spec_good(&served, now_unix());
    pki = pki_new(&served);
    gpus = pki_gpus_new(now_unix(), NULL);
}

void intel_spec(struct pki_spec *spec)
{
    pki_spec_good(spec, now_unix());
}

static void take(struct bytes *out, struct pki_bytes from)
{
    bytes_add(out, from.data, from.len);
    pki_bytes_free(&from);
}

void intel_quote(const struct pki_spec *spec, bool stranger, struct bytes *out)
{
    start();
    if (stranger && !other)
        other = pki_new(spec);
    take(out, pki_quote(stranger ? other : pki, spec));
}

char *intel_gpus(size_t count, const struct pki_gpu_spec *spec)
{
    start();
    return (char *)pki_gpu_payload(gpus, count, spec).data;
}

bool intel_write_root(const char *path)
{
    struct bytes pem = {0};
    start();
    take(&pem, pki_root_pem(pki));
    take(&pem, pki_gpus_root(gpus));
    FILE *f = fopen(path, "w");
    bool ok = f && fwrite(pem.p, 1, pem.len, f) == pem.len;
    ok = f && fclose(f) == 0 && ok;
    bytes_free(&pem);
    return ok;
}

/* ---- what the collateral says ---- */

static void set_dates(int64_t from, int64_t until)
{
    served.root_crl_from = served.pck_crl_from = served.tcb_from = served.qe_from = from;
    served.root_crl_until = served.pck_crl_until = served.tcb_until = served.qe_until = until;
}

/* A newer level than the machine has reached: it falls to the second one. */
static void raise_level(const char *status)
{
    served.levels[0].sgx = 6;
    served.levels[0].pcesvn = 14;
    served.levels[1].status = status;
}

bool intel_set_collateral(const char *name)
{
    static const char *const names[] = {"good",    "expired",        "expiring",    "future",      "revoked",
                                        "newer",   "signer-revoked", "out-of-date", "tcb-revoked", "rollback",
                                        "garbage", "down",           "stranger",    "recovery"};
    int64_t now = now_unix();
    const char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            found = names[i];
    if (!found)
        return false;
    start();
    mode = found;
    pki_spec_good(&served, now);
    if (!strcmp(mode, "expired"))
        set_dates(now - 30 * DAY, now - 10);
    else if (!strcmp(mode, "expiring"))
        set_dates(now - 30 * DAY, now + 5);
    else if (!strcmp(mode, "future"))
        set_dates(now + 3600, now + 30 * DAY);
    else if (!strcmp(mode, "out-of-date"))
        raise_level("OutOfDate");
    else if (!strcmp(mode, "recovery")) { /* the machine falls behind by 20, and was up to date by 19 */
        raise_level("OutOfDate");
        served.tcb_evaluation = served.qe_evaluation = 20;
    } else if (!strcmp(mode, "tcb-revoked"))
        raise_level("Revoked");
    else if (!strcmp(mode, "rollback"))
        served.tcb_evaluation = served.qe_evaluation = 18;
    else if (!strcmp(mode, "newer"))
        served.tcb_evaluation = served.qe_evaluation = 20;
    served.revoke_pck = !strcmp(mode, "revoked");
    served.revoke_signer = !strcmp(mode, "signer-revoked");
    served.crl_number = served.revoke_pck || served.revoke_signer ? 8 : !strcmp(mode, "rollback") ? 6 : 7;
    pki_renew_crls(pki, &served);
    if (!strcmp(mode, "stranger") && !other)
        other = pki_new(&served);
    return true;
}

void intel_reset(void)
{
    if (pki)
        intel_set_collateral("good");
}

void intel_stop(void)
{
    if (pki)
        pki_free(pki);
    if (other)
        pki_free(other);
    pki_gpus_free(gpus);
    pki = other = NULL;
    gpus = NULL;
}

/* ---- the service ---- */

/* The issuer chain as Intel sends it: URL-encoded PEM in a header. */
static void add_chain(struct bytes *headers, const char *name, struct pki_bytes pem)
{
    bytes_fmt(headers, "%s: ", name);
    for (size_t i = 0; i < pem.len; i++) {
        char c = (char)pem.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c))
            bytes_add(headers, &c, 1);
        else
            bytes_fmt(headers, "%%%02X", (unsigned)(unsigned char)c);
    }
    bytes_str(headers, "\r\n");
    pki_bytes_free(&pem);
}

static void serve(struct http_conn *conn, const char *type, const char *header, struct pki_bytes chain,
                  struct pki_bytes body)
{
    struct bytes headers = {0};
    if (header)
        add_chain(&headers, header, chain);
    if (!strcmp(mode, "garbage"))
        body.len /= 2;
    http_reply(conn, 200, type, bytes_text(&headers), body.data, body.len);
    bytes_free(&headers);
    pki_bytes_free(&body);
}

#define OLDEST_SET 19 /* older ones are retired */

/* The set that was asked for, by update or tcbEvaluationDataNumber, which exclude each other; else the answer's status. */
static int choose_set(const struct http_request *q, struct pki_spec *set)
{
    char *number = query_get(q->query, "tcbEvaluationDataNumber", NULL),
         *update = query_get(q->query, "update", NULL);
    int status = 200;
    *set = served;
    if (number) {
        unsigned long n = strtoul(number, NULL, 10);
        bool digits = *number && strspn(number, "0123456789") == strlen(number) && strlen(number) < 9;
        status = !digits || update ? 400 : n < OLDEST_SET ? 410 : n > served.tcb_evaluation ? 404 : 200;
        if (status == 200 && n < served.tcb_evaluation) {
            pki_spec_good(set, now_unix());
            set->tcb_evaluation = set->qe_evaluation = (unsigned)n;
        }
    } else if (update && strcmp(update, "early") && strcmp(update, "standard"))
        status = 400;
    free(number);
    free(update);
    return status;
}

static void serve_tcb(struct http_conn *conn, const struct http_request *q, const struct pki *from)
{
    char *fmspc = query_get(q->query, "fmspc", NULL);
    struct pki_spec set;
    uint8_t bytes[6];
    int status = choose_set(q, &set);
    if (!fmspc || strlen(fmspc) != 12 || !hex_decode(fmspc, 12, bytes, 6))
        status = 400;
    else if (status == 200 && memcmp(bytes, served.fmspc, 6))
        status = 404;
    if (status == 200)
        serve(conn, "application/json", "TCB-Info-Issuer-Chain", pki_signer_chain(from),
              pki_tcb_info(from, &set));
    else
        reply_json(conn, status, sim_strdup("{}"));
    free(fmspc);
}

static void serve_qe(struct http_conn *conn, const struct http_request *q, const struct pki *from)
{
    struct pki_spec set;
    int status = choose_set(q, &set);
    if (status == 200)
        serve(conn, "application/json", "SGX-Enclave-Identity-Issuer-Chain", pki_signer_chain(from),
              pki_qe_identity(from, &set));
    else
        reply_json(conn, status, sim_strdup("{}"));
}

/* As a PCCS does: hex text. */
static void serve_root_crl(struct http_conn *conn, const struct pki *from)
{
    struct pki_bytes der = pki_root_crl(from);
    struct bytes hex = {0};
    bytes_hex(&hex, der.data, der.len);
    http_reply(conn, 200, "text/plain", NULL, hex.p, hex.len);
    bytes_free(&hex);
    pki_bytes_free(&der);
}

bool intel_handle(struct http_conn *conn, const struct http_request *q)
{
    if (strncmp(q->path, "/tdx/", 5) && strncmp(q->path, "/sgx/", 5))
        return false;
    start();
    const struct pki *from = !strcmp(mode, "stranger") ? other : pki;
    sim_stats.collateral++;
    if (!strcmp(mode, "down"))
        reply_json(conn, 503, sim_strdup("{}"));
    else if (!strcmp(q->path, "/tdx/certification/v4/tcb"))
        serve_tcb(conn, q, from);
    else if (!strcmp(q->path, "/tdx/certification/v4/qe/identity"))
        serve_qe(conn, q, from);
    else if (!strcmp(q->path, "/sgx/certification/v4/pckcrl"))
        serve(conn, "application/pkix-crl", "SGX-PCK-CRL-Issuer-Chain", pki_signer_chain(from),
              pki_pck_crl(from));
    else if (!strcmp(q->path, "/sgx/certification/v4/rootcacrl"))
        serve_root_crl(conn, from);
    else
        reply_json(conn, 404, sim_strdup("{}"));
    return true;
}
