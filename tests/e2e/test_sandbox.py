"""The sandboxes of the running processes, seen from outside, and that what must go on inside goes on. What each profile forbids is tried by
tests/unit/app/test_proxy_sandbox.c, tests/unit/hsm/test_profile.c and tests/hsm/test_sandbox.c."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.proc import may_look
from harness.process import Daemon, wait_until
from harness.stack import API_KEY, chat_body

# A kernel without Landlock, played by a filter that says so.
OLD_KERNEL = """
import ctypes, os, struct, sys
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rows), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def threads(pid):
    """{field: value} of each thread's status."""
    for path in Path(f"/proc/{pid}/task").iterdir():
        yield dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line)


def assert_confined(pid):
    found = list(threads(pid))
    assert found
    for status in found:
        assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", status["Name"]


def landlock():
    """Whether this kernel has it: x86-64's number of landlock_create_ruleset is every architecture's."""
    import ctypes
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) > 0


def injected(pid, *calls):
    """What functions return that gdb calls in a running process."""
    commands = [word for call in calls for word in ("-ex", f"print (int){call}")]
    run = subprocess.run(["gdb", "-nx", "-q", "-batch", "-p", str(pid), *commands], capture_output=True, text=True,
                         timeout=60, check=True)
    found = [int(number) for number in re.findall(r"^\$\d+ = (-?\d+)$", run.stdout, flags=re.M)]
    assert len(found) == len(calls), run.stdout + run.stderr
    return dict(zip(calls, found))


def ask(proxy, prompt="hello"):
    return proxy.post(chat_body(prompt))[0]


def test_every_thread_is_confined(proxy):
    assert ask(proxy) == 200  # the threads of handshakes and look-ups too
    processes = proxy.processes()
    assert_confined(processes["proxy"])
    assert_confined(processes["keyholder"])
    assert all(s["NoNewPrivs"].strip() == "1" for s in threads(processes["supervisor"]))
    log = proxy.log()
    assert "sandbox (proxy; network): system calls filtered" in log
    assert "sandbox (SoftHSM; no sockets): system calls filtered" in log
    if landlock():
        assert "files by Landlock" in log and "one user runs proxy and keyholder" not in log


def opening(path):
    return f'open("{path}", 0)'


def test_code_in_the_processes(start_proxy, token, sanitized):
    """Code that took over a running process, played by gdb: what it tries fails, and the process goes on."""
    if sanitized:
        return  # its sandbox is wider, for the sanitizers' own tracer: the release build's is the one that is judged
    if not landlock():
        assert not os.environ.get("CI"), "this kernel has no Landlock"
        pytest.skip("this kernel has no Landlock")
    if not shutil.which("gdb") or not may_look():
        assert not os.environ.get("CI"), "needs gdb and root"
        pytest.skip("needs gdb and root")
    proxy = start_proxy()
    assert ask(proxy) == 200
    objects = [path for path in (token.dir / "tokens").rglob("*") if path.is_file()]
    secrets = [token.pin_file, token.module, proxy.state / "instance-0", *objects[:2]]
    assert len(secrets) == 5 and all(Path(path).exists() for path in secrets)
    never = ['execl("/bin/true", "true", 0)', "fork()", "socket(1, 1, 0)", opening(proxy.program)]
    tried = injected(proxy.processes()["proxy"], opening("/etc/passwd"), "socket(2, 1, 0)", *map(opening, secrets), *never)
    worked = {call for call, result in tried.items() if result >= 0}
    assert worked == {opening("/etc/passwd"), "socket(2, 1, 0)"}
    tried = injected(proxy.processes()["keyholder"], opening(token.pin_file), opening(objects[0]), "socket(2, 1, 0)", *never)
    worked = {call for call, result in tried.items() if result >= 0}
    assert worked == {opening(token.pin_file), opening(objects[0])}
    assert ask(proxy) == 200


def test_next_processes_are_confined(start_proxy):
    """What the supervisor starts again has its sandbox too."""
    proxy = start_proxy()
    for role in ("keyholder", "proxy"):
        before = proxy.processes()[role]
        os.kill(before, signal.SIGKILL)
        wait_until(f"another {role}", lambda: proxy.processes().get(role, before) != before)
        proxy.wait_ready()
        assert_confined(proxy.processes()[role])
    assert ask(proxy) == 200


def test_names_are_looked_up(start_proxy, sim):
    """getaddrinfo, on curl's thread."""
    url = sim.url.replace("127.0.0.1", "localhost")
    assert url != sim.url
    assert ask(start_proxy(upstream=url, trust=sim)) == 200


def write_key(path, text):
    """As an editor does it: another file takes the name."""
    new = path.with_suffix(".new")
    new.write_text(text + "\n")
    new.chmod(0o600)
    os.replace(new, path)


def test_replaced_key_file_is_read(start_proxy, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    key = folder / "api-key"
    write_key(key, API_KEY)
    proxy = start_proxy("--api-key-file", key)
    write_key(key, API_KEY + "-next")
    proxy.daemon.signal(signal.SIGHUP)
    proxy.daemon.expect_log("API key read again")
    assert str(key) not in proxy.log()


def test_key_file_beside_the_pin(start_proxy, token):
    """There the replaced file stays closed, and the start says so."""
    if not landlock():
        pytest.skip("this kernel has no Landlock")
    key = token.dir / "api-key"
    write_key(key, API_KEY)
    proxy = start_proxy("--api-key-file", key)
    assert f"{key}: another file of that name will be read only after a restart" in proxy.log()
    proxy.daemon.signal(signal.SIGHUP)
    proxy.daemon.expect_log("API key read again")
    write_key(key, API_KEY + "-next")
    proxy.daemon.signal(signal.SIGHUP)
    proxy.daemon.expect_log("the API key stays as it was")
    assert ask(proxy) == 200
    key.unlink()


def test_keyholder_of_its_own(build, start_proxy, token, tmp_path):
    """With --keyholder-socket: both alone in their sandboxes, and the proxy finds the next keyholder."""
    path = tmp_path / "socket"
    argv = [build / "e2ee-keyholder", "--socket", path, "--state-dir", tmp_path / "holder", *token.arguments()]
    holder = Daemon(argv, tmp_path / "holder.log", env=token.env)
    proxy = start_proxy(custody_args=["--keyholder-socket", path])
    assert_confined(proxy.daemon.pid)
    assert_confined(holder.pid)
    assert ask(proxy) == 200
    assert holder.stop() == 0
    assert not path.exists()
    holder = Daemon(argv, tmp_path / "holder.log", env=token.env)
    proxy.wait_ready()
    assert ask(proxy) == 200
    assert "sandbox (proxy; network, Unix sockets)" in proxy.log()
    holder.stop()


def test_kernel_without_landlock(start_proxy):
    """It goes on, and says what that means where one user runs both."""
    proxy = start_proxy(wrapper=[sys.executable, "-c", OLD_KERNEL])
    assert ask(proxy) == 200
    log = proxy.log()
    assert "this kernel has no Landlock" in log and "one user runs proxy and keyholder" in log
    assert_confined(proxy.processes()["proxy"])


def test_token_network_is_handed_on(start_proxy):
    proxy = start_proxy("--token-network", "127.0.0.1:12345")
    assert "sandbox (SoftHSM; network by --token-network)" in proxy.log()


def test_token_network_is_judged(command):
    run = command("check", "--token-network", "nonsense", with_token=True)
    assert run.returncode != 0 and "HOST:PORT" in run.stdout + run.stderr
    assert "sandbox (SoftHSM" in command("check", "--json", with_token=True).stderr
