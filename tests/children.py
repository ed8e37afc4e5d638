"""Processes that tests start."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

_PATIENCE = 120  # seconds in which a process has to end


@contextlib.contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Starts a process that Ctrl-C ends, however the tests were started; after the block it is dead in any case.

    (A shell makes its background jobs ignore SIGINT, and the processes that they start inherit that.)
    """

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    environment = {**(options.pop("env", None) or os.environ), "PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen(command, preexec_fn=heed, env=environment, **options)
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def end(process: subprocess.Popen, how: signal.Signals) -> float:
    """Sends a signal and waits; returns the seconds until the process was dead.

    If the processors are busy with other work, these are seconds of processor time, if the system measures it.
    """
    if process.poll() is not None:
        return 0.0
    used, begin = cpu_seconds(process.pid), time.monotonic()
    process.send_signal(how)
    while (found := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > begin + _PATIENCE:
            process.send_signal(signal.SIGABRT)  # each thread says where it is
            errors = b"" if process.stderr is None else process.stderr.read()
            pytest.fail(f"the process does not end {_PATIENCE} seconds after {how.name}: {errors[-9000:]}")
        time.sleep(0.002)
    _, status, usage = found
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begin
    return seconds if used is None else min(seconds, usage.ru_utime + usage.ru_stime - used)


def cpu_seconds(pid: int) -> float | None:
    """Returns the processor time of a process and its threads."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # no Linux
        return None
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
