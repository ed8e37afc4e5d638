"""Encodes many texts at once, with one set of arrays for each slice of a batch; objects are made only at the end."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.checks import is_list
from gputok.encoding.encoding import Encoding, views
from gputok.encoding.rows import NO_SPELLING, Columns, Rows, merge, padded
from gputok.kernels.signatures import NamedTuple
from gputok.kernels.threads import run, thread_count
from gputok.models.base import Tokens, concat_tokens
from gputok.pipeline.way import cut_for_threads
from gputok.processors import process_one, process_rows
from gputok.text.pieces import LONGEST, Pieces, TextBatch, check_lengths
from gputok.text.way import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gputok.pipeline.added_vocabulary import AddedVocabulary
    from gputok.pipeline.limits import Padding
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Positions, Positions32


def tokenize(pipeline: Pipeline, pieces: Pieces) -> Tokens:
    """Step 3: tokenizes words; added tokens are tokens already. `start` and `end` are positions in `pieces.data`."""
    model, byte_level = pipeline.model, pieces.byte_level
    if pieces.token is None:
        return model.tokenize_pieces(pieces.data, pieces.start, pieces.end, byte_level=byte_level)
    added = pieces.token >= 0
    found = model.tokenize_pieces(pieces.data, pieces.start[~added], pieces.end[~added], byte_level=byte_level)
    n_tokens = np.ones(pieces.n_pieces, np.int64)
    n_tokens[~added] = np.diff(found.rows)
    rows = np.concatenate([[0], np.cumsum(n_tokens)])
    from_model = np.ones(rows[-1], bool)
    from_model[rows[:-1][added]] = False
    ids, start, end = (np.empty(rows[-1], np.uint32), np.empty(rows[-1], np.int64), np.empty(rows[-1], np.int64))
    ids[from_model], ids[~from_model] = found.ids, pieces.token[added]
    start[from_model], start[~from_model] = found.start, pieces.start[added]
    end[from_model], end[~from_model] = found.end, pieces.end[added]
    return Tokens(ids, start, end, rows)


def _cut_long(pipeline: Pipeline, batch: TextBatch, threads: int, n_bytes: int) -> tuple[Pieces, Tokens] | None:
    """Tokenizes a long text by several threads, in slices cut between words; None: no walk tells where to cut."""
    pre_tokenizer, automaton = pipeline.pre_tokenizer, pipeline.way.automaton
    if pre_tokenizer is None or automaton is None or pipeline.way.unit != Unit.WORD:
        return None

    def of_slice(pieces: Pieces) -> tuple[Pieces, Tokens]:
        words = pre_tokenizer.apply(pieces)
        return words, tokenize(pipeline, words)

    cut = cut_for_threads(pipeline.added.apart(Pieces.from_batch(batch), None), automaton, n_bytes)
    words, tokens = zip(*run(of_slice, [(each,) for each in cut.slices], threads), strict=True)
    start, end = (np.concatenate([getattr(each, name) for each in words]) for name in ("start", "end"))
    token = None if cut.pieces.token is None else np.concatenate([each.token for each in words])
    rows = cut.joined([each.rows for each in words])
    pieces = Pieces(batch.data, start, end, rows, token, byte_level=words[0].byte_level)
    return pieces, concat_tokens([*tokens])


def encode_documents(
    pipeline: Pipeline, batch: TextBatch, *, offsets: bool, threads: int = 1, slice_bytes: int = 1 << 18
) -> Rows:
    """Steps 1 to 3 for many texts; returns one row for each text.

    offsets: computes the columns that only complete encodings need, such as offsets and words.
    threads: with more than one, texts are cut between words into slices of about `slice_bytes`, if possible.
    """
    if offsets:
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
    in_place = pipeline.pre_tokenizer is None or pipeline.way.unit == Unit.WORD
    unchanged = pipeline.normalizer is None and in_place
    found = _cut_long(pipeline, batch, threads, slice_bytes) if threads > 1 and unchanged else None
    if found is None:
        pieces = pipeline.words(Pieces.from_batch(batch, aligned=offsets and not unchanged))
        found = pieces, tokenize(pipeline, pieces)
    return rows_of(pipeline, batch, *found, offsets=offsets)


def rows_of(pipeline: Pipeline, batch: TextBatch, pieces: Pieces, tokens: Tokens, *, offsets: bool) -> Rows:
    """Returns one row for each text of a batch, from its words and their tokens; offsets: as for `encode_documents`."""
    rows = tokens.rows[pieces.rows]
    columns: dict[str, Any] = {"ids": tokens.ids, "type_ids": 0, "special": 0, "attention": 1}
    if not offsets:
        columns |= {"start": 0, "end": 0, "words": -1, "text": -1}
        return Rows(Columns(len(tokens.ids), **columns), rows[:-1], rows[1:], NO_SPELLING)
    text, texts = _verbatim_texts(pipeline, pieces, tokens)
    # These columns take time, and many callers never read them
    spans = functools.cache(functools.partial(_character_offsets, batch, pieces, tokens))
    words = functools.partial(_words, pieces.rows, np.diff(tokens.rows))
    columns |= {"start": lambda: spans()[0], "end": lambda: spans()[1], "words": words}
    lazy = Columns(len(tokens.ids), text=text, **columns)
    return Rows(lazy, rows[:-1], rows[1:], pipeline.names.spelling, texts)


def _words(rows: Positions, n_tokens: Positions) -> Positions32:
    """Returns the index of each token's word in its text. rows: of the words; n_tokens: of each word."""
    index = np.arange(len(n_tokens)) - np.repeat(rows[:-1], np.diff(rows))
    return np.repeat(index.astype(np.int32), n_tokens)


