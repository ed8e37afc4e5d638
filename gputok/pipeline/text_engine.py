"""The memory, the kernel and the special tokens that `encode_text` encodes the short texts of a pipeline with."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.encoding.rows import Margins
from gputok.kernels.native import choose
from gputok.kernels.native.objects import new_call
from gputok.pipeline.frame import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.kernels.cpu.short_texts.handle import Handle
    from gputok.models import Model
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array

Kernel = Callable[[int, int, int, int], int]
"""kernel(address of a handle, address of a text, number of its bytes, flags) -> number of tokens, or below 0."""

HEAD = bytes.__basicsize__ - 1
"""The number of bytes in front of the text of a bytes object: the memory layout of every version of CPython."""

_PROBE = b"where is it"
_FEW_IDS, _MANY_IDS = 64, 1 << 17
"""Lists of fewer ids are made by NumPy; after so many ids, a list shares the objects of its numbers with other lists."""
_CACHED_WORDS = 1 << 14  # each thread keeps so many words, in a megabyte


class Scratch:
    """A copy of a handle with its own memory, for one text at a time."""

    __slots__ = ("address", "begins", "call", "ends", "handle", "ids", "kept", "words")

    def __init__(self, engine: Engine) -> None:
        from gputok.kernels.cpu.encode_words import word_cache
        from gputok.kernels.cpu.short_texts import encode as short_text

        self.handle = handle = short_text.with_memory(engine.handle, word_cache(_CACHED_WORDS))
        self.address = handle.address
        self.call: Any = self  # what `Engine.ids_of` takes
        if engine.builtins is not None:
            ids, longest = handle.array(short_text.IDS), (engine.longest[0], engine.longest[1])
            self.kept = new_call(engine.kernel.entry, handle.address, longest, ids, engine.integers)  # pyright: ignore[reportFunctionMemberAccess]
            self.call = self.kept.__array_interface__["data"][0]
        self.ids: memoryview[int] = handle.array(short_text.IDS).data
        self.begins: memoryview[int] = handle.array(short_text.BEGINS).data
        self.ends: memoryview[int] = handle.array(short_text.ENDS).data
        self.words: memoryview[int] = handle.array(short_text.WORDS).data


class Engine:
    """A handle for all texts of a pipeline, and the memory that calls have used and later calls use again.

    Attributes:
        handle: the tables of the model and the steps before the model.
        kernel: encodes a text.
        free: memory that no call uses now. A list, because its `pop` and `append` are atomic.
        longest: the largest number of bytes of a text without and with special tokens; -1: no text.
        trims: see `_trims`.
        margins: the white space at the ends of each token.
        builtins: functions of machine code instead of Python; None: the kernels were compiled by Numba.
        ids_of: ids_of(scratch.call, text, flags) -> the ids; or -1, if the text is too long or becomes too long.
        integers: int64[2], the address of the objects of the first ids, and their number, or 0.
    """

    def __init__(self, pipeline: Pipeline, handle: Handle, kernel: Kernel) -> None:
        from gputok.kernels.cpu.short_texts import encode as short_text

        self.handle, self.kernel = handle, kernel
        self.free: list[Scratch] = []
        plain, special = Frame.of(pipeline, False), Frame.of(pipeline, True)
        self._frames = plain, special
        self.trims = _trims(pipeline)
        self.margins = Margins(pipeline.names.spelling)
        self.longest = [
            short_text.LONGEST if plain is not None and not plain.n_special else -1,
            short_text.LONGEST if special is not None and special.n_special <= short_text.MAX_SPECIAL else -1,
        ]
        code = choose()
        self.builtins, self.integers = code.builtins, np.zeros(2, np.int64)
        self._objects: npt.NDArray[np.object_] | None = None
        self._n_listed = 0
        self.ids_of = code.builtins.encode_ids if code.builtins else self._ids_by_kernel
        if special is not None:
            handle.put(short_text.BEFORE, np.array(special.before["ids"], np.uint32))
            handle.put(short_text.AFTER, np.array(special.after["ids"], np.uint32))

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Returns None if a handle can't hold the steps or the model of the pipeline."""
        from gputok.pipeline.text_steps import steps_of

        if ctypes.string_at(id(_PROBE) + HEAD, len(_PROBE) + 1) != _PROBE + b"\0":
            return None  # not CPython
        if pipeline.model.is_random or (found := steps_of(pipeline)) is None:
            return None
        from gputok.kernels.cpu.short_texts import encode as short_text
        from gputok.kernels.cpu.short_texts import steps as short_steps

        handle = short_text.new_handle()
        kernel = _put_model(handle, pipeline.model, found.byte_level)
        if kernel is None:
            return None
        handle.put(short_steps.STEPS, np.stack([step.slots for step in found.steps]))
        handle.put(short_steps.N_STEPS, len(found.steps))
        handle.put(short_steps.ASKS_ORIGIN, pipeline.way.at_start)
        handle.keep(found.steps)
        return cls(pipeline, handle, kernel)

    def _ids_by_kernel(self, memory: Scratch, text: str, flags: int) -> list[int] | int:
        raw = text.encode()
        if len(raw) > self.longest[flags & 1]:
            return -1
        n = self.kernel(memory.address, id(raw) + HEAD, len(raw), flags)
        return memory.ids[:n].tolist() if n >= 0 else -1

    def list_of(self, ids: Array, pipeline: Pipeline) -> list[int]:
        """Returns an array of ids as a list: of objects that are made once, when many ids have been listed."""
        if self.builtins is None or len(ids) < _FEW_IDS:
            return ids.tolist()
        self._n_listed += len(ids)
        if self._objects is None and self._n_listed > _MANY_IDS:
            self._objects = objects = pipeline.names.integers
            self.integers[0] = objects.__array_interface__["data"][0]
            self.integers[1] = len(objects)
        ids = np.ascontiguousarray(ids)
        address = ids.__array_interface__["data"][0]
        return self.builtins.list_ids(address, len(ids), ids.itemsize, *self.integers.tolist())

    def frame(self, special: int) -> Frame:
        """Returns the frame of texts without (0) or with (1) special tokens; only called for texts that were encoded."""
        frame = self._frames[special]
        assert frame is not None
        return frame

    def n_special(self) -> list[int]:
        """Returns how many special tokens come with a text: without and with `add_special_tokens`."""
        return [frame.n_special if frame else 0 for frame in self._frames]


