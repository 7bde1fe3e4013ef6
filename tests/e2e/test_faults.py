"""Everything that a hostile or broken upstream can do, each with the exact error that a client sees."""

import json
import threading
import time
from pathlib import Path

import openai
import pytest

from harness import clients
from harness.faults import (ACCEPTED_EVIDENCE, ATTESTATION, BEFORE, COMPLETE, IN_THE_MIDDLE, KEY_CHANGED, MODELS, OTHER_TEXT,
                            REFUSED_EVIDENCE, SILENT)
from harness.process import wait_until
from harness.stack import ACI, NEAR, PHALA, chat_body, get_json, read_events, text_of

LONG = "a question that is long enough for some pieces"
ODD = "odd/n\u00e4me +v1.5?a=b&c#d%41\"e'<\\>"
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def ask(proxy, fault, stream, model=NEAR, text=LONG, at=1, **more):
    """The fault comes at the second piece. A reset would throw away what came just before it: that is read by then."""
    if fault == "replay":  # needs an answer under the same client key to repeat
        assert proxy.post(chat_body(text, model))[0] == 200
    pace = ",delay_ms=300" if fault == "cut-reset" else ""
    prompt = f"sim:fault={fault},at={at}{pace} {text}"
    return prompt, proxy.post(chat_body(prompt, model, stream=stream, **more), timeout=60)


def error_of_stream(status, body):
    """The error object of a failed stream, and the text before it."""
    if status != 200:
        return json.loads(body)["error"], ""
    events = read_events(body)
    assert "[DONE]" not in events, "a failed stream must not look finished"
    assert "error" in events[-1], events[-1]
    assert not any("error" in e for e in events[:-1])
    return events[-1]["error"], text_of(events[:-1])


def check_error(error, headers, status, code):
    """The object, and the headers that tell a client whether to try again."""
    assert error["code"] == code, error
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"].encode()) < 700 and error["message"].isprintable()
    final = code in ("plaintext_from_upstream", "decryption_failed", "attestation_failed")
    assert (headers["x-should-retry"] == "false") == final
    if code == "model_overloaded":
        assert headers["Retry-After"] == "11"
    if status == 503:
        assert headers["Retry-After"]


def test_every_fault_has_a_case(sim):
    """The tables against the simulator's list, both ways."""
    listed = {f["name"]: f for f in get_json(f"{sim.origin}/sim/faults")}
    tables = [IN_THE_MIDDLE, BEFORE, SILENT, KEY_CHANGED, COMPLETE]
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names)), "a fault in two tables"
    chat = {name for name, fault in listed.items() if "chat" in fault["endpoints"]}
    assert set(names) == chat
    harmless = {name for name in chat if listed[name]["harmless"]}
    assert harmless <= set(COMPLETE)
    evidence = {name for name, fault in listed.items() if fault["endpoints"] == ["attestation"]}
    assert evidence == {*REFUSED_EVIDENCE, *ACCEPTED_EVIDENCE, *ATTESTATION} - chat
    anywhere = {name for name, fault in listed.items() if len(fault["endpoints"]) > 2}
    assert anywhere - {"delay", *SILENT} <= set(ATTESTATION)
    # Signatures of answers and NVIDIA's service have tests of their own.
    words = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rest = set(listed) - chat - evidence
    assert rest and all(listed[name]["endpoints"] in (["signature"], ["nras"]) for name in rest)
    assert [name for name in rest if f'"{name}"' not in words] == []


@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
def test_broken_stream(proxy, fault):
    _, code = IN_THE_MIDDLE[fault]
    prompt, (status, headers, body) = ask(proxy, fault, True)
    assert status == 200, "the stream had begun"
    error, text = error_of_stream(status, body)
    assert error["code"] == code, error
    assert set(error) == {"message", "type", "param", "code"}
    assert b"injected" not in body
    assert f"You said: {prompt}".startswith(text), "text that was never sealed"


@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
def test_broken_whole_answer(proxy, fault):
    expected, code = IN_THE_MIDDLE[fault]
    _, (status, headers, body) = ask(proxy, fault, False)
    assert status == expected, body[:300]
    check_error(json.loads(body)["error"], headers, status, code)
    assert b"injected" not in body


@BOTH
@pytest.mark.parametrize("fault", BEFORE)
def test_refused(proxy, fault, stream):
    """A status stays one, streamed or not."""
    expected, code = BEFORE[fault]
    _, (status, headers, body) = ask(proxy, fault, stream)
    assert status == expected, body[:300]
    check_error(json.loads(body)["error"], headers, status, code)
    assert b"injected" not in body
    assert headers["Retry-After"] == {"http-429": "7", "http-503": "1", "error-first": "11"}.get(fault)