def _character_offsets(batch: TextBatch, pieces: Pieces, tokens: Tokens) -> tuple[Positions, Positions]:
    """Returns begin and end of each token, int64[n_tokens], in characters of its document, even if covered in part."""
    data, document = batch
    rows = tokens.rows[pieces.rows]
    begins = np.repeat(document[:-1], np.diff(rows))  # the first byte of each token's document
    if pieces.alignment is None:
        start, end = tokens.start - begins, tokens.end - begins
    elif len(pieces.alignment.start) == 0:
        start = end = np.zeros(len(tokens.ids), np.int64)
    else:
        last = len(pieces.alignment.start) - 1
        start = pieces.alignment.start[np.minimum(tokens.start, last)].astype(np.int64)
        end = pieces.alignment.end[np.clip(tokens.end - 1, 0, last)].astype(np.int64)
        end = np.where(tokens.start < tokens.end, end, start)  # no bytes: a step in Python has emptied the piece
    word_start, word_end = (np.repeat(edge, np.diff(tokens.rows)) for edge in (pieces.start, pieces.end))
    beyond = np.flatnonzero(tokens.end > word_end)
    if len(data) == 0 or (data.max() < 0x80 and not len(beyond)):
        return start, end
    width = np.int32 if len(data) <= LONGEST else np.int64
    n_before: Any = np.zeros(len(data) + 1, width)  # how many characters begin before each byte
    np.cumsum((data & 0xC0) != 0x80, out=n_before[1:], dtype=width)
    base = n_before[begins]
    stops = np.repeat(document[1:], np.diff(rows))
    at_end = begins + start >= stops
    first = n_before[np.minimum(begins + start + 1, len(data))] - 1 - base
    stop = n_before[np.minimum(begins + end, len(data))] - base
    # As in tokenizers, text that a normalizer appended after the last character has offsets in bytes.
    start, end = np.where(at_end, start, first), np.where(at_end, end, stop).astype(np.int64)
    if len(beyond):
        from_word = (tokens.start - word_start)[beyond], (tokens.end - word_start)[beyond]
        start[beyond], end[beyond] = _beyond_words(*from_word, begins[beyond], stops[beyond], n_before)
    return start, end


