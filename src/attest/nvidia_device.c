/* One GPU: attestation.md section 5, steps 1 to 5. */
#include <stdlib.h>
#include <string.h>

#include "attest/nvidia_internal.h"

/* Drivers of this branch do not report the firmware's identity; later ones must. */
#define FWID_FREE_DRIVER "535."

static bool check_report(struct nvidia_device *out, const struct spdm_report *spdm, const X509 *leaf,
                         const uint8_t nonce[static SPDM_NONCE_BYTES], struct err *err)
{
    bool valid;
    out->reached = NVIDIA_SIGNATURE;
    if (!ecdsa_verify(ECDSA_P384, &valid, out->key, spdm->signature, spdm->message, spdm->message_len, err)) {
        return false;
    }
    if (!valid) {
        return err_set(err, ERR_INVALID, "the report is not signed by the key of its certificate");
    }
    out->reached = NVIDIA_NONCE;
    if (memcmp(spdm->nonce, nonce, SPDM_NONCE_BYTES) != 0) {
        return err_set(err, ERR_INVALID, "the report was made for another nonce");
    }
    out->reached = NVIDIA_FIRMWARE;
    out->firmware_absent =
        spdm->fwid == NULL && strncmp(spdm->driver, FWID_FREE_DRIVER, strlen(FWID_FREE_DRIVER)) == 0;
    if (spdm->fwid == NULL && !out->firmware_absent) {
        return err_set(err, ERR_INVALID, "the report does not say which firmware runs");
    }
    if (spdm->fwid != NULL && !nvidia_leaf_has_fwid(leaf, spdm->fwid)) {
        return err_set(err, ERR_INVALID, "the key was made for other firmware than the report names");
    }
    out->reached = NVIDIA_VERIFIED;
    return true;
}

bool nvidia_device_check(struct nvidia_device *out, const uint8_t *report, size_t report_len, const char *pem,
                         size_t pem_len, const char *arch, const uint8_t nonce[static SPDM_NONCE_BYTES],
                         const struct attest_root *root, int64_t now, struct err *err)
{
    struct certs certs;
    struct spdm_report spdm;
    bool ok = false;

    memset(out, 0, sizeof *out);
    out->reached = NVIDIA_CERTIFICATES;
    if (!nvidia_chain_read(&certs, pem, pem_len, root, now, err)) {
        goto out;
    }
    out->reached = NVIDIA_ARCH;
    if (!nvidia_leaf_is(certs.cert[0], arch)) {
        err_set(err, ERR_INVALID, "its certificate is not that of a GPU of the named architecture");
        goto out;
    }
    if (!ecdsa_key(ECDSA_P384, certs.cert[0], out->key, err)) {
        goto out;
    }
    out->reached = NVIDIA_REPORT;
    if (!spdm_parse(&spdm, report, report_len, err)) {
        goto out;
    }
    memcpy(out->driver, spdm.driver, sizeof out->driver);
    memcpy(out->vbios, spdm.vbios, sizeof out->vbios);
    ok = check_report(out, &spdm, certs.cert[0], nonce, err);
out:
    certs_free(&certs);
    return ok;
}
