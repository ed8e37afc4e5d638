"""The numbers of a report: one pass over the text, the tokenizers taking turns at each batch."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gputok.automaton.unicode_tables import property_set
from gputok.encoding.encoding import views
from gputok.pipeline import encode_corpus
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.tokenize import encode_documents
from gputok.report.values import Measures, Sample, Text
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import TextBatch
from gputok.types import Array

SAMPLE_BYTES = 1000  # of a passage that is kept to look at, about; lines are joined up to that
SAMPLE_CHARACTERS = 1200  # of a passage, at most
_SMALL = 1 << 20  # ids below this are counted by id, in 8 MB at most
_MARKS = ("▁", "Ġ")  # tokens for a space, which some tokenizers put before a text

# Scripts of living languages by their Unicode names; the others are rare enough to be one.
SCRIPTS = (
    "Common",  # digits, punctuation, symbols
    "Inherited",  # marks that join any script
    *(
        "Latin Greek Cyrillic Armenian Georgian Hebrew Arabic Syriac Thaana Devanagari Bengali Gurmukhi Gujarati"
    ).split(),
    *(
        "Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Khmer Ethiopic Cherokee"
    ).split(),
    *("Mongolian Hangul Hiragana Katakana Bopomofo Han").split(),
    "other scripts",
)


def measure(
    tokenizers: Mapping[str, Pipeline],
    batches: Iterable[TextBatch],
    n_samples: int,
    threads: int | None,
    tell: Callable[[int], None],
) -> tuple[Text, tuple[Measures, ...], tuple[str, ...]]:
    """The text, what each tokenizer makes of all batches, and samples. `tell(n_bytes)` is called after each batch."""
    histogram = np.zeros(0x110000, np.int64)  # of code points
    n_documents = n_bytes = n_words = 0
    known = {name: _ids(tokenizer) for name, tokenizer in tokenizers.items()}
    usage = {name: np.zeros(len(ids), np.int64) for name, ids in known.items()}
    samples = Samples(n_samples)
    for batch in batches:
        codes = _code_points(batch)
        histogram += np.bincount(codes, minlength=len(histogram))
        n_words += _n_words(codes, batch)
        n_documents += batch.n_documents
        n_bytes += int(batch.offsets[-1] - batch.offsets[0])
        samples.draw(batch)
        for name, tokenizer in tokenizers.items():
            for ids, _ in encode_corpus.encode(tokenizer, [batch], add_special_tokens=False, threads=threads):
                usage[name] += _counts(known[name], ids)
        tell(n_bytes)

    n_characters, histogram = int(histogram.sum()), np.where(_is_space(), 0, histogram)
    of_script = np.bincount(_script_of(), weights=histogram, minlength=len(SCRIPTS)).astype(np.int64)
    scripts = np.argsort(-of_script, kind="stable")[: np.count_nonzero(of_script)]
    names = tuple(SCRIPTS[script] for script in scripts)
    text = Text(n_documents, n_bytes, n_characters, n_words, names, of_script[scripts])
    passages = samples.passages()
    measures = (
        _measures(name, tokenizer, text, usage[name], histogram, scripts, passages)
        for name, tokenizer in tokenizers.items()
    )
    return text, tuple(measures), tuple("".join(documents) for documents in passages)


class Samples:
    """Passages drawn evenly from a stream of unknown length (Vitter's reservoir, by keeping the smallest of random
    keys), the same ones for any cut into batches.

    A passage is a document, or lines that follow each other: a document that ends in a line break is a line. Passages
    of lines are cut where the text passes a multiple of `SAMPLE_BYTES`.
    """

    def __init__(self, n: int) -> None:
        self.n, self._random = n, np.random.default_rng(0)
        self._held: list[tuple[float, int, list[bytes]]] = []  # key, number of the passage, its documents
        self._n_passages = self._n_bytes = 0  # that have ended; of the batches before
        self._open: list[bytes] = []  # the passage that may go on in the next batch
        self._is_line, self._block = (
            False,
            0,
        )  # of its last document: a line? behind which multiple does it begin?

    def draw(self, batch: TextBatch) -> None:
        data, offsets = batch
        n = batch.n_documents
        if not n or not self.n:
            return
        lengths = np.diff(offsets)
        is_line = lengths > 0
        is_line[is_line] = data[offsets[1:][is_line] - 1] == ord("\n")
        block = (self._n_bytes + offsets[:-1] - offsets[0]) // SAMPLE_BYTES
        goes_on = np.append(self._is_line, is_line[:-1]) & (block == np.append(self._block, block[:-1]))
        edges = [*np.flatnonzero(~goes_on).tolist(), n]  # where passages begin
        self._is_line, self._block = bool(is_line[-1]), int(block[-1])
        self._n_bytes += int(offsets[-1] - offsets[0])
        self._open += _kept(batch, 0, edges[0])
        if edges[0] == n:
            return
        self._close()
        keys = self._random.random(len(edges) - 2)  # of the passages that end in this batch
        keys[np.diff(offsets[np.array(edges[:-1])]) < 2] = 2.0  # nothing to see in an empty line
        for i in np.argsort(keys, kind="stable")[: self.n].tolist():
            if keys[i] < 2:
                documents = _kept(batch, edges[i], edges[i + 1])
                self._held.append((float(keys[i]), self._n_passages + i, documents))
        self._n_passages += len(keys)
        self._open = _kept(batch, edges[-2], n)
        self._keep()

    def _close(self) -> None:
        """Draws for the passage that has ended."""
        if self._open:
            key = float(self._random.random())
            if sum(map(len, self._open)) >= 2:
                self._held.append((key, self._n_passages, self._open))
            self._n_passages += 1
            self._open = []

    def _keep(self) -> None:
        self._held = sorted(self._held, key=lambda held: held[:2])[: self.n]

    def passages(self) -> list[list[str]]:
        """The documents of each passage, in the order of the corpus."""
        self._close()
        self._keep()
        return [_cut(documents) for _, _, documents in sorted(self._held, key=lambda held: held[1])]


def _kept(batch: TextBatch, first: int, last: int) -> list[bytes]:
    """The documents first:last, of each no more than can be shown."""
    most = 4 * SAMPLE_CHARACTERS
    data, offsets = batch.data, batch.offsets[first : last + 1].tolist()
    return [data[a : min(b, a + most)].tobytes() for a, b in itertools.pairwise(offsets)]


def _cut(documents: list[bytes]) -> list[str]:
    """The documents as text, as far as the passage is shown."""
    texts, left = [], SAMPLE_CHARACTERS
    for document in documents:
        text = document.decode(errors="ignore")[:left]
        if text:
            texts.append(text)
        left -= len(text)
    return texts


def _measures(
    name: str,
    tokenizer: Pipeline,
    text: Text,
    usage: Array,
    histogram: Array,
    scripts: Array,
    passages: list[list[str]],
) -> Measures:
    vocabulary = dict(sorted((id, token) for token, id in tokenizer.get_vocab().items()))
    ids = np.array(list(vocabulary), np.int64)
    added = tokenizer.get_added_tokens_decoder()
    spelled = token_bytes(tokenizer, vocabulary)
    tokens = [one.decode(errors="replace") for one in spelled]
    unknown = tokenizer.unknown_id
    covered = np.bincount(
        _script_of(), weights=_covered(tokenizer, histogram, unknown), minlength=len(SCRIPTS)
    )
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
        merge_counts=merge_counts(tokenizer.model, ids, usage),
        encodings=_encoded(tokenizer, passages),
        tokenizer=tokenizer,
    )


def _encoded(tokenizer: Pipeline, passages: list[list[str]]) -> tuple[Sample, ...]:
    """The encodings of the documents of each passage, one by one, as they were measured."""
    texts = [text for documents in passages for text in documents]
    found = iter(views(encode_documents(tokenizer, TextBatch.from_strings(texts), offsets=True), texts))
    return tuple(
        tuple((len(text), encoding) for text, encoding in zip(documents, found, strict=False))
        for documents in passages
    )


def token_bytes(tokenizer: Pipeline, vocabulary: Mapping[int, str]) -> list[bytes]:
    """The bytes of text that each token stands for, without what only marks its place in a word.

    >>> from gputok import Tokenizer, models
    >>> token_bytes(Tokenizer(models.WordPiece({"##ing": 0}, unk_token="##ing")).pipeline, {0: "##ing"})
    [b'ing']
    """
    model, added = tokenizer.model, tokenizer.get_added_tokens_decoder()
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    steps = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    byte_level = any(
        '"type": "ByteLevel"' in json.dumps(step.to_dict()) for step in steps if step is not None
    )
    to_byte = {ord(character): byte for byte, character in enumerate(BYTE_CHARACTERS)}

    def spelled(id: int, token: str) -> bytes:
        if id in added:
            return token.encode()
        token = token.removeprefix(prefix).removesuffix(suffix) or token
        if len(token) == 6 and token.startswith("<0x") and getattr(model, "byte_fallback", False):
            return bytes.fromhex(token[3:5])
        if byte_level:
            raw = token.translate(to_byte)
            return raw.encode("latin-1") if max(raw, default="") < "\u0100" else token.encode()
        return token.replace("▁", " ").encode()

    return [spelled(id, token) for id, token in vocabulary.items()]


def merge_counts(model: Any, ids: Array, usage: Array) -> Array | None:
    """int64[merges], how often each merge of a BPE model is applied, from how often each token is left over.

    ids, usage: int64[tokens], rising ids and how often each is there. A token that is there n times was merged n times, and its two parts were there n times more: from
    the last merge to the first, this gives all counts without a look at the text.

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