def _beyond_words(
    start: Positions, end: Positions, begins: Positions, stops: Positions, n_before: Positions32 | Positions
) -> tuple[Positions, Positions]:
    """Returns the offsets of tokens that end after their words, as tokenizers gives them.

    Prefixes and suffixes of a BPE model may become bytes, which count as bytes of the word. Offsets that lie after the
    word are taken for offsets in the document, in bytes; those after the document stay as they are.

    start, end: int64[n], of the tokens in their words, in bytes; begins, stops: int64[n], of their documents in the
    data; n_before: how many characters begin before each byte of the data.
    """
    size = stops - begins

    def character_of(byte: Positions) -> Positions:
        return (n_before[begins + np.minimum(byte, size - 1) + 1] - 1 - n_before[begins]).astype(np.int64)

    at_end = np.where(end - 1 < size, character_of(end - 1) + 1, character_of(start) + 2)
    last = np.where(end < size, character_of(end), at_end)
    return np.where(start < size, character_of(start), start), np.where(start < size, last, end)


def _verbatim_texts(pipeline: Pipeline, pieces: Pieces, tokens: Tokens) -> tuple[Positions32 | int, tuple[str, ...]]:
    """Finds the tokens that are shown as the text that they cover: some added tokens, and Unigram's unknown tokens.

    Returns the column `text` (int32[n_tokens], an index into the texts or -1; or -1 for all tokens), and the texts.
    """
    verbatim: dict[int, str] = {}
    unknown = getattr(pipeline.model, "unk_id", None)
    if unknown is not None and len(at := np.flatnonzero(tokens.ids == unknown)):
        some = Tokens(tokens.ids[at], tokens.start[at], tokens.end[at], np.arange(len(at) + 1))
        values = pipeline.model.values(some, pieces.data, byte_level=pieces.byte_level)
        verbatim.update(zip(at.tolist(), values, strict=True))
    if pieces.token is not None:
        shown = pipeline.added.shown_verbatim(pipeline.model.vocabulary)
        for piece in np.flatnonzero(np.isin(pieces.token, shown)).tolist():
            covered = pieces.data[pieces.start[piece] : pieces.end[piece]]
            verbatim[int(tokens.rows[piece])] = covered.tobytes().decode()
    if not verbatim:
        return -1, ()
    text = np.full(len(tokens.ids), -1, np.int32)
    text[list(verbatim)] = np.arange(len(verbatim))
    return text, tuple(verbatim.values())


Given = tuple[Any, ...]  # an input: one text or two, each a string, or, with `is_pretokenized`, a list of words

SLICE = 1 << 18  # characters that a thread encodes at a time, so many that NumPy's overhead is small


# -- checks of the inputs


def check_sequence(sequence: Any, is_pretokenized: bool) -> str | list[str]:
    """Returns one text, as a string or as a list of words; raises TypeError for any other object."""
    if not is_pretokenized:
        if not isinstance(sequence, str):
            raise TypeError(f"TextInputSequence must be str, not {type(sequence).__name__}")
        return sequence
    is_array = isinstance(sequence, np.ndarray) and sequence.ndim == 1
    words: Any = sequence.tolist() if is_array else sequence  # pyright: ignore[reportUnknownVariableType]
    # Most lists have only str, and no subclass of it: to see that takes a quarter of the time
    if not is_list(words) or not ({*map(type, words)} <= {str} or all(isinstance(word, str) for word in words)):
        raise TypeError("PreTokenizedInputSequence must be Union[List[str], Tuple[str]]: with is_pretokenized=True")
    return list(words)


def check_inputs(inputs: Any, is_pretokenized: bool) -> list[Given]:
    """Returns texts and pairs of texts; raises TypeError for any other object."""
    items: Any = inputs
    if not isinstance(inputs, Sequence | np.ndarray) or isinstance(inputs, str):
        raise TypeError(f"expected a list of texts, not {type(items).__name__}")
    if not is_pretokenized and {*map(type, items)} == {str}:
        return [(text,) for text in items]
    return [_check_input(item, is_pretokenized) for item in items]


