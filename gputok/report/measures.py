"""The numbers of a report, in one pass over the text: each batch is encoded by one tokenizer after the other."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gputok.automaton.unicode_tables import property_set
from gputok.encoding.encoding import Encoding, views
from gputok.lazy import public
from gputok.models.bpe.model import BPE
from gputok.pipeline.decode_ids import speller
from gputok.pipeline.encode.corpus import encode_corpus
from gputok.pipeline.encode.stepwise import encode_documents
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.serialize import read_pipeline
from gputok.report.figures import CompressionCurve, tokens_by_merge
from gputok.report.groups import Grouping
from gputok.text.pieces import TextBatch, joined
from gputok.types import Array

SAMPLE_BYTES = 1000  # lines are joined to samples of about this size
SAMPLE_CHARACTERS = 1200  # the longest sample
_SMALL = 1 << 20  # ids below this number are counted in an array with a number for each id, 8 MB at most
_MARKS = ("▁", "Ġ")  # tokens for a space, which some tokenizers put before a text

# Scripts of living languages, by their names in Unicode; all other scripts are counted as one.
# "Common" has digits, punctuation and symbols, "Inherited" marks that join any script
SCRIPTS = (
    *"Common Inherited Latin Greek Cyrillic Armenian Georgian Hebrew Arabic Syriac Thaana Devanagari Bengali".split(),
    *"Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Khmer Ethiopic".split(),
    *"Cherokee Mongolian Hangul Hiragana Katakana Bopomofo Han".split(),
    "other scripts",
)
COLUMNS = ("vocabulary", "tokens", "bytes/token", "tokens/word", "unused", "unknown")

Sample: TypeAlias = tuple[tuple[int, Encoding], ...]
"""A passage of the text: the number of characters, and the encoding, of each of its documents."""


@public("gputok.report")
class Made(NamedTuple):
    """Where a report comes from, for the header of its page, which leaves out empty fields.

    Attributes:
        title: the title of the page.
        source: the names of the files that were read.
        date: the day, as 2026-01-31.
        version: the version of gputok.
        command: the command that made the report.
    """

    title: str
    source: str
    date: str
    version: str
    command: str


@public("gputok.report")
@dataclass(frozen=True, eq=False)
class Text:
    """The numbers of a text, which do not depend on a tokenizer.

    Attributes:
        n_documents: documents.
        n_bytes: bytes of UTF-8.
        n_characters: code points.
        n_words: runs of characters that are not white space.
        scripts: the scripts that occur, the most frequent first.
        script_characters: int64[scripts], how many characters are of each script, without white space.
    """

    n_documents: int
    n_bytes: int
    n_characters: int
    n_words: int
    scripts: tuple[str, ...]
    script_characters: np.ndarray


@public("gputok.report")
@dataclass(frozen=True, eq=False, repr=False)
class Measures:
    """The measurements of one tokenizer on the text. Arrays over tokens are in the order of rising ids.

    Attributes:
        name: the name of the tokenizer.
        text: the text.
        tokens: the text that each token stands for, as far as its bytes are UTF-8.
        ids: int64[tokens].
        usage: int64[tokens], how often each token occurs in the text.
        lengths: int64[tokens], how many bytes of text each token stands for.
        special: bool[tokens], added tokens, which count neither as unused nor in the histograms of lengths.
        n_unknown: how often the unknown token occurs in the text.
        script_tokens: int64[scripts], tokens of the vocabulary in each script of the text.
        script_covered: int64[scripts], characters of the text that alone are encoded as one token.
        merge_counts: int64[merges], how often each merge is applied to the text; None for models that do not merge. On
            the text of the training, this is the count that each pair had when it was chosen (except for runs as in
            `aaa`, whose pairs overlap). If several merges make one token, as in files of SentencePiece, the first one
            has the count.
        encodings: the encodings of the samples.
        tokenizer: the pipeline that was measured.
    """

    name: str
    text: Text
    tokens: list[str]
    ids: np.ndarray
    usage: np.ndarray
    lengths: np.ndarray
    special: np.ndarray
    n_unknown: int
    script_tokens: np.ndarray
    script_covered: np.ndarray
    merge_counts: np.ndarray | None
    encodings: tuple[Sample, ...]
    tokenizer: Pipeline

    @property
    def n_tokens(self) -> int:
        """The number of tokens of the text."""
        return int(self.usage.sum())

    @property
    def bytes_per_token(self) -> float:
        """Compression: bytes of UTF-8 per token."""
        return self.text.n_bytes / self.n_tokens if self.n_tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        """Fertility: tokens per word, that is per run of characters that are not white space."""
        return self.n_tokens / self.text.n_words if self.text.n_words else 0.0

    @property
    def unused_share(self) -> float:
        """The share of the vocabulary, without special tokens, that does not occur in the text."""
        return float((self.usage[~self.special] == 0).mean()) if (~self.special).any() else 0.0

    @property
    def unknown_share(self) -> float:
        """The share of the tokens of the text that are the unknown token."""
        return self.n_unknown / self.n_tokens if self.n_tokens else 0.0

    def length_histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts tokens of 0, 1, 2, ... bytes.

        Returns:
            Tokens of the vocabulary and tokens of the text of each length, int64[longest + 1] each.
        """
        lengths, usage = self.lengths[~self.special], self.usage[~self.special]
        n = int(lengths.max(initial=0)) + 1
        of_text = np.zeros(n, np.int64)
        np.add.at(of_text, lengths, usage)
        return np.bincount(lengths, minlength=n), of_text

    def compression_curve(self) -> CompressionCurve | None:
        """Returns the tokens of the text by vocabulary size, from the size without merges; None: no merges exist."""
        model = self.tokenizer.model
        if self.merge_counts is None or not isinstance(model, BPE):
            return None
        _, first = tokens_by_merge(model)
        undone = np.cumsum(self.merge_counts[first][::-1])[::-1]
        sizes = len(self.ids) - len(first) + np.arange(len(first) + 1)
        return CompressionCurve(sizes, self.n_tokens + np.append(undone, 0), self.text.n_bytes)

    def longest(self, n: int = 20) -> list[tuple[str, int]]:
        """Returns the `n` longest tokens with how often each occurs; tokens of equal length by falling frequency."""
        order = np.lexsort((-self.usage, -self.lengths, self.special))[: min(n, int((~self.special).sum()))]
        return [(self.tokens[i], int(self.usage[i])) for i in order.tolist()]

    def row(self) -> tuple[int, int, float, float, float, float]:
        """Returns the numbers of `COLUMNS`."""
        rates = self.bytes_per_token, self.tokens_per_word, self.unused_share, self.unknown_share
        return (len(self.ids), self.n_tokens, *rates)


