/* The log: one line an event on standard error, text or JSON, each written by one write(2). Messages never
 * contain prompts, answers, keys, PINs, API keys or text from the upstream. Any thread. */
#ifndef E2EE_BASE_LOG_H
#define E2EE_BASE_LOG_H

#include "base/attr.h"
#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* program is kept by reference: "proxy", "keyholder" or "supervisor". */
void log_init(const char *program, enum log_level level, bool json);
void log_set_level(enum log_level level);
/* For SIGHUP: takes log_level from section [server] of an INI file again, or the default (info) when it is not there any more.
 * On any failure the level stays. Says in the log which. */
void log_level_reread(const char *file);
/* "error", "warn", "info", "debug". */
bool log_level_parse(enum log_level *out, const char *text) MUST_CHECK;
bool log_enabled(enum log_level level);
/* One event. Control characters are escaped, the line is cut at 1,024 bytes. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
