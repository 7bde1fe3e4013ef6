"""What a client sees for each fault of the simulator, each name in one table. test_faults.py compares the names with the
simulator's own list, so that a new fault without a case is found."""

PLAIN = (502, "plaintext_from_upstream")
DECRYPT = (502, "decryption_failed")
UPSTREAM = (502, "upstream_error")
UNREACHABLE = (502, "upstream_unreachable")
TIMEOUT = (504, "upstream_timeout")
OVERLOADED = (429, "model_overloaded")
REFUSED = (502, "attestation_failed")

# Faults in an answer's middle. The fault comes at the second piece, so that a stream has begun and ends with an error
# event of that code; as a whole answer it is the status and the code.
IN_THE_MIDDLE = {
    "plaintext-content": PLAIN, "plaintext-reasoning": PLAIN, "plaintext-reasoning-field": PLAIN,
    "plaintext-whitespace": PLAIN, "escaped-field": PLAIN, "non-hex": PLAIN, "0x-hex": PLAIN, "point-prefix": PLAIN,
    "tool-calls": PLAIN, "function-call": PLAIN, "refusal": PLAIN, "audio": PLAIN, "extra-delta": PLAIN, "message": PLAIN,
    "choice-text": PLAIN, "logprobs": PLAIN, "content-number": PLAIN, "content-array": PLAIN, "delta-string": PLAIN,
    "case-key": PLAIN, "finish-odd": PLAIN,
    "bad-tag": DECRYPT, "short-field": DECRYPT, "odd-hex": DECRYPT, "bad-point": DECRYPT, "point-zero": DECRYPT,
    "repeat": DECRYPT, "replay": DECRYPT, "reflect-client": DECRYPT, "reflect-model": DECRYPT, "reflect-request": DECRYPT,
    "reflect-negated": DECRYPT, "wrong-key": DECRYPT, "sealed-bad-utf8": DECRYPT,
    "extra-choice": DECRYPT,  # the further choice repeats a field
    "wrong-index": UPSTREAM,
    "invalid-json": UPSTREAM, "not-object": UPSTREAM, "invalid-utf8": UPSTREAM, "deep": UPSTREAM,
    "trailing-json": UPSTREAM, "dup-key": UPSTREAM, "dup-key-escaped": UPSTREAM, "dup-choices": UPSTREAM,
    "cut": UPSTREAM, "cut-event": UPSTREAM, "cut-finished": UPSTREAM, "cut-hard": UPSTREAM, "cut-reset": UPSTREAM,
    "huge-event": UPSTREAM, "endless-line": UPSTREAM,
    "error-upstream": UPSTREAM, "error-string": UPSTREAM, "error-no-done": UPSTREAM, "error-event": UPSTREAM,
    "error-overloaded": OVERLOADED, "error-blocked": (502, "content_blocked_by_provider"),
}

# Faults before anything was given to the client: status and code, streamed or not.
BEFORE = {
    **{f"http-{status}": (status, f"SIM_{status}")
       for status in (400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 504)},
    "http-429-bare": (429, "SIM_429"), "error-long": (400, "SIM_400"), "error-text": (500, "upstream_error"),
    "redirect": UPSTREAM, "html": UPSTREAM, "garbage": UNREACHABLE, "close": UNREACHABLE, "reset": UNREACHABLE,
    "huge-headers": UPSTREAM, "body-empty": UPSTREAM, "body-invalid": UPSTREAM, "body-cut": UPSTREAM,
    "body-huge": UPSTREAM, "error-200": UPSTREAM, "no-events": UPSTREAM, "whole-json": UPSTREAM,
    "error-first": OVERLOADED,
}

# Silence, ended by the time-outs.
SILENT = {"no-first-byte": TIMEOUT, "headers-only": TIMEOUT, "slow-headers": TIMEOUT, "stall": TIMEOUT}

# The enclave has another key: one repetition is unseen; what the client gets when that meets the same again.
KEY_CHANGED = {"key-mismatch": (400, "upstream_error"), "key-421": (421, "upstream_error"),
               "decryption-failed": (400, "upstream_error"), "decryption-failed-np": (400, "upstream_error")}

