"""Positions by the lengths of tokens: what all steps find, for texts of any length, and what `tokenizers` finds."""

import random

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu.encode_one.encode import POSITIONS
from gputok.kernels.cpu.encode_one.positions import FIRST_BYTE, NEXT_BYTE, UNKNOWN

from gputok import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from gputok.pipeline.encode.handle import HEAD, Scratch, TextEngine
from gputok.pipeline.encode.text import texts_of

CHARACTERS = [*"aabbcd  \n▁éж串漢🙂😀", "e\u0301", "\0"]
TOKENS = "<s>", "<x y>", "cab", "éa"
PLAIN = AddedToken("cab", normalized=False), AddedToken("éa", normalized=False)
STRIPPING = AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True, normalized=False)


def texts(rng, n):
    parts = CHARACTERS * 3 + [*TOKENS, "<l>", " <r> ", "abc" * 20, "ñ", "bad cab"]
    return ["".join(rng.choices(parts, k=rng.choice([0, 1, 2, 5, 30, 200]))) for _ in range(n)]


def of_bytes(**options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts(random.Random(0), 200), trainer)
    tokenizer.post_processor = processors.ByteLevel(**options)
    return tokenizer


def of_lines(normalizer=None, pre_tokenizer=None):
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdéж串🙂"]
    merges = [("▁", "a"), ("a", "b"), ("ab", "c"), ("▁a", "b"), ("c", "ab"), ("é", "ж"), ("▁", "▁"), ("🙂", "a")]
    tokens += dict.fromkeys(left + right for left, right in merges)
    ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(ids, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    return tokenizer


def marks():
    return normalizers.Replace(" ", "▁")


KINDS = {
    "bytes": of_bytes,
    "bytes, not trimmed": lambda: of_bytes(trim_offsets=False),
    "lines": lambda: of_lines(marks()),
    "lines after a mark": lambda: of_lines(normalizers.Sequence([normalizers.Prepend("▁"), marks()])),
    "metaspace": lambda: of_lines(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "metaspace, always": lambda: of_lines(None, pre_tokenizers.Metaspace(prepend_scheme="always", split=False)),
}


@pytest.fixture(params=KINDS, scope="module")
def tokenizer(request):
    made = KINDS[request.param]()
    made.add_special_tokens(["<s>", "<x y>"])
    made.add_tokens([*PLAIN, *STRIPPING])
    if "bytes" not in request.param:
        template = {"single": "<s> $A <s>", "pair": "<s> $A $B", "special_tokens": [("<s>", made.token_to_id("<s>"))]}
        made.post_processor = processors.TemplateProcessing(**template)
    return made


def columns(memory, call, text, special):
    """The ids and positions that a call finds, or a negative number."""
    raw = text.encode()
    n = call.kernel(call.address, id(raw) + HEAD, len(raw), special | POSITIONS)
    handle = memory.steps.handle
    return n if n < 0 else [handle[name][:n].tolist() for name in ("ids", "begins", "ends")]


def test_the_same_as_all_steps(tokenizer):
    engine = TextEngine.of(tokenizer.pipeline)
    memory = Scratch(engine)
    call = memory.positions(engine)
    assert call is not memory.steps and memory.positions(engine) is call
    for text in texts(random.Random(1), 400):
        for special in (0, 1):
            wanted = columns(memory, memory.steps, text, special)
            assert columns(memory, call, text, special) == wanted, text


def test_the_same_as_tokenizers(tokenizer):
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    for text in texts(random.Random(2), 400):
        found, wanted = tokenizer.encode(text), theirs.encode(text)
        assert (found.offsets, found.tokens) == (wanted.offsets, wanted.tokens), text


def test_long_texts(tokenizer):
    """All steps take up to 65,536 bytes; lengths tell positions for more, if they are known."""
    theirs, rng = tokenizers.Tokenizer.from_str(tokenizer.to_str()), random.Random(3)
    # No added tokens
    plain = "".join(rng.choices(CHARACTERS, k=60_000)).replace("éa", "éb").replace("cab", "cbb")
    engine = texts_of(tokenizer.pipeline).engine
    memory = Scratch(engine)
    assert 65_536 < len(plain.encode()) < 131_072
    assert columns(memory, memory.steps, plain[:10_000], 1) != -1
    memory.expect(1 << 20)
    ids, begins, ends = columns(memory, memory.positions(engine), plain, 1)
    for text in (plain, plain + "<l>", plain + "<x y>" + plain):
        wanted = theirs.encode(text)
        found = tokenizer.encode(text)
        assert found.offsets == wanted.offsets and found.ids == wanted.ids
        if text is plain:
            assert ids == wanted.ids
            if not engine.trims:
                assert list(zip(begins, ends, strict=True)) == wanted.offsets
    assert columns(memory, memory.positions(engine), plain + " <l>", 1) == -1  # it covers more than its text


def test_the_lengths_of_tokens():
    lines = of_lines(marks())
    lines.add_tokens([*PLAIN, *STRIPPING])
    found = TextEngine.of(lines.pipeline).lengths()
    of = {token: found[id] for token, id in lines.get_vocab().items()}
    assert of["<0x41>"] == of["<0xC3>"] == FIRST_BYTE and of["<0x80>"] == of["<0xBF>"] == NEXT_BYTE
    assert of["▁a"] == 2 and of["🙂"] == 1 and of["cab"] == 3 and of["<l>"] == of["<r>"] == UNKNOWN
    letters = of_bytes()
    letters.add_tokens(["éa🙂", *STRIPPING])
    found = TextEngine.of(letters.pipeline).lengths()
    of = {token: found[id] for token, id in letters.get_vocab().items()}
    assert of["Ġ"] == of["Ã"] == 1 and of["éa🙂"] == 7 and of["<l>"] == UNKNOWN
    assert np.count_nonzero(found > 0) == 330 + 1


def test_other_pipelines_take_all_steps():
    """Text that becomes another one, and models whose tokens may not be the text."""
    changed = of_bytes()
    changed.normalizer = normalizers.Lowercase()
    pieces = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    for one in (changed, pieces):
        engine = TextEngine.of(one.pipeline)
        memory = Scratch(engine)
        assert memory.positions(engine) is memory.steps
        theirs = tokenizers.Tokenizer.from_str(one.to_str())
        for text in ("ABAB ab", "a ab b"):
            assert one.encode(text).offsets == theirs.encode(text).offsets
