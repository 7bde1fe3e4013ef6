/* Intel's collateral for one platform type, as bytes: TCB info, QE identity, both CRLs, issuer chains
 * (attestation.md section 2). It authenticates itself, so where it comes from does not matter. */
#ifndef E2EE_ATTEST_COLLATERAL_H
#define E2EE_ATTEST_COLLATERAL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define COLLATERAL_ITEM_BYTES_MAX 1048576
#define FMSPC_BYTES 6

struct collateral {
    struct buf tcb_info;          /* Intel's answer: {"tcbInfo":{…},"signature":"…"}, exact bytes */
    struct buf qe_identity;       /* {"enclaveIdentity":{…},"signature":"…"} */
    struct buf tcb_info_chain;    /* PEM: TCB signer, root */
    struct buf qe_identity_chain; /* PEM; the same as above where the source gives one only */
    struct buf pck_crl;           /* DER */
    struct buf root_crl;          /* DER */
    struct buf pck_crl_chain;     /* PEM: PCK CA, root; not needed (the quote carries it), may be empty */
};

/* What selects collateral: unauthenticated until verified, good for asking only. */
struct collateral_key {
    uint8_t fmspc[FMSPC_BYTES];
    bool processor_ca;   /* PCK CRL of the Processor CA, else the Platform CA */
    uint32_t evaluation; /* the set of this tcbEvaluationDataNumber; 0: the one in force */
};

void collateral_init(struct collateral *c);
void collateral_free(struct collateral *c);
/* The folder layout of interface.md ("verify PATH"). ERR_NOT_FOUND when the folder has no collateral at all, ERR_IO or
 * ERR_INVALID when it is incomplete. */
bool collateral_load_folder(struct collateral *c, const char *path, struct err *err) MUST_CHECK;
/* Writes that layout into an existing folder; files of pieces that c has not are removed. */
bool collateral_save_folder(const struct collateral *c, const char *path, struct err *err) MUST_CHECK;
/* One JSON object with the members that interface.md names for --collateral FILE (CRLs as hex). */
bool collateral_parse_json(struct collateral *c, const char *text, size_t len, struct err *err) MUST_CHECK;
/* The same form, into out (emptied first): what a cache keeps. ERR_INVALID when TCB info or QE identity is no signed
 * JSON. */
bool collateral_write_json(const struct collateral *c, struct buf *out, struct err *err) MUST_CHECK;
/* A CRL as DER, as PEM, or as the hex text that a PCCS serves, into DER. */
bool collateral_set_crl(struct buf *out, const uint8_t *data, size_t len, struct err *err) MUST_CHECK;
/* Collateral for one quote: its FMSPC and PCK CA, without any verification. */
bool collateral_key_of_quote(struct collateral_key *out, const uint8_t *quote, size_t len,
                             struct err *err) MUST_CHECK;
/* issueDate-like start and nextUpdate-like end of the whole set (latest and earliest), seconds since 1970, without any
 * verification: when to refresh. */
bool collateral_validity(const struct collateral *c, int64_t *from, int64_t *until,
                         struct err *err) MUST_CHECK;

#endif
