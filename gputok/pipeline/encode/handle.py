"""What `encode.text` encodes short texts with: a handle (tables and steps, as kernels read them), memory, kernels."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok import processors
from gputok.automaton import PATTERNS, compile_literal, compile_pattern
from gputok.automaton.pattern import cut_rule, matcher
from gputok.encoding.rows import margin
from gputok.kernels import Compositions
from gputok.kernels.builtins import ColumnCalls, TokenTexts, builtin_functions, new_call, new_texts
from gputok.kernels.cpu.encode_corpus.cache import grown, new_cache
from gputok.kernels.cpu.encode_one import encode as short_text
from gputok.kernels.cpu.encode_one import positions
from gputok.kernels.cpu.encode_one import steps as short_steps
from gputok.kernels.cpu.encode_one import units as unit_kernels
from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.signatures import NamedTuple
from gputok.pipeline.encode.units import Walked, engine_of
from gputok.pipeline.special_tokens import Frame
from gputok.pipeline.way import walks_of
from gputok.pool import Pool, most_lines
from gputok.text.pieces import byte_table
from gputok.text.unicode_maps import character_map, compositions, grapheme_classes, normalization_form
from gputok.text.way import Before, Unit, Way

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.normalizers import Normalizer, Replace
    from gputok.pipeline.added_vocabulary import AddedVocabulary, Names
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import Metaspace, PreTokenizer
    from gputok.types import Array

Kernel = Callable[[int, int, int, int], int]
"""kernel(address of a handle, address of a text, number of its bytes, flags) -> number of tokens, or below 0."""

HEAD = bytes.__basicsize__ - 1  # bytes before the text of a bytes object: the layout of every version of CPython
ANY = 1 << 62  # more than the tokens or bytes of any text
_PROBE = b"where is it"
_CACHED_WORDS = 1 << 14  # words that the cache of words of a thread has room for, in a megabyte
_FIRST_LINES = 1 << 13  # of the cache of units of a thread, in a megabyte; it grows with the number of different units
RENEWED_AFTER = 1 << 15  # bytes of text after which the size of the cache and the walk's tables are looked at again


class TextCall:
    """A kernel with its handle, which has memory for one text at a time."""

    __slots__ = ("_kept", "address", "handle", "ids", "kernel", "longest", "most")

    def __init__(self, engine: TextEngine, kernel: Kernel, handle: Handle, ids: Array, longest: int) -> None:
        self.handle = handle  # which owns the memory at the address
        self.kernel, self.address, self.ids = kernel, handle.address, ids.data
        self.longest, self.most = (min(engine.longest[0], longest), min(engine.longest[1], longest)), longest
        self._kept: tuple[Any, Any] | None = None
        if engine.builtins is not None:
            self._kept = new_call(kernel, handle.address, self.longest, ids)

    @property
    def given(self) -> Any:
        """What `TextEngine.ids_of` takes: a call of machine code, or this object."""
        return self if self._kept is None else self._kept[1]


class Units(NamedTuple):
    """How texts without positions are cut into units; see `gputok.kernels.cpu.encode_one.units`."""

    handle: Handle
    inside: list[Handle]  # the steps for each unit
    walks: Any  # a `Walks`
    words: Any  # the ShortWords of the model, whose tokens side by side are the text; None: it has none
    by_byte: bool  # the bytes of words stand for characters of the ByteLevel alphabet
    # Makes the tables of the model for much text, once, and the ShortWords of bytes or None; None: there are no others
    faster: Any
    is_led: bool  # a space may be put before the parts of a text beside added tokens


class Scratch:
    """Copies of handles with their own memory, for one text at a time, without a reference to the engine that keeps it.

    Attributes:
        steps: encodes a short text by all steps, and writes the positions and words of its tokens if asked for.
        units: encodes any text of a moderate length, without positions; None: `steps` does that.
        call: what `TextEngine.ids_of` takes to encode a text without positions.
    """

    def __init__(self, engine: TextEngine, renewed_after: int = RENEWED_AFTER) -> None:
        self._ids_of, self._renewed_after = engine.ids_of, renewed_after
        handle = short_text.with_memory(engine.handle, word_cache(_CACHED_WORDS))
        self.steps = TextCall(engine, short_text.encode_text, handle, handle["ids"], short_text.LONGEST)
        self.call: Any = self.steps.given
        self._positions: TextCall | None = None
        self.cache, self.units = None, None
        if engine.units is not None:
            self._cut_into_units(engine, engine.units, handle)
        self.begins: memoryview[int] = handle["begins"].data
        self.ends: memoryview[int] = handle["ends"].data
        self.words: memoryview[int] = handle["words"].data

    def _cut_into_units(self, engine: TextEngine, units: Units, handle: Handle) -> None:
        inner = handle.copy()
        short_steps.put_steps(inner, units.inside)
        self.cache, self._n_bytes = new_cache(4, _FIRST_LINES), 0
        self._handle = unit_kernels.with_memory(units.handle, inner)
        ids = self._handle["ids"]
        self._walks, self._faster, self._inner = units.walks, units.faster, inner
        self.units = TextCall(engine, unit_kernels.encode_units, self._handle, ids, unit_kernels.MOST_BYTES)
        self.call = self.units.given
        self._renew(0)

    def _renew(self, n_bytes: int) -> None:
        """Looks at the size of the cache and at the tables of the walk and of the model; n_bytes: of the next text."""
        assert self.cache is not None
        # In the first call n_bytes is 0: then faster tables are taken only if they have been made already
        if self._faster is not None and (n_bytes or self._faster.cache_info().currsize):
            tables, words = self._faster()
            for handle in (self._inner, self.steps.handle):
                handle.put(model=tables.address)
                handle.keep(tables)
            if words is not None and self._handle["grouped"]:
                self._handle.put(words=words)
            self._faster = None
        self.cache = grown(self.cache, most_lines())
        self._handle.put(cache=self.cache, walk=self._walks.of(self._n_bytes))
        self._n_bytes = n_bytes + self._renewed_after
        self._handle["left"][0] = self._n_bytes

    def positions(self, engine: TextEngine) -> TextCall:
        """Returns the call that encodes a text and writes the positions of its tokens, but not always their words."""
        if self._positions is None:
            self._positions, lengths = self.steps, engine.lengths()
            if lengths is not None and (units := engine.units) is not None:
                handle = self.steps.handle
                handle.put(units=self._handle.address, lengths=lengths, by_byte=units.by_byte)
                kernel, longest = positions.encode_positions, unit_kernels.MOST_BYTES
                self._positions = TextCall(engine, kernel, handle, handle["ids"], longest)
        return self._positions

    def expect(self, n_bytes: int) -> None:
        """Renews the cache and the tables now if the next `n_bytes` bytes of text would ask for that."""
        if self.units is not None and self._handle["left"][0] < n_bytes:
            self._renew(n_bytes)

    def again(self, text: str, flags: int, why: int) -> bytes | int:
        """Encodes a text for which `call` has given a negative number. -> the ids; -1: other stages must encode it."""
        ids: bytes | int = why
        if ids == unit_kernels.RENEW:
            self._renew(len(text.encode()))
            ids = self._ids_of(self.call, text, flags)
        return self._ids_of(self.steps.given, text, flags) if isinstance(ids, int) else ids


class TextEngine:
    """A handle for all texts of a pipeline, and the memory that calls have used and later calls use again.

    Attributes:
        handle: the tables of the model and the steps before the model.
        scratch: memory that no call uses now; `take` it with this engine, to which it has no reference.
        n_special: how many special tokens come with a text: without and with `add_special_tokens`.
        longest: the largest number of bytes of a text without and with special tokens; -1: no text.
        trims: see `_trims`.
        trim: kernel(address of a handle, first, last): trims the positions of tokens; below 0: first `learn` their ids.
        builtins: functions of machine code in place of Python; None: the kernels were compiled by Numba.
        ids_of: ids_of(call.given, text, flags) -> the ids, uint32; or below 0, if the text is or becomes too long.
        list_ids: ids -> a list of them.
        measure: the number of characters of a list of texts; -1 if not all are str.
        units: how texts are cut into units; None: all steps are done for the whole text.
    """

    def __init__(self, pipeline: Pipeline, handle: Handle, units: Units | None) -> None:
        self.handle, self.units = handle, units
        self.scratch = Pool(Scratch)
        plain, special = Frame.of(pipeline, False), Frame.of(pipeline, True)
        self._frames = plain, special
        self.n_special = [frame.n_special if frame else 0 for frame in self._frames]
        self.trims = _trims(pipeline)
        self.trim = short_text.trim
        around = [some for frame in self._frames if frame for some in frame.around]
        named = [pair for some in around for pair in zip(some["ids"], some["tokens"], strict=True)]
        self._names, self._spelling, self._added = pipeline.names, None, pipeline.added
        self._token_lengths: Array | None = None
        # Ids whose text depends on more than the id; special tokens can have any text
        self._odd = pipeline.odd_tokens.union(i for i, text in named if self._names.spelling[i] != text)
        n_trimmed = self._names.n_ids if self.trims else 0
        self._leading, self._trailing = np.full(n_trimmed, -1, np.int32), np.zeros(n_trimmed, np.int32)
        trims = np.array(self.trims or [], np.uint8)
        handle.put(leading=self._leading, trailing=self._trailing, trims=trims)
        fit = plain and not plain.n_special, special and special.n_special <= short_text.MAX_SPECIAL
        self.longest = [ANY if each else -1 for each in fit]
        self.builtins = code = builtin_functions()
        self.ids_of, self.list_ids, self.measure = _ids_by_kernel, _list_ids, _measure
        if code is not None:
            self.ids_of, self.list_ids, self.measure = code.encode_ids, code.list_ids, code.measure
            code.share_integers(self._names.n_ids)
        if special is not None:
            before, after = (np.array(side["ids"], np.uint32) for side in (special.before, special.after))
            for each in (handle,) if units is None else (handle, units.handle):
                each.put(before=before, after=after)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Returns None if a handle can't hold the steps or the model of the pipeline, or the way is by steps."""
        if ctypes.string_at(id(_PROBE) + HEAD, len(_PROBE) + 1) != _PROBE + b"\0":
            return None  # not CPython
        if pipeline.way.by_steps or pipeline.model.is_random or (steps := steps_of(pipeline)) is None:
            return None
        if (found := pipeline.model.handle(steps.byte_level)) is None:
            return None
        tables, make_faster = found
        units = _units(pipeline, steps, tables, make_faster)
        if units is None and make_faster:  # without units, nothing counts the text: takes the tables for much text
            tables = make_faster()
        handle = short_text.new_handle(tables)
        short_steps.put_steps(handle, steps.steps)
        handle.put(asks_origin=pipeline.way.at_start)
        return cls(pipeline, handle, units)

    def columns(self, memory: Scratch) -> ColumnCalls:
        """Returns what machine code makes tokens and offsets with."""
        if self._spelling is None:
            n, vocabulary = self._names.n_ids, self._names.vocabulary
            rows = np.full(n, -1, np.int32)
            if (by_id := vocabulary.by_id) is not None:
                rows[: len(by_id)] = by_id[:n]
            rows[[token_id for token_id in self._odd if token_id < n]] = -1
            self._spelling = TokenTexts(new_texts(n), rows, vocabulary.data, vocabulary.offsets)
        sizes = [(frame.n_before, frame.n_special - frame.n_before) if frame else (0, 0) for frame in self._frames]
        before, after = zip(*sizes, strict=True)
        where = memory.steps.handle["begins"], memory.steps.handle["ends"]
        trim = None if self.trims is None else self.trim
        return ColumnCalls(memory.positions(self).given, *where, before, after, self._spelling, trim)

    def lengths(self) -> Array | None:
        """Returns the lengths of tokens for `gputok.kernels.cpu.encode_one.positions`; None: no positions follow."""
        # tokens that share an id may have different lengths
        if len(self._names.vocabulary.shared):
            return None
        if self._token_lengths is None and self.units is not None and self.units.words:
            self._token_lengths = _lengths(self._names, self._added, self.units)
        return self._token_lengths

    def learn(self, ids: list[int]) -> None:
        """Writes what kernels and machine code must know of tokens, if the text of a token depends on its id alone."""
        for token_id in set(ids) - self._odd:
            text = self._names.spelling[token_id]
            if token_id < len(self._leading):
                leading, self._trailing[token_id] = margin(text)
                self._leading[token_id] = leading  # last: it says that both are known
            if self._spelling is not None and token_id < len(self._spelling.texts):
                self._spelling.texts[token_id] = text


