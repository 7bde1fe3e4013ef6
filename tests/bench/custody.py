"""Parts strict, softhsm, tokens, roundtrip and rotation: what the keyholder and its token make of a fresh server key in every chunk."""

import time

from rig import Load, cpu_seconds, middle, request_file, spread, streamed, table
from speed import CHAT, CHUNK_BYTES, PLAIN, prompt

ENDLESS = 10000000  # the simulator takes no more


def warm(proxy, model="sim-near"):
    """The session is open, and the simulator has made its pool of keys for it."""
    if proxy.post(streamed(prompt(1), model), timeout=120)[0] != 200:
        raise RuntimeError("the proxy does not answer")


def steady(rig, proxy, streams, seconds, delay_ms=0, settle=1):
    """(chunks a second, slowest ÷ fastest stream) of endless answers, without their beginning."""
    request = request_file(rig.dir, "endless", proxy.port, CHAT, streamed(prompt(ENDLESS, delay_ms)))
    load = Load(proxy.port, [request], streams)
    try:
        time.sleep(settle)
        name = "e2ee_proxy_fields_opened_total"
        load.count_from_now()
        first, begin = proxy.metric(name), time.monotonic()
        time.sleep(seconds)
        rate = (proxy.metric(name) - first) / (time.monotonic() - begin)
        if load.process.poll() is not None:
            raise RuntimeError(f"the streams ended: {load.process.communicate()[0][:200]}")
        each = load.end(at_once=True)["streams"]
        return rate, min(each) / max(each)
    finally:
        load.kill()


def mock_rates(rig, derive_ms, stream_counts, seconds):
    """[(streams, own rate, rate, fairness)] of a mock token with 4 sessions; the own rate is measured beside each run."""
    token = rig.mock(derive_ms)
    sim = rig.sim("--key", "field", "--pool", "8192")
    proxy = rig.proxy(sim, token)
    warm(proxy)
    found = []
    for streams in stream_counts:
        runs = []
        for _ in range(rig.runs):
            own = rig.derive_loop(token, 4, seconds)["rate"]
            rate, fair = steady(rig, proxy, streams, max(seconds, 5 * streams * derive_ms / 4000), settle=1 + 8 * streams * derive_ms / 4000)
            runs.append((own, rate, fair))
            rig.log(f"mock {derive_ms} ms, {streams} streams: own {own:.1f}/s, proxy {rate:.1f}/s, fairness {fair:.2f}")
        found.append((streams, runs))
    rig.stop_all()
    return found


def rate_rows(derive_ms, found):
    rows = []
    for streams, runs in found:
        ratios = [rate / own for own, rate, _ in runs]
        fair = [f for _, _, f in runs]
        # One stream asks for one key at a time only when its chunks come one at a time.
        rows.append([f"{derive_ms} ms", streams, spread([own for own, _, _ in runs], "{:.1f}"),
                     spread([rate for _, rate, _ in runs], "{:.1f}"), spread(ratios), spread(fair),
                     ("met" if middle(ratios) >= 0.95 else "**missed**") +
                     ("" if streams == 1 or middle(fair) >= 0.8 else ", **unfair**")])
    return rows


HEAD = ["token", "streams", "token's own derives/s (4 sessions)", "chunks/s through the proxy", "ratio",
        "slowest ÷ fastest stream", "goals 0.95 and 0.8"]


def strict(rig):
    """Strict custody with a mock token of 5 ms and 4 sessions."""
    rows = rate_rows(5, mock_rates(rig, 5, (8, 64), 1 if rig.quick else 8))
    table("A fresh server key in every chunk, mock token", HEAD, rows)


def tokens(rig):
    """The same with slower tokens."""
    rows = []
    for derive_ms in (5, 20, 100):
        rows += rate_rows(derive_ms, mock_rates(rig, derive_ms, (1, 8, 64), 2 if rig.quick else 10))
    table("Slow tokens, a fresh server key in every chunk", HEAD, rows)


