"""Signatures of answers: asked for at the end, judged, told in the log, in /metrics and in a stream's last comment."""

import json
import re

import pytest

from harness import clients
from harness.process import wait_until
from harness.stack import ACI, MODELS, NEAR, chat_body, read_events, text_of

PROMPT = "a question whose answer is signed"
COMMENT = re.compile(r"^: e2ee signature: (.*)$", re.M)

# What is wrong with a signature, and the words that say so.
WRONG = {
    "sig-key": "another signer than the one who signed",
    "sig-address": "by another key than the attested one",
    "sig-flip": "does not hold",
    "sig-not-hex": "does not hold",
    "sig-id": "about another answer",
}
RIGHT = ["sig-recid", "sig-one-hash", "sig-two-hash", "sig-three-part"]


@pytest.fixture
def signed_proxy(start_proxy, tmp_path):
    def start(mode, *arguments, **more):
        config = tmp_path / f"{mode}.conf"
        config.write_text(f"[attestation]\nsignatures = {mode}\n")
        return start_proxy("--config", config, *arguments, **more)

    return start


def stream(proxy, model=NEAR, **more):
    """(events, last comment or "") of a streamed answer."""
    status, _, body = proxy.post(chat_body(PROMPT, model, stream=True, **more))
    assert status == 200, body
    text = body.decode()
    comments = COMMENT.findall(text)
    if comments:
        assert text.endswith(f": e2ee signature: {comments[-1]}\n\ndata: [DONE]\n\n"), text[-400:]
    return read_events(body), comments[-1] if comments else ""


def test_off_asks_nothing(proxy, sim):
    events, comment = stream(proxy)
    assert events[-1] == "[DONE]" and comment == ""
    assert sim.stats()["signature_requests"] == 0


@pytest.mark.parametrize("mode", ["report", "require"])
def test_right_signatures(signed_proxy, sim, mode):
    proxy = signed_proxy(mode)
    for model in MODELS:
        events, comment = stream(proxy, model)
        assert events[-1] == "[DONE]" and text_of(events) == f"You said: {PROMPT}"
        assert "the attested key signed" in comment and "nothing about the text" in comment
    status, _, body = proxy.post(chat_body(PROMPT))
    assert status == 200 and "signature" not in json.loads(body)
    assert clients.openai_python(proxy.url, PROMPT, True).text == f"You said: {PROMPT}"
    assert sim.stats()["signature_requests"] == 5
    assert proxy.metric("e2ee_proxy_signatures_valid_total") == 5
    sent = sim.requests_raw()
    question = sent[sent.rindex(b"GET /api/v1/tee/signature?"):]
    assert b"Authorization" not in question.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize("fault", RIGHT)
def test_forms(signed_proxy, sim, fault):
    proxy = signed_proxy("require")
    sim.fault("signature", fault)
    events, comment = stream(proxy)
    assert events[-1] == "[DONE]" and ("one hash" if fault == "sig-one-hash" else "hashes") in comment


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_signatures(signed_proxy, sim, fault):
    reporting = signed_proxy("report")
    sim.fault("signature", fault)
    events, comment = stream(reporting)
    assert events[-1] == "[DONE]" and WRONG[fault] in comment
    assert reporting.metric("e2ee_proxy_signatures_wrong_total") == 1
    assert "signature" in reporting.log()

    requiring = signed_proxy("require")
    sim.fault("signature", fault)
    status, _, body = requiring.post(chat_body(PROMPT, stream=True))
    events = read_events(body)
    assert status == 200 and "[DONE]" not in events
    assert events[-1]["error"]["code"] == "attestation_failed" and WRONG[fault] in events[-1]["error"]["message"]
    sim.fault("signature", fault)
    status, headers, body = requiring.post(chat_body(PROMPT))
    assert (status, json.loads(body)["error"]["code"]) == (502, "attestation_failed")
    assert headers["x-should-retry"] == "false"


