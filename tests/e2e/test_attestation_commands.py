"""What `attest`, `verify` and `policy show` print and return, and what a policy on GPUs and the body's own claims decide."""

import json

import pytest

from harness.stack import ACI, NEAR, chat_body

# interface.md, "What attest --json and verify --json print"; the last line is more than it asks for.
REPORT = {"verdict", "level", "tcb_status", "tcb_date", "advisories", "reason", "checks", "measurements",
          "platform", "guest", "at", "not_after", "shape", "key", "quote_sha256"}
CHECK = {"id", "result", "enforced", "detail"}
MEASUREMENTS = {"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_config_id", "mr_owner", "mr_owner_config", "mr_seam", "mr_signer_seam",
                "report_data", "td_attributes", "seam_attributes", "xfam", "tee_tcb_svn"}
PLATFORM = {"fmspc", "ppid", "cpusvn", "pcesvn", "platform_status", "qe_status", "module_status", "current_status", "tcb_evaluation",
            "qe_evaluation", "pck_crl_number", "root_crl_number", "collateral_expires"}
GUEST = {"os_image_hash", "compose_hash", "app_id", "key_provider_id_sha256", "key_provider"}


@pytest.fixture
def attest(command, tmp_path):
    """attest(*arguments) with a state folder of this test; the run and its report."""

    def run(*arguments, model=NEAR):
        done = command("attest", model, "--json", "--state-dir", tmp_path / "state", *arguments)
        return done, json.loads(done.stdout)

    return run


@pytest.fixture
def kept(attest, tmp_path):
    """Saved evidence, and the arguments that judge it offline."""
    folder = tmp_path / "kept"
    run, _ = attest("--save", folder)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture
def verify(command, sim, kept):
    """verify(*arguments) of the saved evidence, by the simulator's root and with the nonce that was sent."""

    def run(*arguments, path=kept):
        return command("verify", path, "--root", sim.root, "--nonce", (kept / "nonce.txt").read_text(), "--json", *arguments,
                       upstream=False)

    return run


def check_of(report, name):
    return next(c for c in report["checks"] if c["id"] == name)


def expect_members(report, verified, bare=False):
    """Exactly these members, each of its type, whatever the verdict."""
    assert set(report) == REPORT | ({"signing_address"} if report["key"] else set()), report
    assert report["verdict"] == ("verified" if verified else "refused")
    assert report["level"] in ("none", "L1", "L2", "L3") and (verified or report["level"] == "none")
    assert (report["reason"] is None) == verified
    assert report["tcb_status"] is None or isinstance(report["tcb_date"], str)
    assert all(isinstance(a, str) for a in report["advisories"])
    for check in report["checks"]:
        assert set(check) == CHECK and check["result"] in ("pass", "fail", "not-applicable", "not-checked"), check
        assert isinstance(check["enforced"], bool) and check["detail"]
    names = [c["id"] for c in report["checks"]]
    assert len(names) == len(set(names))
    if report["measurements"] is not None:
        assert set(report["measurements"]) == MEASUREMENTS
        assert all(set(v) <= set("0123456789abcdef") and len(v) in (16, 32, 96, 128) for v in report["measurements"].values())
    if report["platform"] is not None:
        assert set(report["platform"]) == PLATFORM
    assert set(report["guest"]) == (GUEST if verified and not bare else set(report["guest"]) & GUEST)


def test_members_of_the_report(attest, verify, kept, sim):
    run, report = attest()
    assert run.returncode == 0
    expect_members(report, True)
    run = verify()
    assert run.returncode == 0, run.stdout
    again = json.loads(run.stdout)
    expect_members(again, True)
    assert again["measurements"]["mrtd"] == report["measurements"]["mrtd"] and again["shape"] == "NEAR" and again["key"] == report["key"]
    for fault in ("quote-flip", "debug", "body-invalid", "report-key", "wrong-root"):
        sim.fault("attestation", fault)
        run, report = attest()
        assert run.returncode == 1, fault
        expect_members(report, False)
    for name in ("attestation.json", "tcb_info.json", "qe_identity.json", "pck_crl.der", "root_ca_crl.der"):
        (kept / name).unlink()
    for chain in kept.glob("*_issuer_chain.pem"):
        chain.unlink()
    run = verify()
    assert run.returncode == 1
    report = json.loads(run.stdout)
    expect_members(report, False, bare=True)
    assert report["tcb_status"] is None and report["reason"].startswith("collateral:")


