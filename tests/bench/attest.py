"""Parts verify and handshake: what attestation costs."""

import json
import re
import shutil
import subprocess

from custody import warm
from rig import BUILD, ROOT, middle, spread, table


def made_case(rig):
    """(folder of evidence that verifies, the same as the other verifiers' case file)."""
    work = rig.new_dir("made")
    (work / "made").mkdir()
    subprocess.run([BUILD / "tests" / "made_evidence", work / "made"], check=True)
    subprocess.run(["python3", ROOT / "tests/compare/cases.py", BUILD, work / "made", work / "none", work], check=True,
                   stdout=subprocess.DEVNULL)
    for path in sorted((work / "cases").glob("*.json")):
        if json.loads(path.read_text())["name"] == "made/good":
            return work / "made" / "good", path
    raise RuntimeError("there is no made/good")


def other_verifier(rig):
    """The program around dcap-qvl of crates.io, or None with a word about why."""
    if not shutil.which("cargo"):
        rig.log("skip: no cargo, so dcap-qvl is not measured")
        return None
    work = rig.new_dir("rust")
    shutil.copytree(ROOT / "tests/compare/rust", work, dirs_exist_ok=True)
    run = subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=work, capture_output=True, text=True)
    if run.returncode != 0:
        rig.log(f"skip: dcap-qvl could not be built: {run.stderr.strip()[-200:]}")
        return None
    return work / "target" / "release" / "compare"


def verify(rig):
    """Full verification of one quote with collateral in memory, beside dcap-qvl, which remembers nothing."""
    folder, case = made_case(rig)
    other = other_verifier(rig)
    count = "100" if rig.quick else "2000"
    ours = {"machine seen before": folder, "first quote of a machine": "--first", "first by a new set": "--new"}
    took, theirs = {name: [] for name in ours}, []
    for _ in range(rig.runs):
        for name, argument in ours.items():
            took[name].append(float(subprocess.check_output([BUILD / "tests" / "bench_verify", count, argument])))
        if other:
            theirs.append(float(subprocess.check_output([other, "--time", count, case])))
    rows = []
    for name, values in took.items():
        ratio = [a / b for a, b in zip(values, theirs)]
        rows.append([name, spread(values, "{:.0f}"), spread(theirs, "{:.0f}") if theirs else "skipped",
                     spread(ratio) if ratio else "", ("met" if middle(ratio) <= 1 else "**missed**") if ratio else ""])
    table("CPU of one verification, µs", ["", "ours", "dcap-qvl (crates.io)", "ratio", "goal 1.0"], rows)


STEPS = [("evidence from the provider", r"evidence in (\d+) us"), ("collateral, fetched", r"collateral fetched in (\d+) us"),
         ("verification", r"judged in (\d+) us"), ("key pair in the token, first derivation", r"key pair opened in (\d+) us")]


def handshake(rig):
    """A cold model's handshake, by step."""
    token = rig.softhsm()
    steps = [*STEPS, ("handshake in all", r"session opened in (\d+) ms")]
    found = {name: [] for name, _ in steps}
    for _ in range(3 if rig.quick else 20):
        sim = rig.sim()
        proxy = rig.proxy(sim, token, "--log-level", "debug")
        warm(proxy)
        log = proxy.log()
        for name, pattern in steps:
            found[name].append(int(re.search(pattern, log).group(1)) / (1 if pattern.endswith("ms") else 1e3))
        rig.stop_all()
    table("Cold handshake, simulator and proxy on one machine, ms", ["step", "median (lowest to highest)"],
          [[name, spread(values)] for name, values in found.items()])


PARTS = {"verify": verify, "handshake": handshake}
