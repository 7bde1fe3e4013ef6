"""--audit-key through `serve`: what `audit verify --key` proves of a custody log, and what it says that it cannot."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest

from harness.process import wait_until
from harness.stack import TOKEN_LABEL, Token, chat_body

PROMPT = "who signs the log?"


def tool(token, *arguments):
    run = subprocess.run(["pkcs11-tool", "--module", token.module, "--token-label", TOKEN_LABEL, "--login", "--pin", "env:PIN",
                          *map(str, arguments)], capture_output=True, text=True, timeout=60,
                         env={**os.environ, **token.env, "PIN": token.pin})
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def own_token(tmp_path):
    """A token of this test's own, with two operator's keys in it."""
    token = Token(tmp_path / "token")
    for label, number in (("audit", "01"), ("other", "02")):
        tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign", "--label", label, "--id", number)
        der = tmp_path / f"{label}.der"
        tool(token, "--read-object", "--type", "pubkey", "--id", number, "-o", der)
        subprocess.run(["openssl", "pkey", "-pubin", "-inform", "DER", "-in", der, "-out", tmp_path / f"{label}.pem"],
                       check=True, timeout=60)
    return token


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "custody"
    folder.mkdir()
    return folder / "custody.log"


@pytest.fixture
def key(tmp_path):
    return tmp_path / "audit.pem"


@pytest.fixture
def verify(build):
    """By both programs, which must say the same."""
    def run(*arguments):
        said = []
        for program in ("e2ee-hsm-proxy", "e2ee-keyholder"):
            done = subprocess.run([build / program, "audit", "verify", *map(str, arguments)], capture_output=True, text=True,
                                  timeout=60, env={"PATH": "/usr/bin:/bin", "E2EE_PROXY_CONFIG": "/dev/null"})
            said.append((done.returncode, done.stdout + done.stderr.replace(f"{program}: ", "")))
        assert said[0] == said[1]
        return said[0]

    return run


@pytest.fixture
def serve(start_proxy, own_token, log, tmp_path):
    def start(*arguments, lines=5, **more):
        config = tmp_path / "key.conf"
        config.write_text(f"[token]\naudit_checkpoint = {lines}\n")
        state = ["--state-dir", str(tmp_path / "state")]
        return start_proxy("--audit-log", str(log), "--audit-key", "pkcs11:object=audit", "--config", str(config), *state,
                           *arguments, use_token=own_token, **more)

    return start


def ask(proxy):
    status, _, body = proxy.post(chat_body(PROMPT, stream=True))
    assert status == 200 and b"[DONE]" in body, body


def lines_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def chained(lines):
    """The lines with right hashes: what everybody can make who may write the file."""
    out, previous = "", "0" * 64
    for number, line in enumerate(lines, 1):
        members = {name: value for name, value in line.items() if name not in ("prev", "hash")}
        members["seq"] = number
        text = json.dumps(members, separators=(",", ":"))[:-1] + f',"prev":"{previous}"'
        previous = hashlib.sha256(text.encode()).hexdigest()
        out += text + f',"hash":"{previous}"}}\n'
    return out


def test_signed(serve, own_token, log, key, verify, tmp_path):
    for _ in range(2):
        proxy = serve()
        for _ in range(3):
            ask(proxy)
        assert proxy.stop() == 0
    lines = lines_of(log)
    events = [line["event"] for line in lines]
    assert events[-1] == "checkpoint" and [e for e in events if e != "checkpoint"][-1] == "stop"  # one may have been under way
    assert lines[-1]["line"] >= len(events) - events[::-1].index("stop")
    signed = [line for line in lines if line["event"] == "checkpoint"]
    assert len(signed) >= 4 and all(line["from"] == 1 for line in signed)
    code, said = verify(log, "--key", key)
    assert code == 0 and "it ends by a stop that is signed" in said and "note:" not in said, said
    code, said = verify(log)
    assert code == 0 and "cannot be excluded" in said and "were not verified, which takes --key" in said
    assert verify(log, "--key", key, "--head", lines[-1]["hash"])[0] == 0
    code, said = verify(log, "--key", tmp_path / "other.pem")
    assert code == 1 and "signed by another key" in said and "the chain does NOT hold" in said
    assert verify(log, "--key", tmp_path / "other.pem", "--key", key)[0] == 0
    assert verify(log, "--key", tmp_path / "none.pem")[0] == 2
    assert tool(own_token, "--list-objects").count("label:      audit\n") == 2


def test_openssl_verifies_it(serve, log, key, tmp_path):
    """As docs/OPERATIONS.md says, without a program of ours."""
    proxy = serve()
    ask(proxy)
    assert proxy.stop() == 0
    line = lines_of(log)[-1]
    (tmp_path / "text").write_text(
        "e2ee-hsm-proxy custody log checkpoint v1\n"
        f"from={line['from']}\nline={line['line']}\nhash={line['over']}\ninstance={line['instance']}\n"
        f"algorithm={line['algorithm']}\nkey={line['key']}\n")
    assert line["over"] == lines_of(log)[line["line"] - 1]["hash"]
    (tmp_path / "signature").write_bytes(bytes.fromhex(line["signature"]))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", tmp_path / "signature", tmp_path / "text"],
                   check=True, timeout=60)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", key, "-outform", "DER"], capture_output=True, timeout=60, check=True)
    assert hashlib.sha256(der.stdout).hexdigest() == line["key"]


def test_rewritten(serve, log, key, verify):
    proxy = serve()
    ask(proxy)
    assert proxy.stop() == 0
    good, lines = log.read_text(), lines_of(log)
    assert chained(lines) == good  # the forger knows his trade

    def judge(text, words):
        log.write_text(text)
        code, said = verify(log, "--key", key)
        assert code == 1 and "the chain does NOT hold" in said and words in said, said
        return verify(log)[0]

    next(line for line in lines if line["event"] == "key_created")["attributes"]["extractable"] = True
    assert judge(chained(lines), "it signs another line") == 1
    assert judge(chained([line for line in lines if line["event"] != "checkpoint"]), "no checkpoint signs any of these lines") == 0
    for at, line in enumerate(lines):  # each says what its line is now, with a signature over what was
        if line["event"] == "checkpoint":
            line["over"] = json.loads(chained(lines[:at]).splitlines()[line["line"] - 1])["hash"]
    assert judge(chained(lines), "its signature is wrong") == 0
    again = serve(ready=False)
    wait_until("the keyholder refuses it", lambda: "it was cut, rewritten or replaced" in again.log(), 20)


def test_cut(serve, log, key, verify):
    proxy = serve()
    for _ in range(4):
        ask(proxy)
    assert proxy.stop() == 0
    text, lines = log.read_text().splitlines(keepends=True), lines_of(log)
    signed = [line for line in lines if line["event"] == "checkpoint"]
    log.write_text("".join(text[:-1]))  # its last checkpoint
    code, said = verify(log, "--key", key)
    assert code == 0 and f"the last signs line {signed[-2]['line']}," in said and "lines are not signed" in said, said
    log.write_text("".join(text[:signed[-2]["seq"]]))  # up to a checkpoint: a head shows it, or the next start
    code, said = verify(log, "--key", key)
    assert code == 0 and "cannot be excluded" in said and "it ends by a stop" not in said
    assert verify(log, "--key", key, "--head", lines[-1]["hash"])[0] == 1
    again = serve(ready=False)
    wait_until("the keyholder refuses it", lambda: "it was cut, rewritten or replaced" in again.log(), 20)


def test_killed(serve, log, key, verify):
    proxy = serve(lines=1000)
    ask(proxy)
    os.kill(proxy.processes()["keyholder"], signal.SIGKILL)
    time.sleep(0.3)
    wait_until("another keyholder", lambda: proxy.processes().get("keyholder") and proxy.health()[0] == 200, 20)
    ask(proxy)
    assert proxy.stop() == 0
    code, said = verify(log, "--key", key)
    assert code == 0 and "were signed only as this start found them" in said, said
    assert "it ends by a stop that is signed" in said


def test_key_missing(serve, own_token, log, key, verify, build, tmp_path):
    """A clear error and exit code 1; afterwards the same log goes on."""
    done = subprocess.run([build / "e2ee-keyholder", *own_token.arguments(), "--socket", tmp_path / "socket", "--state-dir",
                           tmp_path / "state", "--audit-log", log, "--audit-key", "pkcs11:object=nothing"],
                          capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", **own_token.env})
    assert done.returncode == 1 and "has no private key that the URI names" in done.stderr, done.stderr
    last = lines_of(log)[-1]
    assert last["event"] == "stop" and "no private key" in last["why"]
    code, said = verify(log, "--key", key)
    assert code == 1 and "no checkpoint signs any of these lines" in said
    proxy = serve()
    assert proxy.stop() == 0
    code, said = verify(log, "--key", key)
    assert code == 0 and "note:" not in said, said


def test_fails_mid_run(serve, own_token, log, key, verify):
    """The key's object is taken from the token: the proxy goes on, the log says so, and verify which lines are not signed."""
    proxy = serve()
    ask(proxy)
    tool(own_token, "--delete-object", "--type", "privkey", "--id", "01")
    for _ in range(6):
        ask(proxy)
        proxy.post(chat_body(PROMPT, model="sim-phala", stream=True))
    if "checkpoint_failed" not in log.read_text():  # too few lines yet: the end wants a signature too
        assert proxy.stop() == 0
        assert "the custody log's last lines are not signed" in proxy.log()
    else:
        proxy.daemon.expect_log("the custody log cannot be signed")
        assert proxy.health()[0] == 200
        wait_until("the metric says so", lambda: proxy.metric("e2ee_proxy_custody_log_signing_failing") == 1, 10)
        assert proxy.stop() == 0
    assert "checkpoint_failed" in log.read_text()
    code, said = verify(log, "--key", key)
    assert code == 0 and "lines are not signed" in said, said