def _ids_by_kernel(call: TextCall, text: str, flags: int) -> bytes | int:
    raw = text.encode()
    if len(raw) > call.longest[flags & 1]:
        return -1
    n = call.kernel(call.address, id(raw) + HEAD, len(raw), flags)
    return call.ids[:n].tobytes() if n >= 0 else n


def _list_ids(ids: bytes) -> list[int]:
    return np.frombuffer(ids, np.uint32).tolist()


def _measure(texts: list[Any]) -> int:
    return sum(map(len, texts)) if set(map(type, texts)) <= {str} else -1


_SPACES = {
    Before.NONE: short_steps.NEVER,
    Before.ANY: short_steps.IF_ANY,
    Before.BARE: short_steps.IF_BARE,
    Before.FIRST: short_steps.AT_START,
}


def _units(pipeline: Pipeline, steps: Steps, tables: Any, make_faster: Callable[[], Any] | None) -> Units | None:
    """How texts are cut into units; None: no walk finds them, or the normalizer changes the whole text."""
    engine, way, model = engine_of(pipeline), pipeline.way, pipeline.model
    if not isinstance(engine, Walked):
        return None
    first, *others = steps.steps
    changes, second, cuts = others[: steps.n_changes], others[steps.n_changes], others[steps.n_changes + 1 :]
    before = [first, second] if pipeline.normalizer is None else [first]  # for the whole text
    inside, alone = [*changes, *cuts], way.at_start  # for each unit; only for texts without added tokens
    space, words = short_steps.NEVER, None
    if way.unit == Unit.WORD:
        if not all(step.of is short_steps.Form for step in changes):  # which seldom change anything
            return None
        before, inside, alone = [first, *changes, second], [], False
        words = model.first_byte_words if steps.byte_level else None
    elif way.unit == Unit.LINE:
        inside, alone = [_spaces({ord(" "): "▁".encode()}, b"", short_steps.NEVER)], False
        space, words = _SPACES[way.before], model.line_words
    handle = unit_kernels.new_handle(before, alone, space)
    by_byte, faster = steps.byte_level, None
    if make_faster:
        faster = functools.cache(lambda: (Handle.holding(make_faster()), model.byte_words if by_byte else None))
    if words is not None:
        handle.put(grouped=True, words=words)
    return Units(handle, inside, engine.walks, words, by_byte, faster, space != short_steps.NEVER)


