"""The custody log of a running keyholder, judged by `audit verify`: what it tells, tampering, rotation, kills, a full disk."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from harness.process import wait_until
from harness.stack import API_KEY, chat_body, read_events, text_of

PROMPT = "a very private question, canary-8d1f"


def settings(directory, **token):
    path = directory / "log.conf"
    path.write_text("[token]\n" + "".join(f"{name} = {value}\n" for name, value in token.items()))
    return ["--config", str(path)]


def files_of(log):
    return sorted(log.parent.glob(log.name + ".*")) + [log]


def lines_of(log):
    return [json.loads(line) for path in files_of(log) if path.exists() for line in path.read_text().splitlines()]


def events_of(log):
    return [line["event"] for line in lines_of(log)]


@pytest.fixture
def verify(build):
    def run(*arguments):
        done = subprocess.run([build / "e2ee-hsm-proxy", "audit", "verify", *map(str, arguments)], capture_output=True,
                              text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "E2EE_PROXY_CONFIG": "/dev/null"})
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "custody"
    folder.mkdir()
    return folder / "custody.log"


def ask(proxy, prompt=PROMPT):
    status, _, body = proxy.post(chat_body(prompt, stream=True))
    assert status == 200, body
    events = read_events(body)
    assert events[-1] == "[DONE]" and text_of(events) == f"You said: {prompt}"


def head_of(proxy):
    found = re.search(r'custody_log_info\{head="([0-9a-f]{64})"\} 1\n', proxy.request("GET", "/metrics")[2].decode())
    return found.group(1) if found else None


def test_what_it_tells(start_proxy, log, verify, token):
    proxy = start_proxy("--audit-log", str(log))
    ask(proxy)
    last = lines_of(log)[-1]
    wait_until("the head in /metrics", lambda: head_of(proxy) == lines_of(log)[-1]["hash"], 10)
    assert proxy.metric("e2ee_proxy_custody_log_lines") >= last["seq"]
    assert proxy.metric("e2ee_proxy_custody_log_failing") == 0
    head, keyholder = head_of(proxy), proxy.processes()["keyholder"]
    peer = proxy.processes()["proxy"]
    assert proxy.stop() == 0
    lines = lines_of(log)
    events = [line["event"] for line in lines]
    assert events[0] == "start" and events[-1] == "stop" and events.count("self_test") == 1, events
    by = {event: next(line for line in lines if line["event"] == event) for event in events}
    assert by["start"]["pid"] == keyholder and by["start"]["custody"] == "token"
    assert by["login"]["token"] == "e2ee-tests" and by["self_test"]["passed"] is True
    assert by["client"]["pid"] in (peer, proxy.daemon.pid) and by["client"]["uid"] == os.getuid()
    made = [line for line in lines if line["event"] == "key_created"]
    assert all(line["attributes"]["extractable"] is False and line["attributes"]["sensitive"] is True for line in made)
    gone = {line["key"]: line for line in lines if line["event"] == "key_destroyed"}
    assert {line["key"] for line in made} == set(gone) and all(line["gone"] for line in gone.values())
    closed = [line for line in lines if line["event"] == "key_closed"]
    assert len(closed) == 1 and closed[0]["derives"] >= 3 and closed[0]["key"] in gone
    text = log.read_text()
    assert PROMPT not in text and "canary" not in text and API_KEY not in text and token.pin not in text
    assert log.stat().st_mode & 0o777 == 0o600
    code, said = verify(log)
    assert code == 0 and "the chain holds" in said and "cannot be excluded" in said, said
    code, said = verify(log, "--head", head)
    assert code == 0 and "nothing was cut or rewritten" in said
    assert verify(log, "--head", lines[-1]["hash"])[0] == 0
    assert verify(log, "--head", "ab" * 32)[0] == 1
    assert verify(log.parent / "none")[0] == 2


def test_tampering_is_found(start_proxy, log, verify):
    proxy = start_proxy("--audit-log", str(log))
    ask(proxy)
    assert proxy.stop() == 0
    good = log.read_text().splitlines(keepends=True)
    created = next(i for i, line in enumerate(good) if "key_created" in line)

    def found(lines, number, words, *arguments):
        log.write_text("".join(lines))
        code, said = verify(log, *arguments)
        assert code == 1 and "the chain does NOT hold" in said, said
        if number:
            assert any(line.startswith(f"{log}:{number}:") and words in line for line in said.split("\n")), said
        else:
            assert words in said
        log.write_text("".join(good))

    changed = good[created].replace('"extractable":false', '"extractable":true')
    assert changed != good[created]
    found(good[:created] + [changed] + good[created + 1:], created + 1, "changed")
    found(good[:created] + good[created + 1:], created + 1, "missing")
    found(good[:created] + [good[created + 1], good[created]] + good[created + 2:], created + 2, "out of place")
    found(good[:created + 1] + good[created:], created + 2, "out of place")
    found(good[:-1] + [good[-1][:-20]], len(good), "cut")
    head = json.loads(good[-1])["hash"]
    log.write_text("".join(good[:-2]))
    code, said = verify(log)
    assert code == 0 and "a tail that was cut off" in said  # a chain alone cannot show this
    found(good[:-2], None, "no line has the wanted head", "--head", head)


def test_rotation_and_restarts(start_proxy, log, verify, tmp_path, sim):
    """Small files under load, two runs: one chain over all files."""
    for _ in range(2):
        proxy = start_proxy("--audit-log", str(log), *settings(tmp_path, audit_size=4096, max_derives=5, sessions=2))
        threads = [threading.Thread(target=lambda: [proxy.post(chat_body("a b c d e f g", stream=True)) for _ in range(8)])
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.stop() == 0
    assert len(files_of(log)) > 3
    events = events_of(log)
    assert events.count("start") == events.count("stop") == 2
    assert any(line.get("why") == "its number of uses" for line in lines_of(log))
    code, said = verify(*reversed(files_of(log)))
    assert code == 0, said
    middle = files_of(log)[1]
    middle.rename(log.parent / "away")
    code, said = verify(*files_of(log))
    assert code == 1 and "lines are missing before it" in said


def test_killed(start_proxy, log, verify):
    """kill -9 of the keyholder: its next one continues the chain; a torn line is cut off and noted."""
    proxy = start_proxy("--audit-log", str(log))
    ask(proxy)
    for _ in range(3):
        os.kill(proxy.processes()["keyholder"], signal.SIGKILL)
        time.sleep(0.3)
        wait_until("another keyholder", lambda: proxy.processes().get("keyholder") and proxy.health()[0] == 200, 20)
        ask(proxy)
    os.kill(proxy.daemon.pid, signal.SIGKILL)
    proxy.daemon.process.wait()
    wait_until("the log is let go", lambda: not subprocess.run(["flock", "-n", log, "true"]).returncode, 10)
    events = events_of(log)
    assert events.count("start") == 4
    with log.open("a") as f:
        f.write('{"seq":')
    code, said = verify(log)
    assert code == 1 and "the last line is cut: a keyholder that died" in said
    proxy = start_proxy("--audit-log", str(log))
    assert proxy.stop() == 0
    assert "torn" in events_of(log)
    code, said = verify(log)
    assert code == 0 and "1 lines say" in said, said


def limit_file(proxy, size):
    """A disk that has no more room, for the keyholder alone."""
    subprocess.run(["prlimit", "--pid", str(proxy.processes()["keyholder"]), f"--fsize={size}:"], check=True)


def failed(proxy, model):
    status, headers, body = proxy.post(chat_body("x", model=model, stream=True))
    assert status == 503 and json.loads(body)["error"]["code"] == "token_unavailable" and headers["Retry-After"], body


def test_disk_full_refuse(start_proxy, log, verify, token):
    """No key is made or used that could not be written down; when there is room again all goes on by itself."""
    proxy = start_proxy("--audit-log", str(log))
    ask(proxy)
    limit_file(proxy, log.stat().st_size + 10)
    failed(proxy, "sim-phala")  # a new key: made, not written down, destroyed
    wait_until("health says so", lambda: proxy.health()[0] == 503, 10)
    assert b"the custody log cannot be written" in proxy.health()[1]
    assert proxy.metric("e2ee_proxy_custody_log_failing") == 1
    events = read_events(proxy.post(chat_body("x", stream=True))[2])  # and the old one is not used
    assert events[-1]["error"]["code"] == "token_unavailable"
    assert verify(log)[0] == 0  # no half line
    limit_file(proxy, "unlimited")
    wait_until("all is well again", lambda: proxy.health()[0] == 200, 20)
    assert proxy.metric("e2ee_proxy_custody_log_failing") == 0
    ask(proxy)
    assert proxy.stop() == 0
    lines = lines_of(log)
    gap = next(line for line in lines if line["event"] == "gap")
    assert gap["lost"] == 0 and "cannot write" in gap["why"]
    made = {line["key"] for line in lines if line["event"] == "key_created"}
    assert made == {line["key"] for line in lines if line["event"] == "key_destroyed"}
    assert any(line["event"] == "refused" and "custody log" in line["why"] for line in lines)
    assert verify(log)[0] == 0 and token.objects() == 0


def test_disk_full_in_a_stream(start_proxy, log, verify):
    """An open stream ends with token_unavailable, not as if it were whole."""
    proxy = start_proxy("--audit-log", str(log))
    ask(proxy)
    out = []

    def stream():
        out.append(proxy.post(chat_body("sim:chunks=300,size=8,delay_ms=10 " + "many words", stream=True), timeout=60))

    thread = threading.Thread(target=stream)
    thread.start()
    wait_until("the stream runs", lambda: proxy.metric("e2ee_proxy_chunks_total") > 30, 20)
    limit_file(proxy, log.stat().st_size + 10)
    proxy.post(chat_body("x", model="sim-phala", stream=True))
    thread.join()
    status, _, body = out[0]
    events = read_events(body)
    assert status == 200 and events[-1] != "[DONE]" and events[-1]["error"]["code"] == "token_unavailable", events[-1]
    limit_file(proxy, "unlimited")
    assert proxy.stop() == 0 and verify(log)[0] == 0


def test_disk_full_continue(start_proxy, log, verify):
    proxy = start_proxy("--audit-log", str(log), "--audit-full", "continue")
    ask(proxy)
    limit_file(proxy, log.stat().st_size + 10)
    for model in ("sim-phala", "sim-aci"):
        assert proxy.post(chat_body("x", model=model, stream=True))[0] == 200
    wait_until("the metric says so", lambda: proxy.metric("e2ee_proxy_custody_log_failing") == 1, 10)
    proxy.daemon.expect_log("keys are made and used all the same")
    assert proxy.health()[0] == 200
    limit_file(proxy, "unlimited")
    wait_until("the gap is told", lambda: "gap" in events_of(log), 10)
    assert proxy.stop() == 0
    assert len({line["key"] for line in lines_of(log) if line["event"] == "key_created"}) >= 4
    assert verify(log)[0] == 0
