"""A machine whose wall clock is set while the proxy runs."""

import json
import shutil
import struct

import pytest

from conftest import check_reports
from harness.stack import ACI, NEAR, PHALA, Proxy, chat_body

DAY = 86400


@pytest.fixture
def clock(tmp_path):
    """clock(seconds) sets the clock of processes whose HOME is this test's."""
    path = tmp_path / "clock-offset"

    def set_clock(offset):
        # Written in place: the processes have the file mapped.
        with open(path, "r+b" if path.exists() else "wb") as out:
            out.write(struct.pack("=q", offset))

    set_clock(0)
    return set_clock


@pytest.fixture
def clocked(build, token, sim, tmp_path, clock):
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(build / "tests" / "e2e" / "clock" / "e2ee-hsm-proxy", folder)
    shutil.copy(build / "e2ee-supervisor", folder)
    (folder / "e2ee-keyholder").symlink_to(build / "e2ee-keyholder")
    proxy = Proxy(folder, tmp_path / "proxy", token, sim.url, env={"HOME": str(tmp_path)})
    yield proxy
    proxy.stop()
    check_reports(proxy)


def answer(proxy, model=NEAR):
    status, _, body = proxy.post(chat_body("a secret", model))
    return status, "" if status == 200 else json.loads(body)["error"]["message"]


def ages(proxy):
    """Every age that /health and /metrics tell."""
    health = json.loads(proxy.health()[1])
    told = [x["age_seconds"] for x in health["sessions"] + health["attestations"]]
    return told + [v for k, v in proxy.metrics().items() if "_age_seconds" in k]


def test_clock_set_by_a_day(clocked, clock, sim):
    """Sessions and ages do not follow the clock; what is judged anew is judged by it."""
    assert answer(clocked)[0] == 200
    for offset in (DAY, -DAY, DAY, 0):
        clock(offset)
        assert answer(clocked)[0] == 200
        told = ages(clocked)
        assert len(told) == 4 and all(0 <= age < 120 for age in told), (offset, told)
    assert clocked.metrics()["e2ee_proxy_handshakes_total"] == 1
    clock(DAY)
    assert answer(clocked, PHALA)[0] == 200  # the cached collateral still holds tomorrow
    clock(31 * DAY)
    status, message = answer(clocked, ACI)
    assert status == 502 and "root.crl" in message and "ended" in message, message
    left = [v for k, v in clocked.metrics().items() if "collateral_seconds_left" in k]
    assert left and all(v < 0 for v in left), left
    assert answer(clocked)[0] == 200  # by its life, which is no date
    assert all(0 <= age < 120 for age in ages(clocked))
    assert sim.stats()["chat_requests"] == 7
