"""Processes under test: started with a clean environment and a log file, ended for certain."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, condition, seconds=10.0, step=0.02):
    """The first true value of condition(); fails with what after that many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(step)


class Daemon:
    """One started program. log is the file that holds its standard output and error."""

    def __init__(self, argv, log, env=None, stdin=subprocess.DEVNULL):
        self.argv = [str(a) for a in argv]
        self.log = Path(log)
        clean = {k: v for k, v in os.environ.items()
                 if k in ("PATH", "HOME", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")}
        clean.update(env or {})
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.argv, stdin=stdin, stdout=out, stderr=subprocess.STDOUT, env=clean,
                                            cwd=self.log.parent, start_new_session=True)
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def expect_log(self, pattern, seconds=10.0):
        return wait_until(f"{pattern!r} in {self.log.name}, which has:\n{self.text()[-2000:]}",
                          lambda: re.search(pattern, self.text()), seconds)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=15.0):
        return self.process.wait(seconds)

    def stop(self, seconds=15.0):
        """SIGTERM, and SIGKILL to the whole session if that does not end it. Returns the exit status."""
        if self.alive():
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill_session()

    def kill_session(self):
        """Nothing of its session may outlive it: what is left of it is killed."""
        for pid in session_of(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.alive():
            self.process.kill()
            self.process.wait()


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on, or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def cpu_seconds(pid):
    """What a process has used so far, whatever else the machine does."""
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pids():
    return [int(d) for d in os.listdir("/proc") if d.isdigit()]


def session_of(leader):
    found = []
    for pid in pids():
        fields = stat_fields(pid)
        if fields and int(fields[3]) == leader and fields[0] != "Z":
            found.append(pid)
    return found


def descendants(parent):
    """Living children of a process, and theirs."""
    table = {}
    for pid in pids():
        fields = stat_fields(pid)
        if fields and fields[0] != "Z":
            table.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [parent]
    while queue:
        for pid in table.get(queue.pop(), []):
            found.append(pid)
            queue.append(pid)
    return found
