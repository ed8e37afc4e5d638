"""Run: how a call does its work (device, threads, progress, memory), read once from its arguments and handed down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import backend
from gputok.corpus.options import ReadOptions
from gputok.files.temporary import MemoryLimit
from gputok.kernels.signatures import NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from gputok.progress import Progress
    from gputok.types import Device


class RunOptions(ReadOptions, total=False):
    """Keyword arguments of functions that read a corpus, besides those of `ReadOptions`. All may be left out.

    Attributes:
        threads: how many threads read and work; None: GPUTOK_NUM_THREADS, or all cores.
        progress: None: bars if stderr is a terminal or a notebook; True, False, "json", a function: `gputok.progress`.
    """

    threads: int | None
    progress: Progress


class DeviceOptions(RunOptions, total=False):
    """Keyword arguments of functions that can use a GPU, besides those of `RunOptions`. All may be left out.

    Attributes:
        device: "auto", "cpu", "cuda" (all devices), "cuda:N"; None: GPUTOK_DEVICE, or "auto" (`gputok.backend.choose`).
    """

    device: Device | None


class CountOptions(DeviceOptions, total=False):
    """Keyword arguments of functions that count words, besides those of `DeviceOptions`. All may be left out.

    Attributes:
        memory_limit: by how much the memory of the process may grow: bytes, or text like "4GB". Libraries count, too,
            but not files of yours that are mapped (as Arrow's datasets are). At worst, it grows by a quarter more; if
            the limit is too small for that, the error names the least limit. Words that do not fit are written to
            temporary files, and so is the result: memory holds only what is in use. Counts are the same as without a
            limit. None: no limit.
        temporary: the folder of these files, by default that of the operating system; it should be on a disk. The files
            have no names there, and are gone when the process ends, even if it is killed.
    """

    memory_limit: int | str | None
    temporary: str | os.PathLike[str] | None


class Run(NamedTuple):
    """How a call does its work: what `CountOptions` asks for.

    >>> Run.of(threads=2, memory_limit="1 GB").limits["memory_limit"].n_bytes
    1000000000
    """

    device: str | None = None
    threads: int | None = None
    progress: Progress = None
    memory: MemoryLimit | None = None

    @classmethod
    def of(
        cls,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
    ) -> Run:
        """Reads the arguments of public functions; raises the errors of `MemoryLimit.of`."""
        return cls(device, threads, progress, MemoryLimit.of(memory_limit, temporary))

    @classmethod
    def asked(cls, options: Mapping[str, Any], known: type[RunOptions]) -> tuple[Run, dict[str, Any]]:
        """Splits keyword arguments into a Run and those of `Source.of`; raises TypeError for one not in `known`."""
        if unknown := [name for name in options if name not in known.__annotations__]:
            raise TypeError(f"unexpected argument {unknown[0]}=; expected one of {', '.join(known.__annotations__)}")
        reading = {name: value for name, value in options.items() if name in ReadOptions.__annotations__}
        return cls.of(**{name: value for name, value in options.items() if name not in reading}), reading

    @property
    def devices(self) -> tuple[Any, ...]:
        """The CUDA devices that do the work; none: the CPU does. Raises an error if the device can't be had."""
        return backend.choose(self.device).devices

    @property
    def limits(self) -> dict[str, Any]:
        """The arguments `threads`, `memory_limit` and `temporary` of `WordCounts.load` and `merge`."""
        return {"threads": self.threads} | ({} if self.memory is None else {"memory_limit": self.memory})
