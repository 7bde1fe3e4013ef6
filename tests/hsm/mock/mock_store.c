#include "mock_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

struct mock_object mock_objects[MOCK_OBJECTS];
struct mock_session mock_sessions[MOCK_SESSIONS_MAX];
bool mock_keeps_handles;
static CK_OBJECT_HANDLE last_handle;

unsigned long mock_env(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoul(text, NULL, 0) : otherwise;
}

static void append(const char *variable, const char *line)
{
    const char *path = getenv(variable);
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        if (write(fd, line, strlen(line)) < 0) {
            abort();
        }
        close(fd);
    }
}

void mock_log(const char *text)
{
    char line[256];
    snprintf(line, sizeof line, "%s\n", text);
    append("MOCK_LOG", line);
}

bool mock_after(unsigned long otherwise)
{
    static unsigned long asked;
    return __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST) > mock_env("MOCK_AFTER", otherwise);
}

void mock_publish(const char *what, const unsigned char value[32])
{
    char line[128];
    int n = snprintf(line, sizeof line, "%s ", what);
    for (int i = 0; i < 32; i++) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%02x", value[i]);
    }
    snprintf(line + n, sizeof line - (size_t)n, "\n");
    append("MOCK_SECRETS", line);
}

struct mock_object *mock_object_new(CK_SESSION_HANDLE session)
{
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle == 0) {
            memset(&mock_objects[i], 0, sizeof mock_objects[i]);
            mock_objects[i].handle = ++last_handle;
            mock_objects[i].session = session;
            return &mock_objects[i];
        }
    }
    return NULL;
}

struct mock_object *mock_object(CK_OBJECT_HANDLE handle)
{
    for (size_t i = 0; handle != 0 && i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle == handle) {
            return &mock_objects[i];
        }
    }
    return NULL;
}

void mock_object_free(struct mock_object *object)
{
    bool token = object->token;
    memset(object, 0, sizeof *object);
    if (token) {
        mock_store_save();
    }
}

struct mock_session *mock_session(CK_SESSION_HANDLE handle)
{
    for (size_t i = 0; handle != 0 && i < MOCK_SESSIONS_MAX; i++) {
        if (mock_sessions[i].handle == handle) {
            return &mock_sessions[i];
        }
    }
    return NULL;
}

size_t mock_session_count(void)
{
    size_t n = 0;
    for (size_t i = 0; i < MOCK_SESSIONS_MAX; i++) {
        n += mock_sessions[i].handle != 0;
    }
    return n;
}

size_t mock_object_count(void)
{
    size_t n = 0;
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        n += mock_objects[i].handle != 0;
    }
    return n;
}

/* What the store held when it was last looked at: what is here and not there is new, what is there and not here was
 * destroyed here, and the other way round by another process. */
static uint64_t seen[MOCK_OBJECTS];
static size_t seen_count;

static bool was_seen(uint64_t number)
{
    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i] == number) {
            return true;
        }
    }
    return false;
}

static struct mock_object *by_number(struct mock_object *objects, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (objects[i].handle != 0 && objects[i].number == number) {
            return &objects[i];
        }
    }
    return NULL;
}

static void take_in(const struct mock_object *stored)
{
    struct mock_object *mine = mock_object_new(0);
    if (mine != NULL) {
        CK_OBJECT_HANDLE handle = mock_keeps_handles ? stored->handle : mine->handle;
        *mine = *stored;
        mine->handle = handle;
        mine->session = 0;
    }
}

static void merge(struct mock_object *stored, size_t count)
{
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        struct mock_object *o = &mock_objects[i];
        if (o->handle == 0 || !o->token) {
            continue;
        }
        if (o->number == 0 && getrandom(&o->number, sizeof o->number, 0) != (ssize_t)sizeof o->number) {
            abort();
        }
        if (was_seen(o->number) && by_number(stored, count, o->number) == NULL) {
            memset(o, 0, sizeof *o);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!was_seen(stored[i].number) && by_number(mock_objects, MOCK_OBJECTS, stored[i].number) == NULL) {
            take_in(&stored[i]);
        }
    }
}

static void write_back(int fd)
{
    seen_count = 0;
    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
        abort();
    }
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle != 0 && mock_objects[i].token) {
            seen[seen_count++] = mock_objects[i].number;
            if (write(fd, &mock_objects[i], sizeof mock_objects[i]) != (ssize_t)sizeof mock_objects[i]) {
                abort();
            }
        }
    }
}

void mock_store_save(void)
{
    static struct mock_object stored[MOCK_OBJECTS];
    const char *path = getenv("MOCK_STORE");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        return;
    }
    if (flock(fd, LOCK_EX) != 0) {
        abort();
    }
    ssize_t n = read(fd, stored, sizeof stored);
    merge(stored, n > 0 ? (size_t)n / sizeof *stored : 0);
    write_back(fd);
    close(fd);
}

void mock_store_load(void)
{
    bool keep = mock_keeps_handles && getenv("MOCK_STORE") == NULL; /* the device is this process */
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (!keep || !mock_objects[i].token) {
            memset(&mock_objects[i], 0, sizeof mock_objects[i]);
        }
    }
    if (mock_keeps_handles && last_handle == 0) {
        last_handle = (CK_OBJECT_HANDLE)(getpid() % 0x7fff) * 256; /* no other process's */
    }
    seen_count = 0;
    mock_store_save();
}
