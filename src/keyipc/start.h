/* How a supervisor and the keyholder that it started talk: over the descriptor named by --connections-fd, a
 * SOCK_STREAM or SOCK_SEQPACKET socketpair end. docs/PROTOCOL-KEYHOLDER.md, section "Start".
 *
 *   keyholder -> supervisor  KEYIPC_START_READY once, when the self test has passed; or KEYIPC_START_FAILED, the reason in
 *                            printable ASCII (at most KEYIPC_START_REASON_BYTES) in the same write, and the end of the
 *                            process by one of the codes below.
 *   supervisor -> keyholder  KEYIPC_START_CONNECTION with one descriptor by SCM_RIGHTS: the keyholder's end of a
 *                            SOCK_STREAM socketpair that speaks keyipc.h. One descriptor a message.
 *
 * When the supervisor's end closes, the keyholder destroys its keys and ends. */
#ifndef E2EE_KEYIPC_START_H
#define E2EE_KEYIPC_START_H

#define KEYIPC_START_READY 'R'
#define KEYIPC_START_FAILED 'E'
#define KEYIPC_START_CONNECTION 'C'
#define KEYIPC_START_REASON_BYTES 500

/* How e2ee-keyholder ends. */
enum keyipc_exit {
    KEYIPC_EXIT_OK = 0,     /* told to end: a signal, or the channel closed */
    KEYIPC_EXIT_FAILED = 1, /* configuration, system or self test: starting again changes nothing */
    KEYIPC_EXIT_PIN =
        3, /* PIN missing, refused before, refused now, locked: nobody may try again by itself */
    KEYIPC_EXIT_TOKEN =
        4, /* token absent, busy or failing, or a call to it hung: start again after a pause */
};

#endif