def _is_row(item: Any) -> bool:
    """Whether an input is a row of an array of pairs."""
    return isinstance(item, np.ndarray) and item.ndim > 0


def _check_input(item: Any, is_pretokenized: bool) -> Given:
    try:
        return (check_sequence(item, is_pretokenized),)
    except TypeError:
        pair: list[Any] = list(item) if _is_row(item) or is_list(item) else []
        if len(pair) == 2:
            return tuple(check_sequence(sequence, is_pretokenized) for sequence in pair)
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


_NOTHING = np.zeros(0, np.int64)
_NO_ROWS = [Encoding().row().take(_NOTHING)]


class _Part(NamedTuple):
    """Finished encodings of some of the inputs."""

    inputs: Positions  # int64[m], the numbers of the inputs
    rows: list[Rows]  # in parts, which follow each other in each row
    overflow: list[Rows] = _NO_ROWS  # the tokens that truncation cut off, likewise
    owner: Positions = _NOTHING  # int64[k], the row that each overflowing part belongs to
    # Input -> encoding, of the pairs whose overflowing parts had to be combined
    others: Mapping[int, Encoding] = MappingProxyType({})


def encode(
    pipeline: Pipeline,
    inputs: list[Given],
    is_pretokenized: bool,
    special: bool,
    *,
    offsets: bool,
    threads: int | None = None,
    slice_size: int = SLICE,
) -> list[Encoding]:
    """Encodes texts and pairs of texts, in slices by several threads; the encodings are in the order of the inputs.

    special: adds special tokens; offsets: all columns, not only ids; threads: as for `thread_count`;
    slice_size: characters.
    """
    slices = [(first, inputs[first:last]) for first, last in _slices(inputs, is_pretokenized, slice_size)]
    # In one slice, only the first text may be long. To count the cores takes a tenth of the time of a short text
    short = threads is None and len(slices) == 1 and sum(map(len, inputs[0])) <= slice_size
    n_threads = 1 if short else thread_count(threads)

    def of_slice(base: int, some: list[Given]) -> list[_Part]:
        sequences = [sequence for given in some for sequence in given]
        texts = [word for sequence in sequences for word in sequence] if is_pretokenized else sequences
        batch = TextBatch.from_strings(texts)
        for_one = n_threads if len(batch.data) > 8 * slice_size else 1  # all threads encode a long text
        rows = encode_documents(pipeline, batch, offsets=offsets, threads=for_one, slice_bytes=slice_size)
        if is_pretokenized:
            rows = _join_words(rows, np.array([len(words) for words in sequences], np.int64), offsets)
        return _parts(pipeline, base, some, rows, special, offsets)

    parts: list[_Part] = [part for found in run(of_slice, slices, n_threads) for part in found]
    if pipeline.padding is not None:
        parts = _pad(parts, pipeline.padding)
    encodings: list[Any] = [None] * len(inputs)
    for part in parts:
        numbers: list[int] = part.inputs.tolist()
        owners: list[int] = part.owner.tolist()
        overflowing = None
        if owners:
            texts = [inputs[numbers[owner]] for owner in owners]
            cut_off = views(merge(part.overflow), texts)
            edges = np.searchsorted(part.owner, np.arange(len(numbers) + 1)).tolist()
            overflowing = [cut_off[first:last] for first, last in itertools.pairwise(edges)]
        finished = views(merge(part.rows), [inputs[i] for i in numbers], overflowing)
        for i, encoding in zip(numbers, finished, strict=True):
            encodings[i] = encoding
        for i, encoding in part.others.items():
            encodings[i] = encoding.with_texts(inputs[i])
    return encodings