def _lengths(names: Names, added: AddedVocabulary, units: Units) -> Array:
    """Returns int32[names.n_ids]; see `TextEngine.lengths`."""
    vocabulary, n = names.vocabulary, names.n_ids
    lengths = np.full(n, positions.UNKNOWN, np.int32)
    begun = np.cumsum(vocabulary.data & 0xC0 != 0x80, dtype=np.int32)  # characters, up to and with each byte
    n_characters = np.diff(np.append(np.int32(0), begun)[vocabulary.offsets])
    known = vocabulary.ids < n
    lengths[vocabulary.ids[known]] = n_characters[known]
    for byte, position in enumerate([] if units.by_byte else units.words.symbols.tolist()):
        if (token_id := vocabulary.ids[position]) < n and (byte >= 0x80 or n_characters[position] > 1):
            lengths[token_id] = positions.NEXT_BYTE if byte & 0xC0 == 0x80 else positions.FIRST_BYTE
    odd = {*added.shown_verbatim(vocabulary)}
    for token_id, token in added.tokens.items():
        if token_id < n:
            size = len(token.content.encode() if units.by_byte else token.content)
            lengths[token_id] = positions.UNKNOWN if token_id in odd or units.is_led else size
    return lengths


def _trims(pipeline: Pipeline) -> list[bool] | None:
    """`add_prefix_space` of each post-processor that trims offsets; None: one trims after tokens were added."""
    found: list[bool] = []
    added = False
    for part in [] if pipeline.post_processor is None else pipeline.post_processor.leaves():
        if isinstance(part, processors.ByteLevel | processors.RobertaProcessing) and part.trim_offsets:
            if added:
                return None
            found.append(part.add_prefix_space)
        added |= not isinstance(part, processors.ByteLevel)
    return found