def test_missing_here_and_there_elsewhere(signed_proxy, sim):
    """A 404 may come from another node: it is asked again, three times at most."""
    proxy = signed_proxy("require")
    sim.fault("signature", "sig-404", count=2)
    events, comment = stream(proxy)
    assert events[-1] == "[DONE]" and "the attested key signed" in comment
    assert sim.stats()["signature_requests"] == 3
    sim.fault("signature", "sig-404", count=3)
    status, _, body = proxy.post(chat_body(PROMPT, stream=True))
    assert "does not know it" in read_events(body)[-1]["error"]["message"]
    assert sim.stats()["signature_requests"] == 6
    assert proxy.metric("e2ee_proxy_signatures_missing_total") == 1


@pytest.mark.parametrize("fault", ["http-500", "garbage", "html"])
def test_provider_fails(signed_proxy, sim, fault):
    proxy = signed_proxy("report")
    sim.fault("signature", fault)
    events, comment = stream(proxy, ACI)
    assert events[-1] == "[DONE]" and "not to be had" in comment


def test_budget(signed_proxy, sim):
    """Ten a minute: report goes on without, require refuses before anything is sent."""
    proxy = signed_proxy("report")
    for _ in range(10):
        assert "attested key" in stream(proxy)[1]
    events, comment = stream(proxy)
    assert events[-1] == "[DONE]" and "10 signatures of answers a minute" in comment

    proxy = signed_proxy("require")
    for _ in range(10):
        stream(proxy)
    chats = sim.stats()["chat_requests"]
    status, headers, body = proxy.post(chat_body(PROMPT))
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert 1 < int(headers["Retry-After"]) <= 61
    assert sim.stats()["chat_requests"] == chats


def test_stop_sequence(signed_proxy, sim):
    """An answer that is cut at a stop sequence is signed by nobody, so `require` reads on to its end."""
    events, comment = stream(signed_proxy("report"), stop=["question"])
    assert text_of(events) == "You said: a " and "a stop sequence ended the answer" in comment
    assert sim.stats()["signature_requests"] == 0
    events, comment = stream(signed_proxy("require"), stop=["question"])
    assert events[-1] == "[DONE]" and text_of(events) == "You said: a " and "attested key" in comment
    assert [c["finish_reason"] for e in events[:-1] for c in e["choices"] if c["finish_reason"]] == ["stop"]


def test_client_leaves_while_it_is_asked_for(signed_proxy, sim):
    proxy = signed_proxy("require")
    sim.fault("signature", "delay", value=5000)
    with clients.openai_client(proxy.url) as client:
        answer = client.chat.completions.create(**chat_body(PROMPT), stream=True)
        for chunk in answer:
            if chunk.choices and chunk.choices[0].finish_reason:
                break
        wait_until("the signature is asked for", lambda: sim.stats()["signature_requests"] > 0, 5)
        assert proxy.metric("e2ee_proxy_streams_open") == 1
        answer.close()
    wait_until("the exchange is gone", lambda: proxy.metric("e2ee_proxy_streams_open") == 0, 4)
    assert proxy.post(chat_body(PROMPT))[0] == 200


def test_late(signed_proxy, sim):
    """A signature may take a while; past ten seconds it counts as missing."""
    proxy = signed_proxy("require")
    sim.fault("signature", "delay", value=1500)
    events, comment = stream(proxy)
    assert events[-1] == "[DONE]" and "the attested key signed" in comment
    sim.fault("signature", "delay", value=30000)
    status, _, body = proxy.post(chat_body(PROMPT, stream=True))
    events = read_events(body)
    assert text_of(events[:-1]) == f"You said: {PROMPT}"
    assert events[-1]["error"]["code"] == "attestation_failed" and "in time" in events[-1]["error"]["message"], events[-1]
    assert proxy.metric("e2ee_proxy_signatures_missing_total") == 1
