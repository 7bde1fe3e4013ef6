"""HTTP as clients, browsers and attackers speak it."""

import json
import re
import socket
import time

import pytest

from harness import raw
from harness.process import cpu_seconds
from harness.stack import API_KEY, MODELS, NEAR, chat_body, read_events, text_of

JSON = ("Content-Type", "application/json")
QUESTION = json.dumps(chat_body("hello")).encode()


def post(proxy, headers=(), body=QUESTION, path="/v1/chat/completions", length=True, **more):
    headers = list(headers)
    if length:
        headers.append(("Content-Length", len(body)))
    return raw.request(proxy.port, "POST", path, headers, body, **more)


def error_of(reply):
    assert reply.headers["content-type"].startswith("application/json"), reply
    error = json.loads(reply.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    return error


def test_plain_post(proxy):
    assert post(proxy, [JSON]).status == 200


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_paths_with_and_without_v1(proxy, prefix):
    assert post(proxy, [JSON], path=f"{prefix}/chat/completions").status == 200
    assert raw.request(proxy.port, path=f"{prefix}/models").status == 200


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1.evil.example", "file://"])
def test_foreign_origins_are_refused(proxy, sim, origin):
    before = sim.stats()["chat_requests"]
    reply = post(proxy, [JSON, ("Origin", origin)])
    assert (reply.status, error_of(reply)["code"]) == (403, "forbidden_origin")
    assert "access-control-allow-origin" not in reply.headers
    assert sim.stats()["chat_requests"] == before


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_cross_site_fetches_are_refused(proxy, site):
    reply = post(proxy, [JSON, ("Sec-Fetch-Site", site)])
    if site == "cross-site":
        assert (reply.status, error_of(reply)["code"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost, evil.example", "[::2]",
                                  "127.0.0.1:99999"])
def test_foreign_hosts_are_refused(proxy, host):
    reply = raw.request(proxy.port, "POST", "/v1/chat/completions",
                        [("Host", host), JSON, ("Content-Length", len(QUESTION))], QUESTION, host=False)
    assert reply.status in (400, 403), reply
    error_of(reply)


def test_exactly_one_host(proxy):
    assert raw.request(proxy.port, host=False).status == 400
    assert raw.request(proxy.port, headers=[("Host", "127.0.0.1")]).status == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:5111"])
def test_loopback_hosts_pass(proxy, host):
    assert raw.request(proxy.port, headers=[("Host", host)], host=False).status == 200


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                                  "application/jsonx", ""])
def test_posts_must_be_json(proxy, kind):
    """What a form of a foreign page can send without a preflight."""
    reply = post(proxy, [] if kind is None else [("Content-Type", kind)])
    assert reply.status in (400, 403, 415), reply
    error_of(reply)


def test_local_pages_may_ask(proxy):
    origin = "http://localhost:3000"
    reply = post(proxy, [("Content-Type", "application/json; charset=utf-8"), ("Origin", origin)])
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == origin
    assert "x-e2ee-dropped" in reply.headers["access-control-expose-headers"].lower()
    assert "origin" in reply.headers["vary"].lower()