class Steps(NamedTuple):
    """All steps of a pipeline before its model."""

    steps: list[Handle]
    byte_level: bool = False  # the bytes of words stand for characters of the ByteLevel alphabet
    n_changes: int = 0  # steps of the normalizer, between the two that find added tokens


class OtherStepError(Exception):
    """Raised if a component does something that none of the steps does."""


def steps_of(pipeline: Pipeline) -> Steps | None:
    """Returns the steps of a pipeline; None if one of its components does something that none of the steps does."""
    try:
        changes = _changes(pipeline.normalizer)
        cuts = _cuts(pipeline.pre_tokenizer, pipeline.way)
    except OtherStepError:
        return None
    steps = [extract_step(pipeline, False), *changes, extract_step(pipeline, True), *cuts.steps]
    return cuts._replace(steps=steps, n_changes=len(changes))


def _step(of: Any, kind: int, *more: Any) -> Handle:
    """Makes a step of a class; more: its fields after the kind."""
    return Handle(of, short_steps.N_STEP, **of(kind, *more)._asdict())


def extract_step(pipeline: Pipeline, normalized: bool) -> Handle:
    """Returns the step that finds the added tokens of raw or of normalized text."""
    finder = pipeline.added.finder(normalized)
    if finder is None:
        return Handle(short_steps.Extract, short_steps.N_STEP, kind=short_steps.EXTRACT)
    rest = *finder.first, finder.options, finder.word_bits, finder.ids
    return _step(short_steps.Extract, short_steps.EXTRACT, finder.edges, *rest)