def _ids(tokenizer: Pipeline) -> Array:
    """int64[tokens]: all ids, rising."""
    return np.array(sorted(set(tokenizer.get_vocab().values())), np.int64)


def _counts(known: Array, ids: Array) -> Array:
    """int64[tokens]: how often each of the rising ids `known` is among `ids`, all of which are known."""
    if len(known) == 0 or known[-1] < _SMALL:
        return np.bincount(ids, minlength=int(known[-1]) + 1 if len(known) else 0)[known]
    distinct, times = np.unique(ids, return_counts=True)
    counts = np.zeros(len(known), np.int64)
    counts[np.searchsorted(known, distinct)] = times
    return counts


def _code_points(batch: TextBatch) -> Array:
    """uint32[n_characters]"""
    text = batch.data[batch.offsets[0] : batch.offsets[-1]].tobytes().decode()
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _n_words(codes: Array, batch: TextBatch) -> int:
    """Runs of characters that are not white space; a document begins a new one."""
    inside = ~_is_space()[codes]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    first_byte = (batch.data[batch.offsets[0] : batch.offsets[-1]] & 0xC0) != 0x80
    starts = batch.offsets[:-1][np.diff(batch.offsets) > 0] - batch.offsets[0]
    first = np.cumsum(first_byte)[starts] - 1  # characters that begin a document
    begins[first] = inside[first]
    return int(np.count_nonzero(begins))


