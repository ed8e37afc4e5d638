"""Which way the texts of a tokenizer take: decided once, by what each step answers, and explained."""

import re

import pytest

import gputok
from gputok import models, normalizers, pipeline
from gputok.pipeline.about import ways
from gputok.pipeline.encode.superwords import BySuperwords
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.encode.units import Stepped, Walked, engine_of
from gputok.pipeline.way import walk_of
from gputok.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace, Sequence, Split
from gputok.text.way import Apart, Before, Unit

NAMES = re.findall(r"^- (\w+): ", pipeline.__doc__, re.MULTILINE)
REPLACE = normalizers.Replace(" ", "▁")
LLAMA2 = normalizers.Sequence([normalizers.Prepend("▁"), REPLACE])
BYTES = ByteLevel(add_prefix_space=False)
BERT = normalizers.BertNormalizer(), BertPreTokenizer()
MODEL = models.BPE({"▁": 0, "a": 1, "▁a": 2}, [("▁", "a")], unk_token="a")


def tokenizer_of(normalizer, pre_tokenizer, model=MODEL, added=()):
    tokenizer = gputok.Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_tokens(list(added))
    return tokenizer


def test_the_package_names_at_most_five_ways_each_in_one_sentence():
    assert NAMES == ["handle", "walk", "superwords", "steps"]
    for sentence in re.split(r"^- ", pipeline.__doc__.split("\n\n`explain")[0], flags=re.MULTILINE)[1:]:
        assert sentence.rstrip().endswith(".") and sentence.count(". ") == 0


@pytest.mark.parametrize(
    ("name", "unit", "engine"),
    [
        ("llama3", Unit.WORD, Walked),
        ("qwen3", Unit.WORD, Walked),
        ("claude", Unit.WORD, Walked),
        ("llama2", Unit.LINE, Walked),
        ("minilm-bert", Unit.PART, Walked),
    ],
)
def test_real_tokenizers(shared_tokenizer, name, unit, engine):
    found = gputok.Tokenizer.from_file(str(shared_tokenizer(name))).pipeline
    assert found.way.unit is unit and isinstance(engine_of(found), engine)
    assert found.way is found.way and engine_of(found) is engine_of(found)
    sentences = ways(found)
    assert sentences["short texts"].startswith(
        "handle: for texts of up to 262,144 bytes, also in pairs and lists of words;"
    )
    assert sentences["other texts"].startswith("walk: ")


@pytest.mark.parametrize(
    ("steps", "unit", "apart", "before"),
    [
        ((None, BYTES), Unit.WORD, Apart.MARKS, Before.NONE),
        ((normalizers.Strip(), BYTES), Unit.WORD, Apart.NOWHERE, Before.NONE),
        (BERT, Unit.PART, Apart.IDEOGRAPHS, Before.NONE),
        ((normalizers.Sequence([BERT[0], normalizers.NFC()]), BERT[1]), Unit.PART, Apart.SPACES, Before.NONE),
        ((normalizers.Sequence([BERT[0]]), Sequence([BERT[1], BYTES])), Unit.PART, Apart.IDEOGRAPHS, Before.NONE),
        ((None, Sequence([BYTES, BERT[1]])), Unit.DOCUMENT, Apart.MARKS, Before.NONE),
        ((None, Sequence([BERT[1], Metaspace("_", "first")])), Unit.DOCUMENT, Apart.MARKS, Before.NONE),
        ((LLAMA2, None), Unit.LINE, Apart.NOWHERE, Before.ANY),
        ((LLAMA2, Sequence([])), Unit.LINE, Apart.NOWHERE, Before.ANY),
        ((REPLACE, Split(" ", "isolated")), Unit.LINE, Apart.NOWHERE, Before.NONE),
        ((None, Metaspace("▁", "first", False)), Unit.LINE, Apart.MARKS, Before.FIRST),
        ((normalizers.Sequence([REPLACE, normalizers.NFC()]), None), Unit.DOCUMENT, Apart.NOWHERE, Before.NONE),
        ((None, Sequence([Metaspace("▁", "never", False), BERT[1]])), Unit.DOCUMENT, Apart.MARKS, Before.NONE),
        ((None, Sequence([ByteLevel(use_regex=False), BYTES])), Unit.DOCUMENT, Apart.MARKS, Before.NONE),
        ((None, None), Unit.DOCUMENT, Apart.MARKS, Before.NONE),
    ],
)  # fmt: skip
def test_each_step_answers_for_itself(steps, unit, apart, before):
    way = tokenizer_of(*steps).pipeline.way
    assert (way.unit, way.apart, way.before) == (unit, apart, before)
    assert (walk_of(way) is not None) == (unit in (Unit.WORD, Unit.PART))


@pytest.mark.parametrize(
    ("tokenizer", "other", "count"),
    [
        (tokenizer_of(None, None), "steps: no pre-tokenizer cuts the text", "steps: no pre-tokenizer"),
        (
            tokenizer_of(None, BYTES, models.BPE({"a": 0}, [], dropout=0.5)),
            "steps: the model may encode the same word in different ways",
            "walk: finds and counts the words",
        ),
        (
            tokenizer_of(*BERT, added=[gputok.AddedToken("x", normalized=True)]),
            "steps: an added token is looked for in the normalized text",
            "steps: an added token is looked for in the normalized text",
        ),
        (
            tokenizer_of(LLAMA2, None, models.BPE({"▁": 0, "a": 1, "a▁": 2}, [("a", "▁")])),
            "steps: the tokens of the model leave no character",
            "steps: lines without a pre-tokenizer are words",
        ),
        (
            tokenizer_of(None, Sequence([BYTES, BERT[1]])),
            "steps: one walk can't do what the pre-tokenizer does",
            "steps: one walk can't do what the pre-tokenizer does",
        ),
        (
            tokenizer_of(None, Metaspace(prepend_scheme="first"), added=["x"]),
            "walk: cuts before spaces, and each different part takes the steps once; documents with added tokens take",
            "walk: cuts before spaces, and each different part is cut into words once; batches with an added token",
        ),
        (tokenizer_of(normalizers.Lowercase(), BYTES), "walk: finds the words in the normalized text", "steps: the"),
        (tokenizer_of(normalizers.NFC(), BYTES), "walk: finds the words in the normalized text", "walk: finds and"),
    ],
)  # fmt: skip
def test_it_is_explained(tokenizer, other, count):
    found = tokenizer.pipeline
    sentences = ways(found)
    assert sentences["other texts"].startswith(other) and sentences["count words"].startswith(count)
    assert {sentence.split(":")[0] for sentence in sentences.values()} <= {*NAMES}
    kinds = {"walk": Walked, "steps": Stepped, "superwords": BySuperwords}
    assert isinstance(engine_of(found), kinds[sentences["other texts"].split(":")[0]])
    by_handle = not found.model.is_random and texts_of(found) is not None
    assert sentences["short texts"].startswith("handle: " if by_handle else "steps: ")