# -- normalizers

_MAPS = {"Lowercase": "lowercase", "StripAccents": "strip_accents", "Nmt": "nmt"}


def _changes(normalizer: Normalizer | None) -> list[Handle]:
    if normalizer is None:
        return []
    from gputok import normalizers  # imported late: most tokenizers have none

    match normalizer:
        case normalizers.Sequence():
            return [step for part in normalizer.normalizers for step in _changes(part)]
        case normalizers.NFC() | normalizers.NFD() | normalizers.NFKC() | normalizers.NFKD():
            return [_form(normalizer.form)]
        case normalizers.Lowercase() | normalizers.StripAccents() | normalizers.Nmt():
            return [_map(_MAPS[type(normalizer).__name__])]
        case normalizers.BertNormalizer():
            return [_form(name) if name == "nfd" else _map(name) for name in normalizer.maps()]
        case normalizers.Precompiled():
            from gputok.kernels.cpu.precompiled import measured

            table = measured(*normalizer.tables, *grapheme_classes())
            return [_step(short_steps.Precompiled, short_steps.PRECOMPILED, table)]
        case normalizers.Prepend() if 0 < len(normalizer.prepend.encode()) <= _WIDEST:
            return [_spaces({}, normalizer.prepend.encode(), short_steps.IF_ANY)]
        case normalizers.Replace():
            return [_replace(normalizer)]
        case normalizers.Strip():
            space = character_map("whitespace")
            sides = normalizer.strip_left, normalizer.strip_right
            return [_step(short_steps.Strip, short_steps.STRIP, space.page, space.member, *sides)]
        case _:
            raise OtherStepError


_WIDEST = 4  # the largest number of bytes that can replace one byte


