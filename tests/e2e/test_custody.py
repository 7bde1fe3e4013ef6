"""Slow, hanging and vanishing tokens behind the whole proxy: mock PKCS#11 modules instead of SoftHSM."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.process import wait_until
from harness.stack import ACI, MODELS, NEAR, chat_body, read_events, text_of


class Mock:
    """A mock module of tests/hsm/mock, with a PIN file of its own."""

    def __init__(self, build, directory, name, **env):
        self.module = build / "tests" / "hsm" / f"mock_{name}.so"
        self.pin_file = directory / "mock-pin"
        self.pin_file.write_text("0010password\n" if name == "yubihsm" else "1234\n")
        self.pin_file.chmod(0o600)
        self.env = {"MOCK_LOG": str(directory / "mock.log"), **{k: str(v) for k, v in env.items()}}

    def arguments(self):
        names = [word for name in self.env for word in ("--module-env", name)]
        return ["--pkcs11-module", str(self.module), "--pin-file", str(self.pin_file), *names]


@pytest.fixture
def mock(build, tmp_path):
    return lambda name, **env: Mock(build, tmp_path, name, **env)


def stream(proxy, prompt, out, **more):
    status, headers, body = proxy.post(chat_body(prompt, stream=True, **more), timeout=120)
    out.append((status, headers, body))


def ask_many(proxy, prompt, count):
    """(status, headers, body) of answers asked for side by side."""
    out = []
    threads = [threading.Thread(target=stream, args=(proxy, prompt, out)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def derive_seconds(proxy):
    rows = proxy.metrics()
    return rows['e2ee_proxy_token_seconds_sum{op="derive"}'] / rows['e2ee_proxy_token_seconds_count{op="derive"}']


def test_admission(start_proxy, mock):
    """Where a key would come after the upstream's time-out, a request is refused at once; the admitted ones end well."""
    proxy = start_proxy("--upstream-timeout", "1", use_token=mock("derive_slow", MOCK_DERIVE_MS=100, MOCK_SESSIONS=1))
    prompt = "a question of some words"
    assert proxy.post(chat_body(prompt, stream=True))[0] == 200  # from now on its cost is known
    wait_until("the token's cost is known", lambda: proxy.metric("e2ee_proxy_token_seconds_count") >= 2)
    answers = ask_many(proxy, prompt, 24)
    good = [a for a in answers if a[0] == 200]
    refused = [a for a in answers if a[0] != 200]
    # As many as have a turn within the second, by what a turn has really cost on this machine.
    turns = 1 / derive_seconds(proxy)
    assert turns <= 10, "the mock token is faster than asked for"
    assert turns * 0.7 - 1 <= len(good) <= turns * 1.3 + 2, (turns, [a[0] for a in answers])
    for _, _, body in good:
        events = read_events(body)
        assert events[-1] == "[DONE]" and text_of(events) == f"You said: {prompt}", events[-1]
    for status, headers, body in refused:
        assert status == 503 and json.loads(body)["error"]["code"] == "token_unavailable", body
        assert 1 <= int(headers["Retry-After"]) <= 5
    assert proxy.metric("e2ee_proxy_not_admitted_total") == len(refused)
    assert proxy.post(chat_body(prompt, stream=True))[0] == 200  # and later there is room


def test_slow_token_is_shared(start_proxy, mock):
    """More waits than the connection to the keyholder may carry at once, for longer than a hung call: nobody loses."""
    proxy = start_proxy(use_token=mock("derive_slow", MOCK_DERIVE_MS=20, MOCK_SESSIONS=2))
    prompt = "many words " * 12
    answers = ask_many(proxy, prompt, 16)
    for status, _, body in answers:
        assert status == 200, body
        events = read_events(body)
        assert events[-1] == "[DONE]" and text_of(events) == f"You said: {prompt}"
    count = 'e2ee_proxy_token_seconds_count{op="derive"}'
    wait_until("the keyholder's last word", lambda: proxy.metrics()[count] >= 100, 8)
    rows = proxy.metrics()
    assert rows['e2ee_proxy_token_seconds_bucket{op="derive",le="0.01"}'] == 0
    assert rows['e2ee_proxy_token_seconds_count{op="generate"}'] >= 1


def test_session_custody(start_proxy, mock, sim):
    """The token is asked once for a session, not for each chunk: what 100 ms a derivation would cost is not paid."""
    proxy = start_proxy("--custody", "session", use_token=mock("derive_slow", MOCK_DERIVE_MS=100, MOCK_SESSIONS=1))
    assert json.loads(proxy.health()[1])["token"]["custody"] == "session"
    proxy.daemon.expect_log("custody session")
    prompt = "very many words " * 40
    for stream_it in (True, False):
        status, _, body = proxy.post(chat_body(prompt, stream=stream_it))
        assert status == 200, body
    whole = json.loads(body)["choices"][0]["message"]["content"]
    assert whole == f"You said: {prompt}"
    software = 'e2ee_proxy_token_seconds_count{op="software"}'
    wait_until("the keyholder's last word", lambda: proxy.metrics()[software] >= 80, 8)
    rows = proxy.metrics()
    assert rows['e2ee_proxy_token_seconds_count{op="derive"}'] == 1 and rows["e2ee_proxy_session_custody"] == 1