def _put_model(handle: Handle, model: Model, byte_level: bool) -> Kernel | None:
    """Puts the tables of a model into a handle, and returns the kernel for them; None: a handle can't hold the model."""
    from gputok import models
    from gputok.kernels.cpu.lookup import NONE
    from gputok.kernels.cpu.short_texts import encode as short_text

    match model:
        case models.BPE():
            tables = model.tables(byte_level)
            if tables is None or (len(tables.unk) and tables.unk[0] == NONE):
                return None
            if len(tables.fallback) and len(tables.prefix) + len(tables.suffix):
                return None  # a character can become more tokens than it has bytes
            short_text.put_bpe(handle, tables)
            return short_text.encode_bpe
        case models.WordPiece() if not byte_level:
            if model.tables.unk == NONE:
                return None
            short_text.put_wordpiece(handle, model.tables)
            return short_text.encode_wordpiece
        case models.Unigram() if not byte_level:
            short_text.put_unigram(handle, model.tables)
            return short_text.encode_unigram
        case models.WordLevel() if not byte_level:
            unk = model.vocabulary.find([model.unk_token])[0]
            names = model.vocabulary.strings, model.vocabulary.ids
            short_text.put_wordlevel(handle, *names, -1 if unk is None else unk)
            return short_text.encode_wordlevel
        case _:
            return None


def _trims(pipeline: Pipeline) -> list[bool] | None:
    """The option `add_prefix_space` of each post-processor that trims offsets; None: one trims after tokens were added."""
    from gputok import processors

    processor = pipeline.post_processor
    parts = [processor] if processor is not None else []
    if isinstance(processor, processors.Sequence):
        parts = [*processor.processors]
    found: list[bool] = []
    added = False
    for part in parts:
        if isinstance(part, processors.ByteLevel | processors.RobertaProcessing) and part.trim_offsets:
            if added:
                return None
            found.append(part.add_prefix_space)
        elif isinstance(part, processors.Sequence):
            return None
        added |= not isinstance(part, processors.ByteLevel)
    return found
