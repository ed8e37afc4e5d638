"""Compiled tokenizers: a tokenizer.json whose vocabulary and merges are arrays, with the hash tables that a first text needs.

A file has COMPILED, a stamp that tells who can read it, a checksum of all that follows, the length of a JSON object, this object
(`tokenizer`: the tokenizer.json without its vocabulary and merges; `arrays`: the type, the shape and the place of each), and the
arrays. Who can write a file can give anything the right checksum, so all that kernels index memory by is checked as well: a table
that is wrong and passes gives wrong ids, and nothing worse.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.checks import ID, WrongValue, is_object
from gputok.files.json_text import Packed
from gputok.files.locations import locate
from gputok.kernels import DEAD, Automaton, Pairs, Strings
from gputok.kernels.cpu import compiled, lines, lookup, trie
from gputok.models.bpe.merges import JoinedMerges
from gputok.models.bpe.model import BPE
from gputok.models.unigram.model import Scored, Unigram
from gputok.pipeline import serialize
from gputok.pipeline.encode.text import texts_of
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.version import __version__

if TYPE_CHECKING:
    from gputok.models import Model
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Bytes, Positions

_lookup: Any = lookup
_trie: Any = trie
_FORMAT = 1
_STAMP, _SUM, _SIZE, _OBJECT = 16, 64, 72, 80
"""Where the parts of a file begin."""
_ALIGNED = 64
_OTHERS_WRITE = 0o022
_FORMS = {"data": "u1", "offsets": "i8", "ids": "u4", "merges": "u4 3", "pairs": "u8", "scores": "f8"}
"""Of the arrays that each file has or may have: the type and, if there are two dimensions, the length of a row."""


def packed(pipeline: Pipeline) -> Bytes:
    """Returns the bytes of the compiled tokenizer: uint8[n_bytes]. They depend on nothing but the tokenizer.json."""
    text = b"".join(serialize.tokenizer_json(pipeline, pretty=False))
    pipeline = serialize.read_pipeline(text, "this tokenizer")
    if texts := texts_of(pipeline):  # now its tables are those that a first text needs
        texts.encode("", add_special_tokens=False)
    form, model = serialize.form_of(pipeline, pipeline.model.fields()), pipeline.model
    form["model"] = {name: item for name, item in form["model"].items() if not isinstance(item, Packed)}
    places: dict[str, tuple[str, tuple[int, ...], int]] = {}
    n_bytes, arrays = 0, _arrays_of(model)
    for name, array in arrays.items():
        places[name] = array.dtype.str[1:], array.shape, n_bytes
        n_bytes += _aligned(array.nbytes)
    written = json.dumps({"tokenizer": form, "arrays": places}, ensure_ascii=False, separators=(",", ":")).encode()
    first = _aligned(_OBJECT + len(written))
    memory = np.zeros(first + n_bytes, np.uint8)
    memory[:_SUM] = np.frombuffer(serialize.COMPILED + _stamp(), np.uint8)
    memory[_OBJECT : _OBJECT + len(written)] = np.frombuffer(written, np.uint8)
    for name, (_, _, at) in places.items():
        memory[first + at :][: arrays[name].nbytes] = np.frombuffer(np.ascontiguousarray(arrays[name]), np.uint8)
    memory[_SIZE:_OBJECT].view(np.uint64)[0] = len(written)
    memory[_SUM:_SIZE].view(np.uint64)[0] = compiled.checksum(memory[_SIZE:].view(np.uint64))
    return memory


def memory_of(path: str | os.PathLike[str]) -> Bytes:
    """Returns the bytes of a local file: uint8[n_bytes]. Writing to them changes no file.

    If only its owner can write the file, and this is the user or root, the file is mapped, and processes share its memory. Others
    could cut off, or change after it was checked, what is mapped; so a file that they can write is copied.
    """
    with locate(path).open() as file:
        state = os.fstat(file.fileno())
        if hasattr(os, "geteuid") and state.st_uid in (0, os.geteuid()) and not state.st_mode & _OTHERS_WRITE:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        return np.fromfile(file, np.uint8)


def read(memory: Bytes, source: str) -> Pipeline:
    """Reads what `packed` has written.

    Args:
        memory: uint8[n_bytes]; the pipeline keeps it, and may use it until the pipeline is gone.
        source: the file, with which errors begin.

    Raises:
        ValueError: the file is damaged, or is from another version.
    """
    anew = f"make it anew from its tokenizer.json: gputok convert tokenizer.json {source}"
    stamp = memory[_STAMP:_SUM].tobytes()
    if len(memory) >= _OBJECT and stamp != _stamp():
        by, this = (each.decode("ascii", "backslashreplace").strip() for each in (stamp, _stamp()))
        raise ValueError(f"{source}: was compiled by {by}, but this is {this}; {anew}")
    try:
        return _read(memory, source)
    except WrongValue as error:
        raise ValueError(f"{source}: this compiled tokenizer is damaged: {error}; {anew}") from None


def _read(memory: Bytes, source: str) -> Pipeline:
    if len(memory) < _OBJECT or len(memory) % _ALIGNED:
        raise WrongValue(f"its {len(memory):,} bytes are not all")
    if compiled.checksum(memory[_SIZE:].view(np.uint64)) != int(memory[_SUM:_SIZE].view(np.uint64)[0]):
        raise WrongValue(f"the checksum of its {len(memory):,} bytes is wrong")
    size = int(memory[_SIZE:_OBJECT].view(np.uint64)[0])
    value = serialize.read_json(memory[_OBJECT : _OBJECT + size].tobytes(), source)
    form = value.get("tokenizer")
    if not is_object(form) or not is_object(form.get("model")):
        raise WrongValue("it holds no tokenizer")
    take = _Arrays(memory[_aligned(_OBJECT + size) :], value.get("arrays"))
    vocabulary = _vocabulary(take)
    form["model"] |= {"vocab": vocabulary}
    if (scores := take("scores", _FORMS["scores"])) is not None:
        form["model"]["vocab"] = _scored(vocabulary, scores)
    if (merges := take("merges", _FORMS["merges"])) is not None:
        form["model"]["merges"] = _merges(vocabulary, merges, take("pairs", _FORMS["pairs"]))
    take.stored(vocabulary)
    pipeline = serialize.pipeline_of(form, source)
    take.stored(pipeline.model)
    return pipeline


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNED) * _ALIGNED


@functools.cache
def _stamp() -> bytes:
    """Returns what must be the same where a file is written and read. Small tables tell whether kernels hash in the same way."""
    data, offsets = pack(["a", "in", "the", "words", "tokenizers"])
    few = np.arange(5)
    strings, pairs = lookup.index_strings(data, offsets), _lookup.index_pairs(few, few[::-1], few, 9)
    tables = strings.slots, pairs.slots, _trie.build_trie(data, offsets, few).reshape(-1)
    kernels = compiled.checksum(np.concatenate(tables)) & 0xFFFFFFFF
    stamp = f"gputok {__version__}, {sys.byteorder} {_FORMAT}.{kernels:08x}".encode()
    return stamp[: _SUM - _STAMP].ljust(_SUM - _STAMP)


# -- arrays


def _arrays_of(model: Model) -> dict[str, Array]:
    vocabulary = model.vocabulary
    found = {"data": vocabulary.data, "offsets": vocabulary.offsets}
    if not vocabulary.in_order:
        found["ids"] = vocabulary.ids
    if isinstance(model, Unigram):
        found["scores"] = model.scores
    if isinstance(model, BPE):
        _, found["merges"], pairs = model.joined_merges()
        if pairs is not None:
            found["pairs"] = pairs.slots
    for owner in (vocabulary, model):
        for name in owner.stored:
            table: Any = vars(owner).get(name)
            if table is not None:
                check, *forms = _STORED[name]
                parts: list[Array] = [table] if hasattr(table, "dtype") else [*table[: len(forms)]]
                with contextlib.suppress(WrongValue):  # of other classes of automata
                    check(owner, *parts)
                    found |= {f"{name} {i}": part for i, part in enumerate(parts)}
    return found


class _Arrays:
    """The arrays of a file, by name."""

    def __init__(self, memory: Bytes, places: Any) -> None:
        self._memory, self._places = memory, places if is_object(places) else {}

    def __call__(self, name: str, form: str) -> Array | None:
        """Returns an array, which must have this form of _FORMS, or None if the file has none of this name."""
        place = self._places.get(name)
        if place is None:
            return None
        code, *columns = form.split()
        try:
            given, shape, at = place
            n_bytes = math.prod(shape) * np.dtype(code).itemsize
            fits = given == code and len(shape) == 1 + len(columns) and at % _ALIGNED == 0
            fits = fits and all(n == int(column) for n, column in zip(shape[1:], columns, strict=True) if column != "*")
            if fits and min(*shape, at) >= 0 and len(part := self._memory[at : at + n_bytes]) == n_bytes:
                return part.view(code).reshape(shape)
        except (TypeError, ValueError):
            pass
        raise WrongValue(f"it has no place for the array {name!r}")

    def stored(self, owner: Vocabulary | Model) -> None:
        """Gives an object its derived values that the file has, after a check."""
        for name in owner.stored:
            check, *forms = _STORED[name]
            parts = [self(f"{name} {i}", form) for i, form in enumerate(forms)]
            if all(part is not None for part in parts):
                vars(owner)[name] = check(owner, *parts)


# -- checks


def _vocabulary(take: _Arrays) -> Vocabulary:
    data, offsets, ids = (take(name, _FORMS[name]) for name in ("data", "offsets", "ids"))
    if data is None or offsets is None:
        raise WrongValue("it has no vocabulary")
    vocabulary = Vocabulary(data, offsets, ids)
    if ids is not None and ids.max(initial=0) > ID:
        raise WrongValue("an id is too large")
    if not lines.is_utf8(data) or (data[offsets[offsets < len(data)]] & 0xC0 == 0x80).any():
        raise WrongValue("a token is no UTF-8")
    return vocabulary


def _scored(vocabulary: Vocabulary, scores: Array) -> Scored:
    if not vocabulary.in_order or len(scores) != len(vocabulary) or not np.isfinite(scores).all():
        raise WrongValue("its tokens have no scores")
    return Scored(vocabulary, scores)


def _merges(vocabulary: Vocabulary, merges: Array, slots: Array | None) -> JoinedMerges:
    if (wrong := compiled.wrong_merge(vocabulary.data, vocabulary.offsets, merges)) >= 0:
        raise WrongValue(f"merge {wrong} joins other tokens than it makes")
    if slots is None:
        return JoinedMerges(vocabulary, merges)
    none = np.empty(0, np.uint32)
    bits = _lookup.index_pairs(none, none, none, len(vocabulary)).bits
    n_free = _check_table(slots, lookup.FREE, 0, 64 - 2 * bits, range(len(merges)))
    if len(slots) - n_free != len(merges):
        raise WrongValue("a merge is missing in their table")
    return JoinedMerges(vocabulary, merges, Pairs(slots, bits))


def _check_table(slots: Array, *numbers: Any) -> int:
    """Returns how many slots of a hash table are free, at least one; numbers: see `free_slots`."""
    n = len(slots)
    n_free = compiled.free_slots(slots, *numbers) if n >= _LEAST_SLOTS and not n & n - 1 else 0
    if n_free < 1:
        raise WrongValue("it has a wrong hash table")
    return n_free


_LEAST_SLOTS = 4
"""So many slots of pairs are read together."""


def _strings(vocabulary: Vocabulary, slots: Array) -> Strings:
    _check_table(slots, 0, 0, 32, range(1, len(vocabulary) + 1))
    return Strings(slots, vocabulary.data, vocabulary.offsets)


def _byte_strings(model: Model, slots: Array, data: Bytes, offsets: Positions) -> Strings:
    return _strings(Vocabulary(data, offsets), slots)


def _edges(model: Model, edges: Array) -> Array:
    """Checks a trie, which must end in ids of tokens; above them, 0 is for no token."""
    vocabulary = model.vocabulary
    _check_table(edges, 0, 32, 32, range(int(vocabulary.ids.max(initial=0)) + 2))
    if not vocabulary.in_order:
        found = edges[edges[:, 0] > 0, 1] >> 32
        if not np.isin(found[found > 0] - 1, vocabulary.ids).all():
            raise WrongValue("its trie has ids that no token has")
    return edges


def _byte_ranks(model: BPE, ranks: Array) -> Array:
    n = len(np.unique(model.merges[:, 2]) if model.sentencepiece else model.merges)
    if len(ranks) != 256 or not ((ranks < n) | (ranks == lookup.NONE)).all():
        raise WrongValue("the rank of a pair of bytes is too large")
    return ranks


def _cuts(
    model: BPE, ascii_class: Array, page: Array, member: Array, delta: Array, accept: Array, strong: Array
) -> Any:
    """Checks the automaton of `safe_cuts`: each state but the first accepts where it doesn't go on, so no match is taken back."""
    (n, width), dead = delta.shape, delta == DEAD
    shapes = len(ascii_class), len(page), accept.shape, strong.shape
    if (
        shapes != (128, 0x110000 >> 7, (n, width), (width - 1, width - 1))
        or n < 2
        or width > 256
        or max(ascii_class.max(), member.max(initial=0)) >= width - 1
        or page.max() >= len(member)
        or not (dead | (delta - 1 < n - 1)).all()
        or not (dead[1:] == accept[1:]).all()
        or accept[0].any()
        or dead[0, :-1].any()
        or not dead[:, -1].all()
    ):
        raise WrongValue("it has a wrong automaton")
    return Automaton(ascii_class, page, member, delta, accept, strong, gapless=True)


_STORED: dict[str, Any] = {
    "strings": (_strings, "u8"),
    "byte_strings": (_byte_strings, "u8", "u1", "i8"),
    "byte_ranks": (_byte_ranks, "u4 256"),
    "cuts": (_cuts, "u1", "u2", "u1 128", "u2 *", "u1 *", "u1 *"),
    "edges": (_edges, "u8 2"),
}
"""Of each derived value that is kept: the check, which gets its owner and arrays, and the forms of its first arrays."""
