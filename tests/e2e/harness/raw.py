"""HTTP by hand, for requests that no client library would send."""

import socket


class Reply:
    def __init__(self, data):
        self.data = data
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def __repr__(self):
        return f"<{self.line!r} {self.body[:200]!r}>"


def send(port, data, timeout=15, keep_writing=True):
    """Sends data, reads until the peer closes or timeout passes in silence."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        try:
            s.sendall(data)
        except OSError:
            if not keep_writing:
                raise
        out = b""
        while True:
            try:
                piece = s.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not piece:
                break
            out += piece
        return Reply(out)


def request(port, method="GET", path="/health", headers=None, body=b"", version="1.1", host=True):
    """One request with Connection: close. headers is a list of (name, value), sent as they are."""
    lines = [f"{method} {path} HTTP/{version}"]
    if host:
        lines.append(f"Host: 127.0.0.1:{port}")
    lines += [f"{name}: {value}" for name, value in headers or []]
    lines.append("Connection: close")
    return send(port, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
