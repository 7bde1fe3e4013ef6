"""What the parts of the benchmark share: the processes, their CPU and memory, one run of load."""

import base64
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness.process import Daemon, descendants, free_port, wait_until  # noqa: E402
from harness.stack import Proxy, Sim, Token, chat_body, get_json  # noqa: E402

BUILD = ROOT / "build"
TOOLS = BUILD / "tests" / "bench"
MOCKS = BUILD / "tests" / "hsm"


class MockToken:
    """A mock module with a time for each operation; arguments as harness.stack.Token has them."""

    def __init__(self, directory, derive_ms, generate_ms=0, sessions=4):
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.module = str(MOCKS / "mock_plain.so")
        self.label = "mock"
        self.pin_file = Path(directory) / "pin"
        self.pin_file.write_text("1234\n")
        self.pin_file.chmod(0o600)
        self.env = {"MOCK_DERIVE_MS": str(derive_ms), "MOCK_GENERATE_MS": str(generate_ms),
                    "MOCK_SESSIONS": str(sessions)}

    def arguments(self):
        names = [word for name in self.env for word in ("--module-env", name)]
        return ["--pkcs11-module", self.module, "--token", "pkcs11:token=mock", "--pin-file", str(self.pin_file), *names]


def cpu_seconds(pids):
    """CPU of all threads, from the scheduler's own nanoseconds."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass
    return total / 1e9


def resident(pids):
    """(sum of resident sets, sum of proportional sets) in bytes; the second counts shared pages once."""
    rss = pss = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            words = line.split()
            rss += int(words[1]) * 1024 if words[0] == "Rss:" else 0
            pss += int(words[1]) * 1024 if words[0] == "Pss:" else 0
    return rss, pss


def request_file(directory, name, port, path, body):
    """A whole HTTP request in a file, for bench-client."""
    text = json.dumps(body).encode()
    head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n").encode()
    file = Path(directory) / f"{name}.request"
    file.write_bytes(head + text)
    return file


def streamed(prompt, model="sim-near"):
    return chat_body(prompt, model=model, stream=True, stream_options={"include_usage": True})


def middle(values):
    return statistics.median(values)


def spread(values, form="{:.2f}"):
    """Median with the lowest and highest behind it."""
    return f"{form.format(middle(values))} ({form.format(min(values))} to {form.format(max(values))})"


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Load:
    """bench-client, running."""

    def __init__(self, port, files, streams):
        files = ",".join(str(f) for f in files)
        self.process = subprocess.Popen([TOOLS / "bench-client", "load", str(port), files, str(streams)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self, at_once=False, seconds=300):
        """Its figures; every answer that came to its end must have been right."""
        out, _ = self.process.communicate("!" if at_once else None, timeout=seconds)
        if self.process.returncode != 0 or not out:
            raise RuntimeError("bench-client failed")
        result = json.loads(out)
        if result["bad"] or not (result["answers"] or at_once):
            raise RuntimeError(f"a run does not count: {result['bad']} bad answers of {result['answers']}")
        return result

    def count_from_now(self):
        """What each stream got before is not counted: one that came a moment earlier had the token alone."""
        self.process.stdin.write("r")
        self.process.stdin.flush()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Rig:
    """Everything that was started, ended for certain."""

    def __init__(self, quick):
        self.quick = quick
        self.runs = 1 if quick else 5
        self.cpu = 0.3 if quick else 5.0
        self.dir = Path(tempfile.mkdtemp(prefix="e2ee-bench-"))
        self.running = []
        self.count = 0
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop_all(self):
        while self.running:
            self.running.pop().stop()

    def new_dir(self, name):
        self.count += 1
        path = self.dir / f"{self.count}-{name}"
        path.mkdir()
        return path

    def sim(self, *arguments):
        directory = self.new_dir("sim")
        sim = Sim(BUILD / "e2ee-sim", directory, "--prepared", "--record-bytes", "0", "--tls-cert-out",
                  directory / "cert.pem", *arguments)
        found = sim.daemon.expect_log(r"https://127\.0\.0\.1:(\d+)")
        sim.tls_port = int(found.group(1))
        sim.cert = directory / "cert.pem"
        self.running.append(sim)
        return sim

    def softhsm(self):
        token = Token(self.new_dir("token"))
        token.label = "e2ee-tests"
        return token

    def mock(self, derive_ms, **more):
        return MockToken(self.new_dir("mock"), derive_ms, **more)

    def proxy(self, sim, token, *arguments, tls=False, custody_args=None, custody_pids=()):
        upstream = f"https://127.0.0.1:{sim.tls_port}/api/v1" if tls else sim.url
        more = ["--ca-file", str(sim.cert)] if tls else []
        proxy = Proxy(BUILD, self.new_dir("proxy"), token, upstream, "--workers", "1", "--log-level", "error", *more,
                      *arguments, custody_args=custody_args, trust=sim)
        self.running.append(proxy)
        roles = proxy.processes()
        proxy.pids = [*roles.values(), *custody_pids]
        proxy.keyholder_pid = roles.get("keyholder") or custody_pids[0]
        return proxy

    def keyholder(self, token, *arguments):
        """A keyholder of its own behind a socket, for options that `serve` does not have."""
        directory = self.new_dir("keyholder")
        path = directory / "socket"
        daemon = Daemon([BUILD / "e2ee-keyholder", "--socket", path, *token.arguments(), *arguments],
                        directory / "log", env={**token.env, "STATE_DIRECTORY": str(directory)})
        wait_until("the keyholder's socket", path.exists, 20)
        self.running.append(daemon)
        daemon.path = str(path)
        return daemon

    def nginx(self, sim):
        """Plaintext pass-through to both of the simulator's ports; .ports is {tls: port}, .pids its one worker."""
        directory = self.new_dir("nginx")
        ports = {False: free_port(), True: free_port()}
        (directory / "nginx.conf").write_text((ROOT / "tests" / "bench" / "nginx.conf").read_text()
            .replace("@DIR@", str(directory)).replace("@HTTP@", str(ports[False])).replace("@HTTPS@", str(ports[True]))
            .replace("@SIM_HTTP@", str(sim.port)).replace("@SIM_HTTPS@", str(sim.tls_port)))
        daemon = Daemon(["nginx", "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"],
                        directory / "log", env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"})
        self.running.append(daemon)
        daemon.pids = wait_until("nginx's worker", lambda: descendants(daemon.pid), 10)
        daemon.ports = ports
        return daemon

    def run(self, port, files, streams, pids, cpu=None, seconds=120):
        """One run until the pids used that much CPU; {"cpu", "events", ...}."""
        load = Load(port, files, streams)
        try:
            before, limit = cpu_seconds(pids), time.monotonic() + seconds
            while cpu_seconds(pids) - before < (cpu or self.cpu) and time.monotonic() < limit:
                if load.process.poll() is not None:
                    break
                time.sleep(0.1)
            result = load.end()
            result["cpu"] = cpu_seconds(pids) - before
            result["us"] = result["cpu"] / result["events"] * 1e6
            return result
        finally:
            load.kill()

    def derive_loop(self, token, threads, seconds):
        out = subprocess.run([TOOLS / "bench-derive", token.module, token.label, token.pin_file, str(threads),
                              str(seconds)], env={**os.environ, **token.env}, capture_output=True, text=True)
        if out.returncode != 0:
            raise RuntimeError(out.stderr)
        result = json.loads(out.stdout)
        result["rate"] = result["derives"] / result["seconds"]
        result["us"] = result["cpu_seconds"] / result["derives"] * 1e6
        return result

    def roundtrips(self, keyholder, count, in_flight):
        out = subprocess.run([TOOLS / "bench-roundtrip", keyholder.path, str(keyholder.pid), str(count), str(in_flight)],
                             capture_output=True, text=True)
        if out.returncode != 0:
            raise RuntimeError(out.stderr)
        return json.loads(out.stdout)

    def software_loop(self, field_bytes, seconds):
        """CPU microseconds of ECDH, HKDF and AES-GCM for one chunk."""
        out = subprocess.run([TOOLS / "bench-software", str(seconds), str(field_bytes)], capture_output=True, text=True)
        if out.returncode != 0:
            raise RuntimeError(out.stderr)
        result = json.loads(out.stdout)
        return result["cpu_seconds"] / result["chunks"] * 1e6

    def pairs(self, port_a, file_a, port_b, file_b, event, count):
        out = subprocess.run([TOOLS / "bench-client", "pairs", str(port_a), file_a, str(port_b), file_b, str(event),
                              str(count)], capture_output=True, text=True)
        if out.returncode != 0:
            raise RuntimeError(out.stderr)
        return json.loads(out.stdout)

    def log(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)


def last_sealed_request(sim):
    """The bytes of the newest chat request that the simulator got."""
    for one in reversed(get_json(f"{sim.origin}/sim/requests?format=json")):
        raw = base64.b64decode(next(v for v in one.values() if isinstance(v, str) and len(v) > 200))
        if raw.startswith(b"POST "):
            return raw
    raise RuntimeError("the simulator kept no chat request")


def table(title, head, rows):
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()
