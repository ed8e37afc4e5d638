"""Encoding many texts at once: one set of arrays for each slice of a batch, objects only at the end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.encoding import Encoding, view
from gputok.processors import process_one, process_rows
from gputok.rows import NO_SPELLING, Columns, Rows, constant
from gputok.text import Array, Pieces, TextBatch
from gputok.threads import run, thread_count

if TYPE_CHECKING:
    from gputok.models import Tokens
    from gputok.tokenizer import Tokenizer

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


# -- text to tokens


def tokenize(tokenizer: Tokenizer, pieces: Pieces) -> Tokens:
    """Step 3: the tokens of words and added tokens; `start` and `end` are bytes of `pieces.data`."""
    from gputok.models import Tokens

    model, byte_level = tokenizer.model, pieces.byte_level
    if pieces.token is None:
        return model.tokenize_pieces(pieces.data, pieces.start, pieces.end, byte_level=byte_level)
    added = pieces.token >= 0
    found = model.tokenize_pieces(
        pieces.data, pieces.start[~added], pieces.end[~added], byte_level=byte_level
    )
    n_tokens = np.ones(pieces.n_pieces, np.int64)
    n_tokens[~added] = np.diff(found.rows)
    rows = np.concatenate([[0], np.cumsum(n_tokens)])
    from_model = np.ones(rows[-1], bool)
    from_model[rows[:-1][added]] = False
    columns = []
    for own, others in ((found.ids, pieces.token), (found.start, pieces.start), (found.end, pieces.end)):
        column = np.empty(rows[-1], own.dtype)
        column[from_model], column[~from_model] = own, others[added]
        columns.append(column)
    return Tokens(*columns, rows)


def _cut_long(tokenizer: Tokenizer, batch: TextBatch, threads: int) -> tuple[Pieces, Tokens] | None:
    """Words and tokens of a long text, cut between words for threads; None where the text cannot be cut before."""
    from gputok.kernels.cpu.walk import prepare, slice_text
    from gputok.models.base import joined

    plan = tokenizer.pre_tokenizer.plan()
    if plan is None or tokenizer.added_in(Pieces.from_batch(batch)):
        return None
    data, offsets = batch

    def part(first: int, last: int) -> tuple[Pieces, Tokens]:
        inside = offsets[(first < offsets) & (offsets < last)]
        edges = np.concatenate([[first], inside, [last]])
        pieces = tokenizer.pre_tokenizer.apply(Pieces(data, edges[:-1], edges[1:], np.arange(len(edges))))
        return pieces, tokenize(tokenizer, pieces)

    cuts = slice_text(data, offsets, SLICE, prepare(plan.automaton))
    parts = list(run(part, itertools.pairwise(cuts), threads))
    start, end = (np.concatenate([getattr(pieces, name) for pieces, _ in parts]) for name in ("start", "end"))
    pieces = Pieces(data, start, end, np.searchsorted(start, offsets), byte_level=parts[0][0].byte_level)
    return pieces, joined([tokens for _, tokens in parts])


def encode_documents(tokenizer: Tokenizer, batch: TextBatch, *, offsets: bool, threads: int = 1) -> Rows:
    """Steps 1 to 3 for many texts: one row for each."""
    unchanged = tokenizer.normalizer is None and (
        tokenizer.pre_tokenizer is None or tokenizer.pre_tokenizer.plan() is not None
    )
    found = None
    if threads > 1 and unchanged and tokenizer.pre_tokenizer is not None:
        found = _cut_long(tokenizer, batch, threads)
    if found is None:
        pieces = tokenizer.words(Pieces.from_batch(batch, aligned=offsets and not unchanged))
        found = pieces, tokenize(tokenizer, pieces)
    pieces, tokens = found
    n, rows = len(tokens.ids), tokens.rows[pieces.rows]
    start = end = constant(np.int64(0), n)
    words, text, texts = constant(np.int32(-1), n), constant(np.int32(-1), n), ()
    if offsets:
        start, end = _character_offsets(batch, pieces, tokens, rows)
        first_word = np.repeat(pieces.rows[:-1], np.diff(pieces.rows))
        word = np.arange(pieces.n_pieces, dtype=np.int64) - first_word
        words = np.repeat(word.astype(np.int32), np.diff(tokens.rows))
        text, texts = _odd_texts(tokenizer, pieces, tokens)
    zero, one = constant(np.uint32(0), n), constant(np.uint32(1), n)
    columns = Columns(tokens.ids, zero, start, end, words, zero, one, text)
    return Rows(columns, rows[:-1], rows[1:], tokenizer.spelling if offsets else NO_SPELLING, texts)


def _character_offsets(batch: TextBatch, pieces: Pieces, tokens: Tokens, rows: Array) -> tuple[Array, Array]:
    """int64[t] each: the characters of its document that each token covers; part of a character counts as all of it."""
    data, document = batch
    begins = np.repeat(document[:-1], np.diff(rows))  # of each token's document
    if pieces.alignment is None:
        start, end = tokens.start - begins, tokens.end - begins
    elif len(pieces.alignment.start) == 0:
        start = end = np.zeros(len(tokens.ids), np.int64)
    else:
        last = len(pieces.alignment.start) - 1
        start = pieces.alignment.start[np.minimum(tokens.start, last)].astype(np.int64)
        end = pieces.alignment.end[np.clip(tokens.end - 1, 0, last)].astype(np.int64)
    if len(data) == 0 or data.max() < 0x80:
        return start, end
    n_before = np.zeros(len(data) + 1, np.int32)  # characters that begin before each byte
    np.cumsum((data & 0xC0) != 0x80, out=n_before[1:], dtype=np.int32)
    base = n_before[begins]
    at_end = begins + start >= np.repeat(document[1:], np.diff(rows))
    first = n_before[np.minimum(begins + start + 1, len(data))] - 1 - base
    stop = n_before[begins + end] - base
    # Text that a normalizer put behind the last character keeps its place in bytes, as in the namesake.
    return np.where(at_end, start, first), np.where(at_end, end, stop).astype(np.int64)


def _odd_texts(tokenizer: Tokenizer, pieces: Pieces, tokens: Tokens) -> tuple[Array, tuple[str, ...]]:
    """The texts of tokens that aren't spelled as their ids are: added tokens with white space, and unknown ones."""
    odd: dict[int, str] = {}
    if pieces.token is not None:
        for piece in np.flatnonzero(np.isin(pieces.token, tokenizer.odd_tokens)).tolist():
            covered = pieces.data[pieces.start[piece] : pieces.end[piece]]
            odd[int(tokens.rows[piece])] = covered.tobytes().decode()
    unknown = getattr(tokenizer.model, "unk_id", None)
    if unknown is not None and len(at := np.flatnonzero(tokens.ids == unknown)):
        from gputok.models import Tokens

        some = Tokens(tokens.ids[at], tokens.start[at], tokens.end[at], np.arange(len(at) + 1))
        odd = (
            dict(
                zip(
                    at.tolist(),
                    tokenizer.model.values(some, pieces.data, byte_level=pieces.byte_level),
                    strict=True,
                )
            )
            | odd
        )
    if not odd:
        return constant(np.int32(-1), len(tokens.ids)), ()
    text = np.full(len(tokens.ids), -1, np.int32)
    text[list(odd)] = np.arange(len(odd))
    return text, tuple(odd.values())


