/* What the keyholder may still do once it has its sandbox (base/sandbox.h): by the module that it will load, for that is
 * foreign code, of which only what is known to be needed is allowed. docs/THREAT-MODEL.md, "Sandbox". */
#ifndef E2EE_HSM_PROFILE_H
#define E2EE_HSM_PROFILE_H

#include "base/sandbox.h"
#include "hsm/options.h"

/* What a module needs beyond the keyholder's own files. */
enum profile_kind {
    PROFILE_SOFTHSM, /* its tokens' folder, no sockets */
    PROFILE_CARD,    /* OpenSC's: pcscd's Unix socket */
    PROFILE_YUBIHSM, /* its connector by --token-network, without that the USB device */
    PROFILE_UNKNOWN  /* files are not narrowed; Unix sockets and children without programs are allowed */
};

/* By the file's name, links followed. */
enum profile_kind profile_kind(const char *module_path);

/* *s for these options; state_dir is the resolved one. What is needed by several modules is allowed to all: they are in
 * one process. said: a few words for the log. */
void profile_fill(struct sandbox *s, char said[static 128], const struct options *o, const char *state_dir);

/* Fills, enters and logs. Before the first thread, the module, and the first byte of a client; after the state folder
 * and the listening socket were made. */
bool profile_enter(const struct options *o, const char *state_dir, struct err *err) MUST_CHECK;

#endif
