#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VPCD "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
#define PORT "35963" /* vpcd's own; private.c makes it any free one */
#define SO_PIN "3537363231383830"
#define PIN "648219"

static struct {
    char dir[32];
    pid_t pcscd, card;
} rig;

/* The first file that there is of space-separated patterns. */
static const char *first_of(const char *const *patterns, char *path, size_t cap)
{
    for (; *patterns != NULL; patterns++) {
        glob_t found;
        bool there = glob(*patterns, 0, NULL, &found) == 0;
        if (there) {
            snprintf(path, cap, "%s", found.gl_pathv[0]);
        }
        globfree(&found);
        if (there) {
            return path;
        }
    }
    return NULL;
}

bool real_is(const char *module)
{
    return strcmp(module, "p11kit") == 0 || strcmp(module, "opensc") == 0;
}

const char *real_module(const char *module)
{
    static const char *const p11kit[] = {"/usr/lib/*/p11-kit-proxy.so", "/usr/lib64/p11-kit-proxy.so", NULL};
    static const char *const opensc[] = {"/usr/lib/*/opensc-pkcs11.so", "/usr/lib/*/pkcs11/opensc-pkcs11.so",
                                         "/usr/lib64/opensc-pkcs11.so", NULL};
    static char paths[2][128];
    bool proxy = strcmp(module, "p11kit") == 0;
    return first_of(proxy ? p11kit : opensc, paths[proxy], sizeof paths[0]);
}

static const char *in_rig(const char *name)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", rig.dir, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Starts a program that ends with this one, its output in the rig's log. */
static pid_t start(const char *const *argv)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int log = open(in_rig("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static int end(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* What follows "name=" in the card's state; -1: no card yet. */
static int state_of(const char *name)
{
    char line[128] = "";
    FILE *f = fopen(in_rig("state"), "r");
    bool read = f != NULL && fgets(line, sizeof line, f) != NULL;
    if (f != NULL) {
        fclose(f);
    }
    const char *at = read ? strstr(line, name) : NULL;
    return at != NULL ? (int)strtoul(at + strlen(name) + 1, NULL, 10) : -1;
}

unsigned real_keys(void)
{
    return (unsigned)state_of("keys");
}

unsigned real_tries(void)
{
    return (unsigned)state_of("tries");
}

/* As the card's page tells its owner to. It takes a moment until pcscd has seen the card, and the tool's exit code does not say whether
 * it found one. */
static bool initialize(void)
{
    const char *const argv[] = {"sc-hsm-tool", "--reader", "0",       "--initialize", "--so-pin", SO_PIN,
                                "--pin",       PIN,        "--label", "e2ee",         NULL};
    for (int i = 0; i < 20; i++) {
        end(start(argv));
        if (state_of("initialized") == 1) {
            return true;
        }
        pause_ms(250);
    }
    return false;
}

static void start_pcscd(void)
{
    const char *const pcscd[] = {E2EE_SIMCARD_DIR "/private_pcscd", in_rig("readers"), NULL};
    rig.pcscd = start(pcscd);
}

static void start_card(void)
{
    char generate_ms[16], derive_ms[16];
    snprintf(generate_ms, sizeof generate_ms, "%u", REAL_GENERATE_MS);
    snprintf(derive_ms, sizeof derive_ms, "%u", REAL_DERIVE_MS);
    const char *const card[] = {
        E2EE_SIMCARD_DIR "/simcard", in_rig("port." PORT), in_rig("state"), generate_ms, derive_ms, NULL};
    rig.card = start(card);
    if (!initialize()) {
        fail_msg("sc-hsm-tool could not initialise the card: %s", in_rig("log"));
    }
}

void real_card_anew(void)
{
    kill(rig.card, SIGTERM);
    end(rig.card);
    unlink(in_rig("state"));
    start_card();
}

void real_assert_label(const char *label)
{
    if (strcmp(label, "e2ee (UserPIN)") != 0) {
        assert_string_equal(label, "e2ee");
    }
}

void real_restart_pcscd(void)
{
    kill(rig.pcscd, SIGTERM);
    end(rig.pcscd);
    unlink(in_rig("port." PORT));
    unlink(in_rig("pcscd.comm"));
    start_pcscd();
}

void real_card_hangs(bool hangs)
{
    kill(rig.card, hangs ? SIGSTOP : SIGCONT);
}

void real_foreign_key(void)
{
    setenv("REAL_PIN", PIN, 1);
    const char *const argv[] = {"pkcs11-tool",
                                "--module",
                                real_module("opensc"),
                                "--login",
                                "--pin",
                                "env:REAL_PIN",
                                "--keypairgen",
                                "--key-type",
                                "EC:secp256k1",
                                "--usage-derive",
                                "--label",
                                "somebody else's",
                                NULL};
    assert_int_equal(end(start(argv)), 0);
    unsetenv("REAL_PIN");
}

const char *real_begin(const char *module)
{
    if (real_module(module) == NULL) {
        return strcmp(module, "p11kit") == 0 ? "p11-kit-proxy.so is not installed"
                                             : "opensc-pkcs11.so is not installed";
    }
    if (strcmp(module, "opensc") != 0) {
        return NULL;
    }
    if (access("/usr/sbin/pcscd", X_OK) != 0) {
        return "pcscd is not installed";
    }
    if (access(VPCD, R_OK) != 0) {
        return "vpcd is not installed";
    }
    snprintf(rig.dir, sizeof rig.dir, "/tmp/e2ee-card-XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    assert_int_equal(mkdir(in_rig("readers"), 0700), 0);
    write_text(in_rig("readers/simcard"), "FRIENDLYNAME \"simcard\"\nDEVICENAME /dev/null:" PORT
                                          "\nLIBPATH " VPCD "\nCHANNELID " PORT "\n");
    write_text(in_rig("opensc.conf"), "app default {\n\tcard_drivers = sc-hsm;\n\tframework pkcs15 {\n"
                                      "\t\tuse_file_caching = no;\n\t}\n}\n");
    setenv("PCSCD_DIR", rig.dir, 1);
    setenv("PCSCLITE_CSOCK_NAME", in_rig("pcscd.comm"), 1);
    setenv("OPENSC_CONF", in_rig("opensc.conf"), 1);
    start_pcscd();
    start_card();
    return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void real_end(void)
{
    if (rig.dir[0] == '\0') {
        return;
    }
    kill(rig.card, SIGCONT);
    kill(rig.card, SIGTERM);
    kill(rig.pcscd, SIGTERM);
    end(rig.card);
    end(rig.pcscd);
    nftw(rig.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    rig.dir[0] = '\0';
}

void real_prepare(struct kh *k, const char *module)
{
    if (strcmp(module, "opensc") == 0) {
        kh_write(k, "pin", PIN "\n");
        return;
    }
    kh_softhsm_folder(k);
    kh_softhsm_token(k, "e2ee", "1234");
    assert_int_equal(mkdir(kh_path(k, "pkcs11"), 0700), 0);
    assert_int_equal(mkdir(kh_path(k, "pkcs11/modules"), 0700), 0);
    kh_write(k, "pkcs11/pkcs11.conf", "user-config: only\n");
    kh_write(k, "pkcs11/modules/softhsm.module", "module: " HARNESS_SOFTHSM "\n");
    kh_env(k, "XDG_CONFIG_HOME", k->dir);
}

void real_card(bool in_reader)
{
    kill(rig.card, in_reader ? SIGUSR2 : SIGUSR1);
}
