"""Post-processors against those of tokenizers, on encodings that tokenizers made."""

import importlib
import json
import pickle
import random

import pytest
import tokenizers
import tokenizers.processors as theirs

import gputok
import gputok.processors as mine
from tests.encode.test_encoding import encodings, ours, state


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    """Byte-level tokens, so that there is white space to trim."""
    words = ["Ġ", "ĠĠ", "Ġa", "b", "Ã©", "a", "Ġb", "c", "z", "©", "Ã", " c"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({word: i for i, word in enumerate(words)}, []))
    tokenizer.add_tokens([tokenizers.AddedToken("ac", lstrip=True, rstrip=True)])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


SPECIAL = [("[CLS]", 1), (0, "[SEP]"), {"id": "both", "ids": [3, 4], "tokens": ["x", "y"]}]
MAKERS = [
    lambda kind: kind.ByteLevel(),
    lambda kind: kind.ByteLevel(add_prefix_space=False),
    lambda kind: kind.ByteLevel(trim_offsets=False),
    lambda kind: kind.BertProcessing(("[SEP]", 1), ("[CLS]", 2)),
    lambda kind: kind.RobertaProcessing(("</s>", 1), ("<s>", 2)),
    lambda kind: kind.RobertaProcessing(("</s>", 1), ("<s>", 2), trim_offsets=False),
    lambda kind: kind.RobertaProcessing(("</s>", 1), ("<s>", 2), add_prefix_space=False),
    lambda kind: kind.TemplateProcessing(),
    lambda kind: kind.TemplateProcessing("[CLS] $0 [SEP]:2", "[CLS] $A [SEP] $B:1 [SEP]:1", SPECIAL),
    lambda kind: kind.TemplateProcessing(["both", "$A:3", "both:1"], ["$B", "both", "$a"], SPECIAL),
    lambda kind: kind.Sequence([]),
    lambda kind: kind.Sequence([kind.ByteLevel(), kind.TemplateProcessing("[CLS] $0", None, SPECIAL)]),
    lambda kind: kind.Sequence([kind.BertProcessing(("[SEP]", 1), ("[CLS]", 2)), kind.ByteLevel()]),
    lambda kind: kind.Sequence([kind.TemplateProcessing("[CLS] $0", "$A $B", SPECIAL), kind.ByteLevel()]),
]


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS)
def test_process(make, tokenizer):
    found, expected = make(mine), make(theirs)
    rng = random.Random(3)
    for _ in range(40):
        first, second = encodings(tokenizer, rng, pairs=0), encodings(tokenizer, rng, pairs=0)
        for pair in (None, second):
            for add_special_tokens in (True, False):
                result = found.process(ours(first), None if pair is None else ours(pair), add_special_tokens)
                assert state(result) == state(expected.process(first, pair, add_special_tokens))
    for is_pair in (False, True):
        assert found.num_special_tokens_to_add(is_pair) == expected.num_special_tokens_to_add(is_pair)


@pytest.mark.parametrize("make", MAKERS)
def test_forms(make):
    found, expected = make(mine), make(theirs)
    assert repr(found) == repr(expected)
    assert found.__getstate__() == expected.__getstate__()
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)
    assert repr(again) == repr(found)


def test_settable():
    bert = mine.BertProcessing(("[SEP]", 1), ("[CLS]", 2))
    bert.sep = ("</s>", 5)
    assert bert.sep == ("</s>", 5)
    template = mine.TemplateProcessing("[CLS] $0", None, SPECIAL)
    template.single = "$A:1 [SEP]"
    assert template.single == "$A:1 [SEP]:0"
    template.single = template.single
    sequence = mine.Sequence([mine.ByteLevel(), template])
    sequence[0].trim_offsets = False
    sequence[1] = bert
    assert sequence[1] is bert and sequence[0].trim_offsets is False
    with pytest.raises(IndexError):
        sequence[2]


@pytest.mark.parametrize(
    "arguments", [("[CLS] $0",), (None, "$A [SEP]", SPECIAL), ("a:b",), ("$C",), ("$A:-1",), ("$A:1:2",), ("$A:",)]
)
def test_template_errors(arguments):
    with pytest.raises(ValueError, match=r"."):
        theirs.TemplateProcessing(*arguments)
    with pytest.raises(ValueError, match=r"SpecialToken|both sequences|Cannot build Piece"):
        mine.TemplateProcessing(*arguments)


def test_a_single_template_with_b_is_a_clear_error(tokenizer):
    template = mine.TemplateProcessing("$A $B")
    with pytest.raises(ValueError, match="only a pair has"):
        template.process(ours(tokenizer.encode("a")))


@pytest.mark.parametrize("kind", ["normalizers", "pre_tokenizers", "processors"])
def test_the_sequence_of_each_kind_has_the_errors_of_tokenizers(kind):
    modules = getattr(tokenizers, kind), importlib.import_module(f"gputok.{kind}")
    found = []
    for module in modules:
        sequence, errors = module.Sequence([module.ByteLevel(), module.ByteLevel()]), []
        for index in (0, 1, -1, 2, "0"):
            for value in (module.ByteLevel(), module.Sequence([]), None):
                try:
                    sequence[index]
                    sequence[index] = value
                    errors.append(None)
                except Exception as error:
                    errors.append(type(error))
        found.append(errors)
    theirs, ours = found
    assert [TypeError if error is Exception else error for error in theirs] == ours


def test_a_sequence_inside_a_sequence_stays_one_in_files():
    inner = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    form = {"type": "Sequence", "processors": [{"type": "Sequence", "processors": [inner]}]}
    text = json.dumps({**json.loads(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str()), "post_processor": form})
    saved = [kind.from_str(text).to_str() for kind in (tokenizers.Tokenizer, gputok.Tokenizer)]
    assert saved[0] == saved[1] and json.loads(saved[1])["post_processor"] == form
