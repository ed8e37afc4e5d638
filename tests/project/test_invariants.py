"""The checks of `invariants.py` find invalid objects."""

import invariants
import numpy as np
import pytest

import gputok
from gputok import models, pre_tokenizers
from gputok.encoding.rows import DTYPES, NO_SPELLING, Columns, Rows
from gputok.text.pieces import Alignment, Pieces, TextBatch

BATCH = TextBatch.from_strings(["ab é", "", "cd"])
PIECES = Pieces.from_batch(BATCH, aligned=True)
LONG = Pieces.from_batch(TextBatch.from_strings(["abcdefghij"]), aligned=True)


def changed(name: str, at: int, value: int) -> Pieces:
    column = getattr(PIECES, name).copy()
    column[at] = value
    return PIECES._replace(**{name: column})


def test_valid_objects():
    invariants.check_batch(BATCH)
    invariants.check_pieces(PIECES, n_documents=3)
    invariants.check_alignment(PIECES, np.diff(BATCH.offsets))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (changed("end", 0, -1), "ends before"),
        (changed("end", 2, 8), "outside"),
        (changed("start", 0, 4), "inside of a character"),
        (changed("end", 0, 6), "overlap"),
        (changed("rows", 1, 3), "rise"),
        (changed("start", 1, 7), "ends before"),
        (PIECES._replace(token=np.array([-1, -1, -2])), "negative"),
        (PIECES._replace(token=np.array([-1, -1, 5], np.int32)), "int32"),
        (PIECES._replace(start=PIECES.start.astype(np.int32)), "int32"),
        (PIECES._replace(alignment=Alignment(PIECES.alignment.end, PIECES.alignment.start)), "ends before"),
        (LONG._replace(alignment=Alignment(*(np.roll(side, 5) for side in LONG.alignment))), "out of order"),
        (PIECES._replace(alignment=Alignment(*(side[:-1] for side in PIECES.alignment))), "another text"),
    ],
)
def test_invalid_pieces(pieces, message):
    with pytest.raises(AssertionError, match=message):
        invariants.check_pieces(pieces)


def test_places_outside_of_the_document():
    with pytest.raises(AssertionError, match="after its document's end"):
        invariants.check_alignment(PIECES, np.array([4, 0, 2]))


def rows(first, last, ranges=None, **columns) -> Rows:
    given = {**dict.fromkeys(DTYPES, 0), "text": -1, **columns}
    return Rows(Columns(3, **given), np.array(first), np.array(last), NO_SPELLING, (), ranges or {})


def test_rows():
    invariants.check_columns(rows([0, 1], [1, 3], {0: None, 1: (np.array([0, 1]), np.array([1, 2]))}))
    for made, message in (
        (rows([0, 2], [1, 1]), "ends before"),
        (rows([0, 1], [1, 4]), "outside of the columns"),
        (rows([0], [3], {0: (np.array([2]), np.array([1]))}), "ends before"),
        (rows([0], [3], {0: (np.array([0]), np.array([4]))}), "outside of its row"),
        (rows([0], [3], start=2, end=1), "offsets"),
        (rows([0], [3], text=1), "texts"),
        (rows([0], [3], start=np.zeros(3, np.int32)), "int32"),
    ):
        with pytest.raises(AssertionError, match=message):
            invariants.check_columns(made)


def test_encodings():
    tokenizer = gputok.Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    invariants.check_encoding(tokenizer.encode("abba"), "abba")
    with pytest.raises(AssertionError):
        invariants.check_encoding(tokenizer.encode("abba"), "abb")


def test_every_step_is_checked(checked_steps):
    class Broken(pre_tokenizers.Whitespace):
        def _apply(self, pieces):
            cut = super()._apply(pieces)
            return cut._replace(end=cut.start - 1)

    with pytest.raises(AssertionError, match="ends before it begins"):
        Broken().apply(PIECES)
    before = dict(checked_steps)
    tokenizer = gputok.Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.normalizer = gputok.normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert tokenizer.encode("a b " * 3000, "b").sequence_ids  # which the steps make, one after the other
    more = {name for name, n in checked_steps.items() if n > before.get(name, 0)}
    assert more == {
        "Normalizer.apply",
        "PreTokenizer.apply",
        "AddedVocabulary.extract",
        "encode_documents",
        "process_rows",
    }
