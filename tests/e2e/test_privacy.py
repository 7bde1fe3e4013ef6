"""Nothing that the user wrote leaves unsealed; nothing secret stays where it could be read."""

import base64
import json
import os
import re
import threading
import time
import uuid

import pytest

from harness import clients, proc
from harness.process import wait_until
from harness.stack import API_KEY, MODELS, NEAR, chat_body, read_events, text_of


def canary():
    return f"canary{uuid.uuid4().hex}"


def spellings(word):
    raw = word.encode()
    return [raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw)[:-4],
            base64.b64encode(b"x" + raw)[4:-4], base64.b64encode(b"xx" + raw)[4:-4]]


def assert_absent(words, data, where):
    for word in words:
        for spelling in spellings(word):
            assert spelling not in data, f"a canary is in {where}"


def canary_requests():
    """(name, body, canaries): a canary in every field of a request that the proxy takes, one request for each set."""
    a, b, c, d, e, f = (canary() for _ in range(6))
    yield "messages", {
        "model": NEAR,
        "messages": [
            {"role": "system", "content": a, "name": "n" + a},
            {"role": "user", "content": [{"type": "text", "text": b},
                                         {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{c}"}}]},
            {"role": "assistant", "content": d, "reasoning_content": e, "refusal": None},
            {"role": "user", "content": f},
        ],
    }, [a, b, c, d, e, f]
    hints = ["user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier", "prediction",
             "name", "unknown_key", "web_search_options", "verbosity", "extra_body", "provider", "instructions"]
    for hint in hints:
        for value in (lambda w: w, lambda w: {"inner": w}, lambda w: [w], lambda w: {w: 1}):
            word = canary()
            yield f"{hint}-{type(value('')).__name__}", chat_body("hello", **{hint: value(word)}), [word]
    word = canary()
    yield "unknown-name", chat_body("hello", **{word: 1}), [word]
    word = canary()
    yield "stop", chat_body("hello", stop=[word]), [word]
    word = canary()
    yield "message-key", {"model": NEAR, "messages": [{"role": "user", "content": "hello", word: word}]}, [word]
    for field in ["temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "seed", "n",
                  "presence_penalty", "frequency_penalty", "repetition_penalty", "stream_options", "reasoning",
                  "reasoning_effort", "venice_parameters", "response_format", "tools", "tool_choice", "functions",
                  "function_call", "logprobs", "top_logprobs", "logit_bias", "modalities", "audio", "stream", "model",
                  "parallel_tool_calls"]:
        for shape in (lambda w: w, lambda w: {w: w}, lambda w: [{"type": w, "function": {"name": w}}],
                      lambda w: {"effort": w, "include_usage": w, "type": w, "character_slug": w}):
            word = canary()
            yield f"{field}", chat_body("hello", **{field: shape(word)}), [word]
    for role in ["developer", "tool", "function", canary()]:
        word = canary()
        yield f"role-{role[:9]}", {"model": NEAR, "messages": [
            {"role": "user", "content": word}, {"role": role, "content": word, "tool_call_id": "call_1"}]}, [word]
    word = canary()
    yield "tool-call-id", {"model": NEAR, "messages": [
        {"role": "user", "content": word}, {"role": "tool", "content": word, "tool_call_id": f"{word} with spaces"}]}, [word]


def test_canary_in_every_field(proxy, sim):
    """Whatever a field holds, the proxy either refuses the request or sends none of it in clear."""
    words, sent, refused = [], 0, 0
    for name, body, canaries in canary_requests():
        status, headers, answer = proxy.post(body)
        assert status in (200, 400, 404), (name, status, answer[:300])
        words += canaries
        sent += status == 200
        refused += status != 200
        for word in canaries:
            assert word not in str(headers), f"{name}: a response header repeats the user's words"
            if status != 200:
                assert word.encode() not in answer, f"{name}: an error repeats the user's words"
    raw = sim.requests_raw()
    assert sent > 20 and refused > 20 and len(raw) > 1000
    assert_absent(words, raw, "what was sent upstream")
    assert_absent(words, proxy.log().encode(), "the log")


def test_headers_of_the_client_stay_here(proxy, sim):
    word = canary()
    headers = {name: word for name in ("Authorization", "User-Agent", "X-Stainless-Lang", "OpenAI-Organization",
                                       "Cookie", "X-Anything", "Referer", "Accept-Language", "X-Request-Id")}
    status, _, body = proxy.post(chat_body("hello"), headers=headers, path=f"/v1/chat/completions?q={word}")
    assert status == 200, body[:300]
    assert_absent([word], sim.requests_raw(), "what was sent upstream")
    assert_absent([word], proxy.log().encode(), "the log")


def test_dropped_fields_are_named(proxy):
    status, headers, _ = proxy.post(chat_body("hello", user="u", metadata={"a": "b"}, secret_of_mine=1, other=2))
    assert status == 200
    dropped = headers["X-E2EE-Dropped"]
    assert "user" in dropped and "metadata" in dropped
    assert "secret_of_mine" not in dropped and "other" not in dropped.replace("another", "")
    assert re.search(r"\b2\b", dropped), f"two unknown fields are not counted in: {dropped}"


def test_nothing_dropped_no_header(proxy):
    _, headers, _ = proxy.post(chat_body("hello", temperature=0.5))
    assert headers["X-E2EE-Dropped"] is None


def test_numbers_keep_their_bytes(proxy, sim):
    text = ('{ "seed" : 9007199254740993, "model":"%s","temperature":1.0 , "top_p": 1e0,\n"messages":'
            '[{"role":"user","content":"n"}]}' % NEAR)
    status, _, body = proxy.post(text)
    assert status == 200, body
    raw = sim.requests_raw()
    for piece in (b"9007199254740993", b"1.0", b"1e0"):
        assert piece in raw


@pytest.mark.alone
def test_nothing_left_in_logs_and_files(start_proxy, sim, tmp_path, token):
    """After answers, errors and a crash: no prompt, answer, PIN or API key in any log, core or other file."""
    proxy = start_proxy("--log-level", "debug")
    prompt, answer = canary(), canary()
    for stream in (True, False):
        clients.openai_python(proxy.url, f"{prompt} sim:reply={answer}", stream)
        status, _, _ = proxy.post(chat_body(f"{prompt} sim:fault=bad-tag sim:reply={answer}", stream=stream))
        assert status in (200, 502)
    proxy.post(f'{{"model": "{NEAR}", "messages": "{prompt}')
    proxy.post(chat_body(prompt, model=prompt))
    for role in ("keyholder", "proxy"):
        pid = proxy.processes().get(role)
        os.kill(pid, 6)
        wait_until(f"another {role}", lambda: proxy.processes().get(role) not in (None, pid) or not proxy.daemon.alive())
    proxy.stop()
    files = list(proc.files_below(tmp_path)) + list(proc.files_below(sim.daemon.log.parent))
    assert not [f for f in files if f.name.startswith("core")]
    assert any(f.name == "proxy.log" and f.stat().st_size for f in files)
    for path in files:
        assert_absent([prompt, answer, token.pin, API_KEY], path.read_bytes(), path)


def test_leak_search_finds_a_seeded_leak(tmp_path):
    word = canary()
    (tmp_path / "x.log").write_bytes(b"a line\n" + spellings(word)[1])
    with pytest.raises(AssertionError):
        for path in proc.files_below(tmp_path):
            assert_absent([word], path.read_bytes(), path)


needs_root = pytest.mark.skipif(not proc.may_look(), reason="skip: needs root to look into other processes")


@needs_root
def test_arguments_and_environments(proxy, token):
    """PIN and API key are in no argv; the PIN in no environment; the API key in none but the proxy's start."""
    processes = proxy.processes()
    assert set(processes) == {"supervisor", "proxy", "keyholder"}
    for role, pid in processes.items():
        line, environment = proc.command_line(pid), proc.environment(pid)
        for secret in (token.pin.encode(), API_KEY.encode()):
            assert secret not in line, role
        assert token.pin.encode() not in environment, role
        assert b"SOFTHSM2_CONF" not in environment or role != "proxy", "the module's variables reach the proxy"
    assert API_KEY.encode() not in proc.environment(processes["keyholder"]), "the API key reaches the keyholder"


@needs_root
def test_only_the_keyholder_maps_the_module(proxy):
    clients.openai_python(proxy.url, "hello", True)
    processes = proxy.processes()
    forbidden = re.compile(r"libp11\.so|softhsm|opensc-pkcs11|pkcs11")
    mapped = proc.maps(processes["proxy"])
    assert any("libcrypto" in name for name in mapped), "the look itself failed"
    assert not [name for name in mapped if forbidden.search(name)]
    assert not [name for name in proc.maps(processes["supervisor"]) if forbidden.search(name)]
    assert [name for name in proc.maps(processes["keyholder"]) if "softhsm" in name], "the pattern finds nothing"


@needs_root
def test_processes_are_hardened(proxy):
    for role, pid in proxy.processes().items():
        with open(f"/proc/{pid}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        assert fields["NoNewPrivs"] == "1", role
        with open(f"/proc/{pid}/limits") as limits:
            core = [line for line in limits if line.startswith("Max core file size")][0].split()
        assert core[4] == "0", f"{role} may write a core file"
        assert os.stat(f"/proc/{pid}/maps").st_uid == 0, f"{role} is dumpable"


@needs_root
def test_token_is_empty_afterwards(start_proxy, sim, token):
    proxy = start_proxy()
    for model in MODELS:
        clients.openai_python(proxy.url, "hello", True, model=model)
    assert proxy.stop() == 0
    assert token.objects() == 0


def stream_in_background(proxy, prompt):
    """(thread, list of received bytes)"""
    received = []

    def run():
        received.append(proxy.post(chat_body(prompt, stream=True), timeout=60)[2])

    thread = threading.Thread(target=run)
    thread.start()
    return thread, received


@needs_root
def test_pin_is_in_no_memory_but_the_keyholders(proxy, sim, token):
    """Read from outside while it streams."""
    thread, received = stream_in_background(proxy, "sim:chunks=60,delay_ms=50")
    wait_until("the stream runs", lambda: sim.stats()["transfers_open"] == 1)
    time.sleep(0.5)
    processes = proxy.processes()
    for role in ("proxy", "supervisor"):
        found = proc.find_in_memory(processes[role], proc.spellings(token.pin.encode()))
        assert not found, f"the PIN is in the {role}'s memory: {list(found.values())}"
    seen = proc.find_in_memory(processes["proxy"], [API_KEY.encode()])
    assert seen, "the memory search finds nothing: the API key must be in the proxy"
    thread.join()
    events = read_events(received[0])
    assert events[-1] == "[DONE]" and len(text_of(events)) == 60 * 32


@needs_root
@pytest.mark.alone
def test_no_key_material_in_the_proxys_memory(start_proxy, build, sim, tmp_path):
    """Private values and shared secrets, made known by the spying module (spy.c), while it streams."""
    from harness.stack import Token

    own = Token(tmp_path / "token")
    own.module = str(build / "tests" / "e2e" / "spy.so")
    proxy = start_proxy(use_token=own)
    thread, received = stream_in_background(proxy, "sim:chunks=60,delay_ms=50")
    wait_until("the stream runs", lambda: sim.stats()["transfers_open"] == 1)
    time.sleep(1.0)
    known = {bytes.fromhex(line) for line in (own.dir / "softhsm2.conf.spy").read_text().split()}
    assert len(known) > 15, "a key pair and a shared secret for each piece"
    needles = [s for value in known for s in proc.spellings(value)] + [own.pin.encode()]
    processes = proxy.processes()
    for role in ("proxy", "supervisor"):
        found = proc.find_in_memory(processes[role], needles)
        assert not found, f"{len(found)} secrets in the {role}'s memory: {list(found.values())[:5]}"
    assert proc.find_in_memory(processes["proxy"], [API_KEY.encode()]), "the memory search finds nothing"
    thread.join()
    assert read_events(received[0])[-1] == "[DONE]"


def test_whole_answers_leave_no_plaintext_upstream(proxy, sim):
    word = canary()
    assert word in clients.openai_python(proxy.url, word, False).text
    raw = sim.requests_raw()
    assert_absent([word], raw, "what was sent upstream")
    assert json.dumps(True).encode() in raw
