"""`encode_to_numpy`, compared with the encodings of `tokenizers`."""

import random

import numpy as np
import pytest
import tokenizers

import gputok
from gputok import models, pre_tokenizers, processors
from gputok.trainers import BpeTrainer

WORDS = ["the", " house", "12345", "über", "日本語", "😀", "\n\n", "  ", "<s>", "w" * 30]


def texts_of(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(WORDS, k=rng.choice([0, 1, 5, 40]))) for _ in range(n)]


# So few that each text is encoded alone, and so many that they go the way of corpora
FEW, MANY = texts_of(1, 20), texts_of(2, 700)
assert len("".join(FEW)) < 1 << 13 < len("".join(MANY))


@pytest.fixture(scope="module", params=[0, 1], ids=["without type ids", "with type ids"])
def tokenizer(request) -> gputok.Tokenizer:
    made = gputok.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(FEW, trainer)
    made.post_processor = processors.TemplateProcessing(
        single=f"<s> $A </s>:{request.param}", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


PADDINGS = [
    None,
    {},
    {"direction": "left", "pad_id": 2, "pad_type_id": 3, "pad_token": "<pad>"},
    {"length": 64, "pad_id": 2},
    {"pad_to_multiple_of": 8},
    {"length": 60, "pad_to_multiple_of": 7, "direction": "left"},
]
TRUNCATIONS = [{"max_length": 40}, {"max_length": 9, "direction": "left", "stride": 2}]


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("truncation", [None, *TRUNCATIONS], ids=str)
@pytest.mark.parametrize("input", [FEW, MANY, tuple(MANY), [*zip(FEW, MANY, strict=False)], ["", "<s>"], []])
def test_arrays_are_those_of_tokenizers(tokenizer, input, padding, truncation):
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    if padding is not None:
        theirs.enable_padding(**padding)
    if truncation is not None:
        theirs.enable_truncation(**truncation)
    for special in (True, False):
        encodings = theirs.encode_batch([*input], add_special_tokens=special)
        lengths = [len(encoding.ids) for encoding in encodings]
        limits = {"padding": padding, "truncation": truncation}
        if padding is not None and len({*lengths}) > 1:  # longer than the length of the padding
            with pytest.raises(ValueError, match=r"more than the (64|63) that padding asks for"):
                tokenizer.encode_to_numpy(input, add_special_tokens=special, **limits)
            continue
        found = tokenizer.encode_to_numpy(input, add_special_tokens=special, threads=2, **limits)
        assert found.rows.tolist() == [0, *np.cumsum(lengths).tolist()] and found.rows.dtype == np.int64
        for name in ("ids", "type_ids", "attention_mask"):
            column, expected = getattr(found, name), [getattr(encoding, name) for encoding in encodings]
            assert column.dtype == np.uint32
            if padding is None:
                assert column.tolist() == [value for row in expected for value in row]
            else:
                assert column.ndim == 2 and column.tolist() == expected
        assert np.array_equal(np.from_dlpack(found.ids), found.ids)


def test_words_of_callers_and_limits_of_the_tokenizer(tokenizer):
    ours = gputok.Tokenizer.from_str(tokenizer.to_str())
    ours.enable_padding(pad_id=2)
    ours.enable_truncation(5)
    theirs = tokenizers.Tokenizer.from_str(ours.to_str())
    words = [["the", "house"], [], ["12345"] * 9]
    expected = [encoding.ids for encoding in theirs.encode_batch(words, is_pretokenized=True)]
    assert ours.encode_to_numpy(words, is_pretokenized=True).ids.tolist() == expected
    with pytest.raises(TypeError, match="not int"):
        ours.encode_to_numpy(["a", 3])


def test_no_object_is_made_for_a_text(tokenizer, monkeypatch):
    if tokenizer.encode("a").type_ids[-1]:
        pytest.skip("a type id takes the way of encodings")
    monkeypatch.setattr(tokenizer, "encode_batch_fast", None)
    assert len(tokenizer.encode_to_numpy(MANY).rows) == len(MANY) + 1