def test_session_custody_with_softhsm(start_proxy, token):
    """All the simulator's kinds of servers open requests and seal answers to the right points."""
    proxy = start_proxy("--custody", "session")
    for model in MODELS:
        status, _, body = proxy.post(chat_body("a question", model, stream=True))
        events = read_events(body)
        assert status == 200 and events[-1] == "[DONE]" and text_of(events) == "You said: a question"
    for fault in ("reflect-client", "reflect-model", "reflect-negated", "reflect-request"):
        status, _, body = proxy.post(chat_body(f"sim:fault={fault},at=1 a question of some length", stream=True))
        assert read_events(body)[-1]["error"]["code"] == "decryption_failed"
    assert proxy.stop() == 0
    assert token.objects() == 0


def settings(directory, **token):
    """A configuration file: the keyholder's own options are no flags of serve."""
    path = directory / "serve.conf"
    path.write_text("[token]\n" + "".join(f"{name} = {value}\n" for name, value in token.items()))
    return ["--config", str(path)]


def last_error(status, body):
    """The code of an answer that failed, whether before or in the stream."""
    if status != 200:
        return json.loads(body)["error"]["code"]
    events = read_events(body)
    assert "[DONE]" not in events, "a failed stream must not look finished"
    return events[-1]["error"]["code"]


@pytest.mark.parametrize("custody", ["token", "session"])
def test_call_that_never_returns(start_proxy, mock, tmp_path, custody):
    """The watchdog ends a keyholder that hangs in the module; open streams say so, new ones work with the next keyholder."""
    after = 40 if custody == "token" else 5  # a self test, two derivations for each of two sessions
    proxy = start_proxy("--custody", custody, *settings(tmp_path, token_timeout=2, sessions=4),
                        use_token=mock("derive_hangs", MOCK_AFTER=after))
    first = proxy.processes()["keyholder"]
    answers = ask_many(proxy, "more words than the token has derivations for " * 2, 6)
    if custody == "session":
        for model in MODELS[1:]:
            answers.append(proxy.post(chat_body("a word", model, stream=True), timeout=60))
    failed = [(status, body) for status, _, body in answers if status != 200 or b"[DONE]" not in body]
    assert failed, "nothing hung"
    assert {last_error(*answer) for answer in failed} == {"token_unavailable"}
    proxy.daemon.expect_log(r"has been in C_DeriveKey for more than 2 s")
    wait_until("another keyholder", lambda: proxy.processes().get("keyholder", first) != first)
    wait_until("the token is ready", lambda: proxy.health()[0] == 200)
    status, _, body = proxy.post(chat_body("short", stream=True))
    assert status == 200 and text_of(read_events(body)) == "You said: short", body


def test_module_hangs_at_start(start_proxy, mock, tmp_path):
    """A module that never comes back from C_Initialize ends the start with a word instead of hanging it."""
    proxy = start_proxy(*settings(tmp_path, token_timeout=2), use_token=mock("initialize_hangs"), ready=False)
    assert proxy.daemon.wait(15) == 1
    assert "C_Initialize" in proxy.log()


@pytest.mark.parametrize("custody", ["token", "session"])
def test_wrong_secret_for_a_request(start_proxy, mock, sim, custody):
    """A secret that is not the new key's and the model's seals no prompt: the request fails before anything is sent."""
    proxy = start_proxy("--custody", custody, use_token=mock("wrong_secret_after_n", MOCK_AFTER=1, MOCK_WRONG=1))
    before = sim.stats()["chat_requests"]
    status, _, body = proxy.post(chat_body("a question", stream=True))
    assert status == 503 and json.loads(body)["error"]["code"] == "token_unavailable", body
    assert sim.stats()["chat_requests"] == before
    wait_until("the next one is right", lambda: proxy.post(chat_body("a question", stream=True))[0] == 200, 20, 0.5)


def test_wrong_secret_in_a_stream(start_proxy, mock):
    """And one for an answer opens nothing: the stream ends with decryption_failed, after what was right."""
    proxy = start_proxy(use_token=mock("wrong_secret_after_n", MOCK_AFTER=6, MOCK_WRONG=1))
    prompt = "an answer of more than a few words " * 4
    status, _, body = proxy.post(chat_body(prompt, stream=True))
    assert status == 200 and last_error(status, body) == "decryption_failed", body
    text = text_of(read_events(body)[:-1])
    assert len(text) < len(prompt) and f"You said: {prompt}".startswith(text)
    status, _, body = proxy.post(chat_body("a word", stream=True))
    assert status == 200 and text_of(read_events(body)) == "You said: a word", body


