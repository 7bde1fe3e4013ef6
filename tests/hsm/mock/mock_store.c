#include "mock_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mock_object mock_objects[MOCK_OBJECTS];
struct mock_session mock_sessions[MOCK_SESSIONS_MAX];
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

void mock_store_load(void)
{
    const char *path = getenv("MOCK_STORE");
    FILE *f = path != NULL ? fopen(path, "rb") : NULL;
    struct mock_object object;
    if (f == NULL) {
        return;
    }
    while (fread(&object, sizeof object, 1, f) == 1) {
        struct mock_object *loaded = mock_object_new(0);
        if (loaded != NULL) {
            object.handle = loaded->handle;
            object.session = 0;
            *loaded = object;
        }
    }
    fclose(f);
}

void mock_store_save(void)
{
    const char *path = getenv("MOCK_STORE");
    FILE *f = path != NULL ? fopen(path, "wb") : NULL;
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle != 0 && mock_objects[i].token &&
            fwrite(&mock_objects[i], sizeof mock_objects[i], 1, f) != 1) {
            abort();
        }
    }
    fclose(f);
}
