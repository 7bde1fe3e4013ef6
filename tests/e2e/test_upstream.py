"""The way to the upstream: kept connections, a proxy of the environment's, and what ends a transfer."""

import socket
import threading

import pytest

from harness import clients
from harness.process import wait_until
from harness.stack import NEAR, chat_body, read_events, text_of

pytestmark = pytest.mark.alone


class Tunnel:
    """A proxy that takes CONNECT alone, and connects every name to one port of this machine."""

    def __init__(self, port):
        self.port_behind = port
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        self.asked.append(head.split(b"\r\n")[0].decode())
        behind = socket.create_connection(("127.0.0.1", self.port_behind))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self.copy, args=(behind, client), daemon=True).start()
        self.copy(client, behind)

    @staticmethod
    def copy(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def start_behind_tunnel(start_sim, start_proxy, tmp_path):
    """start(**environment): (tunnel, proxy) with an upstream whose name only the tunnel knows."""
    tunnels = []

    def start(**environment):
        certificate = tmp_path / "cert.pem"
        other = start_sim("--tls-cert-out", str(certificate), "--tls-kind", "wrong-name")
        port = int(other.daemon.expect_log(r"https://127\.0\.0\.1:(\d+)").group(1))
        tunnel = Tunnel(port)
        tunnels.append(tunnel)
        environment = {name: value.format(tunnel=tunnel.url) for name, value in environment.items()}
        proxy = start_proxy("--ca-file", str(certificate), upstream="https://elsewhere.invalid/api/v1", trust=other,
                            env=environment)
        return tunnel, proxy

    yield start
    for tunnel in tunnels:
        tunnel.listener.close()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment(start_behind_tunnel, name):
    """Models, attestation and chat all go through it: the process that asks the upstream has its variables."""
    tunnel, proxy = start_behind_tunnel(**{name: "{tunnel}", "NO_PROXY": "other.invalid"})
    status, _, body = proxy.post(chat_body("through a tunnel", stream=True))
    assert status == 200, body
    assert text_of(read_events(body)) == "You said: through a tunnel"
    assert tunnel.asked and set(tunnel.asked) == {"CONNECT elsewhere.invalid:443 HTTP/1.1"}


@pytest.mark.parametrize("name, value", [("NO_PROXY", "elsewhere.invalid"), ("no_proxy", ".invalid"), ("NO_PROXY", "*")])
def test_no_proxy_of_the_environment(start_behind_tunnel, name, value):
    tunnel, proxy = start_behind_tunnel(HTTPS_PROXY="{tunnel}", **{name: value})
    status, _, _ = proxy.post(chat_body("straight"))
    assert status == 502  # the name exists nowhere
    assert tunnel.asked == []


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_connections_are_reused(start_proxy, sim, stream):
    """Answers that take their time, one after another, share one connection; the first may need to open it."""
    proxy = start_proxy("--workers", "1")
    clients.openai_python(proxy.url, "warm", stream)
    before = sim.stats()
    for i in range(10):
        answer = clients.openai_python(proxy.url, f"sim:chunks=6,delay_ms=30 number {i}", stream)
        assert answer.finish == "stop" and len(answer.text) == 6 * 32
    after = sim.stats()
    assert after["chat_requests"] - before["chat_requests"] == 10
    # Each look at the counters is a connection too.
    assert after["connections"] - before["connections"] - 1 <= 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_stop_sequence_ends_the_transfer(proxy, sim, stream):
    """What the upstream would still send, ten seconds of it, is neither paid for nor waited for."""
    wait_until("no open transfer", lambda: sim.stats()["transfers_open"] == 0)
    before = sim.stats()
    reply = "one STOP " + "two " * 1000
    answer = clients.openai_python(proxy.url, f"sim:piece=4,delay_ms=10 sim:reply={reply}", stream, stop=["STOP"])
    assert (answer.text, answer.finish) == ("one ", "stop")
    wait_until("the transfer ended", lambda: sim.stats()["transfers_open"] == 0, 2.0)
    after = sim.stats()
    assert after["fields_sealed"] - before["fields_sealed"] < 300, "most of the answer was sent all the same"
    assert after["streams_done"] == before["streams_done"], "the answer was read to its end"
