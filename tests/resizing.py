"""Tokenizers and checks that the tests of growing and shrinking vocabularies share."""

from __future__ import annotations

import itertools
import random
import re

import tokenizers

from gputok import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LETTERS = "etaoinshrd"


def some_lines(seed: int, n: int = 200, letters: str = LETTERS, beyond: str = "é漢字") -> list[str]:
    """Lines of words of which some are far more frequent than others, with numbers, marks and other scripts."""
    r = random.Random(seed)
    words = ["".join(r.choices(letters, k=r.randint(1, 8))) for _ in range(60)]
    words += ["".join(r.choices(beyond, k=r.randint(1, 3))) for _ in range(8)] + ["12", "345", ";", "()", "  "]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [" ".join(r.choices(words, weights, k=r.randint(1, 12))) + "\n" for _ in range(n)]


def byte_level(lines: list[str], vocab_size: int = 300, n_added: int = 3) -> Tokenizer:
    """A tokenizer like Llama 3's: byte-level, with special tokens above the ids of the model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    if n_added:
        tokenizer.add_special_tokens([f"<|{i}|>" for i in range(n_added)])
        begin = ("<|0|>", tokenizer.token_to_id("<|0|>"))
        tokenizer.post_processor = processors.TemplateProcessing("<|0|> $A", "<|0|> $A $B", [begin])
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<|1|>"), pad_token="<|1|>")
    return tokenizer


def byte_fallback(lines: list[str], vocab_size: int = 330) -> Tokenizer:
    """A tokenizer like Llama 2's: without a pre-tokenizer, with a token for each byte; it lacks all beyond ASCII."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    ascii_only = [re.sub(r"[^ -~]", "", line) for line in lines]
    tokenizer.train_from_iterator(ascii_only, trainer)
    learnt = tokenizer.model
    other = Tokenizer(learnt)
    other.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    other.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special[:3]])
    other.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return other


def boundaries(tokenizer: Tokenizer, text: str) -> set[int]:
    """Where the tokens of a text end, in bytes."""
    lengths = []
    for token in tokenizer.encode(text, add_special_tokens=False).tokens:
        is_byte = isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)
        lengths.append(len(token) if is_byte else 1 if re.fullmatch("<0x..>", token) else len(token.encode()))
    return {*itertools.accumulate(lengths)}


def check_like_tokenizers(tokenizer: Tokenizer, texts: list[str]) -> None:
    """`tokenizers` and gputok open the saved form with the same vocabulary, and all three give the same ids."""
    opened, theirs = Tokenizer.from_str(tokenizer.to_str()), tokenizers.Tokenizer.from_str(tokenizer.to_str())
    assert theirs.get_vocab() == opened.get_vocab() == tokenizer.get_vocab()
    for text in texts:
        ids = tokenizer.encode(text).ids
        assert ids == opened.encode(text).ids == theirs.encode(text).ids
    assert [e.ids for e in theirs.encode_batch(texts)] == [e.ids for e in tokenizer.encode_batch(texts)]


def unreachable(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """The ids that the model does not give for their own text."""
    return [id for id in ids if [t.id for t in tokenizer.model.tokenize(tokenizer.id_to_token(id))] != [id]]
