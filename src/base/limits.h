/* Every limit of a buffer, queue, count or time, in one place. Sizes in bytes, times in the unit of the name.
 */
#ifndef E2EE_BASE_LIMITS_H
#define E2EE_BASE_LIMITS_H

/* HTTP from the client */
#define LIMIT_HTTP_HEADER_BYTES 32768 /* request line and all headers */
#define LIMIT_HTTP_HEADER_COUNT 100
#define LIMIT_HTTP_HEADER_S 10          /* from the first byte to the end of the headers */
#define LIMIT_HTTP_IDLE_S 75            /* between two requests of a connection */
#define LIMIT_HTTP_BODY_STALL_S 30      /* silence within a body */
#define LIMIT_CLIENT_QUEUE_HIGH 65536   /* bytes queued for a client: pauses its upstream */
#define LIMIT_CLIENT_QUEUE_LOW 16384    /* resumes it */
#define LIMIT_CLIENT_STALL_S 120        /* a client that reads nothing for so long is cut */
#define LIMIT_CLIENT_SNDBUF 131072      /* kernel's send buffer of a client (the kernel doubles it) */
#define LIMIT_HTTP_READ_BYTES 65536     /* one read from a client */
#define LIMIT_HTTP_PIPELINE_BYTES 65536 /* kept of further requests while one is in work */
#define LIMIT_HTTP_CHUNK_OVERHEAD 32768 /* framing of a chunked body, beside 8 bytes for each of its bytes */
#define LIMIT_HTTP_REPLY_HEAD_BYTES 16384
#define LIMIT_HTTP_LINGER_S 2   /* reading on after an early answer, so that a reset does not destroy it */
#define LIMIT_HTTP_BACKLOG 1024 /* connections the kernel holds for the acceptor */
#define LIMIT_LISTEN_ADDRESSES 16

/* JSON */
#define LIMIT_JSON_DEPTH 64
#define LIMIT_JSON_NODES 262144 /* values and keys in one document */

/* Requests */
#define LIMIT_REQUEST_NUMBER_BYTES 400 /* digits of one forwarded number */
#define LIMIT_TOOL_CALL_ID_BYTES 128

/* Upstream */
#define LIMIT_UPSTREAM_CONNECT_S 10
#define LIMIT_UPSTREAM_URL_BYTES 2048     /* base, path and query together */
#define LIMIT_UPSTREAM_BUFFER_BYTES 65536 /* what libcurl reads at once, and holds for a paused transfer */
#define LIMIT_UPSTREAM_UPLOAD_BYTES 16384 /* what it sends at once */
#define LIMIT_UPSTREAM_CONNECTIONS 1024   /* kept by one loop, busy and idle */
#define LIMIT_UPSTREAM_LINGER_MS                                                                             \
    1000 /* what ends an answer that nobody waits for any more may take so long */
#define LIMIT_UPSTREAM_LINGER_BYTES 16384 /* and be so much, or its connection is not kept */
#define LIMIT_UPSTREAM_HEADERS 16         /* extra headers of one request */
#define LIMIT_SSE_EVENT_BYTES 8388608     /* one event of a stream */
#define LIMIT_UPSTREAM_ERROR_BYTES 65536  /* body of an error answer that is read */
#define LIMIT_UPSTREAM_MESSAGE_BYTES 500  /* of an upstream's message that reaches the client */
#define LIMIT_ANSWER_CHOICES 128          /* n of a request, choices of an answer */
#define LIMIT_ANSWER_NODES 8192           /* JSON values in one event of a stream */
#define LIMIT_STOP_SEQUENCES 16           /* of a request */
#define LIMIT_STOP_BYTES 1024             /* one of them */
#define LIMIT_ATTESTATION_BYTES 4194304   /* captures are 180 kB: protocol.md section 1 */
#define LIMIT_CATALOGUE_BYTES 8388608
#define LIMIT_GATHERED_ANSWER_BYTES 33554432 /* stream:false, one completion */
#define LIMIT_ANSWER_FIELDS 4194304 /* sealed fields of one answer: 64 MiB to know a repeated one by */

/* Sessions */
#define LIMIT_SESSION_S 3600           /* a key's life */
#define LIMIT_SESSION_GRACE_S 600      /* for responses still running at its end */
#define LIMIT_REPLAY_FIELDS 65536      /* (point, nonce) pairs remembered for each session */
#define LIMIT_REKEYS_PER_10_MIN 4      /* forced re-keyings of a model */
#define LIMIT_ATTESTATIONS_PER_MIN 10  /* protocol.md section 1: Venice's budget an address */
#define LIMIT_ATTESTATION_REFUSED_S 10 /* a refused enclave is not asked again for so long */
#define LIMIT_SIGNATURES_PER_MIN 10    /* protocol.md section 4: the same for signatures of answers */
#define LIMIT_SIGNATURE_S 10           /* from an answer's end to its signature */
#define LIMIT_CATALOGUE_AGE_S 300
#define LIMIT_MODEL_ID_BYTES 128

/* Keyholder */
#define LIMIT_KEYIPC_FRAME_BYTES 4096
#define LIMIT_KEYIPC_PENDING 4096 /* requests of one connection that await their answer */
#define LIMIT_KEYHOLDER_CONNECTIONS 256
#define LIMIT_KEYHOLDER_KEYS 256    /* live key pairs of one client */
#define LIMIT_KEYHOLDER_QUEUE 16384 /* operations that wait for the token */
#define LIMIT_KEYHOLDER_WORKERS 64  /* loops of one proxy: descriptors in one supervisor message, less one */
#define LIMIT_KEYHOLDER_RETRY_MS 2000 /* longest pause between two attempts to connect */
#define LIMIT_KEYHOLDER_STATUS_S 5    /* between two questions after the token's state */
#define LIMIT_TOKEN_CALL_S 20         /* a module call past this is taken for hung */
#define LIMIT_TOKEN_PAD_S 120         /* for typing a PIN at the token's own keypad */
#define LIMIT_AUDIT_QUEUE 4096        /* events that wait to be written */
#define LIMIT_AUDIT_S 10              /* a key waits for its line in the custody log */
#define LIMIT_AUDIT_CHECKPOINT 1000   /* lines after which they are signed */
#define LIMIT_AUDIT_SIGN_S 600 /* the longest that a line waits for its signature, while the key works */
#define LIMIT_AUDIT_LAST_SIGN_MS 3000 /* the end waits for the last signature */
#define LIMIT_AUDIT_FILE_BYTES 16777216
#define LIMIT_PIN_BYTES 255
#define LIMIT_API_KEY_BYTES 1024

#endif
