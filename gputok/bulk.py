"""Encoding a corpus into arrays: ids and where each document's begin, with no Python object for a token.

Where a tokenizer cuts text into words by one walk over it (byte-level ones mostly do), a word is encoded when it is
first seen and looked up after that. Where its words end at spaces, so is what lies between them. Any other tokenizer
takes its steps one after the other, on packed arrays.
"""

from __future__ import annotations

import hashlib
import itertools
import queue
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.text import PARTS, Array, Pieces, TextBatch
from gputok.threads import thread_count
from gputok.token_files import TokenBatch, id_dtype

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.progress import Report
    from gputok.tokenizer import Tokenizer

UNIT_BYTES = 1 << 19  # of documents that a thread encodes at a time
_UNITS_AHEAD = 4  # besides those at work: about what is encoded while the next batch is read


def encode(
    tokenizer: Tokenizer,
    batches: Iterable[TextBatch],
    *,
    add_special_tokens: bool = True,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    skip: int = 0,
    devices: Sequence[Any] = (),
) -> Iterator[TokenBatch]:
    """Yields the ids of whole documents, in order, about a megabyte of text at a time.

    The ids of a document are those of `tokenizer.encode(document)`, without truncation and padding. Leaves out the first
    `skip` documents. `report("encode", bytes, total)` is called for each batch that is yielded.

    devices: CUDA devices (`backend.choose`), which encode a whole batch at a time where the tokenizer is one walk over
    bytes and a BPE model; others run on the CPU. The ids are the same.

    >>> from gputok import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    >>> [(ids, rows)] = encode(tokenizer, [TextBatch.from_strings(["abb", "", "b"])])
    >>> ids.tolist(), rows.tolist()
    ([2, 1, 1], [0, 2, 2, 3])
    """
    n_threads = thread_count(threads)
    dtype = id_type(tokenizer)
    by_cpu = _by_walk(tokenizer, dtype, n_threads) or _by_parts(tokenizer, dtype, n_threads)
    encode_unit, n_ahead, cut = by_cpu or _by_steps(tokenizer), _UNITS_AHEAD, _units
    if devices and (on_device := _by_devices(tokenizer, devices, encode_unit)):
        n_threads = max(n_threads, 2 * len(devices))  # one copies while another has the kernels at work
        encode_unit, n_ahead, cut = on_device, 0, lambda batch: [batch]
    before, after = _affixes(tokenizer) if add_special_tokens else ([], [])

    def finished(ids: Array, rows: Array) -> TokenBatch:
        if before or after:
            ids, rows = _surrounded(ids, rows, before, after)
        return TokenBatch(ids.astype(dtype, copy=False), rows)

    def begin(unit: TextBatch) -> Callable[[], TokenBatch]:
        parts = _parts(tokenizer, unit) if n_threads > 1 and not devices else None
        if parts is None:
            return pool.submit(lambda: finished(*encode_unit(unit))).result
        work = [pool.submit(encode_unit, part) for part in parts]
        return lambda: finished(*_joined(unit, parts, [one.result() for one in work]))

    done = 0  # bytes that were encoded, now or in the run before
    with ThreadPoolExecutor(n_threads) as pool:
        ahead: deque = deque()
        try:
            for n_before, batch in _after(batches, skip):
                done += n_before
                for unit in cut(batch):
                    ahead.append((begin(unit), unit.data.nbytes))
                    if len(ahead) > n_threads + n_ahead:
                        yield ahead[0][0]()
                        done += ahead.popleft()[1]
                        if report:
                            report("encode", done, total)
            for result, n_bytes in ahead:
                yield result()
                done += n_bytes
                if report:
                    report("encode", done, total)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _after(batches: Iterable[TextBatch], skip: int) -> Iterator[tuple[int, TextBatch]]:
    """The documents after the first `skip` ones, and the bytes of those that were left out just before."""
    n_bytes = 0
    for batch in batches:
        left_out = min(skip, batch.n_documents)
        skip -= left_out
        n_bytes += int(batch.offsets[left_out] - batch.offsets[0])
        if left_out < batch.n_documents:
            yield n_bytes, TextBatch(batch.data, batch.offsets[left_out:])
            n_bytes = 0


def _units(batch: TextBatch) -> Iterator[TextBatch]:
    """Parts of a batch, of whole documents, with offsets from 0."""
    data, offsets = batch
    aims = np.arange(offsets[0] + UNIT_BYTES, offsets[-1], UNIT_BYTES)
    cuts = dict.fromkeys([0, *np.searchsorted(offsets, aims).tolist(), batch.n_documents])
    for first, last in itertools.pairwise(cuts):
        start, stop = offsets[first], offsets[last]
        yield TextBatch(data[start:stop], offsets[first : last + 1] - start)


