"""Compiled tokenizers: a tokenizer.json whose vocabulary and merges are arrays, with the hash tables for encoding.

A file has, in this order: `serialize.COMPILED`, a stamp that tells which gputok can read the file, a checksum of all
that follows, the length of a JSON object, this object (`tokenizer`: the tokenizer.json without its vocabulary and
merges; `arrays`: the type and the shape of each array, and where it begins), and the arrays. Anyone who can write a
file can also give it the right checksum. So all numbers by which kernels index memory are checked, too: a wrong table
that passes these checks gives wrong ids, and nothing worse.
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
from gputok.files.locations import opened
from gputok.kernels import DEAD, Automaton, Pairs, Strings
from gputok.kernels.cpu import compiled, lines, lookup, trie
from gputok.models.bpe.model import BPE, JoinedMerges
from gputok.pipeline import serialize
from gputok.pipeline.encode.text import texts_of
from gputok.tokens.added_token import tokens_of_columns
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.version import __version__

if TYPE_CHECKING:
    from gputok.models import Model
    from gputok.pipeline.pipeline import Pipeline
    from gputok.tokens.added_token import AddedToken
    from gputok.types import Array, Bytes, Ids, Positions

_lookup: Any = lookup
_trie: Any = trie
_FORMAT = 2
_STAMP, _SUM, _SIZE, _OBJECT = 16, 64, 72, 80
"""The bytes of a file at which the stamp, the checksum, the length of the JSON object, and this object begin."""
_ALIGNED = 64  # each array begins at a multiple of this many bytes
_OTHERS_WRITE = 0o022  # bits of a file's mode: its group or all users may write it
_LEAST_SLOTS = 4  # a kernel reads so many slots of a table of pairs together, and no table has fewer


def packed(pipeline: Pipeline) -> Bytes:
    """Returns the bytes of the compiled tokenizer: uint8[n_bytes]. They depend on nothing but the tokenizer.json."""
    text = b"".join(serialize.tokenizer_json(pipeline, pretty=False))
    pipeline = serialize.read_pipeline(text, "this tokenizer")
    texts_of(pipeline)  # makes the tables that the first text of a process needs
    tables, model = _tables_of(pipeline), pipeline.model.fields()
    form = serialize.form_of(pipeline, {key: item for key, item in model.items() if not isinstance(item, Packed)})
    form["added_tokens"] = [token["content"] for token in form["added_tokens"]]
    places: dict[str, list[Any]] = {name: [] for name in tables}
    body = bytearray()
    for name, array in ((name, array) for name, arrays in tables.items() for array in arrays):
        places[name].append((array.dtype.str[1:], array.shape, len(body)))
        body += array.tobytes().ljust(_aligned(array.nbytes), b"\0")
    written = json.dumps({"tokenizer": form, "arrays": places}, ensure_ascii=False, separators=(",", ":")).encode()
    head = b"".join([serialize.COMPILED, _stamp(), bytes(8), len(written).to_bytes(8, sys.byteorder), written])
    memory = np.frombuffer(bytearray(head.ljust(_aligned(len(head)), b"\0") + body), np.uint8)
    memory[_SUM:_SIZE].view(np.uint64)[0] = compiled.checksum(memory[_SIZE:].view(np.uint64))
    return memory


def memory_of(path: str | os.PathLike[str]) -> Bytes:
    """Returns the bytes of a local file: uint8[n_bytes]. Writing to this array does not change the file.

    If only the owner can write the file, and the owner is the user of this process or root, the file is mapped, so that
    processes share its memory. Any other file is read: other users could shorten or change it after it was checked.
    """
    with opened(path) as file:
        state = os.fstat(file.fileno())
        if hasattr(os, "geteuid") and state.st_uid in (0, os.geteuid()) and not state.st_mode & _OTHERS_WRITE:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        return np.fromfile(file, np.uint8)


def read(memory: Bytes, source: str) -> Pipeline:
    """Reads what `packed` has written; raises ValueError if it is damaged, or from another version.

    memory: uint8[n_bytes], writable; the pipeline keeps it. source: the name of the file, with which errors begin.
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
    tables = _Tables(memory[_aligned(_OBJECT + size) :], value.get("arrays"))
    vocabulary = _vocabulary(*(tables["vocabulary"] or [None] * 3))
    tables.give(vocabulary)
    form["model"]["vocab"] = vocabulary
    if scores := tables["scores"]:
        form["model"]["vocab"] = _scored(vocabulary, *scores)
    if merges := tables["merges"]:
        form["model"]["merges"] = _merges(vocabulary, *merges, *(tables["pairs"] or []))
    added = _added(form.pop("added_tokens", None), *(tables["added"] or [None]))
    pipeline = serialize.pipeline_of(form, source).with_added(added)[0]
    tables.give(pipeline.model)
    return pipeline


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNED) * _ALIGNED


