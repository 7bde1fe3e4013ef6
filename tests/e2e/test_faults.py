"""Everything that a hostile or broken upstream can do, each with the exact error that a client sees."""

import json
import time

import openai
import pytest

from harness import clients
from harness.process import wait_until
from harness.stack import ACI, NEAR, PHALA, chat_body, read_events, text_of

ANSWER = "You said: "

# Faults of an answer in its middle: (code of the error, whole-answer status). The fault comes at the second piece,
# so that a stream has begun by then.
PLAIN = ("plaintext_from_upstream", 502)
DECRYPT = ("decryption_failed", 502)
UPSTREAM = ("upstream_error", 502)
BROKEN = {
    "plaintext-content": PLAIN, "plaintext-reasoning": PLAIN, "plaintext-reasoning-field": PLAIN,
    "plaintext-whitespace": PLAIN, "escaped-field": PLAIN, "non-hex": PLAIN, "0x-hex": PLAIN,
    "point-prefix": PLAIN, "tool-calls": PLAIN, "function-call": PLAIN, "refusal": PLAIN, "audio": PLAIN,
    "extra-delta": PLAIN, "message": PLAIN, "choice-text": PLAIN, "logprobs": PLAIN, "content-number": PLAIN,
    "content-array": PLAIN, "delta-string": PLAIN, "case-key": PLAIN, "finish-odd": PLAIN,
    "bad-tag": DECRYPT, "short-field": DECRYPT, "odd-hex": DECRYPT, "bad-point": DECRYPT, "point-zero": DECRYPT, "repeat": DECRYPT, "replay": DECRYPT,
    "reflect-client": DECRYPT, "reflect-model": DECRYPT, "reflect-request": DECRYPT, "reflect-negated": DECRYPT, "wrong-key": DECRYPT,
    "sealed-bad-utf8": DECRYPT,
    "invalid-json": UPSTREAM, "not-object": UPSTREAM, "invalid-utf8": UPSTREAM, "deep": UPSTREAM,
    "trailing-json": UPSTREAM, "dup-key": UPSTREAM, "dup-key-escaped": UPSTREAM, "dup-choices": UPSTREAM,
    "cut": UPSTREAM, "cut-event": UPSTREAM, "cut-finished": UPSTREAM, "huge-event": UPSTREAM,
    "cut-hard": UPSTREAM,
    "cut-reset": ("upstream_error or upstream_unreachable", 502),
    "error-upstream": UPSTREAM, "error-string": UPSTREAM, "error-no-done": UPSTREAM, "error-event": UPSTREAM,
    "error-overloaded": ("model_overloaded", 429), "error-first": ("model_overloaded", 429),
    "error-blocked": ("content_blocked_by_provider", 502),
}

# Whole other answers: the error comes before any stream began.
REFUSED = {
    "http-400": 400, "http-401": 401, "http-402": 402, "http-403": 403, "http-413": 413, "http-422": 422,
    "http-429": 429, "http-429-bare": 429, "http-500": 500, "http-502": 502, "http-503": 503, "http-504": 504,
    "redirect": 502, "html": 502, "error-long": 400, "error-text": 500, "garbage": 502, "close": 502, "reset": 502,
    "huge-headers": 502, "body-empty": 502, "body-invalid": 502, "error-200": 502, "no-events": 502,
    "body-cut": 502, "body-huge": 502,
}


def ask(proxy, fault, stream, text="a question that is long enough for some pieces", at=1, model=NEAR, **more):
    if fault == "replay":  # needs an answer under the same client key to repeat
        assert proxy.post(chat_body(text, model))[0] == 200
    return proxy.post(chat_body(f"sim:fault={fault},at={at} {text}", model, stream=stream, **more), timeout=60)


def error_of_stream(status, body):
    """The error object of a failed stream, and the text before it."""
    if status != 200:
        return json.loads(body)["error"], ""
    events = read_events(body)
    assert "[DONE]" not in events, "a failed stream must not look finished"
    assert "error" in events[-1], events[-1]
    assert not any("error" in e for e in events[:-1])
    return events[-1]["error"], text_of(events[:-1])


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_stream(proxy, fault):
    code, _ = BROKEN[fault]
    status, _, body = ask(proxy, fault, True)
    error, text = error_of_stream(status, body)
    assert error["code"] in code.split(" or "), error
    assert b"injected" not in body
    assert set(error) == {"message", "type", "param", "code"}
    whole = f"You said: sim:fault={fault},at=1 a question that is long enough for some pieces"
    assert whole.startswith(text), "text that was never sealed"


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_whole_answer(proxy, fault):
    code, expected = BROKEN[fault]
    status, headers, body = ask(proxy, fault, False)
    error = json.loads(body)["error"]
    assert error["code"] in code.split(" or ") and status == expected, error
    assert b"injected" not in body
    final = code in ("plaintext_from_upstream", "decryption_failed", "attestation_failed")
    assert (headers["x-should-retry"] == "false") == final
    assert (headers["Retry-After"] == "11") == (code == "model_overloaded")


