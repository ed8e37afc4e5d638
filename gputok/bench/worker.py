"""One run, in its own process: `python -m gputok.bench.worker JOB`, with the Job as JSON; prints a Run as JSON."""

from __future__ import annotations

import itertools
import json
import pathlib
import resource
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok.bench.peers import ENCODE, TRAIN, Job

if TYPE_CHECKING:
    from collections.abc import Callable


class ProcessRun(NamedTuple):
    """The measurements of one process."""

    import_seconds: float  # for importing the package and loading the tokenizer
    warm_seconds: float  # for the same work on the first KB, which loads compiled code and starts threads
    seconds: float  # for the work
    runtime_bytes: int  # peak memory before the work: interpreter, package, compiled code
    peak_bytes: int  # peak memory of the work, minus runtime_bytes
    later_seconds: float = 0.0  # for encoding the same text once more, the faster of two times; 0 for training


def run(job: Job) -> ProcessRun:
    """Does the work of a job and measures it."""
    times = [time.perf_counter()]
    if job.task == "train":
        work = TRAIN[job.peer](job)
    else:
        work, flat = ENCODE[job.peer](job)
    times.append(time.perf_counter())
    _work(job, work, job.warm_text)
    # A file that takes the name of another one is written to the disk at once by ext4, which takes 1 ms
    pathlib.Path(job.output).unlink(missing_ok=True)
    times.append(time.perf_counter())
    runtime = peak_memory()
    ready = _preparing()
    result = _work(job, work, job.text)
    times.append(time.perf_counter() - _preparing() + ready)
    peak = peak_memory()
    if job.keep_ids:
        pathlib.Path(job.output).write_bytes(flat(result).tobytes())
    imported, warmed, worked = (later - earlier for earlier, later in itertools.pairwise(times))
    again = 0.0
    if job.task == "encode" and not job.keep_ids:
        del result  # its memory may be used again, as in the first pass
        again = min(_seconds(job, work) for _ in range(2))
    return ProcessRun(imported, warmed, worked, runtime, peak - runtime, again)


def _seconds(job: Job, work: Callable[..., Any]) -> float:
    start = time.perf_counter()
    _work(job, work, job.text)
    return time.perf_counter() - start


def _preparing() -> float:
    """Returns the seconds that gputok has spent on loading and compiling kernels."""
    loaded = sys.modules.get("gputok.kernels.native.preparation")
    return loaded.preparation.seconds if loaded else 0.0


def _work(job: Job, work: Callable[..., Any], text: str) -> Any:
    if job.task == "encode":
        return work(text)
    work(text, job.output + ".part")
    pathlib.Path(job.output + ".part").replace(job.output)


def peak_memory() -> int:
    """Returns the peak memory of this process, in bytes."""
    try:  # getrusage would include the peak before this process became Python
        status = pathlib.Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used


if __name__ == "__main__":
    measured = run(Job(**json.loads(sys.argv[1])))
    print(json.dumps(measured._asdict()))
