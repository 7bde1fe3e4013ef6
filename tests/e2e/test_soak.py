"""Long runs of scripts/test_slow: a minute of mixed load, rotations within it, and no growth."""

import concurrent.futures
import random
import time
from pathlib import Path

import pytest

from harness.process import wait_until
from harness.stack import MODELS, chat_body, read_events, text_of

pytestmark = pytest.mark.soak

SECONDS = 60


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def one_request(proxy, rng, number):
    kind = rng.choice(["stream", "whole", "fault", "long", "wrong", "cancel"])
    model = rng.choice(MODELS)
    prompt = f"number {number} " + "x" * rng.randrange(500)
    if kind == "stream":
        status, _, body = proxy.post(chat_body(prompt, model, stream=True))
        assert status == 200 and text_of(read_events(body)) == f"You said: {prompt}"
    elif kind == "whole":
        status, _, body = proxy.post(chat_body(prompt, model))
        assert status == 200 and prompt.encode() in body
    elif kind == "fault":
        fault = rng.choice(["bad-tag", "plaintext-content", "cut-hard", "error-overloaded", "http-500"])
        status, _, body = proxy.post(chat_body(f"sim:fault={fault},at=1 {prompt}", model, stream=True))
        assert status >= 400 or "error" in read_events(body)[-1]
    elif kind == "long":
        status, _, body = proxy.post(chat_body("sim:kind=long,length=100000,piece=400", model, stream=True), timeout=60)
        assert len(text_of(read_events(body))) >= 100000
    elif kind == "wrong":
        assert proxy.post('{"model": 1')[0] == 400
    else:
        try:
            proxy.post(chat_body("sim:chunks=500,delay_ms=20", model, stream=True), timeout=0.2)
        except OSError:
            pass
    return kind


def test_a_minute_of_everything(start_proxy, sim):
    proxy = start_proxy("--rotate", "60")
    rng = random.Random(20260823)
    for model in MODELS:
        assert proxy.post(chat_body("warm", model))[0] == 200

    def load(seconds):
        done, end = {}, time.monotonic() + seconds
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            while time.monotonic() < end:
                jobs = [pool.submit(one_request, proxy, rng, i) for i in range(40)]
                for job in jobs:
                    done[job.result()] = done.get(job.result(), 0) + 1
        return done

    load(SECONDS / 3)
    processes = proxy.processes()
    before = {role: (resident_kib(pid), open_files(pid)) for role, pid in processes.items()}
    done = load(SECONDS * 2 / 3)
    assert len(done) == 6
    wait_until("no open transfer", lambda: sim.stats()["transfers_open"] == 0, 5)
    assert proxy.processes() == processes, "a process was replaced"
    time.sleep(1)
    for role, pid in processes.items():
        assert resident_kib(pid) < before[role][0] * 1.25 + 4096, f"{role} grew from {before[role][0]} KiB"
        assert open_files(pid) < before[role][1] + 16, f"{role} leaks descriptors"
