/* e2ee-keyholder: the only process that loads a PKCS#11 module, knows the PIN or sees a shared secret. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/process.h"
#include "hsm/audit_command.h"
#include "hsm/audit_sign.h"
#include "hsm/check.h"
#include "hsm/forked.h"
#include "hsm/listen.h"
#include "hsm/profile.h"
#include "hsm/record.h"
#include "hsm/selftest.h"
#include "hsm/signer.h"
#include "hsm/watchdog.h"
#include "keyipc/start.h"

/* What modules read; --module-env adds to it. */
static const char *const variables[] = {
    "SOFTHSM2_CONF",
    "YUBIHSM_PKCS11_CONF",
    "OPENSC_CONF",
    "PCSCLITE_CSOCK_NAME",
    "P11NETHSM_CONFIG_FILE",
    "P11_KIT_DEBUG",
    "P11_KIT_STRICT",
    "HOME",
    "PATH",
    "LANG",
    "TERM",
    "TZ",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "E2EE_PROXY_CONFIG",
#ifdef E2EE_SANITIZED
    "ASAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LSAN_OPTIONS",
    "TSAN_OPTIONS",
#endif
};
#define VARIABLES (sizeof variables / sizeof *variables)

static bool clean_environment(const struct options *o, struct err *err)
{
    const char *allowed[VARIABLES + OPTIONS_MODULE_ENV_MAX + 1] = {NULL};
    memcpy(allowed, variables, sizeof variables);
    memcpy(allowed + VARIABLES, o->module_env, o->module_env_count * sizeof *allowed);
    return process_clean_environment(allowed, err);
}

/* Best effort: keys, PIN and shared secrets are on the locked heap in any case; this is for what OpenSSL and the module
 * keep elsewhere. A limit that would stop a later allocation is not gone near. */
static void lock_memory(void)
{
#ifndef E2EE_SANITIZED
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if ((limit.rlim_cur != RLIM_INFINITY && geteuid() != 0) ||
        mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        log_warn("only the key heap is locked in memory, what the module keeps may be swapped out; "
                 "LimitMEMLOCK=infinity or `ulimit -l unlimited` locks all");
    }
#endif
}

/* Signals go to the loop by descriptor, so that a module's handlers are never run and never matter. Before the first
 * thread: all inherit the mask. */
static bool take_signals(struct options *o, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (o->check) {
        return true; /* ends by the signal itself */
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return err_errno(err, ERR_IO, errno, "cannot block signals");
    }
    o->server.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return o->server.signals >= 0 || err_errno(err, ERR_IO, errno, "cannot make a signalfd");
}

static void report_ready(const struct server_options *o)
{
    char ready = KEYIPC_START_READY;
    if (o->channel >= 0 && send(o->channel, &ready, 1, MSG_NOSIGNAL) != 1) {
        log_warn("the supervisor does not listen");
    }
    log_info("ready");
}

static enum keyipc_exit report_failure(const struct options *o, const struct err *err)
{
    char message[1 + KEYIPC_START_REASON_BYTES + 1];
    log_error("%s", err->message);
    int n = snprintf(message, sizeof message, "%c%s", KEYIPC_START_FAILED, err->message);
    if (o->server.channel >= 0 && n > 0 &&
        send(o->server.channel, message, strlen(message), MSG_NOSIGNAL) < 0) {
        log_debug("the supervisor does not listen");
    }
    switch (err->kind) {
    case ERR_PIN:
        return KEYIPC_EXIT_PIN;
    case ERR_TOKEN:
    case ERR_BUSY:
    case ERR_KEY_GONE:
        return KEYIPC_EXIT_TOKEN;
    default:
        return KEYIPC_EXIT_FAILED;
    }
}

/* The socket is made here: afterwards nobody in this process makes one, unless its module needs to. The watchdog's thread
 * comes last: a sandbox holds for the threads that its thread starts. */
static bool enter_sandbox(struct options *o, const char *state_dir, struct err *err)
{
    if (o->server.socket_path != NULL && (o->server.listener = listen_open(&o->server, err)) < 0) {
        return false;
    }
    if (!profile_enter(o, state_dir, err) || !watchdog_start(o->token_timeout_s, record_hang, err)) {
        listen_close(&o->server, o->server.listener);
        return false;
    }
    return true;
}

static bool prepare(struct options *o, char *state_dir, size_t cap, struct err *err)
{
    if (!instance_state_dir(state_dir, cap, o->token.state_dir, err) || !instance_make_dir(state_dir, err)) {
        return false;
    }
    o->token.state_dir = state_dir;
    /* Some modules read their configuration from the working folder: nobody but root shall command them. */
    if (chdir("/") != 0) {
        return err_errno(err, ERR_IO, errno, "cannot leave the working folder");
    }
    forked_close(o->server.channel);
    return forked_init(err) && take_signals(o, err) && secret_heap_init(err) &&
           enter_sandbox(o, state_dir, err);
}

