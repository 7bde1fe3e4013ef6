/* Compiler attributes used throughout. */
#ifndef E2EE_BASE_ATTR_H
#define E2EE_BASE_ATTR_H

/* The caller must look at the result. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