def harmless(sim):
    """Oddities that a right client must accept, as the simulator itself names them."""
    from harness.stack import get_json

    return [f["name"] for f in get_json(f"{sim.origin}/sim/faults") if f["harmless"] and f["endpoints"] == ["chat"]]


def test_harmless_oddities(proxy, sim):
    names = harmless(sim)
    assert len(names) > 20
    wrong = []
    for fault in names:
        if fault in ("sealed-nul", "linger", "escaped-field"):
            continue
        prompt = f"sim:fault={fault},at=1 and a long enough question"
        status, _, body = proxy.post(chat_body(prompt, stream=True))
        events = read_events(body)
        if status != 200 or events[-1] != "[DONE]":
            wrong.append((fault, status, events[-1:]))
        elif text_of(events) != ANSWER + prompt and fault not in ("empty-field", "content-deleted", "content-empty",
                                                                   "content-null"):
            wrong.append((fault, text_of(events)))
        status, _, body = proxy.post(chat_body(prompt))
        if status != 200:
            wrong.append((fault, status, body[:200]))
    assert not wrong


def test_control_characters_pass(proxy):
    events = read_events(ask(proxy, "sealed-nul", True)[2])
    assert events[-1] == "[DONE]" and "\x00" in text_of(events)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_open_end_after_done(proxy, stream):
    """[DONE] ends the answer, whether or not the upstream closes the body."""
    began = time.monotonic()
    assert ask(proxy, "linger", stream)[0] == 200
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", REFUSED)
def test_refused(proxy, fault, stream):
    status, headers, body = ask(proxy, fault, stream)
    if status == 200:
        error, text = error_of_stream(status, body)
        assert text == "" and REFUSED[fault] == 502, "a status was turned into a stream"
    else:
        error = json.loads(body)["error"]
        assert status == REFUSED[fault], error
    assert len(error["message"].encode()) < 700 and error["message"].isprintable()
    assert error["code"] not in ("plaintext_from_upstream", "attestation_failed", "forbidden_origin", "token_unavailable")
    if fault == "http-429":
        assert headers["Retry-After"] == "7"
    if status == 503:
        assert headers["Retry-After"]


def test_upstreams_words_are_marked_and_cut(proxy, sim):
    _, _, body = ask(proxy, "error-long", False)
    message = json.loads(body)["error"]["message"]
    assert message.startswith("upstream: ") and len(message.encode()) <= 510
    assert message[12:60] not in proxy.log()


@pytest.mark.parametrize("fault, code, seconds", [("no-first-byte", "upstream_timeout", 2), ("headers-only", "upstream_timeout", 2),
                                                  ("stall", "upstream_timeout", 2)])
@pytest.mark.alone
def test_silence(start_proxy, fault, code, seconds):
    proxy = start_proxy("--upstream-timeout", "2", "--first-byte-timeout", "2")
    clients.openai_python(proxy.url, "warm", True)
    for stream in (True, False):
        began = time.monotonic()
        status, _, body = ask(proxy, fault, stream)
        assert seconds - 0.5 < time.monotonic() - began < seconds + 4
        error, _ = error_of_stream(status, body)
        assert error["code"] == code
        if status != 200:
            assert status == 504


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["key-mismatch", "key-421", "decryption-failed", "decryption-failed-np"])
def test_changed_key_is_mended_unseen(start_proxy, sim, fault):
    proxy = start_proxy()
    clients.openai_python(proxy.url, "warm", True)
    before = sim.stats()
    sim.fault("chat", fault)
    answer = clients.openai_python(proxy.url, "hello", True)
    assert answer.text == "You said: hello"
    after = sim.stats()
    assert after["attestation_requests"] - before["attestation_requests"] == 1
    assert after["chat_requests"] - before["chat_requests"] == 2


@pytest.mark.alone
def test_key_that_keeps_changing_is_given_up(start_proxy, sim):
    """One repetition for a request, four new keys for a model in ten minutes."""
    proxy = start_proxy()
    for i in range(6):
        status, _, body = ask(proxy, "key-mismatch", False)
        assert status >= 400 and "error" in json.loads(body)
    stats = sim.stats()
    assert stats["attestation_requests"] <= 5
    assert stats["chat_requests"] <= 12


# ---- errors as the SDKs raise them ----


@pytest.mark.parametrize("fault, kind, code", [
    ("http-401", openai.AuthenticationError, None), ("http-429", openai.RateLimitError, None),
    ("http-400", openai.BadRequestError, None), ("http-500", openai.InternalServerError, None),
    ("bad-tag", openai.InternalServerError, "decryption_failed"),
    ("plaintext-content", openai.InternalServerError, "plaintext_from_upstream"),
    ("error-overloaded", openai.RateLimitError, "model_overloaded"),
])
def test_python_sdk_raises(proxy, fault, kind, code):
    with clients.openai_client(proxy.url) as client, pytest.raises(kind) as caught:
        client.chat.completions.create(model=NEAR, messages=[
            {"role": "user", "content": f"sim:fault={fault},at=1 a question of some length"}])
    if code:
        assert caught.value.code == code