def measure(
    tokenizers: Mapping[str, Pipeline],
    grouping: Grouping,
    n_samples: int,
    threads: int | None,
    on_progress: Callable[[int], None],
) -> tuple[Text, tuple[Measures, ...], tuple[str, ...]]:
    """Measures a text and tokenizers on it, and draws samples; on_progress: gets the bytes so far, after each batch."""
    histogram = np.zeros(0x110000, np.int64)  # of code points
    n_read = 0
    # All ids in rising order, int64[tokens]
    known = {name: np.array(sorted({*one.get_vocab().values()}), np.int64) for name, one in tokenizers.items()}
    usage = {name: np.zeros(len(ids), np.int64) for name, ids in known.items()}
    samples = Samples(n_samples)
    for batch, group in grouping.read(threads):
        codes = code_points(batch)
        histogram += np.bincount(codes, minlength=len(histogram))
        samples.draw(batch)
        for name, ids in counted(tokenizers, batch, codes, group, grouping.sums, threads):
            usage[name] += _counts(known[name], ids)
        n_read += int(batch.offsets[-1] - batch.offsets[0])
        on_progress(n_read)
    n_documents, n_bytes, n_words = sum(grouping.sums, np.zeros(3 + len(tokenizers), np.int64))[:3].tolist()

    n_characters, histogram = int(histogram.sum()), np.where(_is_space(), 0, histogram)
    of_script = np.bincount(_script_of(), weights=histogram, minlength=len(SCRIPTS)).astype(np.int64)
    scripts = np.argsort(-of_script, kind="stable")[: np.count_nonzero(of_script)]
    names = tuple(SCRIPTS[script] for script in scripts)
    text = Text(n_documents, n_bytes, n_characters, n_words, names, of_script[scripts])
    passages = samples.passages()
    about = histogram, scripts, passages
    measured = (_measures(name, one, text, usage[name], *about) for name, one in tokenizers.items())
    return text, tuple(measured), tuple("".join(documents) for documents in passages)