# Oddities that change nothing: the finish_reason of the complete answer.
COMPLETE = {
    **dict.fromkeys([
        "delay", "content-type-json", "empty-field", "upper-hex", "sealed-nul", "key-change", "empty-extras", "top-string",
        "delta-null", "no-delta", "content-null", "content-empty", "content-deleted", "reasoning-186", "choices-null",
        "no-index", "id-changes", "no-role", "no-usage", "usage-early", "pretty", "comment-flood", "cr",
        "crlf", "mixed-eol", "comments", "bom", "no-space", "multi-line", "bytes", "blank-lines", "event-fields",
        "done-twice", "after-done", "linger"], "stop"),
    "no-finish": None, "finish-length": "length", "finish-filter": "content_filter", "finish-tools": "tool_calls",
}

# Of those: a piece of the answer is another text, or none.
OTHER_TEXT = {"empty-field", "sealed-nul"}

# Evidence that is refused (attestation_failed), with the check that says so.
REFUSED_EVIDENCE = {
    "verified-false": "body.verified", "verified-string": "body", "server-nonce": "nonce", "nonce-echo": "nonce",
    "report-nonce": "nonce", "report-key": "binding", "report-pad": "binding", "report-zero": "nonce", "debug": "td.debug",
    "no-key": "binding", "key-other": "binding", "key-off-curve": "body", "key-short": "body", "address": "binding",
    "no-quote": "body", "quote-cut": "quote.format", "quote-length": "quote.format", "quote-sgx": "quote.format",
    "quote-not-hex": "body", "quote-flip": "quote.signature", "wrong-root": "pck.format", "old-module": "tcb.status",
    "rtmr": "guest.event-log", "event-payload": "guest.event-log", "event-dup": "guest.events", "event-late": "guest.events",
    "no-log": "guest.event-log", "compose": "guest.compose", "mrconfig": "guest.config-id", "mixed-shape": "body",
    "attest-dup-key": "body", "attest-invalid": "body", "attest-not-object": "body", "attest-deep": "body",
    "stale-past": "freshness", "gpu-nonce": "gpu.nonce", "no-gpu": "gpu.devices", "gpu-empty": "gpu.devices",
    "gpu-fewer": "gpu.devices", "gpu-twice": "gpu.devices", "gpu-flip": "gpu.signature", "gpu-report": "gpu.nonce",
    "gpu-firmware": "gpu.firmware", "gpu-root": "gpu.certificates", "attest-model": "body.model", "algo": "body.algorithm",
}

# Evidence that holds. verified-absent: the provider's own opinion counts for nothing unless it is "no".
ACCEPTED_EVIDENCE = ["key-128", "quote-base64", "quote-upper", "log-double", "keyset-only", "stale-short", "verified-absent",
                     "no-compose", "other-os", "other-compose"]

# The attestation request's other ends. Silence there takes 45 s.
ATTESTATION = {
    **{f"http-{status}": UPSTREAM for status in (400, 401, 402, 403, 404, 413, 422, 500, 503, 504)},
    "http-429": (503, "overloaded"), "http-429-bare": (503, "overloaded"), "http-502": REFUSED, "html": REFUSED,
    "unverified-502": REFUSED, "redirect": UPSTREAM, "error-long": UPSTREAM, "error-text": UPSTREAM,
    "close": UNREACHABLE, "reset": UNREACHABLE, "garbage": UNREACHABLE,
    "huge-headers": UPSTREAM, "body-cut": UPSTREAM, "body-huge": UPSTREAM, "quote-huge": UPSTREAM,
    "body-invalid": REFUSED, "body-empty": REFUSED,
}

# The list of models: a sample, as both ways of asking share their code.
MODELS = {"http-401": (401, "invalid_api_key"), "http-429": (429, "upstream_error"), "http-500": UPSTREAM, "redirect": UPSTREAM, "body-huge": UPSTREAM,
          "body-invalid": UPSTREAM, "body-empty": UPSTREAM, "close": UNREACHABLE}
