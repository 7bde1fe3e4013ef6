"""Measures what docs/BENCHMARK.md describes and prints its tables. Use scripts/bench."""

import argparse
import datetime
import os
import platform
import subprocess
import sys

import attest
import custody
import speed
from rig import Rig

PARTS = {**speed.PARTS, **custody.PARTS, **attest.PARTS}


def version(*argv):
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        return (run.stdout + run.stderr).strip().split("\n")[0]
    except OSError:
        return f"no {argv[0]}"


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    nginx = version("/usr/sbin/nginx", "-v") if os.path.exists("/usr/sbin/nginx") else version("nginx", "-v")
    print(f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC · {os.cpu_count()} × {model} · Linux "
          f"{platform.release()} · {version('openssl', 'version')} · {version('curl', '--version').split(' (')[0]} · "
          f"{nginx} · SoftHSM {version('softhsm2-util', '--version')} · load before: {os.getloadavg()[0]:.2f}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     epilog="parts: " + "; ".join(f"{k}: {v.__doc__.rstrip('.')}" for k, v in PARTS.items()))
    parser.add_argument("--quick", action="store_true", help="short runs that show that it works, not how fast")
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}")
    machine()
    failed = []
    for name in options.parts or PARTS:
        with Rig(options.quick) as rig:
            try:
                PARTS[name](rig)
            except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as why:
                print(f"\n{name}: could not be measured: {why}")
                failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