def counted(
    tokenizers: Mapping[str, Pipeline],
    batch: TextBatch,
    codes: Array,
    group: Array,
    sums: list[Array],
    threads: int | None,
) -> Iterator[tuple[str, Array]]:
    """Adds the numbers of a batch to its groups; yields (name of a tokenizer, ids of some documents) as it encodes.

    codes: the code points of the batch; group: int64[n_documents], the index in `sums` of the group of each document;
    sums: as in `Grouping`, changed in place, and complete once all is yielded.
    """

    def add(what: int, group: Array, values: Array | int) -> None:
        found = np.zeros(len(sums), np.int64)
        np.add.at(found, group, values)
        for number in np.flatnonzero(found).tolist():
            sums[number][what] += found[number]

    for what, values in enumerate((1, np.diff(batch.offsets), words_of(codes, batch))):
        add(what, group, values)
    for what, (name, tokenizer) in enumerate(tokenizers.items(), 3):
        n = 0  # documents that are encoded
        for ids, rows in encode_corpus(tokenizer, [batch], add_special_tokens=False, threads=threads):
            add(what, group[n : n + len(rows) - 1], np.diff(rows))
            n += len(rows) - 1
            yield name, ids


class Samples:
    """Draws passages evenly from a stream of unknown length; how the stream is cut into batches changes nothing.

    Each passage gets a random key, and those with the smallest keys are kept (Vitter's reservoir). A passage is one
    document, or several lines: a document that ends in a line break is a line. Passages of lines end where the text
    passes a multiple of `SAMPLE_BYTES`.
    """

    def __init__(self, n: int) -> None:
        self.n, self._random = n, np.random.default_rng(0)
        # Key and number of a passage, and its documents
        self._kept: list[tuple[float, int, list[bytes]]] = []
        self._n_passages = self._n_bytes = 0  # of the stream, up to `_last`
        # The last passage, which may continue in the next batch
        self._last = TextBatch(np.zeros(0, np.uint8), np.zeros(1, np.int64))

    def draw(self, batch: TextBatch) -> None:
        """Takes the next batch of the stream."""
        if not batch.n_documents or not self.n:
            return
        batch = joined([self._last, batch])
        data, offsets = batch
        is_line = np.diff(offsets) > 0
        is_line[is_line] = data[offsets[1:][is_line] - 1] == ord("\n")
        block = (self._n_bytes + offsets[:-1]) // SAMPLE_BYTES
        edges = np.append(0, np.flatnonzero(~is_line[:-1] | (np.diff(block) > 0)) + 1)  # where passages begin
        self._take(batch, edges)
        rest = offsets[edges[-1] :]
        self._last = TextBatch(data[rest[0] :].copy(), rest - rest[0])
        self._n_bytes += int(rest[0])

    def _take(self, batch: TextBatch, edges: Array) -> None:
        """Gives a key to each passage, the documents edges[i]:edges[i + 1], and keeps those with the smallest keys."""
        keys = self._random.random(len(edges) - 1)
        keys[np.diff(batch.offsets[edges]) < 2] = 2.0  # more than any random key: empty lines are not shown
        for i in np.argsort(keys, kind="stable")[: self.n].tolist():
            if keys[i] < 2:
                self._kept.append((float(keys[i]), self._n_passages + i, _beginnings(batch, edges[i], edges[i + 1])))
        self._kept = sorted(self._kept, key=lambda passage: passage[:2])[: self.n]
        self._n_passages += len(keys)

    def passages(self) -> list[list[str]]:
        """Returns the documents of each passage that was drawn, in the order of the stream, which has ended."""
        if self._last.n_documents:
            self._take(self._last, np.array([0, self._last.n_documents]))
        return [_cut(documents) for _, _, documents in sorted(self._kept, key=lambda passage: passage[1])]