def _slices(inputs: list[Given], is_pretokenized: bool, slice_size: int) -> list[tuple[int, int]]:
    """Divides the inputs into consecutive ranges of about `slice_size` characters."""
    if is_pretokenized:
        sizes = [sum(len(word) + 1 for sequence in given for word in sequence) for given in inputs]
    else:
        sizes = [sum(map(len, given)) for given in inputs]
    if sum(sizes) <= slice_size:
        return [(0, len(inputs))] if inputs else []
    total = np.cumsum(sizes)
    inner: list[int] = np.searchsorted(total, np.arange(slice_size, int(total[-1]), slice_size)).tolist()
    return list(itertools.pairwise(sorted({0, *inner, len(inputs)})))


def _parts(pipeline: Pipeline, base: int, inputs: list[Given], rows: Rows, special: bool, offsets: bool) -> list[_Part]:
    """Finishes single texts and pairs separately. base: the number of the first input; rows: one for each text."""
    if len(rows.first) == len(inputs):  # no pairs
        return [_finish(pipeline, np.arange(base, base + len(inputs)), [rows], special)]
    n_sequences = np.array([len(given) for given in inputs])
    start = np.cumsum(n_sequences) - n_sequences
    parts: list[_Part] = []
    for n in (1, 2):
        chosen = np.flatnonzero(n_sequences == n)
        if len(chosen):
            group = [rows.take(start[chosen] + k).replace(type_ids=k if offsets else 0) for k in range(n)]
            parts.append(_finish(pipeline, base + chosen, group, special))
    return parts


def _join_words(rows: Rows, n_words: Positions, offsets: bool) -> Rows:
    """Joins rows of words to rows of texts of n_words each; the column `words` becomes the index of the word."""
    at = np.append(0, np.cumsum(n_words))
    edges = np.concatenate([rows.first[:1], rows.last]) if len(rows.last) else np.zeros(1, np.int64)
    joined = Rows(rows.columns, edges[at[:-1]], edges[at[1:]], rows.spelling, rows.texts)
    return joined.replace(words=functools.partial(_words, at, rows.lengths)) if offsets else joined


def _finish(pipeline: Pipeline, inputs: Positions, sequences: list[Rows], special: bool) -> _Part:
    """Step 4: truncation and the post-processor, for texts (one of `sequences`) or pairs; inputs: their numbers."""
    processor, truncation, pair = pipeline.post_processor, pipeline.truncation, len(sequences) == 2
    if truncation is None:
        return _Part(inputs, process_rows(processor, sequences, special))
    room = truncation.room(pipeline.num_special_tokens_to_add(pair) if special else 0)
    if room > 0 and not np.count_nonzero(_sum(sequences) > room):
        return _Part(inputs, process_rows(processor, sequences, special))
    aims = targets([rows.lengths for rows in sequences], room, truncation.strategy)
    how = truncation.stride, truncation.direction
    cut = [rows.truncate(target, *how) for rows, target in zip(sequences, aims, strict=True)]
    kept = [rows for rows, _, _ in cut]
    if not pair:
        _, overflow, owner = cut[0]
        rows = process_rows(processor, kept, special)
        if not len(owner):
            return _Part(inputs, rows)
        return _Part(inputs, rows, process_rows(processor, [overflow], special, True), owner)
    combined = np.unique(np.concatenate([owner for _, _, owner in cut]))
    others: dict[int, Encoding] = {}
    for row in combined.tolist():
        first, second = (
            Encoding.of(rows, row, [Encoding.of(over, int(k)) for k in np.flatnonzero(owner == row)])
            for rows, over, owner in cut
        )
        others[int(inputs[row])] = process_one(processor, first, second, special)
    simple = np.setdiff1d(np.arange(len(inputs)), combined)
    rows = process_rows(processor, [rows.take(simple) for rows in kept], special)
    return _Part(inputs[simple], rows, others=others)


