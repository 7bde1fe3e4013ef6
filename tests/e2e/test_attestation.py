"""Evidence up to the root: what `serve` and `attest` refuse, in which words, and what they remember."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from harness.process import wait_until
from harness.stack import ACI, MODELS, NEAR, PHALA, chat_body


def refusal(proxy, model=NEAR):
    """The message of a refused completion; "" when it was answered."""
    status, headers, body = proxy.post(chat_body("a secret", model))
    if status == 200:
        return ""
    error = json.loads(body)["error"]
    assert (status, error["code"], headers["x-should-retry"]) == (502, "attestation_failed", "false"), error
    return error["message"]


def report_of(run):
    return json.loads(run.stdout)


@pytest.fixture
def attest(command, tmp_path):
    """attest(*arguments) with a state folder of this test."""

    def run(*arguments, model=NEAR):
        return command("attest", model, "--json", "--state-dir", tmp_path / "state", *arguments)

    return run


def test_attest_command(attest):
    for model in MODELS:
        run = attest(model=model)
        report = report_of(run)
        assert (run.returncode, report["verdict"], report["reason"]) == (0, "verified", None), report
        assert report["tcb_status"] == "UpToDate" and report["level"] in ("L1", "L2", "L3")
        results = {c["id"]: c["result"] for c in report["checks"]}
        for name in ("pck.chain", "tcb_info.signature", "qe_identity", "quote.signature", "tcb.status", "binding",
                     "td.debug", "guest.event-log", "pins"):
            assert results[name] == "pass", (name, results)


# What the machine or Intel's service says, and the words of the refusal.
COLLATERAL = {
    "revoked": ["pck.chain", "revoked by Intel"],
    "signer-revoked": ["tcb_info.signature", "revoked by Intel"],
    "expired": ["root.crl", "ended 1"],
    "future": ["root.crl", "begins"],
    "tcb-revoked": ["tcb.status", "no policy accepts"],
    "out-of-date": ["tcb.status", "OutOfDate", "INTEL-SA-00001", "SGX components 0 to 15 are 5, need 6", "PCE SVN is 13, needs 14",
                    "`allow_advisories = INTEL-SA-00001` in [tcb]"],
    "stranger": ["root.crl"],
    "garbage": [""],
}


@pytest.mark.parametrize("mode", COLLATERAL)
def test_refused_by_collateral(start_proxy, sim, mode):
    proxy = start_proxy()
    sim.collateral(mode)
    message = refusal(proxy)
    assert all(word in message for word in ["attestation refused", *COLLATERAL[mode]]), message
    assert sim.stats()["chat_requests"] == 0
    health = json.loads(proxy.health()[1])
    assert [a["verdict"] for a in health["attestations"] if a["model"] == NEAR] == ["refused"]
    assert f'e2ee_proxy_attestation_verified{{model="{NEAR}"' in str(proxy.metrics())


@pytest.mark.parametrize("fault, words", [("debug", "td.debug"), ("wrong-root", "pck.format"), ("quote-flip", "quote.signature"),
                                          ("old-module", "`accept = OutOfDate` in [tcb]"), ("compose", "guest.compose")])
def test_refused_by_evidence(start_proxy, sim, fault, words):
    proxy = start_proxy()
    sim.fault("attestation", fault)
    message = refusal(proxy)
    assert words in message, message
    assert sim.stats()["chat_requests"] == 0


def gpu_results(report):
    return {c["id"].removeprefix("gpu."): c["result"] for c in report["checks"] if c["id"].startswith("gpu.")}


def test_gpus(attest):
    """Every GPU's evidence is verified here; what that leaves open is never called passed."""
    unproven = {"measurements": "not-checked", "revocation": "not-checked", "binding": "not-checked"}
    for model in (NEAR, PHALA):
        report = report_of(attest(model=model))
        passed = ["evidence", "certificates", "report", "signature", "nonce", "firmware", "devices"]
        assert gpu_results(report) == {**{name: "pass" for name in passed}, **unproven}, report
        devices = [c["detail"] for c in report["checks"] if c["id"] == "gpu.devices"][0]
        assert "2 GPUs (HOPPER)" in devices and "driver 570.172.08" in devices
    report = report_of(attest(model=ACI))
    assert report["verdict"] == "verified" and "pass" not in gpu_results(report).values()
    assert [c["detail"] for c in report["checks"] if c["id"] == "gpu.evidence"][0].startswith("no GPU evidence")


