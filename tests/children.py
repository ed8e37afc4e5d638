"""Processes that tests start."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Starts a process that Ctrl-C ends, however the tests were started; after the block the process is dead in any case.

    (A shell makes its background jobs ignore SIGINT, and the processes that they start inherit that.)
    """

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(command, preexec_fn=heed, **options)
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
    _, status, usage = os.wait4(process.pid, 0)
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
