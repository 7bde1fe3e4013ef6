#include "hsm/profile.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hsm/token.h"

enum profile_kind profile_kind(const char *module_path)
{
    static const struct {
        const char *name; /* how the file's name begins or goes on */
        enum profile_kind kind;
    } known[] = {{"libsofthsm2.", PROFILE_SOFTHSM},
                 {"opensc-pkcs11.", PROFILE_CARD},
                 {"yubihsm_pkcs11.", PROFILE_YUBIHSM}};
    char resolved[PATH_MAX];
    const char *path = realpath(module_path, resolved) != NULL ? resolved : module_path;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(name, known[i].name, strlen(known[i].name)) == 0) {
            return known[i].kind;
        }
    }
    return PROFILE_UNKNOWN;
}

/* The folder that a file lies, or will lie, in. */
static void write_beside(struct sandbox *s, const char *file)
{
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    char folder[PATH_MAX];
    if (slash != NULL && slash - file < (ptrdiff_t)sizeof folder) {
        snprintf(folder, sizeof folder, "%.*s", slash == file ? 1 : (int)(slash - file), file);
        sandbox_write(s, folder);
    }
}

static void add_softhsm(struct sandbox *s)
{
    char conf[PATH_MAX], tokens[PATH_MAX];
    sandbox_softhsm_conf(conf, sizeof conf);
    sandbox_softhsm_tokens(tokens, sizeof tokens, conf);
    sandbox_read_beside(s, conf);
    sandbox_write(s, tokens);
}

/* pcscd is connected to anew whenever it was started anew, so that its socket cannot be made beforehand. */
static void add_card(struct sandbox *s)
{
    s->unix_sockets = true;
    sandbox_read_beside(s, getenv("OPENSC_CONF"));
}

static void add_yubihsm(struct sandbox *s, bool network)
{
    sandbox_read_beside(s, getenv("YUBIHSM_PKCS11_CONF"));
    if (!network) {
        s->netlink = true;
        sandbox_read(s, "/sys");
        sandbox_read(s, "/run/udev");
        sandbox_write(s, "/dev/bus/usb");
    }
}

static void add_unknown(struct sandbox *s)
{
    s->any_file = s->fork = s->unix_sockets = s->netlink = true;
}

static void add_module(struct sandbox *s, enum profile_kind kind, const char *path, bool network)
{
    sandbox_read_beside(s, path);
    switch (kind) {
    case PROFILE_SOFTHSM:
        add_softhsm(s);
        return;
    case PROFILE_CARD:
        add_card(s);
        return;
    case PROFILE_YUBIHSM:
        add_yubihsm(s, network);
        return;
    case PROFILE_UNKNOWN:
        break;
    }
    add_unknown(s);
}

/* One --token's module and PIN. A URI that is none ends the start a little later, with a better message. */
static enum profile_kind add_token(struct sandbox *s, const struct options *o, size_t index)
{
    struct err ignored;
    struct uri *uri = index < o->token.uri_count ? uri_parse(o->token.uris[index], &ignored) : NULL;
    const char *path = token_module_path(&o->token, uri);
    const char *pin = uri != NULL && uri_pin_file(uri) != NULL ? uri_pin_file(uri) : o->token.pin_file;
    enum profile_kind kind = profile_kind(path);
    add_module(s, kind, path, o->network_count > 0);
    if (pin != NULL) {
        sandbox_read_beside(s, pin);
    } else {
        sandbox_write(s, "/dev/tty");
    }
    uri_free(uri);
    return kind;
}

/* The one of --audit-key: without module-path it is in the first one's module (token_load_signing). */
static enum profile_kind add_signing(struct sandbox *s, const struct options *o, enum profile_kind first)
{
    struct err ignored;
    struct uri *uri = uri_parse_object(o->audit_key, &ignored);
    const char *path = uri != NULL ? uri_module_path(uri) : NULL;
    enum profile_kind kind = path != NULL ? profile_kind(path) : first;
    if (path != NULL) {
        add_module(s, kind, path, o->network_count > 0);
    }
    sandbox_read_beside(s, uri != NULL ? uri_pin_file(uri) : NULL);
    uri_free(uri);
    return kind;
}

void profile_fill(struct sandbox *s, char said[static 128], const struct options *o, const char *state_dir)
{
    static const char *const names[] = {"SoftHSM", "OpenSC", "YubiHSM", "unknown module"};
    bool used[sizeof names / sizeof *names] = {false};
    size_t tokens = o->token.uri_count > 0 ? o->token.uri_count : 1, len = 0;
    *s = (struct sandbox){.network = o->network_count > 0, .port_count = o->network_count};
    memcpy(s->ports, o->network_ports, sizeof s->ports);
    sandbox_read_system(s);
    sandbox_read_beside(s, o->config_file); /* SIGHUP */
    sandbox_write(s, state_dir);
    write_beside(s, o->audit.path);
    write_beside(s, o->server.socket_path);
    if (o->audit.path != NULL) {
        sandbox_read(s, "/proc"); /* which systemd unit a client is of */
    }
    enum profile_kind first = add_token(s, o, 0);
    used[first] = true;
    for (size_t i = 1; i < tokens; i++) {
        used[add_token(s, o, i)] = true;
    }
    if (o->audit_key != NULL) {
        used[add_signing(s, o, first)] = true;
    }
    *said = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (used[i]) {
            len += (size_t)snprintf(said + len, 128 - len, "%s%s", len > 0 ? ", " : "", names[i]);
        }
    }
    snprintf(said + len, 128 - len, "%s",
             s->network        ? "; network by --token-network"
             : s->unix_sockets ? "; no network"
                               : "; no sockets");
}

bool profile_enter(const struct options *o, const char *state_dir, struct err *err)
{
    static struct sandbox s; /* too large for a stack */
    struct sandbox_result result;
    char said[128];
    profile_fill(&s, said, o, state_dir);
    if (!sandbox_enter(&s, &result, err)) {
        return err_context(err, "sandbox");
    }
    sandbox_announce(&result, said);
    if (s.any_file) {
        log_warn("what this PKCS#11 module needs is not known: it may open any file of this user, connect to "
                 "Unix sockets and make child processes; it may not start programs%s",
                 s.network ? "" : ", nor use the network (--token-network HOST:PORT)");
    }
    if (s.network && result.landlock < 4) {
        log_warn("this kernel's Landlock knows no TCP: the module may connect to any port; forbid it by "
                 "IPAddressAllow in the unit");
    }
    return true;
}