# -- tokens to encodings


class _Part(NamedTuple):
    """Finished encodings of some of the inputs."""

    inputs: Array  # int64[m], which
    rows: Rows
    overflow: Rows  # what truncation cut off
    owner: Array  # int64[k], the row that each overflowing part belongs to
    others: dict[int, Encoding]  # input -> encoding, where parts of a pair had to be combined


def encode(
    tokenizer: Tokenizer,
    inputs: list[Given],
    is_pretokenized: bool,
    add_special_tokens: bool,
    *,
    offsets: bool,
    threads: int | None = None,
) -> list[Encoding]:
    """Encodes texts and pairs of texts, in slices over threads."""
    n_threads = thread_count(threads)
    task = functools.partial(
        _encode_slice, tokenizer, is_pretokenized, add_special_tokens, offsets, n_threads
    )
    slices = [(first, inputs[first:last]) for first, last in _slices(inputs, is_pretokenized)]
    parts = [part for found in run(task, slices, n_threads) for part in found]
    if tokenizer.padding is not None:
        parts = _pad(parts, tokenizer.padding)
    encodings: list[Any] = [None] * len(inputs)
    for part in parts:
        at = part.inputs.tolist()
        finished = part.rows.encodings([inputs[i] for i in at])
        if len(part.owner):
            overflowing = part.overflow.encodings([inputs[at[owner]] for owner in part.owner.tolist()])
            edges = np.searchsorted(part.owner, np.arange(len(at) + 1)).tolist()
            for encoding, (first, last) in zip(finished, itertools.pairwise(edges), strict=True):
                encoding._overflowing = tuple(overflowing[first:last])
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
    total = np.cumsum(sizes)
    if len(inputs) == 0 or total[-1] <= SLICE:
        return [(0, len(inputs))] if inputs else []
    cuts = np.unique([0, *np.searchsorted(total, np.arange(SLICE, total[-1], SLICE)), len(inputs)])
    return list(itertools.pairwise(cuts.tolist()))