def _parts(tokenizer: Tokenizer, unit: TextBatch) -> list[TextBatch] | None:
    """Parts of a unit that holds a long document, cut between words, for threads; None where it cannot or need not be.

    Offsets stay those in the unit: a part has the documents, or the beginnings and ends of some, that lie in it.
    """
    pre_tokenizer = tokenizer.pre_tokenizer
    if len(unit.data) < 4 * UNIT_BYTES or tokenizer.normalizer is not None or pre_tokenizer is None:
        return None
    plan = pre_tokenizer.plan()
    if plan is None or tokenizer.added_in(Pieces.from_batch(unit)):
        return None
    from gputok.kernels.cpu.walk import prepare, slice_text

    data, offsets = unit
    cuts = slice_text(data, offsets, UNIT_BYTES, prepare(plan.automaton))
    inside = [offsets[(first < offsets) & (offsets < last)] for first, last in itertools.pairwise(cuts)]
    return [
        TextBatch(data, np.concatenate([[first], between, [last]]))
        for first, between, last in zip(cuts[:-1], inside, cuts[1:], strict=True)
    ]


def _joined(unit: TextBatch, parts: list[TextBatch], found: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The ids of a unit, and its rows, from those of its parts."""
    starts = np.concatenate([part.offsets[:-1] for part in parts] + [unit.offsets[-1:]])
    n_before = np.cumsum([0, *(len(ids) for ids, _ in found)])
    rows = [rows[:-1] + n for (_, rows), n in zip(found, n_before[:-1], strict=True)]
    ends = np.concatenate([*rows, n_before[-1:]])
    return np.concatenate([ids for ids, _ in found]), ends[np.searchsorted(starts, unit.offsets)]


def _by_walk(tokenizer: Tokenizer, dtype: np.dtype, n_threads: int) -> Any:
    """(unit) -> ids, rows by one walk over the text; None where the tokenizer is more than that."""
    pre_tokenizer, model = tokenizer.pre_tokenizer, tokenizer.model
    plan = None if pre_tokenizer is None else pre_tokenizer.plan()
    if plan is None or _is_random(model):
        return None
    by_steps = _by_steps(tokenizer)
    known = model._encoders.setdefault((plan.byte_level, dtype), [])

    def encode_words(data: Array, start: Array, end: Array) -> tuple[Array, Array]:
        return model.encode_words(data, start, end, byte_level=plan.byte_level)

    encode_text = _remembering(plan.automaton, encode_words, dtype, n_threads, known)

    def encode_unit(unit: TextBatch) -> tuple[Array, Array]:
        pieces = _pieces(tokenizer, unit)
        if pieces.byte_level:  # by a normalizer: the pattern is for the characters that the bytes stand for
            return by_steps(unit)
        try:
            ids, ends = encode_text(*_packed(pieces), pieces.token)
        except ValueError:
            if pieces.token is None:
                raise
            return by_steps(unit)  # the text of an added token need not be of words that the model knows
        return ids, ends[pieces.rows]

    return encode_unit


def _by_parts(tokenizer: Tokenizer, dtype: np.dtype, n_threads: int) -> Any:
    """(unit) -> ids, rows by a walk that cuts before each space, and each step for what is new; None where a document's
    words are not those of its parts."""
    if not tokenizer.apart_at_spaces() or _is_random(tokenizer.model):
        return None
    from gputok.automaton import compile_pattern
    from gputok.kernels.cpu.ragged import gather

    by_steps = _by_steps(tokenizer)

    def encode_parts(data: Array, start: Array, end: Array) -> tuple[Array, Array]:
        return by_steps(TextBatch(*gather(data, start, end)))

    encode_text = _remembering(compile_pattern(PARTS), encode_parts, dtype, n_threads, [])

    def encode_unit(unit: TextBatch) -> tuple[Array, Array]:
        if tokenizer.added_in(Pieces.from_batch(unit)):
            return by_steps(unit)
        return encode_text(*unit, None)

    return encode_unit


def _remembering(
    automaton: Automaton, encode_words: Any, dtype: np.dtype, n_threads: int, known: list[Any]
) -> Any:
    """(data, offsets, token) -> ids, ends, by as many threads at a time: `encode_words` is asked for new words only.

    known: what is remembered, for the next time.
    """
    from gputok.kernels.cpu import encode as kernels
    from gputok.kernels.cpu.walk import prepare

    walk = prepare(automaton)
    while len(known) < n_threads:
        known.append(kernels.new_encoder(dtype))

    def encode_text(data: Array, offsets: Array, token: Array | None) -> tuple[Array, Array]:
        try:
            encoder = known.pop()
        except IndexError:
            encoder = kernels.new_encoder(dtype)
        result = kernels.encode_text(data, offsets, token, walk, encode_words, encoder)
        known.append(encoder)  # after an error it may hold words without ids, and is left
        return result

    return encode_text


def _is_random(model: Any) -> bool:
    """A random answer must not be remembered."""
    return any(getattr(model, name, None) for name in ("dropout", "alpha", "nbest_size"))


def _by_devices(tokenizer: Tokenizer, devices: Sequence[Any], on_cpu: Any) -> Any:
    """(unit) -> ids, rows by a CUDA device that is free; None where the tokenizer is more than a walk and BPE."""
    from gputok.models import BPE

    pre_tokenizer, model = tokenizer.pre_tokenizer, tokenizer.model
    plan = None if pre_tokenizer is None else pre_tokenizer.plan()
    tables = model._byte_tables if plan is not None and plan.byte_level and isinstance(model, BPE) else None
    if tables is None:
        return None
    from gputok.kernels.cuda import lookup, split

    if not lookup.can_encode(tables):
        return None
    free: queue.SimpleQueue = queue.SimpleQueue()
    for device in devices:
        loaded = device, split.upload(device, plan.automaton), lookup.upload(device, tables)
        for _ in range(2):
            free.put(loaded)

    def encode_unit(unit: TextBatch) -> tuple[Array, Array]:
        pieces = _pieces(tokenizer, unit)
        if pieces.byte_level:
            return on_cpu(unit)
        loaded = free.get()
        try:
            ids, ends = lookup.encode_text(loaded[0], *_packed(pieces), pieces.token, *loaded[1:])
        except MemoryError:  # for a single document
            return on_cpu(unit)
        finally:
            free.put(loaded)
        return ids, ends[pieces.rows]

    return encode_unit


def _pieces(tokenizer: Tokenizer, unit: TextBatch) -> Pieces:
    """Documents normalized, with added tokens as pieces of their own."""
    pieces = tokenizer._added.extract(Pieces.from_batch(unit), normalized=False)
    if tokenizer.normalizer is not None:
        pieces = tokenizer.normalizer.apply(pieces)
    return tokenizer._added.extract(pieces, normalized=True)


def _packed(pieces: Pieces) -> tuple[Array, Array]:
    """The text of pieces side by side, and their offsets in it; without a copy where they are that already."""
    from gputok.kernels.cpu.ragged import gather

    data, start, end = pieces.data, pieces.start, pieces.end
    side_by_side = len(start) > 0 and np.array_equal(start[1:], end[:-1])
    return (data, np.append(start, end[-1])) if side_by_side else gather(data, start, end)


def _by_steps(tokenizer: Tokenizer) -> Any:
    """(unit) -> ids, rows by each step of the pipeline."""
    from gputok.documents import tokenize

    def encode_unit(unit: TextBatch) -> tuple[Array, Array]:
        pieces = tokenizer.words(Pieces.from_batch(unit))
        tokens = tokenize(tokenizer, pieces)
        return tokens.ids, tokens.rows[pieces.rows]

    return encode_unit


def id_type(tokenizer: Tokenizer) -> np.dtype:
    """The type of the ids that `encode` yields: uint16 where all of them fit, else uint32."""
    ids = tokenizer.model.vocabulary.ids
    added = max(tokenizer._added.ids.values(), default=0)
    return id_dtype(
        1 + max(int(ids.max()) if len(ids) else 0, added, *itertools.chain(*_affixes(tokenizer)), 0)
    )


def fingerprint(tokenizer: Tokenizer, source: Any, options: Any) -> str:
    """What the ids of a corpus depend on, in one word: a run that was broken off may be continued where it is the same.

    Of files it takes names, sizes and times (or what their server calls a version); of any other source nothing is known,
    and each fingerprint is new.
    """
    from gputok import corpus

    known = corpus.state(source)
    if known is None:
        return uuid.uuid4().hex
    return hashlib.sha256(repr((tokenizer.to_str(), known, options)).encode()).hexdigest()


def _affixes(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the post-processor puts before and after a text."""
    from gputok.columns import DTYPES, Columns
    from gputok.processors import process_rows
    from gputok.rows import NO_SPELLING, Rows, merge

    # One token, which stands for those of any text.
    columns, first = Columns(1, **{**dict.fromkeys(DTYPES, 0), "text": -1}), np.zeros(1, np.int64)
    text = Rows(columns, first, first + 1, NO_SPELLING)
    finished = merge(process_rows(tokenizer.post_processor, [text], True))
    row = slice(finished.first[0], finished.last[0])
    ids, at = finished.columns.ids[row].tolist(), int(np.argmin(finished.columns.special[row]))
    return ids[:at], ids[at + 1 :]


def _surrounded(ids: Array, rows: Array, before: list[int], after: list[int]) -> tuple[Array, Array]:
    """Each row with these ids before and after it."""
    from gputok.kernels.cpu.encode import surround

    affixes = np.array(before, np.uint32), np.array(after, np.uint32)
    return surround(ids.astype(np.uint32, copy=False), rows, *affixes)