def test_keys_that_take_long_to_destroy(start_proxy, mock, tmp_path):
    """A full card needs 5 s for its keys, a YubiHSM 14: an orderly stop waits for them."""
    store = tmp_path / "store"
    proxy = start_proxy(use_token=mock("token_objects_only", MOCK_STORE=store, MOCK_DESTROY_MS=1500))
    for model in MODELS:
        assert proxy.post(chat_body("a word", model, stream=True), timeout=60)[0] == 200
    assert store.stat().st_size > 0
    assert proxy.daemon.stop(40) == 0
    assert store.stat().st_size == 0


def test_device_session_of_a_crash(start_proxy, mock, tmp_path):
    """A YubiHSM holds a killed keyholder's session for a while: the supervisor tries until it lets go, and does not take it for
    a refused PIN. (Its 30 s are 4 here, and it has one session.)"""
    store = tmp_path / "store"
    proxy = start_proxy(use_token=mock("yubihsm", MOCK_STORE=store, MOCK_DEVICE=tmp_path / "device",
                                       MOCK_DEVICE_SESSIONS=1, MOCK_DEVICE_IDLE_MS=4000))
    assert proxy.post(chat_body("a word", stream=True))[0] == 200
    os.kill(proxy.processes()["keyholder"], signal.SIGKILL)
    killed = time.monotonic()
    status, _, body = proxy.post(chat_body("a word", stream=True))
    assert last_error(status, body) == "token_unavailable"
    proxy.daemon.expect_log("sessions are taken")
    wait_until("it serves again", lambda: proxy.post(chat_body("a word", stream=True))[0] == 200, 40, 0.2)
    assert time.monotonic() - killed > 3.5
    assert proxy.stop() == 0
    assert store.stat().st_size == 0


class TwoTokens(Mock):
    """Two SoftHSM tokens that can be pulled out while the proxy works (tests/hsm/mock/softhsm_vanishes.c)."""

    def __init__(self, build, directory):
        self.gone = directory / "gone"
        conf = directory / "two.conf"
        (directory / "two").mkdir()
        conf.write_text(f"directories.tokendir = {directory}/two\nobjectstore.backend = file\nlog.level = ERROR\n")
        super().__init__(build, directory, "softhsm_vanishes", MOCK_GONE=self.gone, MOCK_DERIVE_MS=20)
        self.env["SOFTHSM2_CONF"] = str(conf)
        for label in ("first", "second"):
            subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin",
                            "1234"], check=True, capture_output=True, env={**os.environ, **self.env})

    def arguments(self):
        return [*super().arguments(), "--token", "pkcs11:token=first", "--token", "pkcs11:token=second"]

    def pull(self, label):
        Path(f"{self.gone}.{label}").touch()

    def put_back(self, label):
        Path(f"{self.gone}.{label}").unlink()


def states(proxy):
    return {t["label"]: t["state"] for t in json.loads(proxy.health()[1])["tokens"]}


def test_one_of_two_tokens_vanishes(start_proxy, build, tmp_path):
    """Streams whose key was in the lost token end with token_unavailable, the other token's go on to their end, and
    new requests for both models work at once, while the lost one is away and when it is back."""
    tokens = TwoTokens(build, tmp_path)
    proxy = start_proxy(use_token=tokens)
    assert states(proxy) == {"first": "ready", "second": "ready"}
    for model in (NEAR, ACI):  # one session each, spread over the tokens
        assert proxy.post(chat_body("a word", model, stream=True))[0] == 200
    prompt = "a long answer of many words " * 12
    out = {NEAR: [], ACI: []}
    threads = [threading.Thread(target=stream, args=(proxy, prompt, out[model]), kwargs={"model": model})
               for model in out for _ in range(3)]
    derived = proxy.metric("e2ee_proxy_derives_total")
    for thread in threads:
        thread.start()
    wait_until("all streams run", lambda: proxy.metric("e2ee_proxy_fields_opened_total") > 20, 20)
    tokens.pull("first")
    for thread in threads:
        thread.join()
    assert proxy.metric("e2ee_proxy_derives_total") > derived
    ended = {model: {body.rstrip().endswith(b"[DONE]") for _, _, body in answers} for model, answers in out.items()}
    lost = [model for model in out if ended[model] == {False}]
    assert len(lost) == 1 and sorted(map(len, ended.values())) == [1, 1], ended
    for status, _, body in out[lost[0]]:
        assert last_error(status, body) == "token_unavailable"
    for model in (NEAR, ACI):
        status, _, body = proxy.post(chat_body("a word", model, stream=True))
        assert status == 200 and text_of(read_events(body)) == "You said: a word", body
    assert proxy.health()[0] == 200
    wait_until("/health says so", lambda: states(proxy)["first"] == "down")
    tokens.put_back("first")
    wait_until("the first is back", lambda: states(proxy) == {"first": "ready", "second": "ready"})
    assert proxy.post(chat_body("a word", NEAR, stream=True))[0] == 200
