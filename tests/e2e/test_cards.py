"""The whole way: proxy, keyholder, OpenSC's own module, a pcscd of the test's own, vpcd, and the simulated SmartCard-HSM (tests/simcard)."""

import glob
import json
import os
import signal
import subprocess
import threading

import pytest

from harness.process import wait_until
from harness.stack import chat_body, read_events, text_of

MODULES = ("/usr/lib/*/opensc-pkcs11.so", "/usr/lib/*/pkcs11/opensc-pkcs11.so", "/usr/lib64/opensc-pkcs11.so")
VPCD = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
PCSCD = "/usr/sbin/pcscd"
PIN, SO_PIN = "648219", "3537363231383830"


def missing():
    """What is not installed here, or None."""
    if not any(glob.glob(pattern) for pattern in MODULES):
        return "opensc-pkcs11.so is not installed"
    for path in (PCSCD, VPCD):
        if not os.path.exists(path):
            return f"{path} is not installed"
    return None


class Card:
    """A card in a reader, initialised as docs/tokens/smartcard-hsm.md says."""

    def __init__(self, build, directory, derive_ms):
        self.directory = directory
        self.module = next(path for pattern in MODULES for path in glob.glob(pattern))
        self.pin_file = directory / "card-pin"
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        readers = directory / "readers"
        readers.mkdir()
        (readers / "simcard").write_text(f'FRIENDLYNAME "simcard"\nDEVICENAME /dev/null:35963\nLIBPATH {VPCD}\nCHANNELID 35963\n')
        (directory / "opensc.conf").write_text("app default {\n\tcard_drivers = sc-hsm;\n}\n")
        self.env = {"PCSCLITE_CSOCK_NAME": str(directory / "pcscd.comm"), "OPENSC_CONF": str(directory / "opensc.conf")}
        simcard = build / "tests" / "simcard"
        self.processes = []
        self.run([simcard / "private_pcscd", readers], {"PCSCD_DIR": str(directory), "PATH": "/usr/bin:/bin"})
        self.card = self.run([simcard / "simcard", directory / "port.35963", directory / "state", "20", str(derive_ms)], {})
        wait_until("the card is initialised", self.initialize, 10)

    def run(self, argv, env):
        with open(self.directory / "card.log", "ab") as log:
            process = subprocess.Popen([str(word) for word in argv], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def initialize(self):
        subprocess.run(["sc-hsm-tool", "--initialize", "--so-pin", SO_PIN, "--pin", PIN, "--label", "e2ee"],
                       env={"PATH": "/usr/bin:/bin", **self.env}, capture_output=True, timeout=20, check=False)
        return self.state("initialized") == 1

    def state(self, name):
        try:
            words = (self.directory / "state").read_text().split()
        except FileNotFoundError:
            return None
        return {key: int(value) for key, value in (word.split("=") for word in words)}.get(name)

    def arguments(self):
        return ["--pkcs11-module", self.module, "--pin-file", str(self.pin_file)]

    def pull(self):
        self.card.send_signal(signal.SIGUSR1)

    def put_back(self):
        self.card.send_signal(signal.SIGUSR2)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(10)


@pytest.fixture
def card(build, tmp_path):
    why = missing()
    if why:
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    started = []

    def start(derive_ms):
        directory = tmp_path / "card"
        directory.mkdir()
        started.append(Card(build, directory, derive_ms))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize("custody", ["token", "session"])
def test_streams_by_a_card(start_proxy, card, custody):
    token = card(5 if custody == "token" else 60)
    proxy = start_proxy("--custody", custody, use_token=token)
    prompt = "some words " * 10
    for stream in (True, False):
        status, _, body = proxy.post(chat_body(prompt, stream=stream), timeout=60)
        assert status == 200, body
        text = text_of(read_events(body)) if stream else json.loads(body)["choices"][0]["message"]["content"]
        assert text == f"You said: {prompt}"
    tokens = json.loads(proxy.health()[1])["tokens"]
    assert tokens[0]["label"] in ("e2ee", "e2ee (UserPIN)") and token.state("keys") >= 1
    derived = token.state("derived")
    assert derived > 20 if custody == "token" else derived <= 6, derived
    assert proxy.stop() == 0
    assert token.state("keys") == 0


def test_card_pulled_out_in_a_stream(start_proxy, card):
    """The open answer ends with an error and not silently; new ones work when the card is back."""
    token = card(40)
    proxy = start_proxy(use_token=token)
    assert proxy.post(chat_body("a first question", stream=True), timeout=60)[0] == 200
    out = []
    asking = threading.Thread(target=lambda: out.append(proxy.post(chat_body("many words " * 100, stream=True), timeout=120)))
    before = token.state("derived")
    asking.start()
    wait_until("the answer is on its way", lambda: token.state("derived") > before + 5, 20)
    token.pull()
    asking.join(60)
    status, _, body = out[0]
    assert status == 200
    events = read_events(body)
    assert events[-1] != "[DONE]" and events[-1]["error"]["code"] == "token_unavailable", events[-1]
    wait_until("it is said", lambda: proxy.health()[0] == 503, 20)
    token.put_back()
    wait_until("it is ready again", lambda: proxy.health()[0] == 200, 30)
    status, _, body = proxy.post(chat_body("a last question", stream=True), timeout=60)
    assert status == 200 and text_of(read_events(body)) == "You said: a last question", (body[-600:], proxy.log()[-3000:])
    assert proxy.stop() == 0
    assert token.state("keys") == 0