def test_preflight(proxy):
    reply = raw.request(proxy.port, "OPTIONS", "/v1/chat/completions", [
        ("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang,x-stainless-os")])
    assert reply.status in (200, 204)
    allowed = reply.headers["access-control-allow-headers"].lower()
    for name in ("authorization", "content-type", "x-stainless-lang", "x-stainless-os"):
        assert name in allowed
    foreign = raw.request(proxy.port, "OPTIONS", "/v1/chat/completions", [
        ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")])
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("data", [
    b"GET http://evil.example/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nBad Header: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n",
    b"BREW /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(200)) + b"\r\n",
], ids=["absolute-uri", "two-lengths", "length-and-chunked", "bad-name", "folded", "method", "tls", "long-header",
        "long-target", "many-headers"])
def test_malformed_requests(proxy, data):
    reply = raw.send(proxy.port, data)
    assert 400 <= reply.status < 500, reply
    error_of(reply)
    assert proxy.health()[0] == 200


def test_unknown_paths(proxy):
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/health", 405),
                                 ("DELETE", "/v1/models", 405), ("GET", "/../etc/passwd", 404)):
        reply = raw.request(proxy.port, method, path)
        assert reply.status in (status, 415 if method == "POST" else status), reply
        error_of(reply)


def test_head(proxy):
    reply = raw.request(proxy.port, "HEAD", "/v1/models")
    assert reply.status == 200 and reply.body == b"" and int(reply.headers["content-length"]) > 2


def test_keep_alive(proxy):
    """Many requests, errors among them, on one connection."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as s:
        stream = s.makefile("rb")
        for i in range(10):
            path = "/v1/models" if i % 2 else "/nothing"
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            status = stream.readline().split()[1]
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert len(stream.read(length)) == length
            assert status == (b"200" if i % 2 else b"404")


def test_pipelined_requests_are_answered_in_order(proxy):
    data = b"".join(b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n" % (p, c) for p, c in (
        (b"health", b""), (b"nothing", b""), (b"v1/models", b"Connection: close\r\n")))
    reply = raw.send(proxy.port, data)
    assert re.findall(rb"HTTP/1\.1 (\d+)", reply.data) == [b"200", b"404", b"200"]


def test_continue(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                  b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(QUESTION))
        assert s.recv(4096).startswith(b"HTTP/1.1 100")
        s.sendall(QUESTION)
        out = b""
        while piece := s.recv(65536):
            out += piece
        assert out.startswith(b"HTTP/1.1 200")


def test_http_1_0(proxy):
    body = json.dumps(chat_body("hello", stream=True)).encode()
    reply = raw.send(proxy.port, b"POST /v1/chat/completions HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: "
                                 b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert reply.status == 200 and "transfer-encoding" not in reply.headers
    assert text_of(read_events(reply.body)) == "You said: hello"


def test_chunked_request(proxy):
    half = len(QUESTION) // 2
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (QUESTION[:half], QUESTION[half:])) + b"0\r\n\r\n"
    assert post(proxy, [JSON, ("Transfer-Encoding", "chunked")], body, length=False).status == 200


def test_too_large(proxy, start_proxy):
    """Judged by the announced length, before the body is read."""
    reply = raw.send(proxy.port, b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/"
                                 b"json\r\nConnection: close\r\nContent-Length: 10485761\r\n\r\n")
    assert (reply.status, error_of(reply)["code"]) == (413, "request_too_large")
    small = start_proxy("--max-body", "2000")
    status, _, body = small.post(chat_body("x" * 3000))
    assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("body", [
    b"", b"{", b"null", b"[]", b'"text"', b"{}", b'{"model":"x"}', b'{"messages":[]}', b"\xff\xfe{}",
    b'{"model":"%s","messages":[{"role":"user","content":"\\ud800"}]}' % NEAR.encode(),
    b'{"model":"%s","messages":[{"role":"user","content":"\xc3\x28"}]}' % NEAR.encode(),
    b'{"model":"%s","model":"other","messages":[]}' % NEAR.encode(),
    b'{"model":"%s","mod\\u0065l":"other","messages":[{"role":"user","content":"a"}]}' % NEAR.encode(),
    b'{"model":"%s","messages":[{"role":"user","content":"a"}]} trailing' % NEAR.encode(),
    b'{"model":"%s","messages":{"role":"user"}}' % NEAR.encode(),
    b'{"model":"%s","messages":[{"role":"user","content":5}]}' % NEAR.encode(),
    b'{"model":"%s","messages":[{"content":"no role"}]}' % NEAR.encode(),
    b"[" * 9_000_000, b'{"a":' * 1_000_000, b'{"model":"%s","messages":[' % NEAR.encode() + b"[" * 100_000,
], ids=lambda b: repr(b[:24]))
def test_hostile_bodies(proxy, sim, sanitized, body):
    """Refused in bounded time: the proxy's own, which other work on the machine does not lengthen."""
    pid = proxy.processes()["proxy"]
    before, used = sim.stats()["chat_requests"], cpu_seconds(pid)
    status, _, answer = proxy.post(body)
    used = cpu_seconds(pid) - used
    assert status == 400, (status, answer[:300])
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"
    assert used < (10 if sanitized else 1)
    assert sim.stats()["chat_requests"] == before


@pytest.mark.parametrize("field, value", [
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
    ("functions", [{"name": "f"}]), ("function_call", {"name": "f"}),
    ("response_format", {"type": "json_object"}), ("logprobs", True), ("audio", {"voice": "x", "format": "wav"}),
    ("venice_parameters", {"enable_web_search": "on"}), ("venice_parameters", {"character_slug": "alan"}),
    ("venice_parameters", {"enable_e2ee": False}),
])
def test_features_that_cannot_be_carried(proxy, sim, field, value):
    before = sim.stats()["chat_requests"]
    status, _, body = proxy.post(chat_body("hello", **{field: value}))
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "unsupported_feature")
    assert field.split(".")[0] in f"{error['message']} {error['param']}"
    assert sim.stats()["chat_requests"] == before