@pytest.mark.parametrize("fault, code", [("bad-tag", "decryption_failed"), ("tool-calls", "plaintext_from_upstream"),
                                         ("cut", "upstream_error"), ("error-upstream", "upstream_error")])
def test_python_sdk_raises_within_a_stream(proxy, fault, code):
    with clients.openai_client(proxy.url) as client, pytest.raises(openai.APIError) as caught:
        for _ in client.chat.completions.create(model=NEAR, stream=True, messages=[
                {"role": "user", "content": f"sim:fault={fault},at=1 a question of some length"}]):
            pass
    assert caught.value.code == code


def test_other_clients_raise(proxy, node_dir):
    prompt = "sim:fault=bad-tag,at=1 a question of some length"
    with pytest.raises(clients.NodeError) as caught:
        clients.node(proxy.url, prompt, False, node_dir=node_dir)
    assert (caught.value.status, caught.value.code) == (502, "decryption_failed")
    with pytest.raises(clients.NodeError) as caught:
        clients.node(proxy.url, prompt, True, node_dir=node_dir)
    assert caught.value.code == "decryption_failed"
    for client in (clients.langchain, clients.langchain_async, clients.llamaindex):
        for stream in (True, False):
            with pytest.raises(openai.APIError) as caught:
                client(proxy.url, prompt, stream)
            assert caught.value.code == "decryption_failed"


def test_local_errors_as_the_sdk_raises_them(proxy):
    with clients.openai_client(proxy.url) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=NEAR, messages=[{"role": "user", "content": "x"}],
                                           tools=[{"type": "function", "function": {"name": "f"}}])
        assert caught.value.code == "unsupported_feature"


# ---- attestation ----

# Refused in any shape, with the words that the error or the report must have.
REFUSED_EVIDENCE = [
    "verified-false", "verified-string", "unverified-502", "server-nonce", "report-nonce", "report-key", "report-pad",
    "report-zero", "debug", "no-key", "key-other", "key-off-curve", "no-quote", "quote-cut", "quote-length",
    "quote-sgx", "quote-not-hex", "quote-flip", "wrong-root", "old-module",
    "rtmr", "event-payload", "event-dup", "compose", "mrconfig", "attest-dup-key", "attest-invalid", "attest-not-object", "attest-deep", "key-short",
]
ACCEPTED_EVIDENCE = ["key-128", "quote-base64", "quote-upper", "log-double"]


@pytest.mark.alone
@pytest.mark.parametrize("group", range(5))
def test_refused_evidence(start_proxy, sim, group):
    """Nothing is sent to an enclave whose evidence fails; a few faults for each proxy, whose budget is ten a minute."""
    proxy = start_proxy()
    wrong = []
    for fault in REFUSED_EVIDENCE[group::5]:
        status, headers, body = proxy.post(chat_body("a secret", f"{NEAR}@{fault}"))
        if status == 404:
            sim.fault("attestation", fault)
            status, headers, body = proxy.post(chat_body("a secret", NEAR))
        error = json.loads(body).get("error", {})
        if (status, error.get("code"), headers["x-should-retry"]) != (502, "attestation_failed", "false"):
            wrong.append((fault, status, error))
    assert not wrong
    assert sim.stats()["chat_requests"] == 0


@pytest.mark.alone
def test_refused_enclave_is_left_alone_for_a_while(start_proxy, sim):
    proxy = start_proxy()
    sim.fault("attestation", "debug", count=100)
    for _ in range(5):
        status, _, body = proxy.post(chat_body("a secret"))
        assert (status, json.loads(body)["error"]["code"]) == (502, "attestation_failed")
    assert sim.stats()["attestation_requests"] == 1


@pytest.mark.parametrize("fault", ACCEPTED_EVIDENCE)
def test_accepted_evidence(command, sim, fault):
    sim.fault("attestation", fault)
    run = command("attest", NEAR, "--json")
    report = json.loads(run.stdout)
    assert (run.returncode, report["verdict"]) == (0, "verified"), report["reason"]


@pytest.mark.alone
def test_at_most_ten_attestations_a_minute(start_proxy, start_sim):
    other = start_sim("--fault-models")
    proxy = start_proxy(upstream=other.url)
    status = [proxy.post(chat_body("x", f"{NEAR}@{fault}"))[0] for fault in list(BROKEN)[:14]]
    assert other.stats()["attestation_peak_60s"] == 10
    assert status[-1] == 503


def test_models_of_every_shape(proxy):
    for model in (NEAR, PHALA, ACI, "sim-near-ca", "sim-near-py", "sim-aci-keyset"):
        assert clients.openai_python(proxy.url, "which are you?", True, model=model).text == "You said: which are you?"


def test_transfer_ends_with_the_error(proxy, sim):
    """After a refused piece nothing more is read from the upstream."""
    status, _, body = proxy.post(chat_body("sim:chunks=1000,delay_ms=20,fault=bad-tag,at=3", stream=True))
    assert error_of_stream(status, body)[0]["code"] == "decryption_failed"
    wait_until("the transfer ended", lambda: sim.stats()["transfers_open"] == 0, 1.0)
