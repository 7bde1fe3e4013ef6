"""Parts chunk, ttft and memory: the proxy beside nginx, beside no proxy, beside a bare libcurl client."""

import subprocess
import time

from rig import (TOOLS, Load, last_sealed_request, middle, quantile, request_file, resident, spread, streamed,
                 table, wait_until)

PLAIN = "/api/v1/plain/chat/completions"
CHAT = "/v1/chat/completions"
CHUNK_BYTES = 150  # of plaintext: an event of about 700 bytes


def prompt(chunks, delay_ms=0, size=CHUNK_BYTES):
    return f"sim:chunks={chunks},size={size}" + (f",delay_ms={delay_ms}" if delay_ms else "")


def chunk(rig):
    """CPU per streamed chunk, one server key for the whole response."""
    rows = []
    sim = rig.sim("--key", "response")
    nginx = rig.nginx(sim)
    token = rig.softhsm()
    shapes = {"bursts": (prompt(2000 if rig.quick else 10000), 16),
              "one each 20 ms": (prompt(100 if rig.quick else 1000, 20), 256)}
    for tls in (False, True):
        proxy = rig.proxy(sim, token, tls=tls)
        for name, (text, streams) in shapes.items():
            sealed = request_file(rig.dir, "sealed", proxy.port, CHAT, streamed(text))
            plain = request_file(rig.dir, "plain", nginx.ports[tls], PLAIN, streamed(text))
            rig.run(proxy.port, [sealed], streams, proxy.pids, cpu=0.2)
            ours, theirs = [], []
            for _ in range(rig.runs):
                theirs.append(rig.run(nginx.ports[tls], [plain], streams, nginx.pids))
                ours.append(rig.run(proxy.port, [sealed], streams, proxy.pids))
                rig.log(f"chunk {'https' if tls else 'http'} {name}: nginx {theirs[-1]['us']:.2f} us, proxy "
                        f"{ours[-1]['us']:.2f} us of CPU")
            ratios = [a["us"] / b["us"] for a, b in zip(ours, theirs)]
            rows.append(["https" if tls else "http", name, spread([b["us"] for b in theirs]),
                         spread([a["us"] for a in ours]), spread(ratios), "2.0",
                         "met" if middle(ratios) <= 2.0 else "**missed**"])
        proxy.stop()
    table("CPU per streamed chunk, one server key for the response",
          ["upstream", "chunks", "nginx, µs", "proxy and keyholder, µs", "ratio", "goal", ""], rows)


def ttft(rig):
    """Added time to the first token on a warm session."""
    count = 50 if rig.quick else 1000
    rows = []
    for tls in (False, True):
        sim = rig.sim("--key", "response", "--record-bytes", "1000000")
        token = rig.softhsm()
        proxy = rig.proxy(sim, token, tls=tls)
        body = streamed(prompt(3))
        proxied = request_file(rig.dir, "proxied", proxy.port, CHAT, body)
        assert proxy.post(body)[0] == 200
        direct = rig.dir / "direct.request"
        direct.write_bytes(last_sealed_request(sim))
        loop = rig.derive_loop(token, 1, 1 if rig.quick else 5)
        got = rig.pairs(proxy.port, proxied, sim.port, direct, 2, count)
        added = [a - b for a, b in zip(got["a"], got["b"])]
        p50, p99 = quantile(added, 0.5), quantile(added, 0.99)
        rest50, rest99 = p50 - loop["p50_us"] / 1000, p99 - loop["p99_us"] / 1000
        rig.log(f"ttft {'https' if tls else 'http'}: added p50 {p50:.3f} ms, p99 {p99:.3f} ms, derive p50 "
                f"{loop['p50_us']:.0f} us")
        rows.append(["https" if tls else "http",
                     f"{quantile(got['b'], 0.5):.2f} / {quantile(got['b'], 0.99):.2f}",
                     f"{quantile(got['a'], 0.5):.2f} / {quantile(got['a'], 0.99):.2f}", f"{p50:.2f} / {p99:.2f}",
                     f"{loop['p50_us'] / 1000:.2f} / {loop['p99_us'] / 1000:.2f}", f"{rest50:.2f} / {rest99:.2f}",
                     "met" if rest99 < 1.0 else "**missed**"])
        rig.stop_all()
    table(f"Added time to the first token, {count} pairs, p50 / p99 in ms",
          ["upstream", "the same sealed request direct (http)", "through the proxy", "added", "SoftHSM's own derive",
           "added beside the derive", "goal p99 < 1"], rows)


def curl_memory(rig, sim, tls, streams):
    """Resident bytes for each stream of the bare client."""
    url = f"https://127.0.0.1:{sim.tls_port}{PLAIN}" if tls else f"http://127.0.0.1:{sim.port}{PLAIN}"
    body = rig.dir / "curl.body"
    request = request_file(rig.dir, "curl", sim.port, PLAIN, streamed(prompt(1000, 1000)))
    body.write_bytes(request.read_bytes().split(b"\r\n\r\n", 1)[1])
    argv = [TOOLS / "bench-curl", url, body, str(streams), *([sim.cert] if tls else [])]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        before = resident([process.pid])[0]
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "open\n"
        time.sleep(2)
        return (resident([process.pid])[0] - before) / streams
    finally:
        process.kill()
        process.wait()


def memory(rig):
    """Resident memory idle and for each open stream."""
    streams = 100 if rig.quick else 1000
    idle_rows, rows = [], []
    for tls, goal in ((False, 40e3), (True, 120e3)):
        sim = rig.sim("--key", "response")
        proxy = rig.proxy(sim, rig.softhsm(), tls=tls)
        assert proxy.post(streamed("hello"))[0] == 200
        rss, pss = resident(proxy.pids)
        if not tls:
            one = [f"{role} {resident([pid])[0] / 1e6:.1f}" for role, pid in proxy.processes().items()]
            idle_rows.append([f"{rss / 1e6:.1f} ({', '.join(one)})", f"{pss / 1e6:.1f}", "25",
                              "met" if rss < 25e6 else "**missed**"])
        # What a session keeps of 65,536 fields belongs to it, not to its streams.
        rig.run(proxy.port, [request_file(rig.dir, "warm", proxy.port, CHAT, streamed(prompt(2000)))], 8, proxy.pids,
                cpu=0.3 if rig.quick else 2)
        before = resident(proxy.pids)[0]
        load = Load(proxy.port, [request_file(rig.dir, "held", proxy.port, CHAT, streamed(prompt(1000, 1000)))], streams)
        try:
            wait_until("all streams open", lambda: proxy.metric("e2ee_proxy_streams_open") >= streams, 60, 0.2)
            time.sleep(1 if rig.quick else 10)
            each = (resident(proxy.pids)[0] - before) / streams
        finally:
            load.kill()
        rig.stop_all()
        bare_sim = rig.sim()
        bare = curl_memory(rig, bare_sim, tls, streams)
        rig.stop_all()
        rig.log(f"memory {'https' if tls else 'http'}: {each / 1e3:.1f} kB a stream, bare libcurl {bare / 1e3:.1f} kB")
        rows.append(["https" if tls else "http", f"{bare / 1e3:.1f}", f"{each / 1e3:.1f}", f"{goal / 1e3:.0f}",
                     "met" if each < goal else "**missed**"])
    table("Resident memory idle, after one answer, MB", ["all processes, sum", "shared pages counted once", "goal", ""],
          idle_rows)
    table(f"Resident memory of an open stream, {streams} streams, kB",
          ["upstream", "bare libcurl client", "proxy and keyholder", "goal", ""], rows)


PARTS = {"chunk": chunk, "ttft": ttft, "memory": memory}
