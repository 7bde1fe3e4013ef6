"""What the proxy makes of an answer beyond single faults: order before an error, memory of gathered answers, choices."""

import json
import threading

import pytest

from harness.process import wait_until
from harness.stack import chat_body, read_events, text_of

LONG = "a question that is long enough for some pieces"


def test_what_came_before_a_fault_is_given(proxy):
    """Also when good and bad pieces came in one read and the keys of the good ones are still awaited."""
    for fault, code in (("bad-tag", "decryption_failed"), ("plaintext-content", "plaintext_from_upstream"),
                        ("invalid-json", "upstream_error"), ("cut", "upstream_error")):
        prompt = f"sim:chunks=8,size=12,fault={fault},at=5"
        events = read_events(proxy.post(chat_body(prompt, stream=True))[2])
        assert events[-1]["error"]["code"] == code, events[-1]
        assert len(text_of(events[:-1])) == 5 * 12, (fault, text_of(events[:-1]))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_nothing_counts_after_done(proxy, stream):
    status, _, body = proxy.post(chat_body(f"sim:fault=after-done {LONG}", stream=stream))
    assert status == 200 and b"injected" not in body
    text = text_of(read_events(body)) if stream else json.loads(body)["choices"][0]["message"]["content"]
    assert text.endswith(LONG) and (not stream or read_events(body)[-1] == "[DONE]")


@pytest.mark.parametrize("fault, code", [("wrong-index", "upstream_error"),
                                         ("extra-choice", "decryption_failed")])  # the same field twice
def test_choices_that_nobody_asked_for(proxy, fault, code):
    status, _, body = proxy.post(chat_body(f"sim:fault={fault},at=1 {LONG}"))
    assert (status, json.loads(body)["error"]["code"]) == (502, code)
    events = read_events(proxy.post(chat_body(f"sim:fault={fault},at=1 {LONG}", stream=True))[2])
    assert events[-1]["error"]["code"] == code


def test_an_error_under_status_200(proxy):
    status, _, body = proxy.post(chat_body(f"sim:fault=error-200 {LONG}"))
    assert status == 502 and json.loads(body)["error"]["message"] == "upstream: it failed", body
    status, _, body = proxy.post(chat_body(f"sim:fault=whole-json {LONG}", stream=True))
    assert status == 502 and "JSON object" in json.loads(body)["error"]["message"], body


@pytest.mark.alone
def test_gathered_answers_are_counted(start_proxy):
    """stream:false: what is gathered counts against --max-inflight-bytes, and all of it is given back."""
    proxy = start_proxy("--max-inflight-bytes", "4194304")
    found = []

    def ask():
        status, headers, body = proxy.post(chat_body("sim:chunks=3000,size=1000"), timeout=60)
        error = None if status == 200 else json.loads(body)["error"]["code"]
        found.append((status, error, bool(headers["Retry-After"])))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {(200, None, False), (503, "overloaded", True)}, found
    assert (503, "overloaded", True) in found
    wait_until("nothing is charged", lambda: proxy.metric("e2ee_proxy_inflight_bytes") == 0, 10)
    assert proxy.post(chat_body("hello"))[0] == 200
