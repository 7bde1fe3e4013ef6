/* `e2ee-keyholder audit verify FILE... [--key PEM] [--head HASH]`: without token and PIN, as any user. */
#ifndef E2EE_HSM_AUDIT_COMMAND_H
#define E2EE_HSM_AUDIT_COMMAND_H

/* argv: what follows "audit". Exit code: 0 nothing is wrong, 1 something is, 2 it could not be judged. */
int audit_command(int argc, char **argv);

#endif