def _form(name: str) -> Handle:
    none = Compositions(np.empty(0, np.uint64), np.empty(0, np.uint32))
    pairs = compositions() if name.endswith("c") else none
    return _step(short_steps.Form, short_steps.FORM, normalization_form(name), pairs)


def _map(name: str) -> Handle:
    return _step(short_steps.Map, short_steps.MAP, character_map(name))


def _replace(normalizer: Replace) -> Handle:
    pattern, content = normalizer.pattern, normalizer.content.encode()
    if isinstance(pattern, str) and len(pattern) == 1 and pattern.isascii() and len(content) <= _WIDEST:
        return _spaces({ord(pattern): content}, b"", short_steps.NEVER)
    machine = matcher(pattern)
    if not isinstance(machine, tuple):
        raise OtherStepError
    matches = np.ones((2, 2), bool), np.array([True, False])
    return _split(machine, *matches, short_steps.REPLACE, content)


def _spaces(replacements: dict[int, bytes], before: bytes, when: int, but: bytes = b"") -> Handle:
    """Makes a step that replaces bytes, and puts `before` before pieces; IF_BARE: unless a space or `but` is there."""
    table = byte_table(tuple(replacements.items()), before)
    spelt = np.frombuffer(but, np.uint8)
    return _step(short_steps.Spaces, short_steps.SPACES, table, when, spelt, bool(replacements))


# -- pre-tokenizers


def _cuts(pre_tokenizer: PreTokenizer | None, way: Way) -> Steps:
    """Returns the steps of a pre-tokenizer; way: one walk, if that is all that the pre-tokenizer does."""
    if pre_tokenizer is None:
        return Steps([])
    if way.unit == Unit.WORD:
        return Steps([_walk(way.automaton)], way.byte_level)
    from gputok import pre_tokenizers  # imported late: by one walk, none of these is needed

    match pre_tokenizer:
        case pre_tokenizers.Sequence():
            parts = [_cuts(part, part.way(Way())) for part in pre_tokenizer.pretokenizers]
            if any(part.byte_level for part in parts[:-1]):  # the next pre-tokenizer needs characters
                raise OtherStepError
            steps = [step for part in parts for step in part.steps]
            return Steps(steps, bool(parts) and parts[-1].byte_level)
        case pre_tokenizers.ByteLevel():
            steps = [_spaces({}, b" ", short_steps.IF_BARE)] if pre_tokenizer.add_prefix_space else []
            if pre_tokenizer.use_regex:
                steps.append(_walk(compile_pattern(PATTERNS["gpt2"])))
            return Steps(steps, byte_level=True)
        case pre_tokenizers.Metaspace():
            return _metaspace(pre_tokenizer)
        case _ if (cut := pre_tokenizer.cut()) is not None and isinstance(cut.matcher, tuple):
            return Steps([_split(cut.matcher, *cut_rule(cut.behavior, cut.invert))])
        case _:
            raise OtherStepError


def _metaspace(pre_tokenizer: Metaspace) -> Steps:
    spelt, scheme = pre_tokenizer.replacement.encode(), pre_tokenizer.prepend_scheme
    when = {"never": short_steps.NEVER, "always": short_steps.IF_BARE, "first": short_steps.AT_START}[scheme]
    steps = [_spaces({ord(" "): spelt}, spelt, when, spelt)]
    if pre_tokenizer.split:
        machine = compile_literal(pre_tokenizer.replacement)
        if not isinstance(machine, tuple):
            raise OtherStepError
        steps.append(_split(machine, *cut_rule("merged_with_next")))
    return Steps(steps)


def _split(
    automaton: Automaton, cut: np.ndarray, drop: np.ndarray, kind: int = short_steps.SPLIT, content: bytes = b""
) -> Handle:
    from gputok.kernels.cpu.split import rule_of

    rule = rule_of(cut, drop, keep_empty=kind == short_steps.REPLACE)
    return _step(short_steps.Split, kind, automaton, rule, np.frombuffer(content, np.uint8))


def _walk(automaton: Any) -> Handle:
    return _step(short_steps.WalkStep, short_steps.WALK, walks_of(automaton).of(0))