def softhsm(rig):
    """SoftHSM with one session beside a loop of one thread."""
    token = rig.softhsm()
    sim = rig.sim("--key", "field", "--pool", "8192")
    keyholder = rig.keyholder(token, "--sessions", "1")
    proxy = rig.proxy(sim, token, custody_args=["--keyholder-socket", keyholder.path], custody_pids=[keyholder.pid])
    warm(proxy)
    seconds = 1 if rig.quick else 6
    own, ours = [], []
    for _ in range(rig.runs):
        own.append(rig.derive_loop(token, 1, seconds))
        request = request_file(rig.dir, "endless", proxy.port, CHAT, streamed(prompt(ENDLESS)))
        load = Load(proxy.port, [request], 8)
        try:
            time.sleep(1)
            cpu, first, begin = cpu_seconds([keyholder.pid]), proxy.metric("e2ee_proxy_fields_opened_total"), time.monotonic()
            time.sleep(seconds)
            count = proxy.metric("e2ee_proxy_fields_opened_total") - first
            ours.append({"rate": count / (time.monotonic() - begin),
                         "us": (cpu_seconds([keyholder.pid]) - cpu) / count * 1e6})
            load.end(at_once=True)
        finally:
            load.kill()
        rig.log(f"softhsm: loop {own[-1]['rate']:.0f}/s {own[-1]['us']:.1f} us, keyholder {ours[-1]['rate']:.0f}/s "
                f"{ours[-1]['us']:.1f} us")
    rates = [a["rate"] / b["rate"] for a, b in zip(ours, own)]
    cpus = [a["us"] / b["us"] for a, b in zip(ours, own)]
    table("A fresh server key in every chunk, SoftHSM with one session, 8 streams",
          ["", "loop of one thread", "proxy and keyholder", "ratio", "goal", ""],
          [["derives a second", spread([b["rate"] for b in own], "{:.0f}"), spread([a["rate"] for a in ours], "{:.0f}"),
            spread(rates, "{:.3f}"), "at least 0.95", "met" if middle(rates) >= 0.95 else "**missed**"],
           ["CPU per derive, µs (keyholder)", spread([b["us"] for b in own], "{:.1f}"),
            spread([a["us"] for a in ours], "{:.1f}"), spread(cpus, "{:.3f}"), "at most 1.05",
            "met" if middle(cpus) <= 1.05 else "**missed**"]])


def roundtrip(rig):
    """The keyholder's round trip without the token's work: a mock token that takes no time of its own."""
    token = rig.mock(0)
    keyholder = rig.keyholder(token, "--sessions", "1")  # the mock has one lock: threads that wait for it are not the keyholder's
    count, seconds = (2000, 0.5) if rig.quick else (60000, 5)
    rows = []
    for in_flight in (1, 32):
        runs = []
        for _ in range(rig.runs):
            work = rig.derive_loop(token, 1, seconds)
            got = rig.roundtrips(keyholder, count, in_flight)
            runs.append((got, work))
            rig.log(f"roundtrip, {in_flight} in flight: {got}, the token's work {work['us']:.1f} us")
        mean = [got["cpu_mean_us"] - work["us"] for got, work in runs]
        alone = in_flight == 1
        cpu = [[got[f"cpu_{q}_us"] - work["us"] for got, work in runs] for q in ("p50", "p99")]
        time_us = [[got[f"time_{q}_us"] - work["p50_us"] for got, work in runs] for q in ("p50", "p99")]
        rows.append([in_flight, spread([work["us"] for _, work in runs], "{:.1f}"), spread(mean, "{:.1f}"),
                     *([spread(values, "{:.1f}") for values in (*cpu, *time_us)] if alone else ["", "", "", ""]),
                     "met" if middle(mean) <= 15 else "**missed**"])
    table("The keyholder's round trip without the token's work, µs",
          ["in flight", "token's work (taken off)", "CPU, mean", "CPU, median", "CPU, p99", "time, median", "time, p99",
           "goal: CPU at most 15"], rows)


