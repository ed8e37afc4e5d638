"""Encodes texts to ids that stay in the memory of a CUDA device, for PyTorch, JAX or CuPy."""

from __future__ import annotations

import re
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.pipeline.encode.devices import ByDevice, grouped, joined
from gputok.pipeline.encode.units import engine_of, id_type
from gputok.pipeline.special_tokens import Ends, ids_around, surrounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gputok.kernels.cuda.device import Device
    from gputok.pipeline.pipeline import Pipeline
    from gputok.text.pieces import TextBatch


class DeviceTokens(NamedTuple):
    """The ids of some documents, on a device. Both arrays have `__dlpack__`, which `torch.from_dlpack` and others take.

    Attributes:
        ids: int32[n_ids].
        rows: int32[n_documents + 1]; document i has ids[rows[i]:rows[i + 1]].
    """

    ids: Any
    rows: Any

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.rows) - 1


def is_device(output: Any) -> bool:
    """Returns True if an output is a device: "cuda" or "cuda:N"."""
    return isinstance(output, str) and re.fullmatch(r"cuda(:\d+)?", output) is not None


def card(device: str) -> Device:
    """Returns the CUDA device of this name; of several, the first one.

    Raises:
        RuntimeError: There is no such device.
        ValueError: The name is that of no CUDA device.
    """
    from gputok import backend

    if not is_device(device):
        raise ValueError(f'ids stay on "cuda" or "cuda:N", not on device={device!r}')
    return backend.choose(device).devices[0]


def encode(
    pipeline: Pipeline,
    units: Iterable[TextBatch],
    device: Device,
    *,
    add_special_tokens: bool = True,
    ends: Ends | None = None,
) -> Iterator[DeviceTokens]:
    """Encodes units of text, one after the other.

    What the device can't encode is encoded by the CPU and copied, with a warning: units with long runs, and all of them if
    the tokenizer is none for a device.

    Args:
        pipeline: the parts of the tokenizer.
        units: documents that are encoded together.
        device: where the ids stay.
        add_special_tokens: adds the special tokens of the post-processor.
        ends: ids to put around each document.

    Yields:
        The ids of each unit.
    """
    from gputok.kernels.cuda.split import TooLong

    around = ids_around(pipeline, add_special_tokens)
    around = around if ends is None else ends.around(around)
    dtype = id_type(pipeline)
    on_cpu = engine_of(pipeline)
    reason = ByDevice.why_not(pipeline)
    if not reason and len(around) != 2:
        reason = "the post-processor leaves the text out, or repeats it"
    if reason:
        warnings.warn(f"the CPU encodes the texts: {reason}", stacklevel=3)

    upload: Callable[[Any], Callable[[], Any]] = device.upload  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

    def copied(unit: TextBatch) -> DeviceTokens:
        found = surrounded(*on_cpu.encode(unit), around)
        with device.active():
            ids, rows = upload(tuple(array.astype(np.int32) for array in found))()
            return DeviceTokens(device.lasting(ids), device.lasting(rows))

    if reason:
        yield from map(copied, units)
        return
    with closing(ByDevice(pipeline, [device], on_cpu, dtype)) as engine:
        for unit in units:
            try:
                found = engine.encode_there(unit, around)
            except (MemoryError, TooLong) as error:
                warnings.warn(f"some text is encoded on the CPU: {error}", stacklevel=3)
                found = None
            yield copied(unit) if found is None else DeviceTokens(*found)


def encode_batches(
    pipeline: Pipeline, batches: Iterable[TextBatch], device: Device, **options: Any
) -> Iterator[DeviceTokens]:
    """Encodes batches of any size, in groups that a device encodes together; options: those of `encode`."""
    groups = grouped(((0, batch) for batch in batches), device.sizes.batch)
    yield from encode(pipeline, (joined(group) for _, group in groups), device, **options)
