#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *log_program = "e2ee";
static atomic_int log_level = LOG_LEVEL_INFO;
static atomic_bool log_json;

void log_init(const char *program, enum log_level level, bool json)
{
    log_program = program;
    atomic_store(&log_level, level);
    atomic_store(&log_json, json);
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_level, level);
}

bool log_level_parse(enum log_level *out, const char *text)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load(&log_level);
}

/* Escapes what would break a line or a JSON string; returns the length written. */
static size_t escape(char *out, size_t cap, const char *text, bool json)
{
    size_t n = 0;
    for (; *text != '\0' && n + 7 < cap; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            n += (size_t)snprintf(out + n, cap - n, json ? "\\u%04x" : "\\x%02x", c);
        } else if (json && (c == '"' || c == '\\')) {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char message[1024], escaped[2048], line[2304], stamp[40];
    struct timespec now;
    struct tm utc;
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    bool json = atomic_load(&log_json);
    escape(escaped, sizeof escaped, message, json);
    int n =
        snprintf(line, sizeof line,
                 json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\"%s\"}\n"
                      : "%s.%03ldZ %s %s: %s\n",
                 stamp, now.tv_nsec / 1000000, level_names[level], log_program, escaped);
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) {
        return; /* nowhere left to say it */
    }
}