def session(rig):
    """CPU of a chunk with session custody, a fresh server key in every chunk."""
    streams, text = 16, prompt(1000 if rig.quick else 4000)
    sim = rig.sim("--key", "field", "--pool", "8192")
    nginx = rig.nginx(sim)
    proxy = rig.proxy(sim, rig.softhsm(), "--custody", "session")
    sealed = request_file(rig.dir, "sealed", proxy.port, CHAT, streamed(text))
    plain = request_file(rig.dir, "plain", nginx.ports[False], PLAIN, streamed(text))
    rig.run(proxy.port, [sealed], streams, proxy.pids, cpu=0.2)
    floors, ours = [], []
    for _ in range(rig.runs):
        software = rig.software_loop(CHUNK_BYTES, 0.5 if rig.quick else 3)
        passed = rig.run(nginx.ports[False], [plain], streams, nginx.pids)["us"]
        ours.append(rig.run(proxy.port, [sealed], streams, proxy.pids)["us"])
        floors.append((software, passed))
        rig.log(f"session: software {software:.1f} us, nginx {passed:.1f} us, proxy and keyholder {ours[-1]:.1f} us of CPU")
    ratios = [a / sum(b) for a, b in zip(ours, floors)]
    table("CPU per streamed chunk, session custody, a fresh server key in every chunk",
          ["ECDH, HKDF, AES-GCM in a loop, µs", "nginx, µs", "proxy and keyholder, µs", "ratio to the sum", "goal 1.3"],
          [[spread([b[0] for b in floors]), spread([b[1] for b in floors]), spread(ours), spread(ratios),
            "met" if middle(ratios) <= 1.3 else "**missed**"]])


def rotation_moments(proxy, load, wanted, limit_s):
    """Times at which the rotation counter was seen to have grown."""
    moments, seen, end = [], proxy.metric("e2ee_proxy_rotations_total"), time.monotonic() + limit_s
    while len(moments) < wanted and time.monotonic() < end and load.process.poll() is None:
        time.sleep(0.05)
        now = proxy.metric("e2ee_proxy_rotations_total")
        if now > seen:
            moments.append(time.monotonic())
            seen = now
    return moments


def rotation(rig):
    """Longest gaps between chunks around rotations, key generation of 300 ms."""
    models = ["sim-near", "sim-near-py", "sim-near-ca", "e2ee-gemma-3-27b-p", "sim-phala", "sim-aci"]
    wanted = 2 if rig.quick else 20
    sim = rig.sim("--key", "field", "--pool", "8192")
    proxy = rig.proxy(sim, rig.mock(2, generate_ms=300), "--rotate", "60")
    files = []
    for model in models:
        warm(proxy, model)
        files.append(request_file(rig.dir, f"rotation-{len(files)}", proxy.port, CHAT, streamed(prompt(250, 20), model)))
        time.sleep(1 if rig.quick else 8)  # so that they do not all rotate at one moment
    load = Load(proxy.port, files, 24)
    try:
        moments = rotation_moments(proxy, load, wanted, 120 if rig.quick else 400)
        time.sleep(1.5)
        result = load.end()
    finally:
        load.kill()
    if len(moments) < wanted:
        raise RuntimeError(f"only {len(moments)} of {wanted} rotations came")
    near, far = [], {}
    offsets = [m - result["begin"] for m in moments]
    for offset in offsets:
        near.append(max(result["gaps_ms"][max(0, int(offset * 10) - 10):int(offset * 10) + 11], default=0))
    for i, gap in enumerate(result["gaps_ms"][10:], 10):
        if all(abs(i / 10 - offset) > 1.2 for offset in offsets):
            far[i // 21] = max(far.get(i // 21, 0), gap)
    far = list(far.values())
    ratio = max(near) / max(far)
    typical = middle(near) / middle(far)
    rig.log(f"rotation: near {max(near):.1f} ms, elsewhere {max(far):.1f} ms")
    table(f"Longest gap between chunks (one each 20 ms, 24 streams), {len(moments)} rotations, ms",
          ["", f"within 1 s of a rotation ({len(near)} windows)", f"elsewhere ({len(far)} windows)", "ratio", "goal", ""],
          [["longest of all", f"{max(near):.1f}", f"{max(far):.1f}", f"{ratio:.2f}", "at most 1.5",
            "met" if ratio <= 1.5 else "**missed**"],
           ["median of the windows' longest", f"{middle(near):.1f}", f"{middle(far):.1f}", f"{typical:.2f}", "", ""]])
    rig.stop_all()


PARTS = {"strict": strict, "session": session, "softhsm": softhsm, "roundtrip": roundtrip, "rotation": rotation, "tokens": tokens}
