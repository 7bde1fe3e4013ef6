import subprocess
from pathlib import Path

import pytest

from harness.stack import Proxy, Sim, Token


def pytest_addoption(parser):
    parser.addoption("--build-dir", required=True, help="build with the executables under test")
    parser.addoption("--node-dir", required=True, help="folder with node_modules of tests/e2e/node")


@pytest.fixture(scope="session")
def build(request):
    return Path(request.config.getoption("--build-dir")).resolve()


@pytest.fixture(scope="session")
def node_dir(request):
    return Path(request.config.getoption("--node-dir")).resolve()


@pytest.fixture(scope="session")
def sanitized(build):
    """Which sanitizer the build has: "", "address,undefined" or "thread"."""
    for line in (build / "CMakeCache.txt").read_text().split("\n"):
        if line.startswith("E2EE_SANITIZE:"):
            return line.split("=", 1)[1]
    return ""


@pytest.fixture(scope="session")
def sim_program(build):
    for path in (build / "e2ee-sim", build / "tests" / "sim" / "e2ee-sim"):
        if path.exists():
            return path
    raise AssertionError("no e2ee-sim in the build")


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    return Token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="session")
def shared_sim(sim_program, tmp_path_factory):
    sim = Sim(sim_program, tmp_path_factory.mktemp("sim"))
    yield sim
    sim.stop()


@pytest.fixture
def sim(shared_sim):
    """The simulator of the whole run, without records of other tests. No test may leave a violation behind: a right
    proxy never sends what the simulator records as one."""
    shared_sim.reset()
    yield shared_sim
    assert shared_sim.violations() == []


@pytest.fixture(scope="session")
def shared_proxy(build, token, shared_sim, tmp_path_factory):
    proxy = Proxy(build, tmp_path_factory.mktemp("proxy"), token, shared_sim.url)
    yield proxy
    status = proxy.stop()
    assert status == 0, f"serve ended with {status}:\n{proxy.log()[-3000:]}"
    check_reports(proxy)


@pytest.fixture
def proxy(shared_proxy, sim):
    """The proxy of the whole run: for tests that leave it as they found it."""
    assert shared_proxy.daemon.alive(), shared_proxy.log()[-3000:]
    return shared_proxy


@pytest.fixture
def start_proxy(build, token, sim, tmp_path):
    """start_proxy(*serve arguments, ...) starts one more proxy, ended with the test."""
    started = []

    def start(*arguments, upstream=None, use_token=None, **more):
        directory = tmp_path / f"proxy{len(started)}"
        proxy = Proxy(build, directory, use_token or token, upstream or sim.url, *arguments, **more)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        proxy.stop()
        check_reports(proxy)


@pytest.fixture
def start_sim(sim_program, tmp_path):
    """start_sim(*arguments) starts one more simulator, ended with the test."""
    started = []

    def start(*arguments):
        directory = tmp_path / f"sim{len(started)}"
        directory.mkdir()
        started.append(Sim(sim_program, directory, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def command(build, token, sim):
    """command("models", ...) runs one command of the executable against the simulator."""

    def run(name, *arguments, with_token=False, upstream=True, env=None, timeout=60):
        argv = [str(build / "e2ee-hsm-proxy"), name]
        if upstream:
            argv += ["--upstream", sim.url, "--unsafe-http-upstream", *sim.trust()]
        if with_token:
            argv += token.arguments()
        return subprocess.run([*argv, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": str(token.dir), **token.env, **(env or {})})

    return run


def check_reports(proxy):
    """A sanitizer's report fails the test, also one of a child."""
    text = proxy.log()
    for word in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer"):
        assert word not in text, text[max(0, text.find(word) - 500):][:6000]
