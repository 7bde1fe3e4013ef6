"""cases.py BUILD MADE SHARED WORK: case files for the other verifiers, from the folders below MADE and SHARED (may be absent), and
our own verdicts. cases.py --table WORK: the table of all verdicts, and every disagreement."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

CHAINS = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")
OTHERS = {"node": "@phala/dcap-qvl", "rust": "dcap-qvl", "go": "go-tdx-guest"}
UP_TO_DATE = ("UpToDate", "SWHardeningNeeded", "accepted")


def read(folder, name):
    path = folder / name
    return path.read_bytes() if path.exists() else b""


def signed(body, member):
    """The exact bytes of the signed value, and the signature in hex."""
    found = re.fullmatch(r'\s*\{\s*"%s"\s*:\s*(\{.*\})\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]*)"\s*\}\s*' % member, body, re.S)
    if not found:
        found = re.fullmatch(r'\s*\{\s*"signature"\s*:\s*"([0-9a-fA-F]*)"\s*,\s*"%s"\s*:\s*(\{.*\})\s*\}\s*' % member, body, re.S)
        return (found.group(2), found.group(1)) if found else ("", "")
    return found.group(1), found.group(2)


def case(name, folder):
    expected = json.loads(read(folder, "expected.json"))
    root = b"".join(read(folder, "root.pem").split(b"-----")[2:3])
    bodies = {m: read(folder, f).decode(errors="replace") for m, f in (("tcbInfo", "tcb_info.json"), ("enclaveIdentity", "qe_identity.json"))}
    tcb_info, tcb_signature = signed(bodies["tcbInfo"], "tcbInfo")
    qe, qe_signature = signed(bodies["enclaveIdentity"], "enclaveIdentity")
    collateral = {chain: read(folder, chain + ".pem").decode(errors="replace").rstrip("\0") for chain in CHAINS}
    collateral |= {"root_ca_crl": read(folder, "root_ca_crl.der").hex(), "pck_crl": read(folder, "pck_crl.der").hex(), "tcb_info": tcb_info,
                   "tcb_info_signature": tcb_signature, "qe_identity": qe, "qe_identity_signature": qe_signature}
    return {"name": name, "at": expected.get("verify_at_epoch", 1781056027), "quote": read(folder, "quote.bin").hex(), "collateral": collateral,
            **({"root": base64.b64decode(root).hex()} if root else {}), "tcb_info_body": bodies["tcbInfo"],
            "qe_identity_body": bodies["enclaveIdentity"]}, expected


def ours(program, folder, at, work):
    only = work / "bare"  # without the provider's body: the others judge a quote and its collateral
    subprocess.run(["rm", "-rf", str(only)], check=True)
    only.mkdir()
    for path in folder.iterdir():
        if path.name not in ("attestation.json", "expected.json") and path.is_file():
            (only / path.name).write_bytes(path.read_bytes())
    argv = [program, "verify", str(only), "--json", "--at", str(at)]
    if (folder / "root.pem").exists():
        argv += ["--root", str(folder / "root.pem")]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    report = json.loads(run.stdout)
    return report["tcb_status"] if report["verdict"] == "verified" else f"refused: {report['reason']}"


def prepare(build, made, shared, work):
    folders = [("made/" + p.name, p) for p in sorted(Path(made).iterdir())]
    for kind in ("pos", "policy", "neg", "sigonly"):
        root = Path(shared) / kind
        folders += [(f"{kind}/{p.name}", p) for p in sorted(root.iterdir())] if root.is_dir() else []
    work = Path(work)
    (work / "cases").mkdir(exist_ok=True)
    expectations, lines = {}, []
    for number, (name, folder) in enumerate(folders):
        content, expected = case(name, folder)
        (work / "cases" / f"{number:03}.json").write_text(json.dumps(content))
        expectations[name] = {"verdict": expected["strict"]["verdict"], "rule": expected.get("rule") or expected["strict"].get("reason") or ""}
        lines.append(f"{name}\t{ours(f'{build}/e2ee-hsm-proxy', folder, content['at'], work)}\n")
    (work / "expected.json").write_text(json.dumps(expectations))
    (work / "ours.txt").write_text("".join(lines))


def verdicts(path):
    """{input: verdict}; a library may print lines of its own between."""
    return dict(line.split("\t", 1) for line in path.read_text().split("\n") if "\t" in line) if path.exists() else None


def table(work):
    work = Path(work)
    expected = json.loads((work / "expected.json").read_text())
    mine = verdicts(work / "ours.txt")
    others = {name: v for name in OTHERS if (v := verdicts(work / f"{name}.txt")) is not None}
    short = lambda text: "refused" if text.startswith("refused") else text
    print("| input | Intel's rules | ours | " + " | ".join(OTHERS[o] for o in others) + " |")
    print("|---|---|---|" + "---|" * len(others))
    wrong, differing = [], []
    for name, e in expected.items():
        row = [short(mine[name])] + [short(o.get(name, "absent")) for o in others.values()]
        print(f"| {name} | {e['verdict']} | " + " | ".join(row) + " |")
        if (short(mine[name]) == "refused") != (e["verdict"] == "refused"):
            wrong.append(name)
        for other, found in others.items():
            text = found.get(name, "absent")
            if (text in UP_TO_DATE) != (e["verdict"] == "verified"):
                differing.append((name, OTHERS[other], text, e["rule"] or mine[name]))
    print(f"\n{len(expected)} inputs, {len(differing)} disagreements; where the others would be asked for UpToDate only:\n")
    for name, other, text, rule in differing:
        print(f"- {name}: {other} says {text[:160]} -- {rule}")
    for name in wrong:
        print(f"OURS IS WRONG: {name}: {mine[name]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(table(sys.argv[2]) if sys.argv[1] == "--table" else prepare(*sys.argv[1:]))
