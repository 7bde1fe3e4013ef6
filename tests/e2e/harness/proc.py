"""Looking into processes from outside: maps, memory, environment. Needs root, as they are not dumpable."""

import os
import re
from pathlib import Path


def may_look():
    return os.geteuid() == 0


def maps(pid):
    """Names of the files that a process has mapped."""
    text = Path(f"/proc/{pid}/maps").read_text()
    assert text, "empty maps: the look itself failed"
    return {line.split(None, 5)[5] for line in text.splitlines() if len(line.split(None, 5)) == 6}


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def environment(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


def regions(pid):
    """(start, end, name) of each readable and writable mapping."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
        if match and match.group(3).startswith("rw"):
            yield int(match.group(1), 16), int(match.group(2), 16), match.group(4)


def find_in_memory(pid, needles, most=1 << 30):
    """Which of needles (bytes) lie in the writable memory of a process: {needle: [region name]}."""
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, name in regions(pid):
            if end - start > most:
                continue  # a sanitizer's shadow
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            for needle in needles:
                if needle in data:
                    found.setdefault(needle, []).append(name or "anonymous")
    return found


def spellings(secret):
    """How raw bytes may lie in memory: raw, hex of both cases, base64."""
    import base64

    return [secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret).rstrip(b"=")]


def files_below(*directories):
    for directory in directories:
        for path in Path(directory).rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path
