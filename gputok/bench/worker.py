"""One run in a process of its own: `python -m gputok.bench.worker JOB`, with the Job as JSON; prints a Run as JSON."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import resource
import sys
import time
from typing import NamedTuple

from gputok.bench.peers import ENCODE, TRAIN, Job


class Run(NamedTuple):
    """What one process measured, in seconds and bytes."""

    import_seconds: float  # importing the package, loading what it encodes with
    warm_seconds: float  # the same work on the first KB: compiled code is loaded, thread pools started
    seconds: float  # the work itself
    runtime_bytes: int  # peak memory up to there: interpreter, package, compiled code
    peak_bytes: int  # peak memory of the work above that


def run(job: Job) -> Run:
    times = [time.perf_counter()]
    if job.task == "train":
        work = TRAIN[job.peer](job)
    else:
        work, flat = ENCODE[job.peer](job)
    times.append(time.perf_counter())
    _work(job, work, job.warm_text)
    times.append(time.perf_counter())
    runtime = peak_memory()
    ready = _preparing()
    result = _work(job, work, job.text)
    times.append(time.perf_counter() - _preparing() + ready)
    peak = peak_memory()
    if job.keep_ids:
        pathlib.Path(job.output).write_bytes(flat(result).tobytes())
    seconds = [later - earlier for earlier, later in itertools.pairwise(times)]
    return Run(*seconds, runtime, peak - runtime)


def _preparing() -> float:
    """How long gputok was loading and compiling kernels."""
    loaded = sys.modules.get("gputok.kernels.native.preparation")
    return loaded.preparation.seconds if loaded else 0.0


def _work(job: Job, work, text: str):
    if job.task == "encode":
        return work(text)
    work(text, job.output + ".part")
    os.replace(job.output + ".part", job.output)


def peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    try:  # of this program alone: getrusage keeps what the process had before it became this program
        status = pathlib.Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used


if __name__ == "__main__":
    measured = run(Job(**json.loads(sys.argv[1])))
    print(json.dumps(measured._asdict()))