@pytest.mark.parametrize("fault", COMPLETE)
def test_harmless_oddities(proxy, fault):
    """A right client sees nothing of them."""
    prompt, (status, _, body) = ask(proxy, fault, True)
    events = read_events(body)
    assert (status, events[-1]) == (200, "[DONE]")
    assert not any("error" in e for e in events[:-1]) and b"injected" not in body
    finish = [c["finish_reason"] for e in events[:-1] for c in e["choices"] if c.get("finish_reason")]
    assert finish == ([COMPLETE[fault]] if COMPLETE[fault] else [])
    assert (text_of(events) == f"You said: {prompt}") == (fault not in OTHER_TEXT)
    _, (status, _, body) = ask(proxy, fault, False)
    assert status == 200 and b"injected" not in body, body[:300]
    (choice,) = json.loads(body)["choices"]
    assert choice["finish_reason"] == COMPLETE[fault]
    assert (choice["message"]["content"] == f"You said: {prompt}") == (fault not in OTHER_TEXT)


def test_control_characters_pass(proxy):
    events = read_events(ask(proxy, "sealed-nul", True)[1][2])
    assert events[-1] == "[DONE]" and "\x00" in text_of(events)


@BOTH
def test_open_end_after_done(proxy, sim, stream):
    """[DONE] ends the answer, whether or not the upstream closes the body."""
    assert ask(proxy, "linger", stream)[1][0] == 200
    wait_until("the transfer ended", lambda: sim.stats()["transfers_open"] == 0)


def test_upstreams_words_are_marked_and_cut(proxy, sim):
    _, (_, _, body) = ask(proxy, "error-long", False)
    message = json.loads(body)["error"]["message"]
    assert message.startswith("upstream: ") and len(message.encode()) <= 510
    assert message[12:60] not in proxy.log()


@BOTH
@pytest.mark.parametrize("fault", SILENT)
@pytest.mark.alone
def test_silence(start_proxy, fault, stream):
    """No earlier than the time-out says, and it is the time-out that ends it: nothing else would."""
    expected, code = SILENT[fault]
    proxy = start_proxy("--upstream-timeout", "2", "--first-byte-timeout", "2")
    clients.openai_python(proxy.url, "warm", True)
    began = time.monotonic()
    _, (status, headers, body) = ask(proxy, fault, stream)
    assert time.monotonic() - began > 1.5
    assert status == (200 if fault == "stall" and stream else expected)
    error, _ = error_of_stream(status, body)
    if status != 200:
        check_error(error, headers, status, code)
    assert error["code"] == code


@pytest.mark.alone
@pytest.mark.parametrize("fault", KEY_CHANGED)
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
@BOTH
@pytest.mark.parametrize("fault", KEY_CHANGED)
def test_key_that_changes_again_at_once(start_proxy, sim, fault, stream):
    """One repetition for a request; then the client gets the upstream's answer."""
    proxy = start_proxy()
    expected, code = KEY_CHANGED[fault]
    _, (status, headers, body) = ask(proxy, fault, stream)
    assert status == expected, body
    check_error(json.loads(body)["error"], headers, status, code)
    assert sim.stats()["chat_requests"] == 2


@pytest.mark.alone
def test_key_that_keeps_changing_is_given_up(start_proxy, sim):
    """Four new keys for a model in ten minutes, and then no more is sent until there may be another."""
    proxy = start_proxy()
    seen = []
    for i in range(6):
        _, (status, headers, body) = ask(proxy, "key-mismatch", False)
        seen.append((status, json.loads(body)["error"]["code"]))
        if status == 503:
            assert int(headers["Retry-After"]) >= 1
    assert seen[0] == (400, "upstream_error") and seen[-1] == (503, "overloaded")
    assert set(seen) == {seen[0], seen[-1]}
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

