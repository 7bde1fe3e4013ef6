/* What the keyholder itself knows of the custody log: the last line that it has seen on the disk, kept in the state folder. So a
 * start does not sign what was made of the log while no keyholder ran. With --audit-key only. */
#ifndef E2EE_HSM_AUDIT_ANCHOR_H
#define E2EE_HSM_AUDIT_ANCHOR_H

#include "hsm/audit_file.h"

/* Looks for the log's anchor in state_dir and for its line in the log, which f has open. ERR_CONFIG when the line is not there or
 * another: the log was cut, rewritten or replaced. Without an anchor, and for lines after it, the log is taken as found. */
bool audit_anchor_open(const char *state_dir, const char *path, const struct audit_file *f,
                       struct err *err) MUST_CHECK;
/* The first line that is known to be as it was written; 1 for a log that was new. After audit_anchor_open. */
uint64_t audit_anchor_from(void);
/* Keeps head, which is on the disk. A failure is logged: the next start takes the lines after the last anchor as found. Any
 * thread. Without audit_anchor_open it does nothing. */
void audit_anchor_write(const struct chain_head *head);
void audit_anchor_close(void);

#endif