def test_verify_what_cannot_be_read(verify, kept, tmp_path):
    """Exit 2, nothing on standard output, and words on what is missing."""
    empty, broken = tmp_path / "empty", tmp_path / "broken.json"
    empty.mkdir()
    broken.write_text("{")
    for arguments, path, words in (((), tmp_path / "nowhere", "quote.bin"), ((), empty, "quote.bin"), ((), kept / "attestation.json", "quote.bin"),
                                   (("--at", "noon"), kept, "--at"), (("--nonce", "00"), kept, "--nonce"),
                                   (("--policy", tmp_path / "nowhere"), kept, "nowhere"), (("--root", broken), kept, ""),
                                   (("--collateral", broken), kept, "collateral"), (("--collateral", tmp_path / "nowhere"), kept, "--collateral"),
                                   (("--collateral", empty), kept, "--collateral"), (("--collateral", "https://pccs.example"), kept, "file or a folder")):
        run = verify(*arguments, path=path)
        assert (run.returncode, run.stdout) == (2, "") and words in run.stderr, (arguments, path, run)
    run = verify()
    assert run.returncode == 0, run.stdout + run.stderr


def test_verify_on_a_proxys_machine(verify, kept, sim, tmp_path):
    """The configuration says where the proxy's collateral comes from; saved evidence is judged by its own. A flag replaces that."""
    config = tmp_path / "proxy.conf"
    for place in ("https://pccs.example:8081", "/nonexistent", tmp_path):
        config.write_text(f"[attestation]\ncollateral = {place}\n")
        run = verify("--config", config)
        assert run.returncode == 0, run.stdout + run.stderr
    (cached,) = (tmp_path / "state").glob("attestation-*/*-platform.json")
    own = tmp_path / "own"
    own.mkdir()
    for name in ("tcb_info.json", "qe_identity.json", "pck_crl.der", "root_ca_crl.der"):
        (kept / name).rename(own / name)
    for chain in kept.glob("*_issuer_chain.pem"):
        chain.rename(own / chain.name)
    run = verify("--config", config)
    assert run.returncode == 1 and json.loads(run.stdout)["reason"].startswith("collateral:")
    for place in (cached, cached.parent, own):
        run = verify("--config", config, "--collateral", place)
        assert run.returncode == 0, run.stdout + run.stderr