@pytest.mark.parametrize("field, value", [
    ("tools", []), ("tools", None), ("response_format", {"type": "text"}), ("logprobs", False), ("stop", None),
    ("user", None), ("n", 1), ("stream_options", None), ("function_call", None), ("audio", None),
    ("venice_parameters", {}), ("tool_choice", "none"),
])
def test_empty_values_count_as_absent(proxy, field, value):
    status, _, body = proxy.post(chat_body("hello", **{field: value}))
    assert status == 200, body[:300]


def test_unknown_models_send_nothing(proxy, sim):
    for model in ("gpt-4o", "e2ee-prefix-only", "../../etc", "a" * 3000, "", "sim-near/../x"):
        before = sim.stats()
        status, _, body = proxy.post(chat_body("hello", model=model))
        assert status in (400, 404), (model[:20], status)
        if status == 404:
            assert json.loads(body)["error"]["code"] == "model_not_found"
        after = sim.stats()
        assert after["chat_requests"] == before["chat_requests"]
        assert after["attestation_requests"] == before["attestation_requests"]


def test_models(proxy):
    status, _, body = proxy.request("GET", "/v1/models")
    answer = json.loads(body)
    assert status == 200 and answer["object"] == "list"
    ids = [m["id"] for m in answer["data"]]
    assert set(MODELS) <= set(ids)
    assert "e2ee-prefix-only" not in ids, "a model without both flags is listed"
    assert all(m["object"] == "model" and isinstance(m["created"], int) and m["owned_by"] for m in answer["data"])
    status, _, body = proxy.request("GET", f"/v1/models/{NEAR}")
    assert status == 200 and json.loads(body)["id"] == NEAR
    status, _, body = proxy.request("GET", "/v1/models/gpt-4o")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.alone
def test_client_token(start_proxy, sim, tmp_path):
    secret = tmp_path / "client-token"
    secret.write_text("client-canary-77b1c6\n")
    proxy = start_proxy("--client-token-file", str(secret))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "client-canary-77b1c6"},
                    {"Authorization": "Bearer client-canary-77b1c6x"}, {"Authorization": "Basic client-canary-77b1c6"}):
        status, _, body = proxy.post(chat_body("hello"), headers)
        assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert proxy.request("GET", "/v1/models")[0] == 401
    status, _, _ = proxy.post(chat_body("hello"), {"Authorization": "Bearer client-canary-77b1c6"})
    assert status == 200
    assert b"client-canary" not in sim.requests_raw()
    assert "client-canary" not in proxy.log()
    assert proxy.health()[0] == 200


@pytest.mark.alone
def test_allowed_names_and_origins(start_proxy):
    proxy = start_proxy("--allow-host", "host.docker.internal", "--allow-origin", "app://obsidian.md")
    assert raw.request(proxy.port, headers=[("Host", f"host.docker.internal:{proxy.port}")], host=False).status == 200
    assert raw.request(proxy.port, headers=[("Host", "other.internal")], host=False).status in (400, 403)
    reply = post(proxy, [JSON, ("Origin", "app://obsidian.md")])
    assert reply.status == 200 and reply.headers["access-control-allow-origin"] == "app://obsidian.md"


def test_api_key_goes_upstream_and_nowhere_else(proxy, sim):
    status, headers, body = proxy.post(chat_body("hello"))
    assert status == 200
    assert API_KEY.encode() in sim.requests_raw()
    assert API_KEY.encode() not in body and API_KEY not in str(headers) and API_KEY not in proxy.log()


def test_slow_headers_are_cut(proxy):
    """10 seconds for the whole header, however it trickles; a live stream is not disturbed."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        out = b""
        try:
            for i in range(30):
                s.sendall(b"X-%d: y\r\n" % i)
                s.settimeout(0.5)
                try:
                    out += s.recv(4096)
                    break
                except TimeoutError:
                    pass
        except OSError:
            pass
    assert 8 < time.monotonic() - began < 13
    assert out == b"" or out.startswith(b"HTTP/1.1 408"), out[:100]