@pytest.mark.alone
@pytest.mark.parametrize("group", range(7))
def test_refused_evidence(start_proxy, sim, group):
    """Nothing is sent to an enclave whose evidence fails. A few faults for each proxy, whose budget is ten a minute and
    which leaves a refused model alone for ten seconds: each has a model of its own."""
    proxy = start_proxy()
    wrong = []
    models = {ACI: [ACI, "sim-aci-keyset", "e2ee-glm-5-2-p"],
              NEAR: [NEAR, "sim-near-ca", "sim-near-py", PHALA, "e2ee-gpt-oss-120b-p", "e2ee-gemma-3-27b-p", ODD]}
    for fault in list(REFUSED_EVIDENCE)[group::7]:
        model = models[ACI if fault.startswith("stale-") else NEAR].pop(0)
        sim.fault("attestation", fault, model=model)
        status, headers, body = proxy.post(chat_body("a secret", model))
        error = json.loads(body).get("error", {})
        if (status, error.get("code"), headers["x-should-retry"]) != (502, "attestation_failed", "false") or \
                f"refused: {REFUSED_EVIDENCE[fault]}:" not in error["message"]:
            wrong.append((fault, model, status, error))
    assert not wrong
    assert sim.stats()["chat_requests"] == 0


@pytest.mark.alone
@pytest.mark.parametrize("group", range(4))
def test_attestation_not_to_be_had(start_proxy, sim, group):
    """The provider's other answers to the request for evidence: what failed is told, and nothing is sent."""
    proxy = start_proxy("--upstream-timeout", "2", "--first-byte-timeout", "2")
    wrong = []
    models = [NEAR, "sim-near-ca", "sim-near-py", PHALA, ACI, "sim-aci-keyset", "e2ee-gpt-oss-120b-p", "e2ee-gemma-3-27b-p"]
    faults = list(ATTESTATION)[8 * group:8 * group + 8]

    def ask_for(fault, model):
        sim.fault("attestation", fault, model=model)
        status, headers, body = proxy.post(chat_body("a secret", model), timeout=90)
        error = json.loads(body).get("error", {})
        final = headers["x-should-retry"] == "false"
        if (status, error.get("code")) != ATTESTATION[fault] or final != (error.get("code") == "attestation_failed") or (
                status == 503 and not headers["Retry-After"]):
            wrong.append((fault, status, error))

    threads = [threading.Thread(target=ask_for, args=pair) for pair in zip(faults, models)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sim.stats()["chat_requests"] == 0


@pytest.mark.alone
@pytest.mark.parametrize("fault", MODELS)
def test_models_not_to_be_had(start_proxy, sim, fault):
    proxy = start_proxy("--upstream-timeout", "2", "--first-byte-timeout", "2", ready=False)
    sim.fault("models", fault, count=50)
    proxy.wait_ready()
    status, _, body = proxy.post(chat_body("a secret"))
    assert (status, json.loads(body)["error"]["code"]) == MODELS[fault], body
    status, _, body = proxy.request("GET", "/v1/models")
    assert (status, json.loads(body)["error"]["code"]) == MODELS[fault], body
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
def test_accepted_evidence(command, sim, fault, tmp_path):
    """With a state folder of its own: other software than before is another matter."""
    sim.fault("attestation", fault)
    model = ACI if fault in ("keyset-only", "stale-short") else NEAR
    run = command("attest", model, "--json", "--state-dir", tmp_path)
    report = json.loads(run.stdout)
    assert (run.returncode, report["verdict"]) == (0, "verified"), report["reason"]


@pytest.mark.alone
def test_at_most_ten_attestations_a_minute(start_proxy, start_sim):
    """Fourteen models at once: ten are asked for, the others are told when to come again."""
    other = start_sim("--fault-models")
    proxy = start_proxy(upstream=other.url)
    answers = []
    threads = [threading.Thread(target=lambda fault=fault: answers.append(proxy.post(chat_body("x", f"{NEAR}@{fault}"))))
               for fault in list(IN_THE_MIDDLE)[:14]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.stats()["attestation_peak_60s"] == 10
    refused = [answer for answer in answers if answer[0] == 503]
    assert len(refused) == 4
    for status, headers, body in refused:
        check_error(json.loads(body)["error"], headers, status, "overloaded")
        assert 1 <= int(headers["Retry-After"]) <= 60


def test_models_of_every_shape(proxy):
    for model in (NEAR, PHALA, ACI, "sim-near-ca", "sim-near-py", "sim-aci-keyset"):
        assert clients.openai_python(proxy.url, "which are you?", True, model=model).text == "You said: which are you?"


def test_transfer_ends_with_the_error(proxy, sim):
    """After a refused piece nothing more is read from the upstream."""
    done = sim.stats()["streams_done"]
    status, _, body = proxy.post(chat_body("sim:chunks=1000,delay_ms=50,fault=bad-tag,at=3", stream=True))
    assert error_of_stream(status, body)[0]["code"] == "decryption_failed"
    wait_until("the transfer ended", lambda: sim.stats()["transfers_open"] == 0)
    assert sim.stats()["streams_done"] == done, "the answer was read to its end"
