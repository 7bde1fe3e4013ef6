/* A module that tries what it should not, when it is initialised and from the threads that derive, and tells MOCK_LOG what worked:
 * programs, children, sockets, TCP to the ports MOCK_PORT and MOCK_OTHER_PORT, and reading the file MOCK_FORBIDDEN. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mock.h"

static void tell(const char *where, const char *what, bool worked)
{
    char line[128];
    snprintf(line, sizeof line, "%s: %s %s", where, what, worked ? "worked" : "failed");
    mock_log(line);
}

/* In a child where there may be one, so that success is seen; else in this process, which would then be gone. */
static bool starts_program(void)
{
    static char name[] = "true";
    char *const argv[] = {name, NULL};
    int status = 0;
    pid_t pid = fork();
    if (pid <= 0) {
        execv("/bin/true", argv);
        if (pid == 0) {
            _exit(99);
        }
        return false;
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool forks(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static bool makes_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    return fd >= 0 && close(fd) == 0;
}

static bool connects(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons((uint16_t)mock_env(port, 1));
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool reads(const char *path)
{
    int fd = path != NULL ? open(path, O_RDONLY) : -1;
    return fd >= 0 && close(fd) == 0;
}

static void intrude(const char *where)
{
    tell(where, "exec", starts_program());
    tell(where, "fork", forks());
    tell(where, "unix socket", makes_socket(AF_UNIX));
    tell(where, "inet socket", makes_socket(AF_INET));
    tell(where, "port", connects("MOCK_PORT"));
    tell(where, "other port", connects("MOCK_OTHER_PORT"));
    tell(where, "forbidden file", reads(getenv("MOCK_FORBIDDEN")));
}

static CK_RV initialize(void *args)
{
    intrude("C_Initialize");
    return mock_base.C_Initialize(args);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    intrude("C_DeriveKey");
    return mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

/* Before any call: by being loaded. */
__attribute__((constructor)) static void load(void)
{
    if (getenv("MOCK_LOG") != NULL) {
        intrude("load");
    }
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
    list->C_DeriveKey = derive;
}
