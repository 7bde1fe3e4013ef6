"""Life of the processes: start, second instance, signals, crashes, health, metrics, commands."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import clients
from harness.process import descendants, free_port, wait_until
from harness.stack import API_KEY, NEAR, PHALA, chat_body, read_events, text_of

pytestmark = pytest.mark.alone


def test_health_tells_readiness(proxy):
    status, headers, _ = proxy.request("GET", "/health")
    assert status == 200
    status, _, _ = proxy.request("HEAD", "/health")
    assert status == 200


def test_second_instance_fails(proxy, build, token, sim, tmp_path):
    run = subprocess.run([build / "e2ee-hsm-proxy", "serve", "--listen", f"127.0.0.1:{proxy.port}", "--upstream", sim.url,
                          "--unsafe-http-upstream", *token.arguments()], capture_output=True, text=True, timeout=30,
                         env={"PATH": "/usr/bin:/bin", "HOME": str(token.dir), **token.env}, stdin=subprocess.DEVNULL)
    assert run.returncode != 0
    assert "address in use" in run.stderr.lower().replace("address already in use", "address in use")
    assert proxy.health()[0] == 200


def test_no_api_key(build, token):
    """Without a key serve refuses, loopback upstreams aside."""
    run = subprocess.run([build / "e2ee-hsm-proxy", "serve", "--listen", f"127.0.0.1:{free_port()}", *token.arguments()],
                         capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                         env={"PATH": "/usr/bin:/bin", "HOME": str(token.dir), **token.env})
    assert run.returncode != 0 and "VENICE_API_KEY" in run.stderr


@pytest.mark.parametrize("arguments, word", [
    (["--upstream", "http://127.0.0.1:1/api/v1"], "unsafe-http-upstream"),
    (["--upstream", "http://192.0.2.1/api/v1", "--unsafe-http-upstream"], "loopback"),
    (["--listen", "0.0.0.0:0"], "unsafe-listen"),
    (["--listen", "0.0.0.0:0", "--unsafe-listen"], "client-token-file"),
    (["--rotate", "59"], "rotate"), (["--rotate", "3601"], "rotate"), (["--custody", "else"], "custody"),
    (["--no-such-option"], "no-such-option"), (["--pin-file", "/nonexistent/pin"], "pin"),
    (["--pkcs11-module", "/nonexistent/module.so"], "module"), (["--token", "pkcs11:token=absent"], "token"),
    (["--token", "pkcs11:token=e2ee-tests?pin-value=1234"], "pin-value"), (["--api-key-file", "/nonexistent"], "api"),
])
def test_wrong_options(build, token, tmp_path, arguments, word):
    base = {} if "--upstream" in arguments else {"VENICE_API_KEY": API_KEY}
    defaults = [a for pair in zip(token.arguments()[::2], token.arguments()[1::2]) if pair[0] not in arguments for a in pair]
    run = subprocess.run([build / "e2ee-hsm-proxy", "serve", "--state-dir", tmp_path, "--listen",
                          f"127.0.0.1:{free_port()}", *defaults, *arguments],
                         capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                         env={"PATH": "/usr/bin:/bin", "HOME": str(token.dir), **token.env, **base})
    assert run.returncode not in (0, -6, -11), run
    assert word.lower() in (run.stdout + run.stderr).lower()
    assert "1234" not in run.stdout + run.stderr


def test_term_finishes_open_streams(start_proxy, sim):
    proxy = start_proxy()
    answer = []
    thread = threading.Thread(target=lambda: answer.append(proxy.post(
        chat_body("sim:chunks=30,delay_ms=100", stream=True), timeout=30)[2]))
    thread.start()
    wait_until("the stream runs", lambda: sim.stats()["transfers_open"] == 1)
    time.sleep(0.5)
    proxy.daemon.signal(signal.SIGTERM)
    time.sleep(0.3)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=2)
    thread.join()
    events = read_events(answer[0])
    assert events[-1] == "[DONE]" and len(text_of(events)) == 30 * 32
    assert proxy.daemon.wait(10) == 0


def test_term_waits_ten_seconds_at_most(start_proxy, sim):
    proxy = start_proxy()
    children = descendants(proxy.daemon.pid)
    answer = []
    thread = threading.Thread(target=lambda: answer.append(proxy.post(
        chat_body("sim:chunks=1000,delay_ms=100", stream=True), timeout=60)[2]), daemon=True)
    thread.start()
    wait_until("the stream runs", lambda: sim.stats()["transfers_open"] == 1)
    time.sleep(0.3)
    began = time.monotonic()
    proxy.daemon.signal(signal.SIGTERM)
    assert proxy.daemon.wait(20) == 0
    assert 8 < time.monotonic() - began < 13
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]
    wait_until("the upstream transfer ended", lambda: sim.stats()["transfers_open"] == 0, 2)


def test_nothing_outlives_a_killed_supervisor(start_proxy):
    proxy = start_proxy()
    children = descendants(proxy.daemon.pid)
    assert len(children) >= 2
    proxy.daemon.signal(signal.SIGKILL)
    wait_until("children ended", lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")], 5)


def test_hangup_rereads_the_api_key(start_proxy, sim, tmp_path):
    key = tmp_path / "api-key"
    key.write_text("first-canary-key-0001\n")
    proxy = start_proxy("--api-key-file", str(key), env={"VENICE_API_KEY": ""})
    proxy.post(chat_body("one"))
    assert b"first-canary-key-0001" in sim.requests_raw()
    key.write_text("second-canary-key-0002\n")
    proxy.daemon.signal(signal.SIGHUP)

    def second():
        proxy.post(chat_body("two"))
        return b"second-canary-key-0002" in sim.requests_raw()

    wait_until("the new key is used", second, 5, 0.2)
    assert "canary-key" not in proxy.log()
    assert proxy.daemon.alive()


def test_hangup_rereads_the_log_level(start_proxy, sim, tmp_path):
    """From the file, in all three processes; but the command line wins over the file, the second time too."""
    conf = tmp_path / "proxy.conf"
    conf.write_text("[server]\nlog_level = info\n")
    proxy = start_proxy("--config", str(conf))
    conf.write_text("[server]\nlog_level = debug\n")
    proxy.daemon.signal(signal.SIGHUP)
    wait_until("all have read it", lambda: proxy.log().count("SIGHUP: log level read again") == 3, 5)
    proxy.post(chat_body("x"))
    wait_until("the proxy tells more", lambda: "key pair opened" in proxy.log(), 5)
    proxy.stop()

    conf.write_text("[server]\nlog_level = error\n")
    loud = start_proxy("--config", str(conf), "--log-level", "debug")
    loud.daemon.signal(signal.SIGHUP)
    time.sleep(0.5)
    loud.post(chat_body("x"))
    wait_until("the proxy tells as much as before", lambda: "key pair opened" in loud.log(), 5)
    assert "SIGHUP: log level" not in loud.log()


def test_corrected_pin_after_a_hangup(start_proxy, sim, token, tmp_path):
    """The keyholder that a wrong PIN keeps down is started once more, and no sooner than the file has changed is the PIN tried."""
    from harness.stack import Token

    own = Token(tmp_path / "token")
    right = own.pin
    proxy = start_proxy(use_token=own)
    own.pin_file.write_text("0000000000\n")
    os.kill(proxy.processes()["keyholder"], signal.SIGKILL)
    wait_until("it stays down", lambda: "it stays down until SIGHUP" in proxy.log())
    for n in (1, 2):
        proxy.daemon.signal(signal.SIGHUP)
        wait_until("it looked at the file", lambda: proxy.log().count("it stays down until SIGHUP") == n + 1)
    assert proxy.log().count("CKR_PIN_INCORRECT") <= 2, "told twice, by keyholder and supervisor; tried once"
    assert proxy.health()[0] == 503
    own.pin_file.write_text(right + "\n")
    proxy.daemon.signal(signal.SIGHUP)
    proxy.wait_ready()
    assert clients.openai_python(proxy.url, "x", True).text == "You said: x"


def test_killed_keyholder_comes_back(start_proxy, sim):
    """Keys of the dead keyholder are gone; the next request gets new ones, unseen by the client."""
    proxy = start_proxy()
    assert clients.openai_python(proxy.url, "before", True).text == "You said: before"
    old = proxy.processes()["keyholder"]
    os.kill(old, signal.SIGKILL)
    wait_until("a new keyholder", lambda: proxy.processes().get("keyholder") not in (None, old))
    proxy.wait_ready()
    assert clients.openai_python(proxy.url, "after", True).text == "You said: after"


def test_killed_keyholder_within_a_stream(start_proxy, sim):
    """A stream whose key died ends with an error event, not silently."""
    proxy = start_proxy()
    answer = []
    thread = threading.Thread(target=lambda: answer.append(proxy.post(
        chat_body("sim:chunks=100,delay_ms=50", stream=True), timeout=40)[2]))
    thread.start()
    wait_until("the stream runs", lambda: sim.stats()["transfers_open"] == 1)
    time.sleep(0.5)
    os.kill(proxy.processes()["keyholder"], signal.SIGKILL)
    thread.join(30)
    events = read_events(answer[0])
    assert events[-1] != "[DONE]"
    assert events[-1]["error"]["code"] == "token_unavailable"


def test_a_wrong_pin_is_tried_once(build, token, sim, tmp_path, start_proxy):
    """Also by the next start: only a changed PIN file is tried again."""
    from harness.stack import Token

    own = Token(tmp_path / "token")
    right = own.pin
    own.pin_file.write_text("0000000000\n")
    for _ in range(3):
        proxy = start_proxy(use_token=own, ready=False, env={"XDG_STATE_HOME": str(tmp_path)})
        proxy.state = tmp_path / "state"
        wait_until("serve ends or is not ready", lambda: not proxy.daemon.alive() or proxy.health()[0] == 503, 10)
        proxy.stop()
        assert "0000000000" not in proxy.log()
    own.pin_file.write_text(right + "\n")
    proxy = start_proxy(use_token=own)
    assert clients.openai_python(proxy.url, "x", True).text == "You said: x"


def test_metrics(proxy):
    clients.openai_python(proxy.url, "count me", True)
    status, headers, body = proxy.request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    text = body.decode()
    for word in ("request", "stream", "chunk", "bytes", "derive", "handshake", "rotation", "error"):
        assert word in text, f"no metric of {word}"
    assert "_bucket{" in text and 'le="+Inf"' in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


def test_metrics_labels_are_catalogue_ids(proxy):
    word = "canary-model-label"
    proxy.post(chat_body("x", model=word))
    _, _, body = proxy.request("GET", "/metrics")
    assert word.encode() not in body


def test_models_are_asked_for_once_in_five_minutes(start_proxy, start_sim):
    """And need no upstream meanwhile. What is served later, while it is down: tests/unit/session/test_sessions.c."""
    other = start_sim()
    proxy = start_proxy(upstream=other.url)
    status, _, first = proxy.request("GET", "/v1/models")
    assert status == 200
    asked = other.stats()["models_requests"]
    assert proxy.request("GET", "/v1/models")[0] == 200
    assert other.stats()["models_requests"] == asked
    other.stop()
    status, _, second = proxy.request("GET", "/v1/models")
    assert status == 200 and json.loads(first) == json.loads(second)


def test_upstream_down(start_proxy):
    proxy = start_proxy(upstream=f"http://127.0.0.1:{free_port()}/api/v1")
    status, _, body = proxy.post(chat_body("hello"))
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_unreachable")


def test_https_upstream(build, token, start_sim, start_proxy, tmp_path):
    """TLS is verified: the right certificate works, any other is refused before anything is sent."""
    certificate = tmp_path / "cert.pem"
    for kind, good in (("good", True), ("wrong-name", False), ("expired", False)):
        other = start_sim("--tls-cert-out", str(certificate), "--tls-kind", kind)
        port = other.daemon.expect_log(r"https://127\.0\.0\.1:(\d+)").group(1)
        proxy = start_proxy("--ca-file", str(certificate), upstream=f"https://127.0.0.1:{port}/api/v1", trust=other)
        status, _, body = proxy.post(chat_body("hello", stream=True))
        if good:
            assert text_of(read_events(body)) == "You said: hello"
        else:
            assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_unreachable")
            assert other.requests_raw() == b""


def test_connections_past_the_limit(start_proxy):
    proxy = start_proxy("--max-connections", "4")
    held = []

    def hold():  # the harness's own connection may count for a moment after it was closed
        s = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
        s.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        if s.recv(4096).startswith(b"HTTP/1.1 200"):
            held.append(s)
        else:
            s.close()
        return len(held) == 4

    wait_until("four connections are open", hold, 5)
    status, headers, body = proxy.request("GET", "/health")
    assert status == 503 and headers["Retry-After"] and "error" in json.loads(body)
    for s in held:
        s.close()
    wait_until("there is room again", lambda: proxy.health()[0] == 200, 5)


def test_rotation_unseen_by_clients(proxy, sim):
    """The enclave has a new key: one new handshake and one repetition, the client sees its answer."""
    assert clients.openai_python(proxy.url, "before", True, model=PHALA).text == "You said: before"
    before = sim.stats()
    sim.rotate(PHALA)
    assert clients.openai_python(proxy.url, "after", True, model=PHALA).text == "You said: after"
    after = sim.stats()
    assert after["attestation_requests"] - before["attestation_requests"] == 1
    assert after["chat_requests"] - before["chat_requests"] == 2


def test_handshakes_are_single_flight(start_proxy, sim):
    proxy = start_proxy()
    before = sim.stats()["attestation_requests"]
    threads = [threading.Thread(target=proxy.post, args=(chat_body(f"q{i}"),)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sim.stats()["attestation_requests"] == before + 1


# ---- commands ----


@pytest.mark.parametrize("name", ["serve", "check", "attest", "policy", "verify", "models", "chat"])
def test_help(build, name):
    run = subprocess.run([build / "e2ee-hsm-proxy", name, "--help"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0 and name in run.stdout
    assert len(run.stdout.splitlines()) >= 3


def test_general_help_and_version(build):
    run = subprocess.run([build / "e2ee-hsm-proxy", "--help"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0
    for name in ("serve", "check", "attest", "policy", "verify", "models", "chat"):
        assert name in run.stdout
    assert subprocess.run([build / "e2ee-hsm-proxy", "nonsense"], capture_output=True, timeout=20).returncode != 0
    run = subprocess.run([build / "e2ee-hsm-proxy", "--version"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0 and "0." in run.stdout


def test_models_command(command):
    run = command("models")
    assert run.returncode == 0 and NEAR in run.stdout and "e2ee-prefix-only" not in run.stdout
    assert NEAR in json.dumps(json.loads(command("models", "--json").stdout))


def test_chat_command(command):
    run = command("chat", NEAR, "hello there", with_token=True)
    assert run.returncode == 0, run.stderr
    assert "You said: hello there" in run.stdout


def test_check_command(command, token):
    run = command("check", with_token=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert token.pin not in run.stdout + run.stderr
    report = json.loads(command("check", "--json", with_token=True).stdout)
    grade = report["token"]["grade"]
    assert grade["custody"] in ("token", "session") and grade["models"] > 0 and not grade["keys_on_token"], grade
    for words in (f"grade: {grade['verdict']}", "streamed chunks", "streams at a time", "models at a time", "--custody "):
        assert words in run.stdout, run.stdout
    wrong = command("check", "--pkcs11-module", token.module, "--token", "pkcs11:token=absent",
                    "--pin-file", token.pin_file, env=token.env)
    assert wrong.returncode == 1
    assert "no token to test" in wrong.stdout and 'token ""' not in wrong.stdout, wrong.stdout
    assert "no token matches --token" in wrong.stdout and "grade: unfit" in wrong.stdout