def _beginnings(batch: TextBatch, first: int, last: int) -> list[bytes]:
    """Copies the documents first:last, each only as far as it can be shown."""
    most = 4 * SAMPLE_CHARACTERS
    data, offsets = batch.data, batch.offsets[first : last + 1].tolist()
    return [data[a : min(b, a + most)].tobytes() for a, b in itertools.pairwise(offsets)]


def _cut(documents: list[bytes]) -> list[str]:
    """Decodes the documents of a passage, as far as the passage is shown."""
    texts, left = [], SAMPLE_CHARACTERS
    for document in documents:
        texts.append(document.decode(errors="ignore")[:left])
        left -= len(texts[-1])
    return [*filter(None, texts)]


def _measures(
    name: str, pipeline: Pipeline, text: Text, usage: Array, histogram: Array, scripts: Array, passages: list[list[str]]
) -> Measures:
    vocabulary = dict(sorted((id, token) for token, id in pipeline.get_vocab().items()))
    ids = np.array(list(vocabulary), np.int64)
    added = pipeline.get_added_tokens_decoder()
    spelled = [*map(speller(pipeline), vocabulary, vocabulary.values())]
    tokens = [one.decode(errors="replace") for one in spelled]
    unknown = pipeline.unknown_id
    covered = np.bincount(_script_of(), weights=_covered(pipeline, histogram, unknown), minlength=len(SCRIPTS))
    return Measures(
        name=name,
        text=text,
        tokens=tokens,
        ids=ids,
        usage=usage,
        lengths=np.array([len(one) for one in spelled], np.int64),
        special=np.array([id in added for id in vocabulary], bool),
        n_unknown=0 if unknown is None else int(usage[np.searchsorted(ids, unknown)]),
        script_tokens=np.bincount(_token_scripts(tokens), minlength=len(SCRIPTS))[scripts],
        script_covered=covered[scripts].astype(np.int64),
        merge_counts=merge_counts(pipeline.model, ids, usage),
        encodings=_encoded(pipeline, passages),
        tokenizer=pipeline,
    )


def _encoded(tokenizer: Pipeline, passages: list[list[str]]) -> tuple[Sample, ...]:
    """Encodes each document of each passage by itself, as in the measurements."""
    texts = [text for documents in passages for text in documents]
    found = iter(views(encode_documents(tokenizer, TextBatch.from_strings(texts), offsets=True), texts))
    return tuple(tuple((len(text), next(found)) for text in documents) for documents in passages)


def merge_counts(model: Any, ids: Array, usage: Array) -> Array | None:
    """Computes how often each merge of a BPE model was applied, from how often each token occurs in the result.

    A token that occurs n times was made n times by its merge, which used up each of its two parts n times. Computed
    from the last merge to the first, this gives all counts without a second pass over the text: int64[merges], or None
    if the model does not merge. ids: in rising order; usage: how often each occurs.

    >>> from gputok import models
    >>> bpe = models.BPE({"a": 0, "b": 1, "ab": 2, "abb": 3}, [("a", "b"), ("ab", "b")])
    >>> merge_counts(bpe, np.arange(4), np.array([0, 0, 5, 3])).tolist()
    [8, 3]
    """
    merges = getattr(model, "merges", None)
    if merges is None:
        return None
    present, counts = dict(zip(ids.tolist(), usage.tolist(), strict=True)), np.zeros(len(merges), np.int64)
    _, first = np.unique(merges[:, 2], return_index=True)
    for rank in sorted(first.tolist(), reverse=True):
        left, right, merged = merges[rank].tolist()
        counts[rank] = present[merged]
        present[left] += present[merged]
        present[right] += present[merged]
    return counts


