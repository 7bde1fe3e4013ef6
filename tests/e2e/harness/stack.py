"""The simulated enclave, a SoftHSM token and the proxy, each on ports of its own."""

import http.client
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

from .process import Daemon, descendants, free_port, wait_until

ROOT = Path(__file__).resolve().parents[3]
API_KEY = "sk-canary-apikey-5fd1c2a97be04c31"
TOKEN_LABEL = "e2ee-tests"

# The simulator's models, one for each way in which servers answer (tests/sim/README.md).
NEAR, PHALA, ACI = "sim-near", "sim-phala", "sim-aci"
MODELS = [NEAR, PHALA, ACI]


def get_json(url, body=None, headers=None, timeout=20):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


class Token:
    """A fresh SoftHSM token: directory, PIN file, and the environment that its module needs."""

    def __init__(self, directory):
        self.dir = Path(directory)
        script = '. "$1/scripts/lib.sh"; make_softhsm_token "$2" "$3"; softhsm_module'
        run = subprocess.run(["bash", "-euc", script, "bash", str(ROOT), str(self.dir), TOKEN_LABEL],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        self.module = run.stdout.split()[-1]
        self.pin_file = self.dir / "pin"
        self.pin = self.pin_file.read_text().strip()
        self.uri = f"pkcs11:token={TOKEN_LABEL}"
        self.env = {"SOFTHSM2_CONF": str(self.dir / "softhsm2.conf")}

    def arguments(self):
        return ["--pkcs11-module", self.module, "--token", self.uri, "--pin-file", str(self.pin_file)]

    def objects(self):
        """How many private objects the token holds, seen by another program."""
        run = subprocess.run(["pkcs11-tool", "--module", self.module, "--token-label", TOKEN_LABEL, "--login", "--pin",
                              "env:PIN", "--list-objects"], capture_output=True, text=True, timeout=60,
                             env={**os.environ, **self.env, "PIN": self.pin})
        assert run.returncode == 0, run.stderr
        return run.stdout.count(" Object;")


class Sim:
    """tests/sim. Its control paths are methods here."""

    by_url = {}

    def __init__(self, program, directory, *arguments):
        self.root = Path(directory) / "root.pem"
        self.daemon = Daemon([program, "--root-out", self.root, *arguments], Path(directory) / "sim.log")
        found = self.daemon.expect_log(r"http://127\.0\.0\.1:(\d+)")
        self.port = int(found.group(1))
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/api/v1"
        Sim.by_url[self.url] = self

    def trust(self):
        """The options that make a command believe this simulator's evidence."""
        return ["--unsafe-attestation-root", str(self.root), "--collateral", self.origin]

    def collateral(self, mode):
        get_json(f"{self.origin}/sim/config", {"collateral": mode})

    def stats(self):
        return get_json(f"{self.origin}/sim/stats")

    def violations(self):
        return get_json(f"{self.origin}/sim/violations")

    def requests_raw(self):
        """Every byte that was sent to it."""
        with urllib.request.urlopen(f"{self.origin}/sim/requests", timeout=20) as answer:
            return answer.read()

    def reset(self):
        get_json(f"{self.origin}/sim/reset", {})

    def fault(self, endpoint, name, **more):
        get_json(f"{self.origin}/sim/fault", {"endpoint": endpoint, "fault": name, **more})

    def rotate(self, model=None):
        get_json(f"{self.origin}/sim/rotate-key", {"model": model} if model else {})

    def stop(self):
        return self.daemon.stop()


class Proxy:
    """`e2ee-hsm-proxy serve` with its keyholder."""

    def __init__(self, build, directory, token, upstream, *arguments, env=None, ready=True, custody_args=None,
                 trust=None, wrapper=()):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.state = self.dir / "state"
        self.token = token
        self.program = Path(build) / "e2ee-hsm-proxy"
        self.upstream = upstream
        self.common = ["--upstream", upstream, "--unsafe-http-upstream", "--state-dir", str(self.state)]
        trust = trust or Sim.by_url.get(upstream)
        self.common += trust.trust() if trust else []
        argv = [*wrapper, self.program, "serve", "--listen", f"127.0.0.1:{self.port}", *self.common,
                *(token.arguments() if custody_args is None else custody_args), *arguments]
        temp = self.dir / "tmp"
        temp.mkdir(exist_ok=True)
        self.daemon = Daemon(argv, self.dir / "proxy.log",
                             env={**token.env, "VENICE_API_KEY": API_KEY, "TMPDIR": str(temp), **(env or {})})
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/v1"
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=20.0):
        def healthy():
            assert self.daemon.alive(), f"serve ended with {self.daemon.process.returncode}:\n{self.log()}"
            return self.health()[0] == 200

        wait_until("GET /health is 200", healthy, seconds)

    def log(self):
        return self.daemon.text()

    def request(self, method, path, body=None, headers=None, timeout=20):
        """(status, headers, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, body, headers=None, path="/v1/chat/completions", timeout=30):
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return self.request("POST", path, text, {"Content-Type": "application/json", **(headers or {})}, timeout)

    def health(self):
        try:
            status, _, body = self.request("GET", "/health", timeout=5)
            return status, body
        except OSError:
            return 0, b""

    def metrics(self):
        """{name or name{labels}: value} of GET /metrics."""
        status, _, body = self.request("GET", "/metrics")
        assert status == 200
        rows = re.findall(r"^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?) ([-+\w.]+)$", body.decode(), flags=re.M)
        return {name: float(value) for name, value in rows}

    def metric(self, name):
        """Sum over the labels of a metric."""
        return sum(v for k, v in self.metrics().items() if k == name or k.startswith(name + "{"))

    def processes(self):
        """{role: pid} of supervisor, proxy and keyholder."""
        found = {"supervisor": self.daemon.pid}
        for pid in descendants(self.daemon.pid):
            try:
                name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue
            if name in ("e2ee-keyholder", "e2ee-hsm-proxy"):
                found["keyholder" if name == "e2ee-keyholder" else "proxy"] = pid
        return found

    def stop(self):
        return self.daemon.stop()


def chat_body(prompt, model=NEAR, **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def read_events(body):
    """The data of each event of a stream, parsed; the word "[DONE]" stays a string."""
    events = []
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
        if data:
            events.append(data if data == "[DONE]" else json.loads(data))
    return events


def text_of(events, field="content"):
    """The streamed text of choice 0."""
    out = ""
    for event in events:
        for choice in event.get("choices", []) if isinstance(event, dict) else []:
            if choice.get("index", 0) == 0:
                out += (choice.get("delta") or {}).get(field) or ""
    return out