@pytest.mark.parametrize("fault, check", [("gpu-nonce", "nonce"), ("gpu-report", "nonce"), ("gpu-flip", "signature"),
                                          ("gpu-firmware", "firmware"), ("gpu-root", "certificates"), ("gpu-twice", "devices"),
                                          ("gpu-fewer", "devices"), ("gpu-empty", "devices"), ("no-gpu", "devices")])
def test_refused_by_gpus(start_proxy, sim, attest, tmp_path, fault, check):
    policy = tmp_path / "policy.ini"
    policy.write_text("[gpu]\ncheck = report\n")
    proxy = start_proxy()
    sim.fault("attestation", fault)
    message = refusal(proxy)
    assert f"attestation refused: gpu.{check}:" in message, message
    assert sim.stats()["chat_requests"] == 0
    sim.fault("attestation", fault)
    report = report_of(attest("--policy", policy))
    assert report["verdict"] == "verified" and gpu_results(report)[check] == "fail", report


@pytest.fixture
def nras(sim, tmp_path):
    """Arguments that make a command ask the simulator's NVIDIA service."""
    config = tmp_path / "nras.conf"
    config.write_text(f"[attestation]\nnras = on\nnras_url = {sim.origin}\n")
    return ["--config", config]


def test_nras(attest, command, nras, sim, tmp_path):
    """Asked for, NVIDIA's service vouches for what cannot be checked here; saved, it does so offline too."""
    kept = tmp_path / "kept"
    report = report_of(attest(*nras, "--save", kept))
    results = gpu_results(report)
    assert report["verdict"] == "verified", report
    assert (results["nras"], results["measurements"], results["revocation"], results["binding"]) == ("pass", "pass", "pass", "not-checked")
    at = (kept / "README.txt").read_text().split("--at ")[1].split()[0]
    nonce = (kept / "nonce.txt").read_text()
    offline = ["verify", kept, "--nonce", nonce, "--root", sim.root, "--json", "--at"]
    assert gpu_results(report_of(command(*offline, at, upstream=False)))["nras"] == "pass"
    run = command(*offline, int(at) + 3601, upstream=False)
    assert run.returncode == 1 and report_of(run)["reason"].startswith("gpu.nras:")
    sim.fault("nras", "nras-old")
    results = gpu_results(report_of(attest(*nras)))
    assert (results["measurements"], results["revocation"]) == ("pass", "not-checked")
    asked = sim.stats()["nras_requests"]
    assert "nras" not in gpu_results(report_of(attest(*nras, model=ACI)))  # no GPU to ask about
    assert report_of(attest("--save", kept))["verdict"] == "verified"
    assert sim.stats()["nras_requests"] == asked and not (kept / "nras.json").exists()


@pytest.mark.parametrize("fault", ["nras-refuses", "nras-nonce", "nras-key", "nras-alg", "nras-expired", "nras-fewer", "nras-digest",
                                   "nras-measures", "nras-revoked"])
def test_refused_by_nras(start_proxy, nras, sim, fault):
    proxy = start_proxy(*nras)
    sim.fault("nras", fault)
    message = refusal(proxy)
    assert "attestation refused: gpu.nras:" in message, message
    assert sim.stats()["chat_requests"] == 0


def test_nras_down(start_proxy, attest, nras, sim, tmp_path):
    """Asked for and not there: refused as a fault of the network, unless GPU checks are only reported."""
    proxy = start_proxy(*nras)
    sim.fault("nras", "nras-down")
    status, headers, body = proxy.post(chat_body("a secret"))
    assert status == 502 and json.loads(body)["error"]["code"] == "upstream_error", body
    assert headers.get("x-should-retry") != "false" and sim.stats()["chat_requests"] == 0
    policy = tmp_path / "policy.ini"
    policy.write_text("[gpu]\ncheck = report\n")
    sim.fault("nras", "nras-down")
    report = report_of(attest(*nras, "--policy", policy))
    assert report["verdict"] == "verified" and gpu_results(report)["nras"] == "not-checked"