@functools.cache
def _stamp() -> bytes:
    """Returns what must be the same where a file is written and where it is read: version, byte order, format, hashing.

    Hashing: a checksum of small hash tables tells whether the kernels of both hash alike.
    """
    data, offsets = pack(["a", "in", "the", "words", "tokenizers"])
    few = np.arange(5)
    strings, pairs = lookup.index_strings(data, offsets), _lookup.index_pairs(few, few[::-1], few, 9)
    tables = strings.slots, pairs.slots, _trie.build_trie(data, offsets, few).reshape(-1)
    kernels = compiled.checksum(np.concatenate(tables)) & 0xFFFFFFFF
    stamp = f"gputok {__version__}, {sys.byteorder} {_FORMAT}.{kernels:08x}".encode()
    return stamp[: _SUM - _STAMP].ljust(_SUM - _STAMP)


# -- tables, each of some arrays


def _tables_of(pipeline: Pipeline) -> dict[str, list[Array]]:
    model, vocabulary = pipeline.model, pipeline.model.vocabulary
    found: dict[str, list[Array]] = {"vocabulary": [vocabulary.data, vocabulary.offsets, vocabulary.ids]}
    if (scores := getattr(model, "scores", None)) is not None:
        found["scores"] = [scores]
    if isinstance(model, BPE):
        _, merges, pairs = model.joined_merges()
        found |= {"merges": [merges.T], "pairs": [] if pairs is None else [pairs.slots]}
    options = [[*token.to_dict().values()][1:] for _, token in sorted(pipeline.added.tokens.items())]
    found["added"] = [np.array(options, np.uint8).reshape(-1, 5)]
    for owner in (vocabulary, model):
        for name in owner.stored:
            table: Any = vars(owner).get(name)
            if table is not None:
                parts = [table] if hasattr(table, "dtype") else [*table[: len(_FORMS[name])]]
                with contextlib.suppress(WrongValue):  # an automaton that `_cuts` does not accept is left out
                    _CHECKS[name](owner, *parts)
                    found[name] = parts
    return found


class _Tables:
    """The tables of a file."""

    def __init__(self, memory: Bytes, places: Any) -> None:
        self._memory, self._places = memory, places if is_object(places) else {}

    def __getitem__(self, name: str) -> list[Array] | None:
        """Returns the arrays of a table, of the types and shapes of `_FORMS`; None: the file has no such table."""
        places = self._places.get(name)
        if not places:
            return None
        with contextlib.suppress(TypeError, ValueError):
            return [self._array(form, *place) for form, place in zip(_FORMS[name], places, strict=True)]
        raise WrongValue(f"it has no place for {name!r}")

    def _array(self, form: str, code: Any, shape: Any, at: Any) -> Array:
        wanted, *lengths = form.split()
        n_bytes = math.prod(shape) * np.dtype(wanted).itemsize
        part = self._memory[at : at + n_bytes]
        fits = all(length in ("*", str(n)) for n, length in zip(shape, lengths, strict=True))
        if not fits or code != wanted or min(*shape, at) < 0 or at % _ALIGNED or len(part) != n_bytes:
            raise ValueError
        return part.view(wanted).reshape(shape)

    def give(self, owner: Vocabulary | Model) -> None:
        """Sets those derived values of a vocabulary or a model that the file has, after a check."""
        for name in owner.stored:
            if arrays := self[name]:
                vars(owner)[name] = _CHECKS[name](owner, *arrays)


_FORMS = {
    "vocabulary": ("u1 *", "i8 *", "u4 *"),
    "scores": ("f8 *",),
    "merges": ("u4 3 *",),
    "pairs": ("u8 *",),
    "added": ("u1 * 5",),
    "strings": ("u8 *",),
    "byte_strings": ("u8 *", "u1 *", "i8 *"),
    "byte_ranks": ("u4 256 256",),
    "cuts": ("u1 128", "u2 8704", "u1 * 128", "u2 * *", "u1 * *", "u1 * *"),
    "edges": ("u8 * 2",),
}
"""Table -> the type, and the length of each dimension (*: any), of each of its arrays."""


# -- checks


