"""Nothing that the user wrote leaves unsealed; nothing secret stays where it could be read."""

import base64
import json
import os
import re
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

from harness import clients, proc
from harness.process import wait_until
from harness.stack import API_KEY, MODELS, NEAR, chat_body, read_events, text_of


def canary():
    return f"canary{uuid.uuid4().hex}"


def spellings(word):
    """How a text may lie in bytes: as it is, escaped for JSON or a URL character by character, in hex, in base64 from
    each of the three places where it can begin."""
    raw = word.encode()
    out = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for form in ("\\u{:04x}", "\\u{:04X}", "%{:02x}", "%{:02X}"):
        out.append("".join(form.format(byte) for byte in raw).encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        out += [encode(raw)[:-4], encode(b"x" + raw)[4:-4], encode(b"xx" + raw)[4:-4]]
    return list(dict.fromkeys(out))


def assert_absent(words, data, where):
    for word in words:
        for spelling in spellings(word):
            assert spelling not in data, f"a canary is in {where}"


SECTIONS = {"The request": "request", "`stream_options`": "stream_options", "`reasoning`": "reasoning",
            "`venice_parameters`": "venice_parameters", "Each message": "message",
            "Parts of a content array, by their `type`": "part"}


@pytest.fixture(scope="session")
def fields(build):
    """{section: {field: what happens to it}}, as the product's own table has it."""
    run = subprocess.run([build / "tests" / "test_fields", "--print"], capture_output=True, text=True, timeout=20, check=True)
    table, section = {}, None
    for line in run.stdout.splitlines():
        if line.startswith("### "):
            section = table.setdefault(SECTIONS[line[4:]], {})
        elif found := re.match(r"\| `(\w+)` \| ([^|]+) \|", line):
            section[found.group(1)] = found.group(2)
    assert set(table) == set(SECTIONS.values()) and len(table["request"]) > 40 and len(table["message"]) > 10
    return table


SHAPES = [lambda w: w, lambda w: f'"{w}\\\n/\u00e9', lambda w: {w: w}, lambda w: {"inner": {"deep": [w]}},
          lambda w: [{"type": w, "function": {"name": w}, "text": w}],
          lambda w: {"effort": w, "include_usage": w, "type": w, "character_slug": w}]


def message_with(field, value):
    """A message of the role in which the field can stand."""
    role = "tool" if field == "tool_call_id" else "user" if field in ("role", "content", "name") else "assistant"
    return {"role": role, "content": "hello", field: value}


def canary_requests(table):
    """(name, body, canary): one canary in each field of the table and in unknown ones beside them, in each shape."""
    for section, known in table.items():
        for field in [*known, None]:
            for number, shape in enumerate(SHAPES):
                word = canary()
                name, value = field or word, shape(word)
                if section == "request":
                    body = chat_body("hello", **{"model": NEAR, name: value})
                elif section == "message":
                    if field == "tool_call_id" and number == 0:
                        value += " no identifier"  # one is sent as it is: docs/PROTOCOL.md
                    body = {"model": NEAR, "messages": [{"role": "user", "content": "hello"}, message_with(name, value)]}
                elif section == "part":
                    body = chat_body([{"type": name, "text": value, name: value, "image_url": {"url": value}}])
                else:
                    body = chat_body("hello", **{section: {name: value}})
                yield f"{section}.{field or 'unknown'} in shape {number}", body, word
    for role in ("developer", "system", "tool", "function", canary()):
        word = canary()
        yield f"role {role[:9]}", {"model": NEAR, "messages": [
            {"role": "user", "content": word}, {"role": role, "content": word, "tool_call_id": "call_1"}]}, word


def all_at_once(table, fate):
    """(body, canaries): a canary in every field of that fate at the same time."""
    words = []

    def word():
        words.append(canary())
        return words[-1]

    body = chat_body(word(), **{f: word() for f, what in table["request"].items() if what.startswith(fate)})
    for section in ("stream_options", "reasoning", "venice_parameters"):
        members = {f: word() for f, what in table[section].items() if what.startswith(fate)}
        if members:
            body[section] = members
    members = {f: word() for f, what in table["message"].items() if what.startswith(fate) and f != "content"}
    body["messages"] += [{"role": "assistant", "content": word(), "reasoning_content": word(), **members},
                         {"role": "user", "content": [{"type": "text", "text": word()}, {"type": "image_url", "image_url": {
                             "url": f"data:image/png;base64,{word()}"}}]},
                         {"role": "user", "content": word(), word(): word()}]
    body[word()] = word()
    return body, words


def test_canary_in_every_field(proxy, sim, fields):
    """Whatever a field holds, the proxy either refuses the request or sends none of it in clear."""
    words, sent, refused = [], 0, 0
    for name, body, word in canary_requests(fields):
        status, headers, answer = proxy.post(body)
        assert status in (200, 400, 404), (name, status, answer[:300])
        words.append(word)
        sent += status == 200
        refused += status != 200
        assert word not in str(headers), f"{name}: a response header repeats the user's words"
        if status != 200:
            assert word.encode() not in answer, f"{name}: an error repeats the user's words"
    assert sent > 100 and refused > 100
    assert sim.stats()["chat_requests"] == sent
    raw = sim.requests_raw()
    assert raw.count(b"POST ") == sent, "not all that was sent was kept"
    assert_absent(words, raw, "what was sent upstream")
    assert_absent(words, proxy.log().encode(), "the log")


def test_canaries_in_all_fields_at_once(proxy, sim, fields):
    dropped, words = all_at_once(fields, "dropped")
    status, headers, answer = proxy.post(dropped)
    assert status == 200, answer[:300]
    named = headers["X-E2EE-Dropped"].split(", ")
    for section, prefix in (("request", ""), ("message", "messages."), ("stream_options", "stream_options.")):
        for field, what in fields[section].items():
            assert (prefix + field in named) == what.startswith("dropped"), field
    sealed, more = all_at_once(fields, "sealed")
    status, _, answer = proxy.post(sealed)
    assert status == 200, answer[:300]
    before = sim.stats()["chat_requests"]
    refused, most = all_at_once(fields, "refused")
    status, _, answer = proxy.post(refused)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "unsupported_feature")
    assert sim.stats()["chat_requests"] == before
    raw = sim.requests_raw()
    assert len(raw) > 5000
    assert_absent(words + more + most, raw, "what was sent upstream")
    assert_absent(words + more + most, proxy.log().encode(), "the log")


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
    assert len(spellings(word)) >= 10
    for spelling in spellings(word):
        (tmp_path / "x.log").write_bytes(b"a line\n" + spelling)
        with pytest.raises(AssertionError):
            for path in proc.files_below(tmp_path):
                assert_absent([word], path.read_bytes(), path)


SANITIZERS = {"libasan", "libubsan", "libtsan", "libstdc++", "libm", "libgcc_s"}
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
    libraries = {Path(name).name.split(".so")[0] for name in proc.maps(processes["supervisor"]) if ".so" in name}
    assert libraries - SANITIZERS <= {"libc", "libinih", "ld-linux-x86-64", "ld-linux-aarch64"}, "the process without a filter"
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