def test_gpus_of_nvidia_only(command, sim, tmp_path):
    """A root for quotes alone does not vouch for GPUs: those must be NVIDIA's."""
    (tmp_path / "first.pem").write_text(sim.root.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    run = command("attest", NEAR, "--json", "--upstream", sim.url, "--unsafe-http-upstream", "--collateral", sim.origin,
                  "--unsafe-attestation-root", tmp_path / "first.pem", "--state-dir", tmp_path, upstream=False)
    assert run.returncode == 1 and report_of(run)["reason"].startswith("gpu.certificates:")


def test_intels_root_refuses_the_simulator(command, sim, tmp_path):
    """Without --unsafe-attestation-root nothing made up passes."""
    run = command("attest", NEAR, "--json", "--upstream", sim.url, "--unsafe-http-upstream", "--collateral", sim.origin,
                  "--state-dir", tmp_path, upstream=False)
    assert run.returncode == 1 and report_of(run)["reason"].startswith("pck.format:")


def test_service_down(start_proxy, sim):
    """No collateral at all is the network's fault: the client may try again, and does not wait for ever."""
    proxy = start_proxy()
    sim.collateral("down")
    status, headers, body = proxy.post(chat_body("a secret"))
    assert status == 502 and json.loads(body)["error"]["code"] == "upstream_error", body
    assert headers.get("x-should-retry") != "false"
    assert sim.stats()["chat_requests"] == 0


def test_cache_outlives_the_service(start_proxy, sim):
    proxy = start_proxy()
    assert refusal(proxy) == ""
    asked = sim.stats()["collateral_requests"]
    assert asked == 4
    sim.collateral("down")
    assert refusal(proxy, PHALA) == ""
    assert sim.stats()["collateral_requests"] == asked


@pytest.mark.parametrize("form", ["file", "folder", "saved"])
def test_without_network(attest, start_proxy, sim, tmp_path, form):
    """Collateral carried over from another machine's cache, or kept by attest --save, is enough."""
    assert attest("--save", tmp_path / "saved").returncode == 0
    (cached,) = (tmp_path / "state").glob("attestation-*/*-platform.json")
    sim.collateral("down")
    where = {"file": cached, "folder": cached.parent, "saved": tmp_path / "saved"}[form]
    before = sim.stats()["collateral_requests"]
    proxy = start_proxy("--collateral", where)
    assert refusal(proxy) == ""
    assert sim.stats()["collateral_requests"] == before


def test_accepted_out_of_date_by_policy(start_proxy, sim, tmp_path):
    """The line that the refusal names is the line that accepts it."""
    policy = tmp_path / "policy.ini"
    policy.write_text("[tcb]\nallow_advisories = INTEL-SA-00001\n")
    sim.collateral("out-of-date")
    proxy = start_proxy("--policy", policy)
    assert refusal(proxy) == ""
    assert "WARNING" in proxy.log() and "OutOfDate" in proxy.log()


def test_saved_evidence_by_its_own_policy(attest, command, sim, tmp_path):
    """attest --save and --write-policy belong together: verify knows whose evidence it is, and pins nothing by itself."""
    saved, policy, other = tmp_path / "saved", tmp_path / "policy.ini", tmp_path / "other.ini"
    assert attest("--save", saved, "--write-policy", policy).returncode == 0
    judge = ["verify", saved, "--json", "--root", sim.root, "--nonce", (saved / "nonce.txt").read_text()]

    def pins(path):
        run = command(*judge, "--policy", path, upstream=False)
        report = report_of(run)
        return run.returncode, report["level"], [c for c in report["checks"] if c["id"] == "pins"][0]

    code, level, check = pins(policy)
    assert code == 0 and level == "L3", check
    other.write_text("[tcb]\nmin_evaluation = 1\n")
    code, level, check = pins(other)
    assert code == 0 and check["result"] == "not-applicable" and "first use" not in check["detail"], check
    text = policy.read_text()
    at = text.index("mrtd = ") + 7
    other.write_text(text[:at] + "1111" + text[at + 4:])
    code, level, check = pins(other)
    assert code == 1 and "MRTD pinned 1111" in check["detail"]
    (saved / "model.txt").unlink()
    code, level, check = pins(policy)
    assert code == 1 and "whose it is" in check["detail"], check
    # A later set in the same folder leaves nothing of the earlier one.
    sim.fault("attestation", "body-invalid")
    assert attest("--save", saved).returncode == 1
    assert not (saved / "quote.bin").exists() and not (saved / "tcb_info.json").exists()


def test_numbered_set_of_the_policy(attest, start_proxy, sim, tmp_path):
    """A TCB recovery: by the set in force the machine is OutOfDate, by the one that the policy names it is not."""
    policy = tmp_path / "policy.ini"
    sim.collateral("recovery")
    run = attest()
    assert run.returncode == 1 and report_of(run)["reason"].startswith("tcb.status: Intel rates it OutOfDate")
    policy.write_text("[tcb]\nmin_evaluation = 19\n")
    run = attest("--policy", policy)
    report = report_of(run)
    numbered = [c for c in report["checks"] if c["id"] == "tcb.numbered"][0]
    assert run.returncode == 0 and report["tcb_status"] == "UpToDate", report["reason"]
    assert "evaluation 19" in numbered["detail"] and "OutOfDate" in numbered["detail"] and "SGX component" in numbered["detail"]
    assert "INTEL-SA-00001" in report["advisories"]
    proxy = start_proxy("--policy", policy)
    assert refusal(proxy) == ""
    assert "WARNING: judged by evaluation 19" in proxy.log()
    assert proxy.metrics()["e2ee_proxy_collateral_fetches_total"] == 2
    policy.write_text("[tcb]\nmin_evaluation = 18\n")
    run = attest("--policy", policy)  # Intel has retired it
    report = report_of(run)
    assert run.returncode == 1 and report["reason"].startswith("tcb.status:") and report["tcb_status"] == "OutOfDate"
    assert "410" in [c for c in report["checks"] if c["id"] == "tcb.numbered"][0]["detail"]
    sim.collateral("tcb-revoked")
    policy.write_text("[tcb]\nmin_evaluation = 18\n")
    assert attest("--policy", policy).returncode == 1


def test_simulated_service_is_strict(sim):
    """As Intel's: update and tcbEvaluationDataNumber exclude each other; retired and unknown sets are told apart."""
    for path, status in (("tcb?fmspc=90c06f000000&tcbEvaluationDataNumber=19", 200), ("tcb?fmspc=90c06f000000&update=early", 200),
                         ("tcb?fmspc=90c06f000000&update=early&tcbEvaluationDataNumber=19", 400),
                         ("tcb?fmspc=90c06f000000&tcbEvaluationDataNumber=18", 410), ("tcb?fmspc=90c06f000000&tcbEvaluationDataNumber=20", 404),
                         ("tcb?fmspc=90c06f", 400), ("tcb?fmspc=000000000000", 404), ("tcb", 400),
                         ("qe/identity?tcbEvaluationDataNumber=x", 400), ("qe/identity?update=never", 400)):
        try:
            with urllib.request.urlopen(f"{sim.origin}/tdx/certification/v4/{path}", timeout=10) as answer:
                got = answer.status
        except urllib.error.HTTPError as error:
            got = error.code
        assert got == status, path


def test_rollback_is_refused(attest, sim, tmp_path):
    sim.collateral("newer")
    assert attest().returncode == 0
    sim.collateral("rollback")
    assert attest().returncode == 0  # from the cache: not asked
    for cached in (tmp_path / "state").glob("attestation-*/*-platform.json"):
        cached.unlink()
    run = attest()
    assert run.returncode == 1 and report_of(run)["reason"].startswith("rollback:")
    sim.collateral("newer")
    assert attest().returncode == 0


def test_first_use_pins(attest, sim):
    first = report_of(attest())
    assert "first use" in [c for c in first["checks"] if c["id"] == "pins"][0]["detail"]
    again = report_of(attest())
    assert again["level"] == "L3"  # OS image, compose file and key provider are those of before
    for fault, word in (("other-os", "MRTD pinned"), ("other-compose", "compose-hash pinned")):
        sim.fault("attestation", fault)
        run = attest()
        assert run.returncode == 1 and word in report_of(run)["reason"], report_of(run)
    sim.fault("attestation", "other-os", count=2)
    run = attest("--pin")
    assert run.returncode == 0 and "MRTD pinned" in run.stderr and report_of(run)["verdict"] == "verified"
    assert attest().returncode == 0  # it stands beside the first
    assert attest().returncode == 0
    sim.fault("attestation", "debug")
    assert attest("--pin").returncode == 1  # nothing but pins can be accepted


def test_odd_model_id(attest, tmp_path):
    """A model's id is the provider's text: it names files and sections, and must not get into either."""
    odd = "odd/n\u00e4me +v1.5?a=b&c#d%41\"e'<\\>"
    assert attest("--save", tmp_path / "kept", model=odd).returncode == 0
    assert report_of(attest(model=odd))["level"] == "L3"
    (pins,) = (tmp_path / "state").glob("attestation-*/pins-*.ini")
    assert pins.read_text().isascii() and pins.read_text().count("[") == 1
    run = attest("--write-policy", tmp_path / "policy.ini", model=odd)
    assert run.returncode == 2 and not (tmp_path / "policy.ini").exists()


def test_pin_change_is_refused_by_serve(start_proxy, sim):
    proxy = start_proxy("--rotate", "60")
    assert refusal(proxy) == ""
    sim.rotate(NEAR)  # the proxy has to attest anew
    sim.fault("attestation", "other-compose", count=4)
    message = refusal(proxy)
    assert "compose-hash pinned" in message and "attest MODEL --pin" in message
    rows = {k: v for k, v in proxy.metrics().items() if k.startswith("e2ee_proxy_attestation_verified")}
    assert [v for k, v in rows.items() if f'model="{NEAR}"' in k and 'tcb_status="UpToDate"' in k] == [0], rows


def test_pins_of_a_policy(attest, sim, tmp_path):
    policy = tmp_path / "pins.ini"
    assert attest("--write-policy", policy).returncode == 0
    assert attest("--write-policy", policy).returncode == 2  # never overwritten
    assert report_of(attest("--policy", policy))["level"] == "L3"
    run = attest("--policy", policy, model=PHALA)
    assert run.returncode == 1 and report_of(run)["reason"].startswith("pins:")
    policy.write_text("[pins]\nmode = warn\n")
    assert attest("--policy", policy).returncode == 0
    sim.fault("attestation", "other-os")
    run = attest("--policy", policy)
    assert run.returncode == 0 and "pins" in run.stderr


def test_saved_evidence_is_verified_offline(attest, command, sim, tmp_path):
    kept = tmp_path / "kept"
    report = report_of(attest("--save", kept))
    words = (kept / "README.txt").read_text()
    at = words.split("--at ")[1].split()[0]
    nonce = (kept / "nonce.txt").read_text()
    run = command("verify", kept, "--at", at, "--nonce", nonce, "--root", sim.root, "--json", upstream=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert report_of(run)["measurements"] == report["measurements"]
    assert command("verify", kept, "--at", at, "--nonce", "0" * 64, "--root", sim.root, upstream=False).returncode == 1
    assert command("verify", kept, "--at", at, "--nonce", nonce, upstream=False).returncode == 1  # Intel's root


def test_evidence_dir(start_proxy, sim, tmp_path):
    config, kept = tmp_path / "proxy.conf", tmp_path / "evidence"
    config.write_text(f"[attestation]\nevidence_dir = {kept}\n")
    proxy = start_proxy("--config", config)
    assert refusal(proxy) == ""
    sim.fault("attestation", "debug")
    assert refusal(proxy, PHALA) != ""
    names = sorted(p.name for p in kept.iterdir())
    assert len(names) == 2
    assert sum("sim-near-verified" in n for n in names) == 1 and sum("sim-phala-refused" in n for n in names) == 1
    for folder in kept.iterdir():
        assert {"attestation.json", "quote.bin", "tcb_info.json", "verdict.json", "nonce.txt"} <= {p.name for p in folder.iterdir()}


def test_policy_change_ends_sessions(start_proxy, sim, tmp_path):
    """SIGHUP: a session is not kept that the new policy would refuse."""
    policy = tmp_path / "policy.ini"
    policy.write_text("[tcb]\naccept = OutOfDate\n")
    sim.collateral("out-of-date")
    proxy = start_proxy("--policy", policy)
    assert refusal(proxy) == ""
    policy.write_text("[tcb]\naccept = UpToDate\n")
    os.kill(proxy.daemon.pid, signal.SIGHUP)
    wait_until("the policy was read", lambda: "attestation policy read again" in proxy.log(), 5)
    assert "tcb.status" in refusal(proxy)


def busy(proxy, model=NEAR):
    """Retry-After of a completion that is refused for the count; None when it was answered."""
    status, headers, body = proxy.post(chat_body("x", model))
    if status == 200:
        return None
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded"), body
    return int(headers["Retry-After"])


def test_ten_a_minute_leave_this_machine(start_proxy, sim, command):
    """Over restarts of the proxy and other processes of the same state folder; and clients hear when the next may go."""
    proxy = start_proxy()
    before = sim.stats()["attestation_requests"]
    for _ in range(8):
        assert busy(proxy) is None
        old = proxy.processes()["proxy"]
        os.kill(old, signal.SIGKILL)
        wait_until("a new proxy", lambda: proxy.processes().get("proxy") not in (None, old))
        proxy.wait_ready()
    for _ in range(2):
        assert command("attest", NEAR, "--state-dir", proxy.state).returncode == 0
    run = command("attest", NEAR, "--state-dir", proxy.state)
    assert run.returncode == 2 and "attestations in a minute" in run.stderr and "next can be made in" in run.stderr
    for _ in range(3):
        assert 5 < busy(proxy) <= 60
    assert 5 < busy(proxy, PHALA) <= 60
    assert sim.stats()["attestation_requests"] - before == 10
    assert command("attest", NEAR, "--state-dir", proxy.dir / "another").returncode == 0


def test_providers_limit_of_attestations(start_proxy, sim):
    """Its Retry-After is passed on, counted down, and kept to."""
    proxy = start_proxy()
    sim.fault("attestation", "http-429", value=3)
    before = sim.stats()["attestation_requests"]
    assert busy(proxy) == 3
    assert 1 <= busy(proxy) <= 3
    assert sim.stats()["attestation_requests"] - before == 1
    time.sleep(3)
    assert busy(proxy) is None
    sim.fault("attestation", "http-429-bare", model=PHALA)
    assert busy(proxy, PHALA) == 60


@pytest.mark.parametrize("fault, status, seconds", [("http-401", 401, None), ("http-429", 429, "7"), ("http-429-bare", 429, None),
                                                    ("http-500", 502, None), ("http-503", 502, None)])
def test_models_refused_by_the_provider(start_proxy, start_sim, fault, status, seconds):
    """What somebody can do something about keeps its status: the key, its credit, its rate."""
    other = start_sim()
    proxy = start_proxy(upstream=other.url)
    other.fault("models", fault, count=3)
    for ask in (lambda: proxy.request("GET", "/v1/models"), lambda: proxy.post(chat_body("x"))):
        got, headers, body = ask()
        error = json.loads(body)["error"]
        assert (got, error["code"]) == (status, "invalid_api_key" if status == 401 else "upstream_error"), error
        assert "upstream: " in error["message"]
        assert headers["Retry-After"] == seconds


def test_own_pin_ends_no_session(start_proxy, sim):
    """SIGHUP after a first use: what serve itself has stored is no change, and what somebody changes after that still is."""
    proxy = start_proxy()
    assert refusal(proxy) == ""
    before = proxy.metric("e2ee_proxy_handshakes_total")
    os.kill(proxy.daemon.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert refusal(proxy) == ""
    assert "pins changed" not in proxy.log() and proxy.metric("e2ee_proxy_handshakes_total") == before
    (pins,) = proxy.state.glob("attestation-*/pins-*.ini")
    pins.write_text(pins.read_text() + "# mine\n")
    for n in range(1, 6):  # each ends the session, and none counts as a re-keying that was forced on us
        os.kill(proxy.daemon.pid, signal.SIGHUP)
        wait_until("the pins were looked at", lambda: proxy.log().count("pins changed") == n, 5)
        assert refusal(proxy) == ""
        pins.write_text(pins.read_text() + "# mine\n")
    assert proxy.metric("e2ee_proxy_handshakes_total") == before + 5


def test_removed_pin_ends_sessions(start_proxy, sim):
    """SIGHUP also looks at the stored pins: what was taken back counts from then on."""
    proxy = start_proxy()
    sim.fault("attestation", "other-os")
    assert refusal(proxy) == ""
    (pins,) = proxy.state.glob("attestation-*/pins-*.ini")
    text = pins.read_text().splitlines()
    pins.write_text("\n".join("mrtd = " + "11" * 48 if line.startswith("mrtd") else line for line in text) + "\n")
    os.kill(proxy.daemon.pid, signal.SIGHUP)
    wait_until("the pins were looked at", lambda: "pins changed" in proxy.log(), 5)
    assert "MRTD pinned 1111" in refusal(proxy)


def test_session_ends_with_its_collateral(start_proxy, sim):
    """Collateral with seconds to live: what it let pass lives no longer."""
    proxy = start_proxy()
    sim.collateral("expiring")
    assert refusal(proxy, ACI) == ""
    sessions = json.loads(proxy.health()[1])["sessions"]
    assert 0 <= sessions[0]["expires_in_seconds"] <= 5
    wait_until("the session ended", lambda: refusal(proxy, ACI) != "", 12)


def test_state_folder_must_be_there(build, sim, tmp_path):
    (tmp_path / "file").write_text("")
    run = subprocess.run([build / "e2ee-hsm-proxy", "attest", NEAR, "--upstream", sim.url, "--unsafe-http-upstream",
                          *sim.trust(), "--state-dir", tmp_path / "file"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2 and "state folder" in run.stderr