def targets(lengths: list[Positions], room: int, strategy: str) -> list[Positions]:
    """Returns to how many tokens each sequence is cut, so that an encoding has at most `room` tokens.

    lengths: of the first sequences, and of the second sequences of pairs: int64[m] each, as the result.
    """
    if room <= 0:
        return [np.zeros_like(length) for length in lengths]
    excess: Positions = np.maximum(functools.reduce(np.add, lengths) - room, 0)
    if not excess.any():
        return lengths
    if strategy == "longest_first" and len(lengths) == 1:
        return [lengths[0] - excess]
    if strategy == "longest_first":
        short: Positions = np.minimum(lengths[0], lengths[1])
        # The shorter sequence stays whole if it can. Else each gets half of the room, and the second the odd token
        long: Positions = np.where(short > room, short, np.maximum(short, room - short))
        halved = short + long > room
        short, long = np.where(halved, room // 2, short), np.where(halved, room // 2 + room % 2, long)
        swapped = lengths[0] > lengths[1]
        first, second = np.where(swapped, long, short), np.where(swapped, short, long)
        return [np.where(excess > 0, target, length) for target, length in zip((first, second), lengths, strict=True)]
    chosen = 0 if strategy == "only_first" else 1
    if chosen >= len(lengths):
        raise ValueError("Truncation error: Second sequence not provided, but the strategy is `only_second`")
    if (lengths[chosen] <= excess)[excess > 0].any():
        raise ValueError("Truncation error: Sequence to truncate too short to respect the provided max_length")
    return [length - excess if i == chosen else length for i, length in enumerate(lengths)]


def _pad(parts: list[_Part], padding: Padding) -> list[_Part]:
    """Pads all encodings to the same length."""
    longest = 0
    if padding.length is None:
        lengths = [int(_sum(part.rows).max(initial=0)) for part in parts]
        longest = max([*lengths, *(len(other) for part in parts for other in part.others.values())], default=0)
    length, multiple = padding.aim(longest), padding.pad_to_multiple_of
    if length >= 1 << 31:
        raise ValueError(
            f"padding to {length} tokens, by length={padding.length} and pad_to_multiple_of={multiple}: an encoding "
            "must have fewer than 2**31"
        )
    fill = padding.fill()
    for part in parts:
        for other in part.others.values():
            other.pad(length, **fill)
    return [
        part._replace(rows=padded(part.rows, length, **fill), overflow=padded(part.overflow, length, **fill))
        for part in parts
    ]


def _sum(parts: list[Rows]) -> Positions:
    """The lengths of rows in parts."""
    return functools.reduce(np.add, [part.lengths for part in parts])


def post_process(
    pipeline: Pipeline, given: Sequence[tuple[Encoding, Encoding | None]], add_special_tokens: bool
) -> list[Encoding]:
    """Applies truncation, the post-processor and padding to existing encodings, or to pairs of them."""
    finished = {i: _processed(pipeline, *one, add_special_tokens) for i, one in enumerate(given)}
    if pipeline.padding is not None:
        _pad([_Part(_NOTHING, _NO_ROWS, others=finished)], pipeline.padding)
    return [*finished.values()]


def _processed(pipeline: Pipeline, encoding: Encoding, pair: Encoding | None, add_special_tokens: bool) -> Encoding:
    first, second = encoding.__copy__(), None if pair is None else pair.__copy__()
    if (truncation := pipeline.truncation) is not None:
        n_added = pipeline.num_special_tokens_to_add(pair is not None) if add_special_tokens else 0
        copies = [first] if second is None else [first, second]
        lengths = [np.array([len(copy)]) for copy in copies]
        direction: Any = truncation.direction
        aims = targets(lengths, truncation.room(n_added), truncation.strategy)
        for copy, target in zip(copies, aims, strict=True):
            copy.truncate(int(target[0]), truncation.stride, direction)
    finished = process_one(pipeline.post_processor, first, second, add_special_tokens)
    texts = (first.texts or (None,)) + (() if second is None else second.texts or (None,))
    return finished.with_texts(None if None in texts else texts)


# -- texts with trusted segments


def encode_segments(
    pipeline: Pipeline,
    texts: Sequence[Iterable[tuple[str, bool]]],
    protect: str | Iterable[str],
    add_special_tokens: bool,
) -> list[Encoding]:
    """Encodes texts given as segments (text, trusted): untrusted text neither makes nor breaks a protected token."""
    contents = frozenset(_protected(pipeline.added, protect))
    guarded = pipeline.variant(
        ("protected", contents), lambda given: dataclasses.replace(given, added=given.added.protecting(contents))
    )
    found: list[tuple[Encoding, None]] = []
    for text in texts:
        runs = _runs(text)
        whole = "".join(part for part, _ in runs)
        batch = TextBatch.from_strings([whole])
        pieces, steps = Pieces.from_batch(batch, aligned=True), pipeline
        if not all(trusted for _, trusted in runs):
            pieces, steps = _cut_at_tokens(pipeline, pieces, runs, contents), guarded
        words = steps.words(pieces)
        rows = rows_of(steps, batch, words, tokenize(steps, words), offsets=True)
        found.append((Encoding.of(rows, 0, (), (whole,)), None))
    return post_process(guarded, found, add_special_tokens)


def _protected(added: AddedVocabulary, protect: Any) -> set[str]:
    if isinstance(protect, str):
        if protect not in ("special", "added"):
            raise ValueError(f"protect={protect!r}: must be 'special', 'added' or a list of added tokens")
        return added.special if protect == "special" else {*added.ids}
    contents = {*protect}
    if unknown := sorted(map(repr, contents - added.ids.keys())):
        raise ValueError(f"protect: {', '.join(unknown)} are no added tokens; add_tokens adds them")
    return contents | added.special


def _runs(segments: Iterable[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Joins neighbouring segments that are equally trusted; an untrusted one parts trusted ones even if it is empty."""
    checked: list[tuple[str, bool]] = []
    for segment in segments:
        match segment:
            case (str(text), bool() | np.bool_() as trusted):
                checked.append((text, bool(trusted)))
            case _:
                raise TypeError(f"a segment must be (text, trusted), a string and True or False, not {segment!r}")
    groups = itertools.groupby(checked, key=lambda segment: segment[1])
    return [("".join(text for text, _ in group), trusted) for trusted, group in groups]


def _cut_at_tokens(pipeline: Pipeline, whole: Pieces, runs: list[tuple[str, bool]], contents: frozenset[str]) -> Pieces:
    """Makes pieces of the protected tokens that each trusted run, read alone, has; whole: the text as one piece.

    A token that covers a part of a character gets the whole character. Tokens that take white space may overlap.
    """
    is_trusted = [trusted for _, trusted in runs]
    begins = np.cumsum([0, *(len(text.encode()) for text, _ in runs)])[:-1][is_trusted]
    alone = TextBatch.from_strings(text for text, trusted in runs if trusted)
    pieces = pipeline.added.apart(Pieces.from_batch(alone, aligned=True), pipeline.normalizer)
    if pieces.token is None or pieces.alignment is None:
        return whole
    at = np.flatnonzero(np.isin(pieces.token, [pipeline.added.ids[content] for content in contents]))
    begin = np.repeat(begins, np.diff(pieces.rows))[at]
    start = begin + pieces.alignment.start[pieces.start[at]]
    end = begin + pieces.alignment.end[pieces.end[at] - 1]
    characters = np.append(np.flatnonzero((whole.data & 0xC0) != 0x80), len(whole.data))
    edges, token = np.zeros((2 * len(at) + 1, 2), np.int64), np.full(2 * len(at) + 1, -1)
    edges[1::2, 0] = edges[:-1:2, 1] = characters[np.searchsorted(characters, start, "right") - 1]
    edges[1::2, 1] = edges[2::2, 0] = characters[np.searchsorted(characters, end)]
    edges[-1, 1], token[1::2] = len(whole.data), pieces.token[at]
    kept = (edges[:, 0] < edges[:, 1]) | (token >= 0)
    start, end = edges[kept].T
    return whole._replace(start=start, end=end, rows=np.array([0, len(start)]), token=token[kept])
