"""Properties of all pipelines and all texts; `hypothesis` looks for counterexamples.

Each property is tried on a few examples, the same ones in every run, and on many new ones with `-m full`.
"""

from __future__ import annotations

import functools
import os
import pathlib
import string
import tempfile
from typing import TYPE_CHECKING, Any

import invariants
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

import tests.encode.test_parity_pipelines as parity
from gputok import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from gputok.encoding.rows import DTYPES, Columns, Rows, Spelling, merge, padded
from gputok.pipeline.encode.corpus import UNIT_BYTES, encode_corpus
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable

# Hypothesis keeps what it knows of Unicode outside of the repository.
set_hypothesis_home_dir(pathlib.Path(tempfile.gettempdir(), f"gputok-hypothesis-{os.getuid()}"))

# No example is kept in a folder: what fails is printed, and becomes an example in a test.
_COMMON = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=True
)
settings.register_profile("some", _COMMON, max_examples=25)
settings.register_profile("many", _COMMON, max_examples=1500, derandomize=False)


def holds(scale: int = 1, **strategies: st.SearchStrategy) -> Callable[[Callable[..., None]], Any]:
    """Makes a test of a function that asserts something of an example; scale: how many times as many examples."""

    def test_of(check: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("tier", ["some", pytest.param("many", marks=pytest.mark.full)])
        def test(tier: str) -> None:
            profile = settings.get_profile(tier)
            settings(profile, max_examples=scale * profile.max_examples)(given(**strategies)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return test_of


# ---- texts and pipelines

CONTENTS = ["<s>", "</s>", "[UNK]", "[MASK]", "xyz", "a b", "ab", "字", "The", "\n", "\n a", " ", " \u3000", "0", " 0"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b", "\ufeff", "\v", "\x1c"]
MARKS = ["\u0301", "\u0323", "\u0345", "\u0334", "\u200d", "\u094d", "\ufe0f", "\u0ed8", "\u1161", "\u11a8", "\u3099"]
CHARACTERS = st.characters(exclude_categories=["Cs"])
PARTS = st.one_of(
    st.sampled_from(parity.PARTS),
    st.sampled_from(CONTENTS),
    st.sampled_from(SPACES),
    st.sampled_from(MARKS),
    st.text(string.ascii_letters + string.digits, max_size=8),
    st.text(CHARACTERS, max_size=4),
    st.builds(
        lambda one, n: one * n,
        st.one_of(st.sampled_from([*SPACES, *MARKS, *CONTENTS]), CHARACTERS),
        st.integers(2, 200),
    ),
)
TEXTS = st.lists(PARTS, max_size=12).map("".join)
BATCHES = st.lists(TEXTS, min_size=1, max_size=6)
SWITCHES = ("single_word", "lstrip", "rstrip", "normalized", "special")
ADDED = st.builds(AddedToken, st.sampled_from(CONTENTS), **dict.fromkeys(SWITCHES, st.booleans()))


@functools.lru_cache(maxsize=64)
def trained(seed: int) -> str:
    return parity.Maker(seed).tokenizer().to_str()


@st.composite
def pipelines(draw: st.DrawFn, limits: bool = True) -> Tokenizer:
    """All components with random arguments, a trained model, added tokens with all switches; limits: of lengths too."""
    tokenizer = Tokenizer.from_str(trained(draw(st.integers(0, 9999))))
    # None that was special and isn't any more: tokenizers forgets that in a file only, and so does gputok.
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    added = draw(st.lists(ADDED, max_size=4, unique_by=lambda token: token.content))
    tokenizer.add_tokens([token for token in added if token.special or token.content not in special])
    tokenizer.encode_special_tokens = draw(st.booleans())
    if not limits:
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer


def view(tokenizer: Tokenizer, text: str, **options: Any) -> Any:
    """What it makes of a text, or why it refuses it: a model without an unknown token may."""
    try:
        return parity.view(tokenizer.encode(text, **options))
    except ValueError as error:
        return str(error)


def encodable(tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    return [text for text in texts if not isinstance(view(tokenizer, text), str)]


# ---- decode of encode

PLAIN = ["<s>", "</s>", "[UNK]", "ab", "字", "\n", "\n a", "a b", "xyz", "  "]  # ByteLevel decodes them as they are
KEPT = st.builds(
    AddedToken, st.sampled_from(PLAIN), **dict.fromkeys(["single_word", "normalized", "special"], st.booleans())
)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
PAIRS = [("a", "b"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "Ġ"), ("å", "Ń"), ("åŃ", "Ĺ"), ("Ì", "ģ"), ("x", "y")]
STEPS = {
    "words": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "whole": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    "digits": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "split": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\s+(?!\S)|\d{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


@st.composite
def byte_level(draw: st.DrawFn) -> Tokenizer:
    """Of all bytes, some merges, and added tokens that take no white space."""
    merges = PAIRS[: draw(st.integers(0, len(PAIRS)))]
    vocabulary = {token: i for i, token in enumerate([*ALPHABET, *(a + b for a, b in merges)])}
    model = models.BPE(vocabulary, merges, ignore_merges=draw(st.booleans()))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = STEPS[draw(st.sampled_from(list(STEPS)))]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(draw(st.lists(KEPT, max_size=4)))
    return tokenizer


@st.composite
def byte_fallback(draw: st.DrawFn) -> Tokenizer:
    """Of some characters, and a token for each byte of all others."""
    characters = draw(st.lists(CHARACTERS, max_size=8, unique=True))
    tokens = [*(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(["a", "b", "字", *characters, "ab"])]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if draw(st.booleans()):
        model = models.BPE(vocabulary, [("a", "b")], byte_fallback=True)
    else:
        model = models.Unigram([(token, -1.0 - i / 300) for i, token in enumerate(tokens)], 0, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


@holds(tokenizer=st.one_of(byte_level(), byte_fallback()), texts=BATCHES)
def test_decode_of_encode(tokenizer, texts):
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    assert [tokenizer.decode(one, skip_special_tokens=False) for one in ids] == texts
    assert tokenizer.decode_batch(ids, skip_special_tokens=False) == texts


# ---- offsets

REORDERING = ("NFC", "NFD", "NFKC", "NFKD", "BertNormalizer", "StripAccents")


@holds(tokenizer=pipelines(), texts=BATCHES, add_special_tokens=st.booleans())
def test_offsets_lie_inside_the_text_and_in_order(tokenizer, texts, add_special_tokens):
    for text in encodable(tokenizer, texts):
        encoding = tokenizer.encode(text, add_special_tokens=add_special_tokens)
        invariants.check_encoding(encoding, text)
        for part in [encoding, *encoding.overflowing]:
            invariants.check_columns(part.row())
            if not any(name in str(tokenizer.normalizer) for name in REORDERING):
                own = zip(part.offsets, part.special_tokens_mask, strict=True)  # without padding
                # Without tokens of no width: ByteLevel trims a space put before the text to (1, 1), as tokenizers does
                starts = [start for (start, end), special in own if start < end and not special]
                assert starts == sorted(starts), (text, part.offsets)


# ---- files


@holds(tokenizer=pipelines(), texts=BATCHES)
def test_a_tokenizer_survives_its_file(tokenizer, texts):
    written = tokenizer.to_str()
    again = Tokenizer.from_str(written)
    assert again.to_str() == written
    again.encode_special_tokens = tokenizer.encode_special_tokens  # which files don't hold
    for text in texts:
        assert view(again, text) == view(tokenizer, text), text


# ---- batches, cuts, threads


@holds(tokenizer=pipelines(), texts=BATCHES, threads=st.integers(1, 4), special=st.booleans())
def test_a_batch_is_its_texts_one_by_one(tokenizer, texts, threads, special):
    tokenizer.no_padding()  # which makes all as long as the longest of the batch
    texts = encodable(tokenizer, texts)
    one_by_one = [parity.view(tokenizer.encode(text, add_special_tokens=special)) for text in texts]
    batch = tokenizer.encode_batch(texts, add_special_tokens=special, threads=threads)
    assert list(map(parity.view, batch)) == one_by_one
    fast = tokenizer.encode_batch_fast(texts, add_special_tokens=special, threads=threads)
    assert [encoding.ids for encoding in fast] == [encoding["ids"] for encoding in one_by_one]


def corpus_rows(
    tokenizer: Tokenizer, batches: list[list[str]], threads: int, special: bool, unit: int
) -> list[list[int]]:
    """Row by row, of texts that come in these batches."""
    given = [TextBatch.from_strings(batch) for batch in batches if batch]
    found = encode_corpus(tokenizer.pipeline, given, add_special_tokens=special, threads=threads, unit_bytes=unit)
    return [row.tolist() for batch in found for row in np.split(batch.ids, batch.rows[1:-1])]


@holds(
    tokenizer=pipelines(limits=False),
    texts=st.lists(TEXTS, max_size=10),
    cuts=st.lists(st.integers(0, 10), max_size=4),
    threads=st.integers(1, 4),
    unit=st.sampled_from([1, 16, 200, UNIT_BYTES]),
    special=st.booleans(),
)
def test_a_corpus_is_its_texts_for_any_cut_and_threads(tokenizer, texts, cuts, threads, unit, special):
    texts = encodable(tokenizer, texts)
    ids = [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]
    ends = sorted(min(cut, len(texts)) for cut in cuts)
    batches = [texts[a:b] for a, b in zip([0, *ends], [*ends, len(texts)], strict=True)]
    assert corpus_rows(tokenizer, batches, threads, special, unit) == ids


# ---- rows

NAMES = list(DTYPES)
SPELLINGS = [Spelling({i: f"{name}{i}" for i in range(12)}.get) for name in ("token", " other")]
LIMITS = {
    **{"ids": (0, 11), "type_ids": (0, 3), "start": (0, 20), "end": (20, 50)},
    **{"words": (-1, 9), "special": (0, 1), "attention": (0, 1), "text": (-1, 1)},
}


def plain(rows: Rows) -> list[list[tuple]]:
    """Each row as a list of tokens: all columns but `text`, of which the text itself."""
    values = [getattr(rows.columns, name).tolist() for name in NAMES if name != "text"]
    return [
        [(*(column[at] for column in values), text) for at, text in zip(range(a, b), rows.token_texts(i), strict=True)]
        for i, (a, b) in enumerate(zip(rows.first.tolist(), rows.last.tolist(), strict=True))
    ]


@st.composite
def some_rows(draw: st.DrawFn, m: int | None = None) -> Rows:
    """Rows that may overlap, of columns some of which are one number or made later."""
    n = draw(st.integers(0, 12))
    given: dict[str, Any] = {}
    for name in NAMES:
        values = st.integers(*LIMITS[name])
        kind = draw(st.sampled_from(["array", "number", "later"]))
        column = np.array(draw(st.lists(values, min_size=n, max_size=n)), DTYPES[name])
        given[name] = {"array": column, "number": draw(values), "later": lambda column=column: column}[kind]
    m = draw(st.integers(0, 5)) if m is None else m
    spans = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for _ in range(m)]
    first, last = np.array(spans, np.int64).reshape(m, 2).T
    spelling = draw(st.sampled_from(SPELLINGS))
    return Rows(Columns(n, **given), first.copy(), last.copy(), spelling, ("own", " text"))


@holds(4, data=st.data())
def test_rows_are_merged_taken_and_set_apart_as_lists_are(data):
    m = data.draw(st.integers(0, 5))
    parts = data.draw(st.lists(some_rows(m), min_size=1, max_size=3))
    parts = [part.with_sequence(i) for i, part in enumerate(parts)]
    lists = [plain(part) for part in parts]
    merged = merge(parts)
    invariants.check_columns(merged)
    assert plain(merged) == [[token for part in lists for token in part[i]] for i in range(m)]
    for row in range(m):
        end = 0
        for sequence, part in enumerate(lists):
            end += len(part[row])
            assert merged.range_of(sequence, row) == (end - len(part[row]), end)
    chosen = data.draw(st.lists(st.integers(0, m - 1), max_size=6)) if m else []
    taken = merged.take(np.array(chosen, np.int64))
    invariants.check_columns(taken)
    assert plain(taken) == [plain(merged)[row] for row in chosen]
    assert plain(parts[0].apart()) == lists[0]
    assert parts[0].apart().last.tolist() == np.cumsum([len(row) for row in lists[0]]).tolist()


@holds(
    4,
    rows=some_rows(),
    length=st.integers(0, 15),
    side=st.sampled_from(["left", "right"]),
    pad_id=st.integers(0, 2**32 - 1),
)
def test_rows_are_padded_as_lists_are(rows, length, side, pad_id):
    filled = merge(padded([rows], length, side, pad_id, 2, "[PAD]"))
    invariants.check_columns(filled)
    filling = (pad_id, 2, 0, 0, -1, 1, 0, "[PAD]")
    for row, found in zip(plain(rows), plain(filled), strict=True):
        missing = [filling] * (length - len(row))
        assert found == (row + missing if side == "right" else missing + row)


def windows(n: int, width: int, stride: int, side: str) -> list[tuple[int, int]]:
    """Where a row of n tokens is cut: what is kept, and what overflows."""
    if n <= width:
        return [(0, n)]
    if width == 0:
        return [(0, 0), (0, n)]
    found = [(0, width)]
    while found[-1][1] < n:
        begin = found[-1][0] + width - stride
        found.append((begin, min(begin + width, n)))
    return found if side == "right" else [(n - b, n - a) for a, b in found]


@holds(4, rows=some_rows(), data=st.data(), stride=st.integers(0, 3), side=st.sampled_from(["left", "right"]))
def test_rows_are_truncated_as_lists_are(rows, data, stride, side):
    m = len(rows.first)
    width = data.draw(st.lists(st.integers(0, 12), min_size=m, max_size=m))
    lists = plain(rows)
    if any(0 < w <= stride and w < len(row) for w, row in zip(width, lists, strict=True)):
        with pytest.raises(ValueError, match="`stride`"):
            rows.truncate(np.array(width, np.int64), stride, side)
        return
    kept, more, owner = rows.truncate(np.array(width, np.int64), stride, side)
    invariants.check_columns(kept)
    invariants.check_columns(more)
    parts = [[row[a:b] for a, b in windows(len(row), w, stride, side)] for w, row in zip(width, lists, strict=True)]
    assert plain(kept) == [part[0] for part in parts]
    assert plain(more) == [window for part in parts for window in part[1:]]
    assert owner.tolist() == [i for i, part in enumerate(parts) for _ in part[1:]]