def _vocabulary(data: Bytes | None, offsets: Positions | None, ids: Ids | None) -> Vocabulary:
    if data is None or offsets is None or ids is None or ids.max(initial=0) > ID:
        raise WrongValue("it has no vocabulary")
    vocabulary = Vocabulary(data, offsets, ids)
    begins = data[offsets[: np.searchsorted(offsets, len(data))]]
    # A byte from 0x80 to 0xBF continues a character
    if not lines.is_utf8(data) or begins.view(np.int8).min(initial=0) < -0x40:
        raise WrongValue("a token is no UTF-8")
    return vocabulary


def _added(contents: Any, switches: Array | None) -> list[AddedToken]:
    with contextlib.suppress(TypeError, ValueError):  # contents that are no list, or not as many as rows of switches
        made = None if switches is None else tokens_of_columns(contents, *(switches > 0).T.tolist())
        if made is not None:
            return made
    raise WrongValue("it has wrong added tokens")


def _scored(vocabulary: Vocabulary, scores: Array) -> Any:
    from gputok.models.unigram.model import Scored

    if not vocabulary.in_order or len(scores) != len(vocabulary) or not np.isfinite(scores).all():
        raise WrongValue("its tokens have no scores")
    return Scored(vocabulary, scores)


def _merges(vocabulary: Vocabulary, merges: Array, slots: Array | None = None) -> JoinedMerges:
    """Checks the numbers of the tokens of each merge, and that the new token is as long as the other two together.

    No kernel relies on the bytes of the new token, so they are not checked. But without a check of lengths, a few
    merges could make a token of more bytes than the vocabulary has.
    """
    if (wrong := compiled.wrong_merge(vocabulary.offsets, merges)) >= 0:
        raise WrongValue(f"merge {wrong} joins other tokens than it makes")
    if slots is None:
        return JoinedMerges(vocabulary, merges.T)
    none, n_slots, n, m = np.empty(0, np.uint32), len(slots), len(vocabulary), merges.shape[1]
    bits = _lookup.index_pairs(none, none, none, n).bits
    if n_slots < _LEAST_SLOTS or n_slots & n_slots - 1 or compiled.free_pairs(slots, bits, n, m) < 1:
        raise WrongValue("the table of its merges is wrong")
    return JoinedMerges(vocabulary, merges.T, Pairs(slots, bits))


def _check_table(slots: Array, *numbers: Any) -> None:
    """Checks that some slot of a hash table is free, and what `free_slots` checks; numbers: its other arguments."""
    if not len(slots) or len(slots) & len(slots) - 1 or compiled.free_slots(slots, *numbers) < 1:
        raise WrongValue("it has a wrong hash table")


def _strings(vocabulary: Vocabulary, slots: Array) -> Strings:
    _check_table(slots, 0, 0, 32, range(1, len(vocabulary) + 1))
    return Strings(slots, vocabulary.data, vocabulary.offsets)


def _byte_strings(model: Model, slots: Array, data: Bytes, offsets: Positions) -> Strings:
    if len(offsets) != len(model.vocabulary.offsets):
        raise WrongValue("its tokens have no bytes")
    return _strings(Vocabulary(data, offsets, model.vocabulary.ids), slots)


def _edges(model: Model, edges: Array) -> Array:
    """Checks a trie: the upper half of an edge's value must be 0 (no token ends there), or the id of a token + 1."""
    vocabulary = model.vocabulary
    _check_table(edges, 0, 32, 32, range(int(vocabulary.ids.max(initial=0)) + 2))
    if not vocabulary.in_order:
        found = edges[edges[:, 0] > 0, 1] >> 32
        if not np.isin(found[found > 0] - 1, vocabulary.ids).all():
            raise WrongValue("its trie has ids that no token has")
    return edges


def _byte_ranks(model: BPE, ranks: Array) -> Array:
    n = len(np.unique(model.merges[:, 2]) if model.sentencepiece else model.merges)
    if not ((ranks < n) | (ranks == lookup.NONE)).all():
        raise WrongValue("the rank of a pair of bytes is too large")
    return ranks


def _cuts(
    model: BPE, ascii_class: Array, page: Array, member: Array, delta: Array, accept: Array, strong: Array
) -> Any:
    """Checks the automaton of `safe_cuts`, whose matches must cover any text without gaps.

    So each character leads on from the first state, and any other state accepts exactly where it does not lead on.
    """
    (n, width), dead = delta.shape, delta == DEAD
    if (
        (accept.shape, strong.shape) != ((n, width), (width - 1, width - 1))
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


_CHECKS: dict[str, Any] = {
    "strings": _strings,
    "byte_strings": _byte_strings,
    "byte_ranks": _byte_ranks,
    "cuts": _cuts,
    "edges": _edges,
}
"""Name of a derived value -> a function that checks its arrays and makes the value, of its owner and these arrays."""