/* Before the first sweep. */
static bool spare_audit_key(struct instance *instance, const struct options *o, struct err *err)
{
    return o->audit_key == NULL || signer_spares(o->audit_key, instance->spare_id, sizeof instance->spare_id,
                                                 &instance->spare_len, err);
}

/* A key that is not there, or does not sign now, ends the start: who asked for signatures must not believe in them later. */
static bool start_signing(struct signer *signer, const struct options *o, const struct unit *units,
                          struct err *err)
{
    if (o->audit_key == NULL) {
        return true;
    }
    const struct audit_signer a = {.sign = signer_sign,
                                   .keep_awake = signer_keep_awake,
                                   .context = signer,
                                   .instance = units[0].token.instance->label,
                                   .every = o->audit_checkpoint};
    return signer_open(signer, &o->token, o->audit_key, &units[0].token, err) && audit_sign_start(&a, err);
}

static void stop_signing(struct signer *signer)
{
    if (!audit_sign_now(LIMIT_AUDIT_LAST_SIGN_MS)) {
        log_warn("the custody log's last lines are not signed");
    }
    audit_sign_stop();
    signer_close(signer);
}

static bool serve(struct options *o, struct err *err)
{
    static struct unit units[KEYIPC_TOKENS_MAX];
    static struct instance instance;
    static struct signer signer;
    struct audit_text why;
    size_t count = 0;
    if (o->server.custody == KEYIPC_CUSTODY_SESSION) {
        log_warn("custody session: the token makes and roots each session's key; what opens its answers "
                 "lives in this "
                 "process's locked memory until rotation");
    } else {
        log_info("custody token: every operation with a private key happens in the token");
    }
    o->audit.anchor_dir = o->audit_key != NULL ? o->token.state_dir : NULL;
    bool ok = audit_open(&o->audit, err) && instance_take(&instance, o->token.state_dir, err) &&
              spare_audit_key(&instance, o, err);
    if (ok) {
        record_start(o, &instance);
    }
    ok = ok && selftest_vector(err) && units_open(units, &count, &o->token, &instance, err) &&
         start_signing(&signer, o, units, err);
    if (!ok) {
        listen_close(&o->server, o->server.listener);
    }
    ok = ok && server_run(&o->server, units, count, o->threads, report_ready, err);
    units_empty(units, count);
    audit_event("stop", ",\"why\":%s", ok ? "\"asked to\"" : audit_quote(&why, err->message));
    stop_signing(&signer); /* as long as the login is there that it may need */
    units_close(units, count);
    audit_close();
    return ok;
}

/* A module may print to standard output: only our report may go there. */
static FILE *keep_stdout(void)
{
    int fd = dup(STDOUT_FILENO);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    return out != NULL && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 ? out : NULL;
}

static struct options options;

static void reread(void)
{
    if (options.config_file != NULL && !options.log_level_given) {
        log_level_reread(options.config_file);
    }
}

int main(int argc, char **argv)
{
    char state_dir[PATH_MAX];
    struct err err = {0};
    if (argc > 1 && strcmp(argv[1], "audit") == 0) {
        return audit_command(argc - 2, argv + 2);
    }
    if (!mem_install_openssl(&err) || !process_harden(&err) || !options_read(&options, argc, argv, &err)) {
        log_init("keyholder", LOG_LEVEL_INFO, false);
        return (int)report_failure(&options, &err);
    }
    if (options.help || options.version) {
        if (options.help) {
            options_print_help();
        } else {
            printf("e2ee-keyholder " E2EE_VERSION "\n");
        }
        return 0;
    }
    log_init("keyholder", options.log_level, options.log_json);
    options.server.reread = reread;
    int code = KEYIPC_EXIT_OK;
    FILE *out = keep_stdout();
    if (out == NULL) {
        err_errno(&err, ERR_IO, errno, "standard output");
        code = (int)report_failure(&options, &err);
    } else if (!clean_environment(&options, &err) || !prepare(&options, state_dir, sizeof state_dir, &err)) {
        code = (int)report_failure(&options, &err);
    } else if (options.check) {
        code = check_run(&options, out) ? 0 : 1;
    } else {
        lock_memory();
        code = serve(&options, &err) ? KEYIPC_EXIT_OK : (int)report_failure(&options, &err);
    }
    /* Not exit: SoftHSM's destructors meet an OpenSSL that is cleaned up already and crash (openssl#22508). */
    _exit(code);
}