def _covered(tokenizer: Pipeline, histogram: Array, unknown: int | None) -> Array:
    """int64[0x110000]: the histogram of the code points that are one known token when they stand alone."""
    codes = np.flatnonzero(histogram)
    marks = [id for id in map(tokenizer.token_to_id, _MARKS) if id is not None]
    n_known = [np.zeros(0, np.int64)]
    characters = TextBatch.from_strings(map(chr, codes.tolist()))
    for ids, rows in encode_corpus.encode(tokenizer, [characters], add_special_tokens=False, threads=1):
        counted = np.where(np.isin(ids, marks), 0, 1)
        if unknown is not None:
            counted[ids == unknown] = 2  # more than one: not covered
        sums = np.concatenate([[0], np.cumsum(counted)])
        n_known.append(sums[rows[1:]] - sums[rows[:-1]])
    covered = codes[np.concatenate(n_known) == 1]
    result = np.zeros_like(histogram)
    result[covered] = histogram[covered]
    return result


def _token_scripts(tokens: list[str]) -> Array:
    """int64[tokens]: the script of each, as an index of SCRIPTS; that of its letters where it has any."""
    codes = np.frombuffer("".join(token + "\0" for token in tokens).encode("utf-32-le"), np.uint32)
    if not tokens:
        return np.zeros(0, np.int64)
    ends = np.cumsum([len(token) + 1 for token in tokens])
    return np.maximum.reduceat(_script_of()[codes], np.append(0, ends[:-1]))


@functools.cache
def _is_space() -> Array:
    """bool[0x110000]: White_Space."""
    return property_set("rust:space").has(np.arange(0x110000))


@functools.cache
def _script_of() -> Array:
    """uint8[0x110000]: an index of SCRIPTS for each code point."""
    script = np.full(0x110000, len(SCRIPTS) - 1, np.uint8)
    for i, name in enumerate(SCRIPTS[:-1]):
        for first, last in property_set(name).runs():
            script[first:last] = i
    return script
