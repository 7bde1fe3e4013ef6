/* Calls into a module have no time limit of their own (a card's reader or a network token can hang for ever). Each call
 * notes when it began; a thread that calls no module ends the process by KEYIPC_EXIT_TOKEN when one takes too long,
 * so that its supervisor starts the next. */
#ifndef E2EE_HSM_WATCHDOG_H
#define E2EE_HSM_WATCHDOG_H

#include "base/err.h"

/* From now on a call that lasts longer than limit_s seconds ends the process. on_hang, which may be NULL, is
 * called just before, on the watchdog's thread. Once a process. */
bool watchdog_start(unsigned limit_s, void (*on_hang)(const char *call), struct err *err) MUST_CHECK;

/* Around every module call, by the calling thread; name is kept by reference. Calls do not nest. */
void watchdog_enter(const char *name);
/* A call that waits for a person: it may last limit_s, or watchdog_start's limit when that is longer. */
void watchdog_enter_slow(const char *name, unsigned limit_s);
void watchdog_leave(void);

#endif
