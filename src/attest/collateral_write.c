/* Collateral in the JSON form that --collateral FILE reads, which is also the cache's. */
#include "attest/collateral.h"
#include "attest/signed_json.h"

/* {"tcbInfo":{…},"signature":"…"} as "tcb_info" (the exact bytes, as a string) and "tcb_info_signature". */
static bool write_signed(struct buf *out, const struct buf *text, const char *name, const char *member,
                         struct err *err)
{
    struct signed_json json;
    if (!signed_json_parse(&json, (const char *)text->data, text->len, name, err)) {
        return err_context(err, "%s", member);
    }
    buf_appendf(out, "\"%s\":", member);
    json_append_string(out, json.doc.text + json.value->start, json.value->end - json.value->start);
    buf_appendf(out, ",\"%s_signature\":\"", member);
    buf_append_hex(out, json.signature, sizeof json.signature);
    buf_append_str(out, "\",");
    signed_json_free(&json);
    return true;
}

static void write_text(struct buf *out, const char *member, const struct buf *text)
{
    buf_appendf(out, "\"%s\":", member);
    json_append_string(out, (const char *)text->data, text->len);
    buf_append_byte(out, ',');
}

bool collateral_write_json(const struct collateral *c, struct buf *out, struct err *err)
{
    const struct buf *qe_chain = c->qe_identity_chain.len > 0 ? &c->qe_identity_chain : &c->tcb_info_chain;
    bool ok;
    buf_reset(out);
    buf_append_byte(out, '{');
    ok = write_signed(out, &c->tcb_info, "tcbInfo", "tcb_info", err) &&
         write_signed(out, &c->qe_identity, "enclaveIdentity", "qe_identity", err);
    if (ok) {
        write_text(out, "tcb_info_issuer_chain", &c->tcb_info_chain);
        write_text(out, "qe_identity_issuer_chain", qe_chain);
        if (c->pck_crl_chain.len > 0) {
            write_text(out, "pck_crl_issuer_chain", &c->pck_crl_chain);
        }
        buf_append_str(out, "\"pck_crl\":\"");
        buf_append_hex(out, c->pck_crl.data, c->pck_crl.len);
        buf_append_str(out, "\",\"root_ca_crl\":\"");
        buf_append_hex(out, c->root_crl.data, c->root_crl.len);
        buf_append_str(out, "\"}\n");
        ok = buf_check(out, "collateral", err);
    }
    if (!ok) {
        buf_reset(out);
    }
    return ok;
}
