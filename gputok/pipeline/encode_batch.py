"""Encoding many texts at once: one set of arrays for each slice of a batch, objects only at the end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.encoding.encoding import Encoding, views
from gputok.encoding.rows import Rows, merge, padded
from gputok.kernels.threads import run, thread_count
from gputok.pipeline.tokenize import encode_documents
from gputok.processors import process_one, process_rows
from gputok.text.pieces import TextBatch
from gputok.types import Array

if TYPE_CHECKING:
    from gputok.pipeline.limits import Padding
    from gputok.pipeline.pipeline import Pipeline

Given = tuple[Any, ...]
"""What to encode: a text or a pair of texts; each a string, or with `is_pretokenized` a list of words."""

SLICE = 1 << 18  # characters that a thread encodes at a time: enough to make NumPy's overhead small


# -- checking what users pass


def check_sequence(sequence: Any, is_pretokenized: bool) -> str | list[str]:
    """One text, as a string or as a list of words."""
    if not is_pretokenized:
        if not isinstance(sequence, str):
            raise TypeError(f"TextInputSequence must be str, not {type(sequence).__name__}")
        return sequence
    words = sequence.tolist() if isinstance(sequence, np.ndarray) and sequence.ndim == 1 else sequence
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError(
            "PreTokenizedInputSequence must be Union[List[str], Tuple[str]]: with is_pretokenized=True"
        )
    return list(words)


def check_inputs(inputs: Any, is_pretokenized: bool) -> list[Given]:
    """Many texts, or pairs of texts."""
    if isinstance(inputs, str) or not isinstance(inputs, Sequence | np.ndarray):
        raise TypeError(f"expected a list of texts, not {type(inputs).__name__}")
    if not is_pretokenized and set(map(type, inputs)) == {str}:
        return [(text,) for text in inputs]
    return [_check_input(item, is_pretokenized) for item in inputs]


def _check_input(item: Any, is_pretokenized: bool) -> Given:
    try:
        return (check_sequence(item, is_pretokenized),)
    except TypeError:
        if isinstance(item, list | tuple) and len(item) == 2:
            return tuple(check_sequence(one, is_pretokenized) for one in item)
    if is_pretokenized:
        raise TypeError(
            "PreTokenizedEncodeInput must be Union[PreTokenizedInputSequence, "
            f"Tuple[PreTokenizedInputSequence, PreTokenizedInputSequence]], not {type(item).__name__}"
        )
    raise TypeError(
        "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]], "
        f"not {type(item).__name__}"
    )


# -- tokens to encodings


class _Part(NamedTuple):
    """Finished encodings of some of the inputs."""

    inputs: Array  # int64[m], which
    rows: list[Rows]  # in parts, which lie side by side in each row
    overflow: list[Rows]  # what truncation cut off, likewise
    owner: Array  # int64[k], the row that each overflowing part belongs to
    others: dict[int, Encoding]  # input -> encoding, where parts of a pair had to be combined


def encode(
    pipeline: Pipeline,
    inputs: list[Given],
    is_pretokenized: bool,
    add_special_tokens: bool,
    *,
    offsets: bool,
    threads: int | None = None,
) -> list[Encoding]:
    """Encodes texts and pairs of texts, in slices over threads."""
    slices = [(first, inputs[first:last]) for first, last in _slices(inputs, is_pretokenized)]
    # A short text is work for one, and asking for the number of cores would take a tenth of its time.
    short = threads is None and len(slices) == 1 and sum(map(len, inputs[0])) <= SLICE
    n_threads = 1 if short else thread_count(threads)
    task = functools.partial(_encode_slice, pipeline, is_pretokenized, add_special_tokens, offsets, n_threads)
    parts = [part for found in run(task, slices, n_threads) for part in found]
    if pipeline.padding is not None:
        parts = _pad(parts, pipeline.padding)
    encodings: list[Any] = [None] * len(inputs)
    for part in parts:
        at, overflowing = part.inputs.tolist(), None
        if len(part.owner):
            texts = [inputs[at[owner]] for owner in part.owner.tolist()]
            cut_off = views(merge(part.overflow), texts)
            edges = np.searchsorted(part.owner, np.arange(len(at) + 1)).tolist()
            overflowing = [cut_off[first:last] for first, last in itertools.pairwise(edges)]
        finished = views(merge(part.rows), [inputs[i] for i in at], overflowing)
        for i, encoding in zip(at, finished, strict=True):
            encodings[i] = encoding
        for i, encoding in part.others.items():
            encodings[i] = encoding
    return encodings


def _slices(inputs: list[Given], is_pretokenized: bool) -> list[tuple[int, int]]:
    if is_pretokenized:
        sizes = [sum(len(word) + 1 for one in given for word in one) for given in inputs]
    else:
        sizes = [sum(map(len, given)) for given in inputs]
    if sum(sizes) <= SLICE:
        return [(0, len(inputs))] if inputs else []
    total = np.cumsum(sizes)
    cuts = {0, *np.searchsorted(total, np.arange(SLICE, total[-1], SLICE)).tolist(), len(inputs)}
    return list(itertools.pairwise(sorted(cuts)))


def _encode_slice(
    pipeline: Pipeline,
    is_pretokenized: bool,
    add_special_tokens: bool,
    offsets: bool,
    threads: int,
    base: int,
    inputs: list[Given],
) -> list[_Part]:
    sequences = [one for given in inputs for one in given]
    texts = [word for one in sequences for word in one] if is_pretokenized else sequences
    batch = TextBatch.from_strings(texts)
    is_long = len(batch.data) > 8 * SLICE  # a long text is work for all threads
    cut = {"threads": threads, "slice_bytes": SLICE} if is_long else {}
    rows = encode_documents(pipeline, batch, offsets=offsets, **cut)
    if is_pretokenized:
        rows = _join_words(rows, np.array([len(one) for one in sequences], np.int64), offsets)
    if len(sequences) == len(inputs):  # no pairs
        return [_finish(pipeline, np.arange(base, base + len(inputs)), [rows], add_special_tokens)]
    n_sequences = np.array([len(given) for given in inputs])
    start = np.cumsum(n_sequences) - n_sequences
    parts = []
    for n in (1, 2):
        chosen = np.flatnonzero(n_sequences == n)
        if len(chosen):
            group = [rows.take(start[chosen] + k).replace(type_ids=k if offsets else 0) for k in range(n)]
            parts.append(_finish(pipeline, base + chosen, group, add_special_tokens))
    return parts


def _join_words(rows: Rows, n_words: Array, offsets: bool) -> Rows:
    """Rows of words as rows of texts; a word's index in its text is the index of its tokens' word."""
    ends = np.cumsum(n_words)
    edges = np.concatenate([rows.first[:1], rows.last]) if len(rows.last) else np.zeros(1, np.int64)
    joined = Rows(rows.columns, edges[ends - n_words], edges[ends], rows.spelling, rows.texts)
    if not offsets:
        return joined

    def words() -> Array:
        index = np.arange(len(rows.first)) - np.repeat(ends - n_words, n_words)
        return np.repeat(index.astype(np.int32), rows.lengths)

    return joined.replace(words=words)


def _finish(pipeline: Pipeline, inputs: Array, sequences: list[Rows], add_special_tokens: bool) -> _Part:
    """Step 4: truncation and the post-processor, for many texts, or many pairs."""
    processor, truncation = pipeline.post_processor, pipeline.truncation
    if truncation is None:
        return _Part(inputs, process_rows(processor, sequences, add_special_tokens), *_NO_OVERFLOW, {})
    pair = len(sequences) == 2
    room = truncation.room(pipeline.num_special_tokens_to_add(pair) if add_special_tokens else 0)
    if room > 0 and not np.count_nonzero(_lengths(sequences) > room):
        return _Part(inputs, process_rows(processor, sequences, add_special_tokens), *_NO_OVERFLOW, {})
    targets = _targets([rows.lengths for rows in sequences], room, truncation.strategy)
    cut = [
        rows.truncate(target, truncation.stride, truncation.direction)
        for rows, target in zip(sequences, targets, strict=True)
    ]
    kept = [rows for rows, _, _ in cut]
    if not pair:
        _, overflow, owner = cut[0]
        rows = process_rows(processor, kept, add_special_tokens)
        if not len(owner):
            return _Part(inputs, rows, *_NO_OVERFLOW, {})
        return _Part(inputs, rows, process_rows(processor, [overflow], add_special_tokens, True), owner, {})
    combined = np.unique(np.concatenate([owner for _, _, owner in cut]))
    others = {}
    for row in combined.tolist():
        first, second = (
            Encoding.of(rows, row, [Encoding.of(over, int(k)) for k in np.flatnonzero(owner == row)])
            for rows, over, owner in cut
        )
        others[int(inputs[row])] = process_one(processor, first, second, add_special_tokens)
    simple = np.setdiff1d(np.arange(len(inputs)), combined)
    rows = process_rows(processor, [rows.take(simple) for rows in kept], add_special_tokens)
    return _Part(inputs[simple], rows, *_NO_OVERFLOW, others)


def _targets(lengths: list[Array], room: int, strategy: str) -> list[Array]:
    """To how many tokens each sequence is cut, so that all together are at most `room`."""
    total = sum(lengths)
    if room <= 0:
        return [np.zeros_like(length) for length in lengths]
    excess = np.maximum(total - room, 0)
    if not excess.any():
        return lengths
    if strategy == "longest_first" and len(lengths) == 1:
        return [lengths[0] - excess]
    if strategy == "longest_first":
        short = np.minimum(*lengths)
        # The shorter one stays whole where it can; else both are cut to half, and the second of an odd room is longer.
        long = np.where(short > room, short, np.maximum(short, room - short))
        halved = short + long > room
        short, long = np.where(halved, room // 2, short), np.where(halved, room // 2 + room % 2, long)
        swapped = lengths[0] > lengths[1]
        first, second = np.where(swapped, long, short), np.where(swapped, short, long)
        return [
            np.where(excess > 0, target, length)
            for target, length in zip((first, second), lengths, strict=True)
        ]
    chosen = 0 if strategy == "only_first" else 1
    if chosen >= len(lengths):
        raise ValueError("Truncation error: Second sequence not provided, but the strategy is `only_second`")
    if (lengths[chosen] <= excess)[excess > 0].any():
        raise ValueError(
            "Truncation error: Sequence to truncate too short to respect the provided max_length"
        )
    return [length - excess if i == chosen else length for i, length in enumerate(lengths)]


def _pad(parts: list[_Part], padding: Padding) -> list[_Part]:
    """Fills all encodings up to one length."""
    length, multiple = padding.length, padding.pad_to_multiple_of
    if length is None:
        lengths = [int(_lengths(part.rows).max(initial=0)) for part in parts]
        length = max([*lengths, *(len(other) for part in parts for other in part.others.values())], default=0)
    if multiple:
        length += -length % multiple
    if length >= 1 << 31:
        raise ValueError(
            f"padding to {length} tokens, by length={padding.length} and pad_to_multiple_of={multiple}: an encoding has "
            "less than 2**31"
        )
    fill = padding.fill()
    for part in parts:
        for other in part.others.values():
            other.pad(length, **fill)
    return [
        part._replace(rows=padded(part.rows, length, **fill), overflow=padded(part.overflow, length, **fill))
        for part in parts
    ]


def _lengths(parts: list[Rows]) -> Array:
    return sum(part.lengths for part in parts)


def post_process(
    pipeline: Pipeline, encoding: Encoding, pair: Encoding | None, add_special_tokens: bool
) -> Encoding:
    """Step 4 for one text or one pair."""
    given = [encoding.__copy__()] if pair is None else [encoding.__copy__(), pair.__copy__()]
    if (truncation := pipeline.truncation) is not None:
        n_added = pipeline.num_special_tokens_to_add(pair is not None) if add_special_tokens else 0
        lengths = [np.array([len(one)]) for one in given]
        targets = _targets(lengths, truncation.room(n_added), truncation.strategy)
        for one, target in zip(given, targets, strict=True):
            one.truncate(int(target[0]), truncation.stride, truncation.direction)
    finished = process_one(pipeline.post_processor, *given, *[None][: 2 - len(given)], add_special_tokens)
    if pipeline.padding is not None:
        part = _Part(_NO_OVERFLOW[1], _NO_OVERFLOW[0], *_NO_OVERFLOW, {0: finished})
        _pad([part], pipeline.padding)
    return finished


_NO_OVERFLOW = ([Encoding().row().take(np.zeros(0, np.int64))], np.zeros(0, np.int64))