def test_policy_show(command, tmp_path):
    """The policy in force and where each line comes from, as a policy that can be read again."""
    policy, again = tmp_path / "policy.ini", tmp_path / "again.ini"
    run = command("policy", "show", upstream=False)
    assert run.returncode == 0 and "; built in:\naccept = UpToDate, SWHardeningNeeded\n" in run.stdout
    assert "; built in:\nmode = first-use\n" in run.stdout and "; built in:\ncheck = enforce\n" in run.stdout
    policy.write_text("[tcb]\nallow_stale = 60\n[gpu]\ncheck = require\n[pin a]\nmodel = m\ncompose_hash = " + "44" * 32 + "\n")
    run = command("policy", "show", "--policy", policy, upstream=False)
    assert run.returncode == 0 and f"; {policy}, line 2:\nallow_stale = 60\n" in run.stdout
    assert f"; {policy}, line 4:\ncheck = require\n" in run.stdout and "[pin a]" in run.stdout
    again.write_text(run.stdout)
    second = command("policy", "show", "--policy", again, upstream=False)
    kept = [line for text in (run.stdout, second.stdout) for line in text.splitlines() if not line.startswith(";")]
    assert second.returncode == 0 and kept[:len(kept) // 2] == kept[len(kept) // 2:]
    config = tmp_path / "proxy.conf"
    config.write_text(f"[attestation]\npolicy = {policy}\n")
    assert command("policy", "show", "--config", config, upstream=False).stdout == run.stdout
    policy.write_text("[gpu]\ncheck = perhaps\n")
    for arguments in (("show", "--policy", policy), ("show", "--policy", tmp_path / "nowhere"), (), ("print",)):
        run = command("policy", *arguments, upstream=False)
        assert (run.returncode, run.stdout) == (2, "") and run.stderr, arguments


def test_binding_before_pins(attest, sim, tmp_path):
    """Other software behind a key that is not bound: the reason names what is really wrong."""
    assert attest()[0].returncode == 0
    (pins,) = (tmp_path / "state").glob("attestation-*/pins-*.ini")
    lines = pins.read_text().splitlines()
    pins.write_text("\n".join("mrtd = " + "11" * 48 if line.startswith("mrtd") else line for line in lines) + "\n")
    run, report = attest()
    assert run.returncode == 1 and report["reason"].startswith("pins:")
    sim.fault("attestation", "report-key")
    run, report = attest()
    assert run.returncode == 1 and report["reason"].startswith("binding:")
    assert check_of(report, "pins")["result"] == "fail"


@pytest.mark.parametrize("fault, check", [("attest-model", "body.model"), ("algo", "body.algorithm")])
def test_another_model_or_algorithm(start_proxy, attest, sim, fault, check):
    """An answer that is about something else than what was asked is refused, however good its quote is."""
    proxy = start_proxy()
    sim.fault("attestation", fault)
    status, _, body = proxy.post(chat_body("a secret"))
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (502, "attestation_failed") and f"attestation refused: {check}:" in error["message"], error
    assert sim.stats()["chat_requests"] == 0
    sim.fault("attestation", fault)
    run, report = attest("--pin")
    assert run.returncode == 1 and report["reason"].startswith(check + ":") and check_of(report, "binding")["result"] == "pass"
    report = attest()[1]
    assert (report["verdict"], check_of(report, check)["result"]) == ("verified", "pass")


def test_model_of_saved_evidence(verify, kept):
    """verify knows what was asked for only from model.txt."""
    assert check_of(json.loads(verify().stdout), "body.model")["result"] == "pass"
    (kept / "model.txt").write_text("another\n")
    run = verify()
    assert run.returncode == 1 and json.loads(run.stdout)["reason"].startswith("body.model:")
    (kept / "model.txt").unlink()
    run = verify()
    assert run.returncode == 0 and check_of(json.loads(run.stdout), "body.model")["result"] == "not-checked"


def gpus(proxy, model):
    return proxy.metrics()[f'e2ee_proxy_attestation_gpus{{model="{model}"}}']


def test_gpus_left_out(start_proxy, attest, sim, tmp_path):
    """Whoever leaves the evidence out passes, but not unseen; with `check = require` it does not pass."""
    proxy = start_proxy()
    assert proxy.post(chat_body("a secret", ACI))[0] == 200 and proxy.post(chat_body("a secret", NEAR))[0] == 200
    assert (gpus(proxy, ACI), gpus(proxy, NEAR)) == (0, 1)
    assert proxy.log().count(f"{ACI}: verified without evidence of GPUs") == 1 and f"{NEAR}: verified without" not in proxy.log()
    sim.rotate(ACI)
    assert proxy.post(chat_body("a secret", ACI))[0] == 200
    assert proxy.metrics()["e2ee_proxy_handshakes_total"] == 3
    assert proxy.log().count(f"{ACI}: verified without evidence of GPUs") == 1  # said once
    policy = tmp_path / "policy.ini"
    policy.write_text("[gpu]\ncheck = require\n")
    run, report = attest("--policy", policy, model=ACI)
    assert run.returncode == 1 and report["reason"].startswith("gpu.evidence: no GPU evidence, which the policy requires")
    assert attest("--policy", policy)[0].returncode == 0
    proxy = start_proxy("--policy", policy)
    status, _, body = proxy.post(chat_body("a secret", ACI))
    assert status == 502 and "gpu.evidence: no GPU evidence" in json.loads(body)["error"]["message"]
    assert gpus(proxy, ACI) == 0