def _encode_slice(
    tokenizer: Tokenizer,
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
    rows = encode_documents(tokenizer, batch, offsets=offsets, threads=threads if is_long else 1)
    if is_pretokenized:
        rows = _join_words(rows, np.array([len(one) for one in sequences], np.int64), offsets)
    n_sequences = np.array([len(given) for given in inputs])
    start = np.cumsum(n_sequences) - n_sequences
    parts = []
    for n in (1, 2):
        chosen = np.flatnonzero(n_sequences == n)
        if len(chosen):
            group = [rows.take(start[chosen] + k).replace(type_ids=k if offsets else 0) for k in range(n)]
            parts.append(_finish(tokenizer, base + chosen, group, add_special_tokens))
    return parts


def _join_words(rows: Rows, n_words: Array, offsets: bool) -> Rows:
    """Rows of words as rows of texts; a word's index in its text is the index of its tokens' word."""
    ends = np.cumsum(n_words)
    edges = np.concatenate([rows.first[:1], rows.last]) if len(rows.last) else np.zeros(1, np.int64)
    joined = Rows(rows.columns, edges[ends - n_words], edges[ends], rows.spelling, rows.texts)
    if not offsets:
        return joined
    index = np.arange(len(rows.first)) - np.repeat(ends - n_words, n_words)
    return joined.replace(words=np.repeat(index.astype(np.int32), rows.lengths))


def _finish(tokenizer: Tokenizer, inputs: Array, sequences: list[Rows], add_special_tokens: bool) -> _Part:
    """Step 4: truncation and the post-processor, for many texts, or many pairs."""
    processor, truncation = tokenizer.post_processor, tokenizer.truncation
    nothing = np.zeros(0, np.int64)
    if truncation is None:
        rows = process_rows(processor, sequences, add_special_tokens)
        return _Part(inputs, rows, rows.take(nothing), nothing, {})
    pair = len(sequences) == 2
    room = truncation["max_length"] - (tokenizer.num_special_tokens_to_add(pair) if add_special_tokens else 0)
    targets = _targets([rows.lengths for rows in sequences], room, truncation["strategy"])
    cut = [
        rows.truncate(target, truncation["stride"], truncation["direction"])
        for rows, target in zip(sequences, targets, strict=True)
    ]
    kept = [rows for rows, _, _ in cut]
    if not pair:
        _, overflow, owner = cut[0]
        rows = process_rows(processor, kept, add_special_tokens)
        return _Part(inputs, rows, process_rows(processor, [overflow], add_special_tokens, True), owner, {})
    combined = np.unique(np.concatenate([owner for _, _, owner in cut]))
    others = {}
    for row in combined.tolist():
        first, second = (
            view(rows, row, tuple(view(over, int(k), (), None) for k in np.flatnonzero(owner == row)), None)
            for rows, over, owner in cut
        )
        others[int(inputs[row])] = process_one(processor, first, second, add_special_tokens)
    simple = np.setdiff1d(np.arange(len(inputs)), combined)
    rows = process_rows(processor, [rows.take(simple) for rows in kept], add_special_tokens)
    return _Part(inputs[simple], rows, rows.take(nothing), nothing, others)


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


def _pad(parts: list[_Part], padding: dict[str, Any]) -> list[_Part]:
    """Fills all encodings up to one length."""
    length, multiple = padding["length"], padding["pad_to_multiple_of"]
    if length is None:
        lengths = [int(part.rows.lengths.max(initial=0)) for part in parts]
        length = max([*lengths, *(len(other) for part in parts for other in part.others.values())], default=0)
    if multiple:
        length += -length % multiple
    fill = {name: padding[name] for name in ("direction", "pad_id", "pad_type_id", "pad_token")}
    for part in parts:
        for other in part.others.values():
            other.pad(length, **fill)
    return [
        part._replace(rows=part.rows.pad(length, **fill), overflow=part.overflow.pad(length, **fill))
        for part in parts
    ]


def post_process(
    tokenizer: Tokenizer, encoding: Encoding, pair: Encoding | None, add_special_tokens: bool
) -> Encoding:
    """Step 4 for one text or one pair."""
    given = [encoding.__copy__()] if pair is None else [encoding.__copy__(), pair.__copy__()]
    if (truncation := tokenizer.truncation) is not None:
        n_added = tokenizer.num_special_tokens_to_add(pair is not None) if add_special_tokens else 0
        lengths = [np.array([len(one)]) for one in given]
        targets = _targets(lengths, truncation["max_length"] - n_added, truncation["strategy"])
        for one, target in zip(given, targets, strict=True):
            one.truncate(int(target[0]), truncation["stride"], truncation["direction"])
    finished = process_one(tokenizer.post_processor, *given, *[None][: 2 - len(given)], add_special_tokens)
    if tokenizer.padding is not None:
        part = _Part(
            np.zeros(0, np.int64), finished._rows.take(np.zeros(0, np.int64)), *_NO_OVERFLOW, {0: finished}
        )
        _pad([part], tokenizer.padding)
    return finished


_NO_OVERFLOW = (Encoding()._rows.take(np.zeros(0, np.int64)), np.zeros(0, np.int64))
