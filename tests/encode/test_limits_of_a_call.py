"""What `tokenizers` 1.0 has and 0.23 lacks: limits for one call, arrays of an encoding, and the texts of ids."""

import numpy as np
import pytest

from gputok import Tokenizer, models
from tests.encode.test_short_texts import KINDS, TEXTS, attributes, template, walk

PADDING = {"length": 12, "pad_id": 1, "pad_token": "</s>", "direction": "left"}
TRUNCATION = {"max_length": 5, "stride": 1}


@pytest.mark.slow
@pytest.mark.parametrize("padding", [..., None, {}, PADDING])
@pytest.mark.parametrize("truncation", [..., None, TRUNCATION])
def test_limits_of_one_call(padding, truncation):
    tokenizer, other = walk(processor=template()), walk(processor=template())
    for one in (tokenizer, other):
        one.enable_padding(length=9)
        one.enable_truncation(7)
    if padding is not ...:
        other.no_padding() if padding is None else other.enable_padding(**padding)
    if truncation is not ...:
        other.no_truncation() if truncation is None else other.enable_truncation(**truncation)
    limits = {"padding": padding, "truncation": truncation}
    before = tokenizer.to_str()
    for text in (*TEXTS[:4], ("a", "b c d")):
        given = (text,) if isinstance(text, str) else text
        assert attributes(tokenizer.encode(*given, **limits)) == attributes(other.encode(*given))
        assert tokenizer.tokenize(*given, **limits) == tokenizer.decode_tokens(other.encode(*given))
    for texts in (TEXTS, [*TEXTS[:3], ("a", "b")], TEXTS * 30):
        for door in ("encode_batch", "encode_batch_fast"):
            found, wanted = getattr(tokenizer, door)(texts, **limits), getattr(other, door)(texts)
            assert list(map(attributes, found)) == list(map(attributes, wanted))
    words = ["low", "est"]
    found = tokenizer.encode(words, is_pretokenized=True, **limits)
    assert attributes(found) == attributes(other.encode(words, is_pretokenized=True))
    assert tokenizer.to_str() == before


def test_wrong_limits():
    tokenizer = walk(processor=template())
    with pytest.raises(TypeError, match="padding must be a dictionary of options or None, not bool"):
        tokenizer.encode("a", padding=True)
    with pytest.raises(TypeError, match="unexpected keyword"):
        tokenizer.encode_batch(["a"], truncation={"length": 3})
    with pytest.raises(ValueError, match="direction"):
        tokenizer.encode_batch_fast(["a"], padding={"direction": "up"})
    with pytest.raises(ValueError, match="stride"):
        tokenizer.encode("a", truncation={"max_length": 4, "stride": 3})


@pytest.mark.parametrize("kind", KINDS)
def test_arrays(kind):
    tokenizer = KINDS[kind]()
    for text in (*TEXTS, "low est " * 3000):
        found = [*tokenizer.encode_batch([text] * 2), tokenizer.encode(text), tokenizer.encode(text, text)]
        found += tokenizer.encode_batch([text], padding={"length": 40}, truncation={"max_length": 30})
        for one in found:
            for name in ("ids", "type_ids", "attention_mask"):
                array = getattr(one, f"{name}_array")
                assert array.dtype == np.uint32 and array.tolist() == getattr(one, name)


def test_texts_of_ids():
    tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "?": 2}, unk_token="?"))
    tokenizer.add_special_tokens(["<s>"])
    ids = [3, 0, 99, 1, 2]
    for given in (ids, tuple(ids), np.array(ids), np.array(ids, np.uint32)):
        assert tokenizer.decode_tokens(given) == ["<s>", "so", "it", "?"]
        assert tokenizer.decode_tokens(given, skip_special_tokens=True) == ["so", "it", "?"]
    for wrong, error in (([-1], OverflowError), (["a"], TypeError), (5, TypeError), ([[1]], TypeError)):
        with pytest.raises(error):
            tokenizer.decode_tokens(wrong)