def _counts(known: Array, ids: Array) -> Array:
    """Counts how often each of the ids `known` (in rising order) occurs in `ids`: int64[tokens]."""
    if len(known) == 0 or known[-1] < _SMALL:
        return np.bincount(ids, minlength=int(known[-1]) + 1 if len(known) else 0)[known]
    distinct, times = np.unique(ids, return_counts=True)
    counts = np.zeros(len(known), np.int64)
    counts[np.searchsorted(known, distinct)] = times
    return counts


def code_points(batch: TextBatch) -> Array:
    """Decodes a batch: uint32[n_characters]."""
    text = batch.data[batch.offsets[0] : batch.offsets[-1]].tobytes().decode()
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def words_of(codes: Array, batch: TextBatch) -> Array:
    """Counts the runs of characters that are not white space, which end with their document: int64[n_documents]."""
    inside = ~_is_space()[codes]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    first_byte = (batch.data[batch.offsets[0] : batch.offsets[-1]] & 0xC0) != 0x80
    places = np.append(0, np.cumsum(first_byte))[batch.offsets - batch.offsets[0]]  # characters before each document
    starts = places[:-1][np.diff(places) > 0]
    begins[starts] = inside[starts]
    return np.diff(np.append(0, np.cumsum(begins))[places])


def _covered(tokenizer: Pipeline, histogram: Array, unknown: int | None) -> Array:
    """Copies a histogram of code points, int64[0x110000], with 0 for those that alone are not one known token."""
    codes = np.flatnonzero(histogram)
    marks = [id for id in map(tokenizer.token_to_id, _MARKS) if id is not None]
    n_known = [np.zeros(0, np.int64)]
    characters = TextBatch.from_strings(map(chr, codes.tolist()))
    for ids, rows in encode_corpus(tokenizer, [characters], add_special_tokens=False, threads=1):
        counted = np.where(np.isin(ids, marks), 0, 1)
        if unknown is not None:
            counted[ids == unknown] = 2  # counts as two tokens, so the character is not covered
        sums = np.concatenate([[0], np.cumsum(counted)])
        n_known.append(sums[rows[1:]] - sums[rows[:-1]])
    covered = codes[np.concatenate(n_known) == 1]
    result = np.zeros_like(histogram)
    result[covered] = histogram[covered]
    return result


def _token_scripts(tokens: list[str]) -> Array:
    """Finds the script of each token, uint8[tokens]: the largest index in SCRIPTS of its characters: letters decide."""
    codes = np.frombuffer("".join(token + "\0" for token in tokens).encode("utf-32-le"), np.uint32)
    if not tokens:
        return np.zeros(0, np.int64)
    ends = np.cumsum([len(token) + 1 for token in tokens])
    return np.maximum.reduceat(_script_of()[codes], np.append(0, ends[:-1]))


@functools.cache
def _is_space() -> Array:
    """Loads the property White_Space: bool[0x110000]."""
    return property_set("rust:space").has(np.arange(0x110000))


@functools.cache
def _script_of() -> Array:
    """Loads the script of each code point, an index of SCRIPTS: uint8[0x110000]."""
    script = np.full(0x110000, len(SCRIPTS) - 1, np.uint8)
    for i, name in enumerate(SCRIPTS[:-1]):
        for first, last in property_set(name).runs():
            script[first:last] = i
    return script


def own_pipeline(name: str, tokenizer: Any) -> Pipeline:
    """Returns the pipeline of a tokenizer or of one that it wraps, or reads that of another package from its JSON."""
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(pipeline := getattr(inner, "pipeline", None), Pipeline):
        return pipeline
    if not hasattr(inner, "to_str"):
        raise TypeError(f"{name!r} is {type(tokenizer).__name__}, not a tokenizer")
    read = read_pipeline(inner.to_str(), name)
    given = getattr(inner, "encode_special_tokens", False)  # the JSON form lacks this setting
    return dataclasses.replace(read, added=read.added.encoding_special_tokens(given))
